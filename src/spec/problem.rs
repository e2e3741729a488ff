//! What is wrong with a file, by line and field.

use std::fmt;

use crate::flow::FlowError;

/// One problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileProblem {
    /// Counted from 1.
    pub(super) line: usize,
    /// `hosts[2].address`; empty when it is about no field.
    pub(super) field: String,
    pub(super) text: String,
}

impl FileProblem {
    pub(super) fn at(line: usize, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { line, field: field.into(), text: text.into() }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.text)
    }
}

/// All problems of a file, in the order of its lines, as one refusal.
pub(super) fn refuse(file: &str, mut problems: Vec<FileProblem>) -> FlowError {
    problems.sort_by_key(|problem| problem.line);
    let lines: Vec<String> = problems.iter().map(|problem| format!("{file}:{problem}")).collect();
    FlowError::request_with_help(
        lines.join("\n"),
        "`cluster schema` lists every field of the file; no host was touched",
    )
}
