//! Steps of a v2 workflow: its triggers and jobs.

use std::{collections::HashMap, mem, rc::Rc};

use super::{edge, made_entry};
use crate::project::{
    mistake::{Mistakes, Spot},
    yaml::{Entry, Map, Node, Value},
};

/// How a trigger's keys are written in v2.
const TRIGGER_NAMES: &[(&str, &str)] = &[
    ("id", "openfn.uuid"),
    ("cron_expression", "openfn.cron"),
    ("cron_cursor_job", "openfn.cron_cursor"),
    ("kafka_configuration", "openfn.kafka"),
];
/// How a job's keys are written in v2.
const JOB_NAMES: &[(&str, &str)] = &[("body", "expression"), ("credential", "configuration")];
/// What OpenFn keeps under `openfn` for itself.
const OPENFN_OWN: &[&str] = &["id", "name", "project_id", "endpoint", "lock_version", "positions"];

/// The triggers, jobs and edges that the steps turn into.
#[derive(Default)]
struct Turned {
    triggers: Vec<Entry>,
    jobs: Vec<Entry>,
    edges: Vec<Entry>,
    /// Where each step's id stands.
    seen: HashMap<Rc<str>, Spot>,
}

/// Replaces `steps` of a workflow by `triggers`, `jobs` and `edges`.
pub(super) fn turn(workflow: &mut Map, path: &str, mistakes: &mut Mistakes) {
    let path = if path.is_empty() { "steps".to_owned() } else { format!("{path}.steps") };
    let Some(at) = workflow.entries.iter().position(|entry| &*entry.key == "steps") else { return };
    let steps = workflow.entries.remove(at);
    let mut turned = Turned::default();
    match steps.value.value {
        Value::List(items) => {
            for (index, item) in items.into_iter().enumerate() {
                turned.step(item, &format!("{path}[{index}]"), mistakes);
            }
        }
        _ => {
            let message = format!("this must be a list, not {}", steps.value.kind());
            mistakes.mistake(&path, steps.value.spot, message, String::new());
        }
    }
    for (key, entries) in [("triggers", turned.triggers), ("jobs", turned.jobs), ("edges", turned.edges)] {
        let map = Map { entries, names: &[] };
        workflow.entries.push(made_entry(key, "steps", steps.spot, Value::Map(map)));
    }
}

impl Turned {
    fn step(&mut self, node: Node, path: &str, mistakes: &mut Mistakes) {
        let mut note = |spot: Spot, message: &str, hint: String| {
            mistakes.mistake(path, spot, message.to_owned(), hint);
        };
        let spot = node.spot;
        let kind = node.kind();
        let Value::Map(mut map) = node.value else {
            return note(spot, &format!("a step must be a mapping, not {kind}"), String::new());
        };
        let Some(id) = take(&mut map, "id") else {
            return note(spot, "`id` is missing", "a step's `id` is its name".to_owned());
        };
        let Some(name) = id.value.as_text() else {
            let message = format!("this must be text, not {}", id.value.kind());
            return note(id.value.spot, &message, String::new());
        };
        let name: Rc<str> = name.into();
        if let Some(first) = self.seen.insert(name.clone(), id.value.spot) {
            let hint = format!("the first one is in line {}", first.line);
            return note(id.value.spot, &format!("there are two steps `{name}`"), hint);
        }
        let is_trigger = map.entry("type").is_some();
        if let Some(next) = take(&mut map, "next") {
            self.edges.extend(edge::turn(next, &name, is_trigger, path, mistakes));
        }
        let map = if is_trigger { trigger(map, path, mistakes) } else { job(map, path, mistakes) };
        let value = Node { spot, value: Value::Map(map) };
        let entry = Entry { key: name, written: None, spot: id.value.spot, value };
        if is_trigger { self.triggers.push(entry) } else { self.jobs.push(entry) }
    }
}

fn trigger(mut map: Map, path: &str, mistakes: &mut Mistakes) -> Map {
    let openfn = take(&mut map, "openfn");
    let mut entries = Vec::new();
    for mut entry in mem::take(&mut map.entries) {
        if &*entry.key == "cron_cursor_job_id" {
            rename(&mut entry, "cron_cursor_job", "cron_cursor_job_id");
        }
        entries.push(entry);
    }
    let inner = match openfn.map(|entry| entry.value) {
        Some(Node { value: Value::Map(inner), .. }) => inner.entries,
        Some(node) if !node.is_null() => {
            let message = format!("this must be a mapping, not {}", node.kind());
            mistakes.mistake(&format!("{path}.openfn"), node.spot, message, String::new());
            Vec::new()
        }
        _ => Vec::new(),
    };
    let mut lines: HashMap<_, _> = entries.iter().map(|entry| (entry.key.clone(), entry.spot.line)).collect();
    for mut entry in inner.into_iter().filter(|entry| !OPENFN_OWN.contains(&&*entry.key)) {
        let key = match &*entry.key {
            "uuid" => "id",
            "cron" => "cron_expression",
            "cron_cursor" | "cron_cursor_job_id" => "cron_cursor_job",
            "kafka" => "kafka_configuration",
            own => own,
        };
        let (key, written) = (key.to_owned(), format!("openfn.{}", entry.key));
        rename(&mut entry, &key, &written);
        if let Some(first) = lines.insert(entry.key.clone(), entry.spot.line) {
            let hint = format!("it stands in line {first} too");
            let message = format!("`{}` says the same thing twice", entry.name());
            mistakes.mistake(path, entry.spot, message, hint);
            continue;
        }
        entries.push(entry);
    }
    Map { entries, names: TRIGGER_NAMES }
}

fn job(mut map: Map, path: &str, mistakes: &mut Mistakes) -> Map {
    map.entries.retain(|entry| {
        let Some((_, written)) = JOB_NAMES.iter().find(|(key, _)| *key == &*entry.key) else { return true };
        let hint = format!("in a file with `steps` it is called `{written}`");
        mistakes.mistake(path, entry.spot, format!("unknown key `{}`", entry.key), hint);
        false
    });
    for entry in &mut map.entries {
        if let Some((key, written)) = JOB_NAMES.iter().find(|(_, written)| *written == &*entry.key) {
            rename(entry, key, written);
        }
    }
    Map { entries: map.entries, names: JOB_NAMES }
}

pub(super) fn rename(entry: &mut Entry, key: &str, written: &str) {
    entry.key = key.into();
    entry.written = Some(written.into());
}

fn take(map: &mut Map, key: &str) -> Option<Entry> {
    let at = map.entries.iter().position(|entry| &*entry.key == key)?;
    Some(map.entries.remove(at))
}
