//! Rules about the repository: its top level and its dependencies.

use super::Complaint;
use crate::source::{Source, Tree};

/// What stands at the top of the repository: exactly this.
pub const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "engine",
    "ingest",
    "storage",
    "tests",
    "tools",
];

pub fn top(source: &Source, _: &Tree) -> Vec<Complaint> {
    match TOP_LEVEL.contains(&source.top()) {
        true => Vec::new(),
        false => vec![(1, format!("`{}` at the top of the repository", source.top()))],
    }
}

/// Dependencies are guests: the workspace's table says why each is here, a member only points at it.
pub fn dependency(source: &Source, _: &Tree) -> Vec<Complaint> {
    if !source.path.ends_with("Cargo.toml") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut table = "";
    for (index, line) in source.text.lines().enumerate() {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']);
        }
        let is_entry =
            table.ends_with("dependencies") && line.contains('=') && !line.starts_with(['#', ' ', '[']);
        if !is_entry {
            continue;
        }
        let name = line.split([' ', '.', '=']).next().unwrap_or_default();
        let is_ours = line.contains("path = ");
        if table == "workspace.dependencies" && !is_ours && !says_why(line) {
            found.push((index + 1, format!("`{name}`: why is it here? Say so in a comment on its line.")));
        }
        if table != "workspace.dependencies" && !line.contains("workspace = true") {
            found.push((index + 1, format!("`{name}`: its version belongs in the workspace's table")));
        }
    }
    found
}

fn says_why(line: &str) -> bool {
    line.rsplit_once("# ").is_some_and(|(_, why)| why.ends_with('.'))
}
