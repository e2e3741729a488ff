//! YAML text as a tree in which every value knows its line. What this product's files have no use for (aliases, tags, several
//! documents) is refused, and nothing is expanded: a small file stays small.

use std::borrow::Cow;

use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::problem::FileProblem;

/// Deeper than any file of ours.
const DEPTH: usize = 16;

/// A value and the line that it begins on, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// `plain`: without quotes, so that `true` and `5` are no text.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; the same key may come again.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

/// What a scalar is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Nothing,
    Switch(bool),
    Integer(i64),
    Real,
    Text(&'a str),
}

impl Node {
    /// The value of a scalar by YAML's core schema; `None` for lists and maps.
    pub(super) fn value(&self) -> Option<Value<'_>> {
        let Content::Scalar { text, plain } = &self.content else { return None };
        if !plain {
            return Some(Value::Text(text));
        }
        Some(match Scalar::parse_from_cow(Cow::Borrowed(text)) {
            // A value that is left away.
            Scalar::String(_) if text.is_empty() => Value::Nothing,
            Scalar::Null => Value::Nothing,
            Scalar::Boolean(switch) => Value::Switch(switch),
            Scalar::Integer(number) => Value::Integer(number),
            Scalar::FloatingPoint(_) => Value::Real,
            Scalar::String(_) => Value::Text(text),
        })
    }
}

/// Reads a text that holds one document.
///
/// # Errors
/// What keeps it from being read: the first such place.
pub(super) fn parse(text: &str) -> Result<Node, FileProblem> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            _ if root.is_some() => return Err(problem(span, "a second document begins here; one is read")),
            other => root = Some(reader.node(other, span, 0)?),
        }
    }
    let nothing = |node: &Node| node.value() == Some(Value::Nothing);
    root.filter(|node| !nothing(node)).ok_or_else(|| FileProblem::at(1, "", "the file is empty"))
}

fn problem(span: Span, text: impl Into<String>) -> FileProblem {
    FileProblem::at(span.start.line(), "", text)
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, FileProblem> {
        let event = self.parser.next_event().transpose();
        event.map_err(|e| FileProblem::at(e.marker().line(), "", format!("this is not YAML: {}", e.info())))
    }

    fn more(&mut self) -> Result<(Event<'t>, Span), FileProblem> {
        self.next()?.ok_or_else(|| FileProblem::at(1, "", "the file ends in the middle of a value"))
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, FileProblem> {
        const REFERENCES: &str = "anchors and aliases (& and *) are not supported";
        let line = span.start.line();
        if depth > DEPTH {
            return Err(problem(span, format!("values are nested more than {DEPTH} deep")));
        }
        let (anchor, tagged) = match &event {
            Event::Alias(_) => return Err(problem(span, REFERENCES)),
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => return Err(problem(span, "no value is here")),
        };
        if anchor > 0 {
            return Err(problem(span, REFERENCES));
        }
        if tagged {
            return Err(problem(span, "tags (!) are not supported"));
        }
        let content = match event {
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Scalar(text, style, ..) => {
                Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            _ => return Err(problem(span, "no value is here")),
        };
        Ok(Node { line, content })
    }

    fn list(&mut self, depth: usize) -> Result<Content, FileProblem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.more()?;
            if event == Event::SequenceEnd {
                return Ok(Content::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, FileProblem> {
        let mut fields = Vec::new();
        loop {
            let (event, span) = self.more()?;
            if event == Event::MappingEnd {
                return Ok(Content::Map(fields));
            }
            let key = self.node(event, span, depth + 1)?;
            let Content::Scalar { text: name, .. } = key.content else {
                return Err(problem(span, "the name of a field is text"));
            };
            let (event, value_span) = self.more()?;
            let mut value = self.node(event, value_span, depth + 1)?;
            // A value that is left away has no place of its own.
            value.line = value.line.max(key.line);
            fields.push((Key { line: key.line, name }, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (usize, String) {
        let problem = parse(text).unwrap_err();
        (problem.line, problem.text)
    }

    #[test]
    fn every_value_knows_its_line() {
        let root = parse("\u{feff}# head\na: 1\nb:\n  - x\n  - {c: 'true'}\nd:\n").unwrap();
        let Content::Map(fields) = &root.content else { panic!("{root:?}") };
        let lines: Vec<_> = fields.iter().map(|(key, _)| (key.name.as_str(), key.line)).collect();
        assert_eq!(lines, [("a", 2), ("b", 3), ("d", 6)]);
        let Content::List(items) = &fields[1].1.content else { panic!("{root:?}") };
        assert_eq!((items[0].line, items[1].line), (4, 5));
        assert_eq!(fields[0].1.value(), Some(Value::Integer(1)));
        assert_eq!(fields[2].1.value(), Some(Value::Nothing));
        let Content::Map(inner) = &items[1].content else { panic!("{root:?}") };
        assert_eq!(inner[0].1.value(), Some(Value::Text("true")));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_line() {
        for (text, line, word) in [
            ("", 1, "empty"),
            ("# nothing\n", 1, "empty"),
            ("a: 1\n---\nb: 2\n", 3, "second document"),
            ("a: &x 1\nb: *x\n", 1, "anchors"),
            ("a: 1\nb: !!str 2\n", 2, "tags"),
            ("a:\n\t- b\n", 2, "not YAML"),
            ("a: [1,\n", 2, "not YAML"),
            ("a: 'x\n", 2, "not YAML"),
            ("? [a]\n: b\n", 1, "name of a field"),
        ] {
            let (at, said) = refused(text);
            assert!(said.contains(word), "{text:?}: {said}");
            assert!(at.abs_diff(line) <= 1, "{text:?}: line {at}, {said}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(!refused(&deep).1.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n\t]{0,80}") {
            let _ = parse(&text);
        }
    }
}
