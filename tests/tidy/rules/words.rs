//! Rules about single words in the code.

use super::Complaint;
use crate::source::{Source, Token, Tree};

/// Words that name no thing.
const EMPTY_NOUNS: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils", "Misc", "Impl"];

/// Files that may call into C libraries.
const UNSAFE_FILES: &[&str] = &[
    "engine/src/executor/sandbox/bytecode.rs",
    "engine/src/executor/sandbox/heap.rs",
    "engine/src/executor/sandbox/machine.rs",
    "ingest/src/trigger/kafka/ffi.rs",
    "storage/src/log/embedded/ffi.rs",
    "tests/kafka/native.rs",
    "tools/keyway/serve/memory.rs",
];

pub fn unwrap(source: &Source, _: &Tree) -> Vec<Complaint> {
    let outside = |line: &usize| !source.is_test_line(*line);
    let unwrap = source.find(&[".", "unwrap", "(", ")"]).into_iter().filter(outside);
    let expect = source.find(&[".", "expect", "(", "\"\"", ")"]).into_iter().filter(outside);
    unwrap.chain(expect).map(|line| (line, "`expect` with the reason it cannot fail".to_owned())).collect()
}

pub fn unfinished(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        found.extend(
            source.find(&[name, "!"]).into_iter().map(|line| (line, format!("`{name}!` is not finished"))),
        );
    }
    let marks = ["TODO", "FIXME", "XXX", "HACK"];
    for (index, line) in source.text.lines().enumerate().filter(|_| source.is_rust()) {
        let comment = match line.trim_start().strip_prefix("//") {
            Some(comment) => comment,
            None => line.split_once(" // ").map_or("", |(_, comment)| comment),
        };
        let mut words = comment.split(|character: char| !character.is_alphanumeric());
        if let Some(mark) = words.find(|word| marks.contains(word)) {
            found.push((index + 1, format!("`{mark}`: a comment is not a plan")));
        }
    }
    found
}

pub fn print(source: &Source, _: &Tree) -> Vec<Complaint> {
    if source.is_in(&["tools/"]) || source.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in ["print", "println", "eprint", "eprintln"] {
        let lines = source.find(&[name, "!"]).into_iter().filter(|line| !source.is_test_line(*line));
        found.extend(lines.map(|line| (line, format!("`{name}!` outside tools"))));
    }
    found
}

/// Two conditions in one assert give one message for two faults.
pub fn split_assert(source: &Source, _: &Tree) -> Vec<Complaint> {
    let tokens = source.tokens();
    let mut found = Vec::new();
    for (index, window) in tokens.windows(3).enumerate() {
        let [name, bang, open] = window else { continue };
        if !matches!(name.text.as_str(), "assert" | "debug_assert") || bang.text != "!" || open.text != "(" {
            continue;
        }
        let is_inside = |token: &&Token| token.depth > open.depth;
        let condition = tokens[index + 3..].iter().take_while(is_inside);
        let mut top = condition.filter(|token| token.depth == open.depth + 1);
        // An implication reads `!a || b`, a message follows a comma; a pattern has its own `if`.
        let joint = top.by_ref().take_while(|token| !matches!(token.text.as_str(), "||" | "," | "|"));
        if joint.into_iter().any(|token| token.text == "&&") {
            found.push((name.line, "split: one condition per assert".to_owned()));
        }
    }
    found
}

pub fn safety(source: &Source, _: &Tree) -> Vec<Complaint> {
    let lines: Vec<_> = source.text.lines().collect();
    let has_proof = |line: usize| {
        let above = lines[..line - 1].iter().rev();
        let mut comments =
            above.map(|line| line.trim()).take_while(|line| line.starts_with("//") || line.starts_with('#'));
        comments.any(|line| line.starts_with("// SAFETY:"))
    };
    let mut found = Vec::new();
    for line in source.find(&["unsafe"]) {
        if !source.is_in(UNSAFE_FILES) {
            found.push((
                line,
                "`unsafe`: only calls into C libraries need it, in files of their own".to_owned(),
            ));
        } else if !has_proof(line) {
            found.push((line, "`unsafe` without `// SAFETY:` and the proof above it".to_owned()));
        }
    }
    found
}

pub fn names(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    for window in source.tokens().windows(2) {
        let [keyword, name] = window else { continue };
        let is_type = matches!(keyword.text.as_str(), "struct" | "enum" | "trait");
        if is_type && EMPTY_NOUNS.iter().any(|noun| name.text.ends_with(noun)) {
            found.push((name.line, format!("`{}`: what is it?", name.text)));
        }
        if keyword.text == "fn" && name.text.starts_with("get_") {
            found.push((name.line, format!("`{}`: the noun alone says it", name.text)));
        }
    }
    found
}

pub fn test_sentence(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    let tokens = source.tokens();
    for (index, window) in tokens.windows(4).enumerate() {
        let [hash, open, test, close] = window else { continue };
        if hash.text != "#" || open.text != "[" || test.text != "test" || close.text != "]" {
            continue;
        }
        let function = tokens[index..].iter().position(|token| token.text == "fn");
        let Some(name) = function.and_then(|offset| tokens.get(index + offset + 1)) else { continue };
        if name.text.starts_with("test_") || name.text.split('_').count() < 3 {
            found.push((name.line, format!("`{}`: a test's name is a sentence", name.text)));
        }
    }
    found
}
