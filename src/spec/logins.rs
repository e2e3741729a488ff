//! Logins of a cluster file: its references to files and environment variables become secrets. A host's own fields count
//! before `defaults`, and those before what the command line gives for all hosts.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::host::{Secret, TargetDefaults};

use super::check::Lines;
use super::file::LoginFields;
use super::problem::FileProblem;

/// What lies around a file: everything that its references are resolved with.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The folder that relative paths start from.
    pub folder: &'a Utf8Path,
    /// What the command line gives for all hosts.
    pub given: &'a TargetDefaults,
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Surroundings<'_> {
    /// The path that is meant: from the file's folder, and `~/` from the user's.
    pub(super) fn path(&self, text: &str) -> Utf8PathBuf {
        match text.strip_prefix("~/").and_then(|rest| Some((rest, (self.variable)("HOME")?))) {
            Some((rest, home)) => Utf8PathBuf::from(home).join(rest),
            None => self.folder.join(text),
        }
    }

    /// An rpm beside the file; else its name as it stands, which is looked for on the control host and in the bundle.
    pub(super) fn rpms(&self, names: &[String]) -> Vec<String> {
        let place = |name: &String| {
            let beside = self.path(name);
            if beside.is_file() { beside.into_string() } else { name.clone() }
        };
        names.iter().map(place).collect()
    }
}

/// Resolves references; a file that many hosts name is read once.
#[derive(Debug)]
pub(super) struct Logins<'a> {
    around: Surroundings<'a>,
    lines: &'a Lines,
    read: HashMap<Utf8PathBuf, Result<Secret, String>>,
    pub(super) problems: Vec<FileProblem>,
}

impl<'a> Logins<'a> {
    pub(super) fn new(around: Surroundings<'a>, lines: &'a Lines) -> Self {
        Self { around, lines, read: HashMap::new(), problems: Vec::new() }
    }

    /// The login that `fields`, written at `path`, make of what they leave open to `base`.
    pub(super) fn resolve(&mut self, fields: &LoginFields, path: &str, base: &TargetDefaults) -> TargetDefaults {
        let mut login = base.clone();
        login.user = fields.user.clone().or(login.user);
        login.port = fields.port.or(login.port);
        if let Some(key) = &fields.key_file {
            login.auth.key = Some(self.file(key, &field(path, "keyFile")));
        }
        let password = self.password(fields.password_file.as_ref(), fields.password_env.as_ref(), path);
        login.auth.password = password.or(login.auth.password);
        let sudo = self.secret(
            fields.sudo_password_file.as_ref(),
            fields.sudo_password_env.as_ref(),
            path,
            ["sudoPasswordFile", "sudoPasswordEnv"],
        );
        login.auth.sudo_password = sudo.or(login.auth.sudo_password);
        login
    }

    /// What `passwordFile` or `passwordEnv`, written at `path`, lead to.
    pub(super) fn password(&mut self, file: Option<&String>, variable: Option<&String>, path: &str) -> Option<Secret> {
        self.secret(file, variable, path, ["passwordFile", "passwordEnv"])
    }

    /// The file that is meant, which must be there.
    pub(super) fn file(&mut self, text: &str, path: &str) -> Utf8PathBuf {
        let file = self.around.path(text);
        if !file.is_file() {
            self.problems.push(self.lines.problem(path, format!("{file}: no such file")));
        }
        file
    }

    /// The path that is meant.
    pub(super) fn path(&self, text: &str) -> Utf8PathBuf {
        self.around.path(text)
    }

    /// What is wrong with the field at `path`.
    pub(super) fn problem(&mut self, path: &str, text: String) {
        self.problems.push(self.lines.problem(path, text));
    }

    /// What was found for the field at `path`, or why not.
    pub(super) fn checked<T>(&mut self, found: Result<T, String>, path: &str) -> Option<T> {
        found.map_err(|why| self.problem(path, why)).ok()
    }

    fn secret(
        &mut self,
        file: Option<&String>,
        variable: Option<&String>,
        path: &str,
        [by_file, by_variable]: [&str; 2],
    ) -> Option<Secret> {
        if let (Some(_), Some(_)) = (file, variable) {
            let text = format!("{by_file} and {by_variable} are both given");
            self.problems.push(self.lines.problem(&field(path, by_variable), text));
            return None;
        }
        let (name, result) = match (file, variable) {
            (Some(file), _) => (by_file, self.first_line(file)),
            (_, Some(variable)) => (by_variable, self.of_variable(variable)),
            _ => return None,
        };
        match result {
            Ok(secret) => Some(secret),
            Err(why) => {
                self.problems.push(self.lines.problem(&field(path, name), why));
                None
            }
        }
    }

    fn first_line(&mut self, text: &str) -> Result<Secret, String> {
        let path = self.around.path(text);
        let read = self.read.entry(path.clone()).or_insert_with(|| {
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            let line = text.lines().next().filter(|line| !line.is_empty());
            line.map(Secret::new).ok_or_else(|| format!("{path}: its first line is empty"))
        });
        read.clone()
    }

    fn of_variable(&self, name: &str) -> Result<Secret, String> {
        let value = (self.around.variable)(name).filter(|value| !value.is_empty());
        value.map(Secret::new).ok_or_else(|| format!("the environment variable {name} is not set"))
    }
}

fn field(path: &str, name: &str) -> String {
    format!("{path}.{name}")
}
