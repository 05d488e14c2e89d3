//! Reads project files with a trigger type of our own, as a new type would be added.
#![allow(dead_code)] // Each test file uses its own part.

use std::{any::Any, path::Path, sync::Arc};

use keyway_engine::{
    project::{self, Field, Mistake, Ordering, Origin, Reading, Reference, SecretSource, TriggerSection},
    source::TriggerType,
};
use keyway_storage::event::{JobId, MadeId};

/// A trigger type that rings.
pub struct Bell;

/// What a project file says of a bell.
#[derive(Debug, PartialEq)]
pub struct BellSettings {
    pub tone: &'static str,
    pub after: Option<JobId>,
    pub tower: Option<String>,
}

impl TriggerType for Bell {
    fn name(&self) -> &'static str {
        "bell"
    }

    fn shared(&self) -> Option<&'static str> {
        Some("bell_tower")
    }

    fn check_shared(&self, field: &Field) -> Arc<dyn Any + Send + Sync> {
        Arc::new(field.name().unwrap_or_default().to_owned())
    }

    fn check(&self, section: &mut TriggerSection) -> Arc<dyn Any + Send + Sync> {
        section.read_ordering(&[("none", Ordering::None), ("key", Ordering::Key)], Ordering::None);
        Arc::new(BellSettings {
            tone: section.choice("tone", &[("high", "high"), ("low", "low")]).unwrap_or("high"),
            after: section.job("after"),
            tower: section.shared::<String>().cloned(),
        })
    }
}

/// Secrets: `GONE` is not set, `EMPTY` is empty, `TEXT` is no JSON, `URL` is a URL, every other one is a JSON object.
pub struct Secrets;

impl SecretSource for Secrets {
    fn resolve(&self, reference: &Reference) -> Result<String, String> {
        match reference {
            Reference::Env(name) if name == "GONE" => Err("is not set".to_owned()),
            Reference::Env(name) if name == "EMPTY" => Ok(" \n".to_owned()),
            Reference::Env(name) if name == "TEXT" => Ok("hunter2".to_owned()),
            Reference::Env(name) if name == "URL" => Ok("smtps://ada:hunter2@mail.example.org".to_owned()),
            Reference::Env(_) => Ok(r#"{"user": "ada"}"#.to_owned()),
            Reference::File(path) if path.ends_with("gone.json") => Err("is not there".to_owned()),
            Reference::File(path) => Ok(format!(r#"{{"path": "{}"}}"#, path.display())),
        }
    }
}

pub fn origin() -> Origin {
    Origin { file: "f.yaml".to_owned(), folder: Path::new("/etc/keyway").to_owned() }
}

/// Makes ids that count up from 1.
pub fn numbered() -> impl FnMut() -> [u8; 16] {
    let mut next = 0_u128;
    move || {
        next += 1;
        u8::try_from(next).map_or_else(|_| next.to_be_bytes(), |next| [next; 16])
    }
}

pub fn read(text: &str) -> Result<Reading, Vec<Mistake>> {
    read_with(text, &[])
}

pub fn read_with(text: &str, made: &[MadeId]) -> Result<Reading, Vec<Mistake>> {
    project::read(text, &origin(), &[&Bell], &Secrets, made, &mut numbered())
}

pub fn read_again(text: &str) -> Result<Reading, Vec<Mistake>> {
    project::read_again(text, &origin(), &[&Bell], &Secrets, &[], &mut numbered())
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
