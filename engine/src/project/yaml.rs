//! A YAML document as a tree in which every key and value knows its place.
//!
//! Invariant: depth and size are bounded, aliases are written out, keys of a mapping are distinct texts. JSON is
//! YAML, so this reads both.

mod parse;

use std::rc::Rc;

use super::mistake::Spot;

pub(super) use parse::parse;

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub spot: Spot,
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar { text: Rc<str>, style: Style },
    List(Vec<Node>),
    Map(Map),
}

/// How a scalar is written; only a plain one may be a number, a boolean or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    Literal,
    Folded,
}

/// A mapping in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub entries: Vec<Entry>,
    /// Canonical keys that are written otherwise in this mapping, each with the way it is written.
    pub names: &'static [(&'static str, &'static str)],
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key by which it is looked up.
    pub key: Rc<str>,
    /// The key as it is written, if that differs.
    pub written: Option<Rc<str>>,
    pub spot: Spot,
    pub value: Node,
}

impl Entry {
    /// The key as it is written.
    pub fn name(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.key)
    }
}

impl Map {
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.key == key)
    }
}

impl Node {
    pub fn null(spot: Spot) -> Self {
        Self { spot, value: Value::Scalar { text: "".into(), style: Style::Plain } }
    }

    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, style: Style::Plain } => {
                matches!(&**text, "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The text, unless it is plain and a number, a boolean or null.
    pub fn as_text(&self) -> Option<&str> {
        let Value::Scalar { text, .. } = &self.value else { return None };
        let is_text = !self.is_null() && self.as_flag().is_none() && !self.is_number();
        is_text.then_some(text)
    }

    pub fn as_flag(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    pub fn is_number(&self) -> bool {
        let Some(plain) = self.plain() else { return false };
        let starts_like_one = plain.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        starts_like_one && plain.parse::<f64>().is_ok()
    }

    /// The text of a plain scalar, whatever it means.
    pub fn plain(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, style: Style::Plain } => Some(text),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Map(_) => "a mapping",
            Value::List(_) => "a list",
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } if self.as_flag().is_some() => "true or false",
            Value::Scalar { .. } if self.is_number() => "a number",
            Value::Scalar { .. } => "text",
        }
    }

    /// How many values it holds, itself included, and how many bytes of text.
    fn size(&self) -> (usize, usize) {
        let add = |one: (usize, usize), other: (usize, usize)| (one.0 + other.0, one.1 + other.1);
        match &self.value {
            Value::Scalar { text, .. } => (1, text.len()),
            Value::List(items) => items.iter().map(Node::size).fold((1, 0), add),
            Value::Map(map) => {
                let entry = |entry: &Entry| add(entry.value.size(), (0, entry.key.len()));
                map.entries.iter().map(entry).fold((1, 0), add)
            }
        }
    }
}
