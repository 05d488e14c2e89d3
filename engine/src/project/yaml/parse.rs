//! Parsing a YAML document into its tree.
//!
//! Invariant: work and memory are bounded by the size of the text, however its aliases are woven.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    mem,
    rc::Rc,
};

use keyway_storage::limits::{
    KEY_BYTES_MAX, PROJECT_BYTES_MAX, PROJECT_DEPTH_MAX, PROJECT_NODES_MAX, PROJECT_TEXT_BYTES_MAX,
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Entry, Map, Node, Style, Value};
use crate::project::mistake::{Mistakes, Spot};

/// Keys of a mapping up to which they are compared one by one.
const COMPARED_KEYS_MAX: usize = 16;
/// Longest text that is kept once, however often it is there.
const SHARED_TEXT_BYTES_MAX: usize = 64;

/// Parses one document. Notes what is wrong; `None` if there is nothing left to read.
pub(in super::super) fn parse(text: &str, mistakes: &mut Mistakes) -> Option<Node> {
    let start = Spot { line: 1, column: 1 };
    if text.len() > PROJECT_BYTES_MAX {
        let message = format!("the file has {} bytes; {PROJECT_BYTES_MAX} is the most", text.len());
        mistakes.mistake("", start, message, String::new());
        return None;
    }
    let text = join_surrogates(text.strip_prefix('\u{feff}').unwrap_or(text));
    let (stack, anchors, texts) = Default::default();
    let mut tree = Tree { mistakes, stack, anchors, texts, nodes: 0, bytes: 0, root: None };
    let mut parser = Parser::new_from_str(&text);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let message = format!("this is not YAML: {}", error.info());
                tree.mistakes.mistake("", spot(error.marker()), message, hint_of(error.info()));
                return None;
            }
        };
        let at = spot(&span.start);
        match event {
            Event::DocumentStart(_) if documents > 0 => {
                tree.note(
                    at,
                    "a second document begins here",
                    "a project file is one document: remove `---`",
                );
                return tree.root;
            }
            Event::DocumentStart(_) => documents += 1,
            event => tree.take(event, at)?,
        }
    }
    if tree.root.as_ref().is_none_or(Node::is_null) {
        tree.note(start, "the file is empty", "see tools/examples for whole project files");
        return None;
    }
    tree.root
}

fn spot(marker: &Marker) -> Spot {
    Spot { line: marker.line() as u32, column: marker.col() as u32 + 1 }
}

fn hint_of(info: &str) -> String {
    let hint = match info {
        info if info.contains("tab") => "indent with spaces, not with tabs",
        info if info.contains("mapping values are not allowed") => {
            "a text that contains `: ` needs quotes, and keys of one mapping start in the same column"
        }
        info if info.contains("simple key") => "a key needs a `:` after it; check the indentation",
        _ => "check quotes, brackets and indentation here and in the line above",
    };
    hint.to_owned()
}

/// Writes the pairs of `\uD83D\uDE00` escapes of JSON as the one escape that YAML knows.
fn join_surrogates(text: &str) -> Cow<'_, str> {
    if !text.trim_start().starts_with('{') || !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let mut joined = String::with_capacity(text.len());
    let mut rest = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match (unit(at), unit(at + 6)) {
            (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
                let character = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                joined.push_str(&text[rest..at]);
                joined.push_str(&format!("\\U{character:08X}"));
                at += 12;
                rest = at;
            }
            // The backslash and what it escapes, which may be another backslash.
            _ => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    joined.push_str(&text[rest..]);
    Cow::Owned(joined)
}

/// A list or mapping that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Key,
    /// Where each key of a mapping stands, when there are so many that a search would take long.
    seen: HashMap<Rc<str>, Spot>,
}

impl Open {
    /// Where a key of the mapping stands, if it is there.
    fn spot_of(&self, key: &str) -> Option<Spot> {
        let Value::Map(map) = &self.node.value else { return None };
        match map.entries.len() > COMPARED_KEYS_MAX {
            true => self.seen.get(key).copied(),
            false => map.entry(key).map(|entry| entry.spot),
        }
    }

    /// Adds the value of a key.
    fn add(&mut self, entry: Entry) {
        let Value::Map(map) = &mut self.node.value else { unreachable!("only a mapping has keys") };
        map.entries.push(entry);
        let unseen = match map.entries.len() - 1 {
            before if before < COMPARED_KEYS_MAX => return,
            COMPARED_KEYS_MAX => &map.entries[..],
            before => &map.entries[before..],
        };
        self.seen.extend(unseen.iter().map(|entry| (Rc::clone(&entry.key), entry.spot)));
    }
}

/// Whether a mapping waits for a key or for a value.
enum Key {
    Awaited,
    /// The value is thrown away.
    Refused,
    Read(Rc<str>, Spot),
}

struct Tree<'a> {
    mistakes: &'a mut Mistakes,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    /// Short texts, most of which are there again and again.
    texts: HashSet<Rc<str>>,
    nodes: usize,
    /// Bytes of text that aliases repeat.
    bytes: usize,
    root: Option<Node>,
}

impl Tree<'_> {
    /// Takes the next event; `None` when the document is not worth reading on.
    fn take(&mut self, event: Event<'_>, at: Spot) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = self.style(style, tag.as_deref(), at);
                let value = Value::Scalar { text: self.share(&text), style };
                self.close(Node { spot: at, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open(Node { spot: at, value: Value::List(Vec::new()) }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open(Node { spot: at, value: Value::Map(Map::default()) }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.stack.pop().expect("the parser closes what it opened");
                self.close(open.node, open.anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Some(()),
        }
    }

    fn share(&mut self, text: &str) -> Rc<str> {
        if text.len() > SHARED_TEXT_BYTES_MAX {
            return text.into();
        }
        if let Some(known) = self.texts.get(text) {
            return Rc::clone(known);
        }
        let text: Rc<str> = text.into();
        self.texts.insert(Rc::clone(&text));
        text
    }

    fn open(&mut self, node: Node, anchor: usize) -> Option<()> {
        if self.stack.len() >= PROJECT_DEPTH_MAX {
            let message = format!("this is nested deeper than {PROJECT_DEPTH_MAX} levels");
            self.note(node.spot, &message, "");
            return None;
        }
        self.stack.push(Open { node, anchor, key: Key::Awaited, seen: HashMap::new() });
        Some(())
    }

    fn alias(&mut self, anchor: usize, at: Spot) -> Option<()> {
        let Some(size) = self.anchors.get(&anchor).map(Node::size) else {
            self.note(at, "this alias stands inside the value that it names", "write the value out");
            return self.close(Node::null(at), 0);
        };
        self.grow(size, at)?;
        let node = self.anchors[&anchor].clone();
        self.close(node, 0)
    }

    fn grow(&mut self, (values, bytes): (usize, usize), at: Spot) -> Option<()> {
        self.nodes += values;
        self.bytes += bytes;
        let what = match () {
            () if self.nodes > PROJECT_NODES_MAX => format!("{PROJECT_NODES_MAX} values"),
            () if self.bytes > PROJECT_TEXT_BYTES_MAX => format!("{PROJECT_TEXT_BYTES_MAX} bytes of text"),
            () => return Some(()),
        };
        self.note(at, &format!("the file has more than {what}, aliases written out"), "");
        None
    }

    /// Puts a whole value where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.grow((1, 0), node.spot)?;
        if anchor > 0 {
            self.grow(node.size(), node.spot)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root.get_or_insert(node);
            return Some(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(_) => match mem::replace(&mut open.key, Key::Awaited) {
                Key::Awaited => self.key(node),
                Key::Refused => {}
                Key::Read(key, spot) => open.add(Entry { key, written: None, spot, value: node }),
            },
            Value::Scalar { .. } => unreachable!("only lists and mappings are opened"),
        }
        Some(())
    }

    fn key(&mut self, node: Node) {
        let key = self.check_key(&node).map_or(Key::Refused, |text| Key::Read(text, node.spot));
        let open = self.stack.last_mut().expect("a key stands in a mapping");
        open.key = key;
    }

    fn check_key(&mut self, node: &Node) -> Option<Rc<str>> {
        let Value::Scalar { text, .. } = &node.value else {
            self.note(node.spot, &format!("a key must be text, not {}", node.kind()), "");
            return None;
        };
        if text.len() > KEY_BYTES_MAX {
            self.note(node.spot, &format!("this key is longer than {KEY_BYTES_MAX} bytes"), "");
            return None;
        }
        if &**text == "<<" {
            self.note(node.spot, "merge keys (`<<`) are not read", "write the keys out");
            return None;
        }
        if let Some(first) = self.stack.last().and_then(|open| open.spot_of(text)) {
            let hint = format!("the first one is in line {}", first.line);
            self.note(node.spot, &format!("the key `{text}` is there twice"), &hint);
            return None;
        }
        Some(text.clone())
    }

    fn style(&mut self, style: ScalarStyle, tag: Option<&Tag>, at: Spot) -> Style {
        let forced_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        self.refuse_tag(tag, at);
        match style {
            ScalarStyle::Plain if !forced_text => Style::Plain,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
            _ => Style::Quoted,
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Spot) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.note(at, &format!("the tag `{tag}` is not read"), "remove it");
        }
    }

    fn note(&mut self, at: Spot, message: &str, hint: &str) {
        self.mistakes.mistake("", at, message.to_owned(), hint.to_owned());
    }
}
