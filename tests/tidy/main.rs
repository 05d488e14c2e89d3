//! Tidy: the house style, as a test.
//!
//! Invariant: a rule is a function of one file among all files, and every rule is shown to refuse a fixture.
//! A rule that is in the way is changed here, with its reason; there is no way to switch one off in a file.

mod fixtures;
mod rules;
mod source;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use fixtures::FIXTURES;
use rules::{RULES, layout::TOP_LEVEL};
use source::{Source, Tree};

#[test]
fn every_file_keeps_every_rule() {
    let tree = Tree::new(repository());
    let mut complaints = Vec::new();
    for source in &tree.sources {
        for rule in RULES {
            for (line, message) in (rule.check)(source, &tree) {
                complaints.push(format!("{}:{line}: {message} [{}]", source.path, rule.name));
            }
        }
    }
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn every_rule_refuses_a_fixture_and_accepts_its_neighbour() {
    for rule in RULES {
        let fixtures: Vec<_> = FIXTURES.iter().filter(|fixture| fixture.rule == rule.name).collect();
        assert!(!fixtures.is_empty(), "rule {} has no fixture", rule.name);
        for fixture in fixtures {
            let check = |path: &str, text: String| {
                let tree = Tree::new(vec![Source::new(path, text)]);
                (rule.check)(&tree.sources[0], &tree)
            };
            let refused = check(fixture.path, (fixture.refused)());
            assert!(!refused.is_empty(), "rule {} accepts {}", rule.name, (fixture.refused)());
            let accepted = check(fixture.accepted_path.unwrap_or(fixture.path), (fixture.accepted)());
            assert!(accepted.is_empty(), "rule {} refuses its neighbour: {accepted:?}", rule.name);
        }
    }
}

#[test]
fn every_fixture_belongs_to_a_rule_and_no_rule_stands_twice() {
    let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    for fixture in FIXTURES {
        assert!(names.contains(fixture.rule), "no rule {}", fixture.rule);
    }
}

#[test]
fn the_top_of_the_repository_is_exactly_as_given() {
    let sources = repository();
    let found: BTreeSet<_> = sources.iter().map(|source| source.top()).collect();
    assert_eq!(found, TOP_LEVEL.iter().copied().collect());
}

#[test]
fn the_walk_sees_the_whole_house() {
    let sources = repository();
    for path in ["storage/src/limits.rs", "engine/src/decide.rs", "ingest/src/lib.rs", "tests/tidy/main.rs"] {
        assert!(sources.iter().any(|source| source.path == path), "{path} was not seen");
    }
}

/// Every file that is committed or about to be.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = git_files(root).unwrap_or_else(|| walk(root));
    paths.sort();
    let read = |path: String| {
        let bytes = std::fs::read(root.join(&path)).ok()?;
        Some(Source::from_bytes(&path, bytes))
    };
    paths.into_iter().filter_map(read).collect()
}

fn git_files(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).expect("our paths are UTF-8");
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

/// For a tree without git, such as an unpacked archive.
fn walk(root: &Path) -> Vec<String> {
    let mut folders = vec![PathBuf::new()];
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).expect("the folder was just listed") {
            let entry = entry.expect("the entry can be read");
            let path = folder.join(entry.file_name());
            match entry.file_type().expect("the entry has a type").is_dir() {
                true if path == Path::new("target") || path == Path::new(".git") => {}
                true => folders.push(path),
                false => paths.push(path.to_str().expect("our paths are UTF-8").to_owned()),
            }
        }
    }
    paths
}
