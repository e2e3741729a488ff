//! `man [COMMAND…]`: the manual page of a command.

use crate::flow::FlowError;

use super::exit::Exit;
use super::terminal::{self, Manner};
use super::{accepts, start};

/// Prints the page of the command that these words name.
pub(super) fn print(of: &[String], manner: Manner) -> Exit {
    let mut command = accepts::command();
    // Gives each command its whole name.
    command.build();
    for word in of {
        let Some(found) = command.find_subcommand(word) else {
            let error =
                FlowError::request_with_help(format!("man {}: there is no such command", of.join(" ")), "see --help");
            return start::refuse(&error, manner);
        };
        command = found.clone();
    }
    let mut page = Vec::new();
    match clap_mangen::Man::new(command).render(&mut page) {
        Ok(()) => {
            terminal::print(&String::from_utf8_lossy(&page));
            Exit::Done
        }
        Err(_) => Exit::Failed,
    }
}
