//! Rules about who may name whom.

use super::Complaint;
use crate::source::{Source, Tree};

/// What each folder must not name: the arrow is storage <- engine <- ingest <- tools.
const ARROW: &[(&str, &[&str])] = &[
    ("storage/", &["keyway_engine", "keyway_ingest", "keyway-engine", "keyway-ingest"]),
    ("engine/", &["keyway_ingest", "keyway-ingest"]),
];

/// The only files that name an asynchronous runtime.
const RUNTIME: &[&str] = &["ingest/src/runtime.rs", "ingest/src/runtime/"];

pub fn arrow(source: &Source, _: &Tree) -> Vec<Complaint> {
    let forbidden = ARROW.iter().filter(|(folder, _)| source.path.starts_with(folder));
    let names: Vec<_> = forbidden.flat_map(|(_, names)| names.iter()).collect();
    let complain = |name: &str| format!("`{name}` is against the arrow storage <- engine <- ingest <- tools");
    if source.path.ends_with("Cargo.toml") {
        let of_line = |(index, line): (usize, &str)| {
            let name = names.iter().find(|name| line.trim_start().starts_with(**name))?;
            Some((index + 1, complain(name)))
        };
        return source.text.lines().enumerate().filter_map(of_line).collect();
    }
    let of_name = |name: &str| source.find(&[name]).into_iter().map(|line| (line, complain(name))).collect();
    names.into_iter().flat_map(|name| -> Vec<_> { of_name(name) }).collect()
}

pub fn glob(source: &Source, _: &Tree) -> Vec<Complaint> {
    // The macros of proptest expand to names of its prelude: it is made to be imported whole.
    let is_bad = |path: &[String]| {
        path.last().is_some_and(|last| last == "*") && path.join("::") != "proptest::prelude::*"
    };
    let globs = source.uses().iter().filter(|it| is_bad(&it.path));
    globs.map(|it| (it.line, format!("`{}`: import whole names", it.path.join("::")))).collect()
}

pub fn prelude(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    let name = source.path.rsplit('/').next().unwrap_or_default();
    if ["prelude.rs", "util.rs", "utils.rs", "helper.rs", "helpers.rs", "misc.rs"].contains(&name) {
        found.push((1, "a file is one noun: name what it holds".to_owned()));
    }
    for module in ["prelude", "util", "utils", "helpers", "misc"] {
        let complain = |line| (line, format!("no `{module}`: name what it holds"));
        found.extend(source.find(&["mod", module]).into_iter().map(complain));
    }
    found
}

pub fn re_export(source: &Source, _: &Tree) -> Vec<Complaint> {
    if source.path.ends_with("/lib.rs") {
        return Vec::new();
    }
    let ours = ["keyway_storage", "keyway_engine", "keyway_ingest"];
    let is_bad = |path: &[String]| path.first().is_some_and(|first| ours.contains(&first.as_str()));
    let found = source.uses().iter().filter(|it| it.public && is_bad(&it.path));
    found
        .map(|it| (it.line, format!("`pub use {}` across crates, outside lib.rs", it.path.join("::"))))
        .collect()
}

pub fn runtime(source: &Source, _: &Tree) -> Vec<Complaint> {
    if source.is_in(RUNTIME) || source.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in ["glommio", "tokio"] {
        let complain = |line| (line, format!("only ingest/src/runtime may name `{name}`"));
        found.extend(source.find(&[name]).into_iter().map(complain));
    }
    found
}
