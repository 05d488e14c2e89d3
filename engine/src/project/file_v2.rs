//! OpenFn's v2 file (`steps:`) turned into the shape of v1, with every place kept.
//!
//! Invariant: what is turned keeps its place and the name it was written with, so mistakes are told in v2's words.

mod edge;
mod step;

use super::{
    mistake::{Mistakes, Spot},
    yaml::{Entry, Map, Node, Style, Value},
};

/// A file in the shape of v1.
pub(super) struct Root {
    pub node: Node,
    /// Whether the file is one workflow, without the project around it.
    pub lone: bool,
}

/// Turns whatever is v2 into v1. `None` when the file is not a mapping.
pub(super) fn to_v1(root: Node, shared: &[&'static str], mistakes: &mut Mistakes) -> Option<Root> {
    let Value::Map(map) = root.value else {
        let message = format!("a project file must be a mapping, not {}", root.kind());
        let hint = "it begins with keys such as `name` and `workflows`".to_owned();
        mistakes.mistake("", root.spot, message, hint);
        return None;
    };
    let lone = map.entry("workflows").is_none() && (has(&map, "steps") || has(&map, "jobs"));
    let mut map = if lone { wrap(map, root.spot, shared) } else { map };
    let mut is_v2 = false;
    for entry in &mut map.entries {
        match &*entry.key {
            "workflows" => {
                is_v2 = list_to_map(&mut entry.value, key_of);
                is_v2 |= workflows_to_v1(&mut entry.value, mistakes);
            }
            "credentials" => {
                list_to_map(&mut entry.value, name_of);
            }
            _ => {}
        }
    }
    if is_v2 {
        // A project's `id` is its name in v2; ours is a UUID.
        map.entries.retain(|entry| &*entry.key != "id" || looks_like_uuid(&entry.value));
    }
    Some(Root { node: Node { spot: root.spot, value: Value::Map(map) }, lone })
}

/// Puts a project around a workflow that stands alone.
fn wrap(map: Map, spot: Spot, shared: &[&'static str]) -> Map {
    let of_project = |entry: &Entry| {
        let key = &*entry.key;
        ["credentials", "notifications", "collections"].contains(&key) || shared.contains(&key)
    };
    let (mut entries, inner): (Vec<_>, Vec<_>) = map.entries.into_iter().partition(of_project);
    let workflow = Map { entries: inner, names: &[] };
    let key = key_of(&workflow).unwrap_or_else(|| "workflow".to_owned());
    entries.extend(workflow.entry("name").cloned());
    let workflow = made_entry(&key, "", spot, Value::Map(workflow));
    let workflows = Map { entries: vec![workflow], names: &[] };
    entries.push(made_entry("workflows", "", spot, Value::Map(workflows)));
    Map { entries, names: &[] }
}

/// Turns each workflow that has steps; tells whether there was one.
fn workflows_to_v1(node: &mut Node, mistakes: &mut Mistakes) -> bool {
    let mut is_v2 = false;
    let Value::Map(workflows) = &mut node.value else { return is_v2 };
    for workflow in &mut workflows.entries {
        let path = match workflow.name() {
            "" => String::new(),
            name => format!("workflows.{name}"),
        };
        if let Value::Map(map) = &mut workflow.value.value
            && has(map, "steps")
            && !has(map, "jobs")
        {
            is_v2 = true;
            step::turn(map, &path, mistakes);
        }
    }
    is_v2
}

/// Turns a list of things that know their own keys into a mapping; tells whether it was a list.
fn list_to_map(node: &mut Node, key_of: fn(&Map) -> Option<String>) -> bool {
    let Value::List(items) = &mut node.value else { return false };
    let entries = items.drain(..).enumerate().map(|(index, item)| {
        let key = item.as_map().and_then(key_of).unwrap_or_else(|| format!("number-{}", index + 1));
        Entry { key: key.into(), written: None, spot: item.spot, value: item }
    });
    node.value = Value::Map(Map { entries: entries.collect(), names: &[] });
    true
}

/// A key for a workflow that has none: its `id`, else its name in small letters.
fn key_of(workflow: &Map) -> Option<String> {
    let name = name_of(workflow)?;
    let letter = |character: char| if character.is_alphanumeric() { character } else { ' ' };
    let words: String = name.to_lowercase().chars().map(letter).collect();
    let key = words.split_whitespace().collect::<Vec<_>>().join("-");
    (!key.is_empty()).then_some(key)
}

fn name_of(map: &Map) -> Option<String> {
    let text = |key| map.entry(key).and_then(|entry| entry.value.as_text());
    text("id").or_else(|| text("name")).map(str::to_owned)
}

fn has(map: &Map, key: &str) -> bool {
    map.entry(key).is_some()
}

fn looks_like_uuid(node: &Node) -> bool {
    node.as_text().is_some_and(|text| uuid::Uuid::try_parse(text).is_ok())
}

fn made_entry(key: &str, written: &str, spot: Spot, value: Value) -> Entry {
    Entry { key: key.into(), written: Some(written.into()), spot, value: Node { spot, value } }
}

fn text(text: &str) -> Value {
    Value::Scalar { text: text.into(), style: Style::Quoted }
}
