//! What the bundler says: the summary, the warnings, the reasons for a refusal.

use std::collections::BTreeMap;
use std::io::{self, Write};

use camino::Utf8PathBuf;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanBytes;
use payload::{Manifest, MemberKind, Written};

use crate::build::Failure;
use crate::cli::BuildArgs;
use crate::closed::NotClosed;
use crate::required::Missing;

/// Unmet requirements are shown up to this number; the rest is counted.
const SHOWN: usize = 30;
/// So many of the packages that require the same are named.
const NAMED: usize = 4;

/// A bundle that was built.
pub(crate) struct Report<'a> {
    pub(crate) args: &'a BuildArgs,
    pub(crate) written: &'a Written,
    pub(crate) same: &'a [Utf8PathBuf],
    pub(crate) not_closed: &'a [NotClosed],
    pub(crate) missing: &'a [Missing],
    pub(crate) notes: &'a [String],
}

impl Report<'_> {
    /// The table of members, then the warnings.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.table())?;
        let manifest = &self.written.manifest;
        writeln!(
            out,
            "{}: {}, version {}, {}, {} members",
            self.args.output,
            HumanBytes(self.written.size),
            manifest.product_version,
            manifest.arch,
            manifest.members.len()
        )?;
        if let Some(line) = platforms(manifest) {
            writeln!(out, "{line}")?;
        }
        for path in self.same {
            writeln!(out, "note: {path} is left out: the same package with the same contents is in the bundle")?;
        }
        for note in self.notes {
            writeln!(out, "warning: {note}")?;
        }
        warn_missing(self.missing, "warning", out)?;
        warn_not_closed(self.not_closed, "warning", out)
    }

    fn table(&self) -> Table {
        let mut kinds: BTreeMap<MemberKind, (u64, u64, u64)> = BTreeMap::new();
        for member in &self.written.manifest.members {
            let (count, size, stored) = kinds.entry(member.kind).or_default();
            *count += 1;
            *size += member.size;
            *stored += member.stored_size();
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(["kind", "members", "size", "saved"]);
        let deployer = HumanBytes(self.written.manifest.deployer.size).to_string();
        table.add_row(["deployer".to_owned(), "1".into(), deployer, "-".into()]);
        for (kind, (count, size, stored)) in kinds {
            let saved = match size - stored {
                0 => "-".into(),
                saved => HumanBytes(saved).to_string(),
            };
            table.add_row([kind.to_string(), count.to_string(), HumanBytes(size).to_string(), saved]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

fn warn_missing(missing: &[Missing], word: &str, out: &mut dyn Write) -> io::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    writeln!(out, "{word}: these images are named and not in the bundle")?;
    for Missing { name, by } in missing {
        writeln!(out, "  {name}, named by {by}")?;
    }
    writeln!(out, "help: add them with --image FILE, or --pull NAME where the registry can be reached")
}

/// How many packages are for whom, where that is a question.
fn platforms(manifest: &Manifest) -> Option<String> {
    let counts = manifest.package_counts();
    let listed = counts.iter().map(|(platform, count)| format!("{count} for {}", platform.unwrap_or("all hosts")));
    (counts.len() > 1).then(|| format!("packages: {}", listed.collect::<Vec<_>>().join(", ")))
}

fn warn_not_closed(sets: &[NotClosed], word: &str, out: &mut dyn Write) -> io::Result<()> {
    sets.iter().try_for_each(|set| warn_unmet(set, word, out))?;
    if sets.is_empty() {
        return Ok(());
    }
    writeln!(out, "help: add those packages, or list what the target system has with --assume-provided")
}

fn warn_unmet(set: &NotClosed, word: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut requirements: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in &set.unmet {
        requirements.entry(&one.requirement).or_default().push(&one.package.name);
    }
    let whose = set.platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
    writeln!(out, "{word}: the set{whose} is not closed: no package in it provides")?;
    for (requirement, packages) in requirements.iter().take(SHOWN) {
        let more = if packages.len() > NAMED { format!(" and {} more", packages.len() - NAMED) } else { String::new() };
        let named = packages.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        writeln!(out, "  {requirement}, required by {named}{more}")?;
    }
    if requirements.len() > SHOWN {
        writeln!(out, "  and {} more", requirements.len() - SHOWN)?;
    }
    Ok(())
}

/// The reasons why there is no bundle.
pub(crate) fn failure(failure: &Failure, out: &mut dyn Write) -> io::Result<()> {
    match failure {
        Failure::NotPulled(failed) => {
            writeln!(out, "error: these images could not be pulled")?;
            failed.iter().try_for_each(|one| writeln!(out, "  {}: {}", one.name, one.why))?;
            writeln!(out, "help: correct the names, or give the images as files: --image FILE")
        }
        Failure::Collect(problems) => problems.iter().try_for_each(|problem| {
            writeln!(out, "error: {problem}")?;
            problem.help().map_or(Ok(()), |help| writeln!(out, "help: {help}"))
        }),
        Failure::ImagesMissing(missing) => warn_missing(missing, "error", out),
        Failure::NotClosed(sets) => warn_not_closed(sets, "error", out),
        Failure::Problems(errors) => errors.iter().try_for_each(|error| {
            writeln!(out, "error: {error}")?;
            error.help().map_or(Ok(()), |help| writeln!(out, "help: {help}"))
        }),
    }
}
