//! Reads project files the way `keyway` does, with secrets that are always there.
#![allow(dead_code)] // Each test file uses its own part.

use std::path::Path;

use keyway_engine::project::{self, Mistake, Origin, Reading, Reference, SecretSource};
use keyway_ingest::trigger::types;

/// Every secret is there but `GONE`; each is what whoever asks for it needs.
pub struct Always;

impl SecretSource for Always {
    fn resolve(&self, reference: &Reference) -> Result<String, String> {
        let Reference::Env(name) = reference else { return Ok("whsec_c2VjcmV0".to_owned()) };
        match name.as_str() {
            "GONE" => Err("is not set".to_owned()),
            "NOTHING" => Ok(String::new()),
            "PHRASE" => Ok("a phrase, not base64".to_owned()),
            "SMTP_URL" => Ok("smtps://user:password@mail.example.org".to_owned()),
            name if name.contains("SECRET") => Ok("whsec_c2VjcmV0".to_owned()),
            name if name.contains("FHIR") || name.contains("LOGIN") => Ok(r#"{"user": "ada"}"#.to_owned()),
            _ => Ok("hunter2".to_owned()),
        }
    }
}

/// Reads a project file named `f.yaml`.
pub fn read(text: &str) -> Result<Reading, Vec<Mistake>> {
    let origin = Origin { file: "f.yaml".to_owned(), folder: Path::new("/etc/keyway").to_owned() };
    project::read(text, &origin, &types(), &Always, &[], &mut numbered())
}

/// Reads a project file that is in force already.
pub fn read_again(text: &str) -> Result<Reading, Vec<Mistake>> {
    let origin = Origin { file: "f.yaml".to_owned(), folder: Path::new("/etc/keyway").to_owned() };
    project::read_again(text, &origin, &types(), &Always, &[], &mut numbered())
}

/// Makes ids that count up.
pub fn numbered() -> impl FnMut() -> [u8; 16] {
    let mut next = 0_u8;
    move || {
        next += 1;
        [next; 16]
    }
}

/// The names of all example files.
pub fn example_names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/examples");
    let files = std::fs::read_dir(folder).expect("the examples are there");
    let name = |file: std::fs::DirEntry| {
        let name = file.file_name().into_string().expect("it is text");
        name.strip_suffix(".yaml").map(str::to_owned)
    };
    let mut names: Vec<_> = files.map(Result::unwrap).filter_map(name).collect();
    names.sort();
    names
}

/// The example file with this name.
pub fn example_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tools/examples/{name}.yaml"));
    std::fs::read_to_string(path).expect("the example is there")
}

/// Reads the example file with this name.
pub fn example(name: &str) -> Reading {
    read(&example_text(name)).unwrap_or_else(|mistakes| panic!("{name}: {}", shown(&mistakes)))
}

/// Mistakes as `keyway validate` prints them.
pub fn shown(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{mistake}\n")).collect()
}

/// Files that must be refused. Each `§` in a file marks the place of a mistake, and beside the file stand parts of the
/// lines that `keyway validate` prints, in the order of their places.
pub fn all_refused(rows: &[(&str, &[&str])]) {
    let failures: String =
        rows.iter().filter_map(|(marked, expected)| refused(marked, expected).err()).collect();
    assert!(failures.is_empty(), "{failures}");
}

fn refused(marked: &str, expected: &[&str]) -> Result<(), String> {
    let Err(mistakes) = read(&marked.replace('§', "")) else {
        return Err(format!("ACCEPTED:\n{marked}\n"));
    };
    let shown = shown(&mistakes);
    let told = |why: String| Err(format!("{why}\nTHE MISTAKES\n{shown}OF\n{marked}\n\n"));
    let mut places = Vec::new();
    for (number, line) in marked.lines().enumerate() {
        for (before, (at, _)) in line.match_indices('§').enumerate() {
            places.push((number + 1, line[..at].chars().count() + 1 - before));
        }
    }
    if places.len() != expected.len() || mistakes.len() != expected.len() {
        return told(format!("{} places, {} mistakes", places.len(), mistakes.len()));
    }
    for ((line, (number, column)), part) in shown.lines().zip(&places).zip(expected) {
        let place = format!("f.yaml:{number}:{column}: ");
        if !line.starts_with(&place) || !line.contains(part) {
            return told(format!("NOT AS EXPECTED: {place}{part}"));
        }
    }
    Ok(())
}
