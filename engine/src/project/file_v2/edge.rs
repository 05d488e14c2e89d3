//! Where a v2 step leads: its `next`.

use super::{made_entry, step::rename, text};
use crate::project::{
    mistake::Mistakes,
    yaml::{Entry, Map, Node, Style, Value},
};

/// How an edge's keys are written in v2.
const EDGE_NAMES: &[(&str, &str)] = &[
    ("condition_type", "condition"),
    ("condition_expression", "expression"),
    ("condition_label", "label"),
    ("enabled", "disabled"),
];
/// The words of `condition`; any other text is JavaScript.
const CONDITIONS: &[&str] = &["always", "never", "on_job_success", "on_job_failure", "js_expression"];

/// The edges that start at a step.
pub(super) fn turn(
    next: Entry,
    from: &str,
    is_trigger: bool,
    path: &str,
    mistakes: &mut Mistakes,
) -> Vec<Entry> {
    let spot = next.value.spot;
    match next.value.value {
        Value::Map(map) => {
            let edge = |entry: Entry| {
                let written = format!("{from}.next.{}", entry.key);
                let target = Node { spot: entry.spot, value: text(&entry.key) };
                let name = format!("{from}->{}", entry.key);
                let map = one(entry.value, from, is_trigger, target);
                made_entry(&name, &written, entry.spot, map)
            };
            map.entries.into_iter().map(edge).collect()
        }
        Value::Scalar { text: ref target, .. } if !next.value.is_null() => {
            let name = format!("{from}->{target}");
            let always = Node { spot, value: Value::Map(Map::default()) };
            let map = one(always, from, is_trigger, next.value.clone());
            vec![made_entry(&name, &format!("{from}.next"), spot, map)]
        }
        Value::Scalar { .. } => Vec::new(),
        Value::List(_) => {
            let message = "this must be the id of a step, or a mapping of them, not a list".to_owned();
            mistakes.mistake(&format!("{path}.next"), spot, message, String::new());
            Vec::new()
        }
    }
}

/// One edge in the shape of v1; `value` says under which condition it is followed.
fn one(value: Node, from: &str, is_trigger: bool, target: Node) -> Value {
    let spot = value.spot;
    let mut entries = match value.value {
        Value::Map(map) => map.entries,
        _ if value.as_flag() == Some(true) || value.is_null() => Vec::new(),
        _ => vec![Entry { key: "condition".into(), written: None, spot, value }],
    };
    let mut script = None;
    for entry in &mut entries {
        match &*entry.key {
            "condition" => {
                rename(entry, "condition_type", "condition");
                let word = entry.value.as_text().filter(|word| !CONDITIONS.contains(word));
                if word.is_some() {
                    let word = Node { spot: entry.value.spot, value: text("js_expression") };
                    script = Some((entry.spot, std::mem::replace(&mut entry.value, word)));
                }
            }
            "expression" => rename(entry, "condition_expression", "expression"),
            "label" => rename(entry, "condition_label", "label"),
            "disabled" => {
                rename(entry, "enabled", "disabled");
                if let Some(disabled) = entry.value.as_flag() {
                    let word = if disabled { "false" } else { "true" };
                    entry.value.value = Value::Scalar { text: word.into(), style: Style::Plain };
                }
            }
            _ => {}
        }
    }
    if let Some((spot, value)) = script {
        entries.retain(|entry| &*entry.key != "condition_expression");
        let written = Some("condition".into());
        entries.push(Entry { key: "condition_expression".into(), written, spot, value });
    }
    let source = if is_trigger { "source_trigger" } else { "source_job" };
    entries.push(made_entry(source, "", target.spot, text(from)));
    let spot = target.spot;
    entries.push(Entry { key: "target_job".into(), written: Some("".into()), spot, value: target });
    Value::Map(Map { entries, names: EDGE_NAMES })
}
