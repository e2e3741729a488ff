//! `support-bundle`: what somebody who helps wants to read, in one file: the log, the journals of all environments, and
//! what program on what machine this is. Keys, credentials and state are left out; logs and journals hold no secret.

use std::fs::File;
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::flow::{FlowError, state_dir};
use crate::store::Store;

use super::cli::{Global, Source};
use super::exit::Exit;
use super::log;
use super::terminal::Terminal;

/// Options of `support-bundle`.
#[derive(Debug, Args)]
pub(crate) struct SupportArgs {
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "support-bundle.tar.gz")]
    output: Utf8PathBuf,
    #[command(flatten)]
    source: Source,
}

/// Collects and writes; the file appears when it is whole, with mode 0600.
pub(crate) fn run(args: &SupportArgs, global: &Global) -> Result<Exit, FlowError> {
    let fail = |source| FlowError::State { path: args.output.clone(), source };
    let folder = match args.output.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    };
    let file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let mut names = Vec::new();
    let about = about(&args.source);
    add_text(&mut archive, "about.txt", &about).map_err(fail)?;
    for (name, path) in found(global) {
        // One that was rotated away meanwhile is no loss.
        if let Ok(mut file) = File::open(&path) {
            archive.append_file(&name, &mut file).map_err(fail)?;
            names.push(name);
        }
    }
    for (name, text) in journals()? {
        add_text(&mut archive, &name, &text).map_err(fail)?;
        names.push(name);
    }
    let file = archive.into_inner().and_then(GzEncoder::finish).map_err(fail)?;
    file.persist(&args.output).map_err(|e| fail(e.error))?;
    let terminal = Terminal::new(global.manner());
    if global.json {
        terminal.tell(&serde_json::json!({"file": args.output, "holds": names}).to_string());
    } else {
        terminal.tell(&format!("{}: about.txt and {} file(s): {}", args.output, names.len(), names.join(", ")));
    }
    Ok(Exit::Done)
}

/// The newest runs' events of every environment, by their names in the archive.
fn journals() -> Result<Vec<(String, String)>, FlowError> {
    let mut found = Vec::new();
    let Some(store) = Store::look(&state_dir())? else { return Ok(found) };
    for environment in store.environments()? {
        let names = ["journal.jsonl", "journal.1.jsonl"];
        for (name, text) in names.into_iter().zip(store.journals(&environment.id, 2)?) {
            found.push((format!("environments/{}/{name}", environment.id), text));
        }
    }
    Ok(found)
}

/// Log files: their names in the archive, and where they are.
fn found(global: &Global) -> Vec<(String, Utf8PathBuf)> {
    let mut files = Vec::new();
    for dir in log::folders(global.log_dir.as_deref()) {
        for path in entries(&dir).into_iter().filter(|p| p.file_name().is_some_and(|n| n.starts_with(log::FILE))) {
            files.push((format!("log/{}", path.file_name().unwrap_or_default()), path));
        }
        // The log lies in the first folder that has one.
        if !files.is_empty() {
            break;
        }
    }
    files
}

/// What is in a folder, in order; nothing when there is none.
fn entries(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found: Vec<_> = dir.read_dir_utf8().into_iter().flatten().flatten().map(|e| e.path().to_owned()).collect();
    found.sort();
    found
}

fn about(source: &Source) -> String {
    let bundle = match source.open() {
        Ok(Some(bundle)) => {
            let manifest = bundle.manifest();
            format!("{}, version {}, {} members", bundle.path(), manifest.product_version, manifest.members.len())
        }
        Ok(None) => "none".to_owned(),
        Err(e) => e.to_string(),
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    format!(
        "sunshine-installer {}\nbundle: {bundle}\nkernel: {}\n{}",
        env!("CARGO_PKG_VERSION"),
        read("/proc/version").trim(),
        read("/etc/os-release")
    )
}

fn add_text(archive: &mut tar::Builder<impl Write>, name: &str, text: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, text.as_bytes())
}
