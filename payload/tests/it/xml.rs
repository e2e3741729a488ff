//! XML as a tree in one spelling, so that two documents that say the same are equal.

use std::collections::BTreeMap;
use std::fmt;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    fn open(start: &BytesStart<'_>) -> Self {
        let attributes = start.attributes().map(|a| {
            let a = a.unwrap();
            (text_of(a.key.as_ref()), quick_xml::escape::unescape(&text_of(a.value.as_ref())).unwrap().into_owned())
        });
        Self { name: text_of(start.name().as_ref()), attributes: attributes.collect(), ..Self::default() }
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// Puts the elements whose order means nothing into one: entries and files.
    pub(crate) fn sort(&mut self) {
        for child in &mut self.children {
            child.sort();
        }
        self.children.sort();
    }
}

impl fmt::Display for Element {
    /// One line for each element, indented: what `diff` likes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn lines(e: &Element, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            writeln!(f, "{:depth$}{} {:?} {:?}", "", e.name, e.attributes, e.text)?;
            e.children.iter().try_for_each(|c| lines(c, depth + 1, f))
        }
        lines(self, 0, f)
    }
}

fn text_of(text: impl AsRef<str>) -> String {
    text.as_ref().to_owned()
}

pub(crate) fn parse(text: &str) -> Element {
    let mut reader = Reader::from_str(text);
    let mut stack = vec![Element::default()];
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => stack.push(Element::open(&start)),
            Event::Empty(start) => {
                let element = Element::open(&start);
                stack.last_mut().unwrap().children.push(element);
            }
            Event::End(_) => {
                let mut element = stack.pop().unwrap();
                if !element.children.is_empty() {
                    element.text = element.text.trim().to_owned();
                }
                stack.last_mut().unwrap().children.push(element);
            }
            Event::Text(text) => stack.last_mut().unwrap().text.push_str(&text_of(text.xml10_content())),
            Event::GeneralRef(name) => {
                let entity = format!("&{};", text_of(name.xml10_content()));
                stack.last_mut().unwrap().text.push_str(&quick_xml::escape::unescape(&entity).unwrap());
            }
            Event::Eof => return stack.pop().unwrap().children.pop().unwrap(),
            _ => {}
        }
    }
}
