//! YAML that others wrote: manifests of Kubernetes, and what clusters keep of themselves. Text flows in, its documents flow out.

use saphyr::{LoadableYamlNode, Yaml};
use saphyr_parser::{Event, Parser};

/// Lists and maps within each other. Whoever walks through them, or drops them, takes a piece of the stack for each.
const DEPTH: usize = 64;

/// The documents of a text.
///
/// # Errors
/// Why it is no YAML, or that it is nested deeper than any manifest.
pub fn documents(text: &str) -> Result<Vec<Yaml<'_>>, String> {
    let mut depth = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| e.to_string())?;
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return Err(format!("values are nested more than {DEPTH} deep on line {}", span.start.line()));
        }
    }
    Yaml::load_from_str(text).map_err(|e| e.to_string())
}
