//! Rules about numbers that are on disk, and about bounds.

use std::collections::HashMap;

use super::Complaint;
use crate::source::{Source, Token, Tree};

/// Enums whose numbers are on disk.
const PERSISTED: &[&str] = &["Tag", "Kind"];
/// Macros that declare such enums.
const PERSISTED_BY_MACRO: &[&str] = &["kinds"];

pub fn once(source: &Source, _: &Tree) -> Vec<Complaint> {
    if !source.is_in(&["storage/src/"]) {
        return Vec::new();
    }
    let tokens = source.tokens();
    let mut found = Vec::new();
    for (index, window) in tokens.windows(3).enumerate() {
        let [keyword, name, open] = window else { continue };
        let by_enum = keyword.text == "enum" && PERSISTED.contains(&name.text.as_str());
        let by_macro = PERSISTED_BY_MACRO.contains(&keyword.text.as_str()) && name.text == "!";
        if (by_enum || by_macro) && open.text == "{" {
            let body = tokens[index + 3..].iter().take_while(|token| token.depth > open.depth);
            repeated(body.filter(|token| token.depth == open.depth + 1), &mut found);
        }
    }
    found
}

fn repeated<'a>(body: impl Iterator<Item = &'a Token>, found: &mut Vec<Complaint>) {
    let body: Vec<_> = body.collect();
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for window in body.windows(3) {
        let [name, equals, number] = window else { continue };
        if equals.text != "=" || !number.text.starts_with(|character: char| character.is_ascii_digit()) {
            continue;
        }
        if let Some(other) = seen.insert(&number.text, &name.text) {
            let both = format!("`{other}` and `{}` both have number {}", name.text, number.text);
            found.push((name.line, both));
        }
    }
}

/// A bound that nobody keeps is a promise that nobody keeps.
pub fn limits(source: &Source, tree: &Tree) -> Vec<Complaint> {
    if !source.path.starts_with("storage/src/limits") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for window in source.tokens().windows(3) {
        let [keyword, name, colon] = window else { continue };
        if keyword.text != "const" || colon.text != ":" || name.text == "_" {
            continue;
        }
        let names = |other: &&Source| !other.find(&[&name.text]).is_empty();
        let others = tree.sources.iter().filter(|other| !other.path.starts_with("storage/src/limits"));
        if !others.clone().any(|other| names(&other)) && !is_part_of_another(source, &name.text) {
            found.push((name.line, format!("nobody keeps `{}`", name.text)));
        }
    }
    found
}

/// Whether a constant is the base of another: `const B: usize = 2 * A;`.
fn is_part_of_another(source: &Source, name: &str) -> bool {
    let is_value = |line: &str| {
        let value = line.split_once(" = ").map_or("", |(_, value)| value);
        let mut words = value.split(|character: char| !character.is_alphanumeric() && character != '_');
        line.starts_with("pub const") && words.any(|word| word == name)
    };
    source.text.lines().any(is_value)
}
