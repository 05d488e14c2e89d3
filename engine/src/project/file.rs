//! The project file: OpenFn's v1 with our keys; v2 is turned into it first.
//!
//! Invariant: reading is pure. It gives either a whole project or every mistake, never something in between.

mod credential;
mod edge;
mod id;
mod job;
mod trigger;
mod workflow;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
};

use keyway_storage::{event::MadeId, limits::TRIGGERS_MAX};

use super::{
    Field, Mistake, Notifications, Project, Retention, SecretSource, Section, file_v2,
    lines::Lines,
    mistake::{Mistakes, Spot},
    section::Context,
    trigger_section::Settings,
    yaml,
};
use crate::source::TriggerType;
use credential::Credentials;
use id::Ids;

/// Where a project file comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its name, as it is shown before every mistake.
    pub file: String,
    /// What `{file: PATH}` is relative to: the folder of the file.
    pub folder: PathBuf,
}

impl Origin {
    /// The origin of the file with this path.
    pub fn of(path: &Path) -> Self {
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self { file: path.display().to_string(), folder }
    }
}

/// What reading a project file gives.
#[derive(Debug)]
pub struct Reading {
    /// The project.
    pub project: Project,
    /// Ids that were made, for this file or an earlier one, to be kept with the file.
    pub made: Vec<MadeId>,
    /// What is allowed and perhaps not meant.
    pub warnings: Vec<Mistake>,
    /// Whether every secret that it names was there.
    pub whole: bool,
}

/// Reads a project file that someone wants to put into force.
///
/// `made` are the ids that were made for earlier files of the same data dir; `make` makes a new one.
pub fn read(
    text: &str,
    origin: &Origin,
    types: &[&dyn TriggerType],
    secrets: &dyn SecretSource,
    made: &[MadeId],
    make: &mut dyn FnMut() -> [u8; 16],
) -> Result<Reading, Vec<Mistake>> {
    let ids = Ids::new(made, make);
    Reader { types, ids }.read(text, origin, secrets, false)
}

/// Reads a project file that is in force already: secrets that are gone since are kept as missing, with a warning.
pub fn read_again(
    text: &str,
    origin: &Origin,
    types: &[&dyn TriggerType],
    secrets: &dyn SecretSource,
    made: &[MadeId],
    make: &mut dyn FnMut() -> [u8; 16],
) -> Result<Reading, Vec<Mistake>> {
    let ids = Ids::new(made, make);
    Reader { types, ids }.read(text, origin, secrets, true)
}

/// The text of a project file's bytes.
pub fn text<'a>(file: &'a [u8], origin: &Origin) -> Result<&'a str, Vec<Mistake>> {
    std::str::from_utf8(file).map_err(|error| {
        let before = String::from_utf8_lossy(&file[..error.valid_up_to()]);
        let line = before.matches('\n').count() as u32 + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) as u32 + 1;
        let mut mistakes = Mistakes::new(&origin.file);
        let hint = "save the file as UTF-8".to_owned();
        mistakes.mistake("", Spot { line, column }, "this is not UTF-8".to_owned(), hint);
        mistakes.into_sorted().0
    })
}

/// The values at the top of the file that triggers share, by the name of their type.
type SharedSettings = HashMap<&'static str, Settings>;

struct Reader<'t> {
    types: &'t [&'t dyn TriggerType],
    ids: Ids<'t>,
}

impl Reader<'_> {
    fn read(
        mut self,
        text: &str,
        origin: &Origin,
        secrets: &dyn SecretSource,
        again: bool,
    ) -> Result<Reading, Vec<Mistake>> {
        let mut mistakes = Mistakes::new(&origin.file);
        let root = yaml::parse(text, &mut mistakes)
            .and_then(|root| file_v2::to_v1(root, &self.shared_keys(), &mut mistakes));
        let Some(root) = root else { return Err(mistakes.into_sorted().0) };
        let context = Context {
            folder: &origin.folder,
            secrets,
            again,
            lone: root.lone,
            lines: Lines::of(text.strip_prefix('\u{feff}').unwrap_or(text)),
            mistakes: RefCell::new(mistakes),
            sound: RefCell::default(),
            gaps: Cell::default(),
            claimed: RefCell::default(),
        };
        let field = Field::new(&context, &root.node, String::new(), Spot { line: 1, column: 1 });
        let project = field.section().and_then(|section| self.project(&section));
        let whole = !context.gaps.get();
        let (mistakes, warnings) = context.mistakes.into_inner().into_sorted();
        match project {
            Some(project) if mistakes.is_empty() => {
                Ok(Reading { project, made: self.ids.into_made(), warnings, whole })
            }
            _ => {
                assert!(!mistakes.is_empty());
                Err(mistakes)
            }
        }
    }

    fn project(&mut self, section: &Section<'_>) -> Option<Project> {
        let id = self.ids.of_project(section);
        let name = section.field("name").and_then(|field| field.name());
        let concurrency = section.number("concurrency", 1..=u64::from(u32::MAX));
        let notifications = section.field("notifications").and_then(|field| Notifications::read(&field));
        let credentials = Credentials::read(section.field("credentials"));
        let shared = self.shared(section);
        let retention = Retention::of_project(section);
        let workflows = section.required("workflows").and_then(|field| field.entries());
        let count = workflows.iter().flatten().map(|(_, field)| field.triggers_count()).sum::<usize>();
        if count > TRIGGERS_MAX {
            section.mistake(format!("the project has {count} triggers; {TRIGGERS_MAX} is the most"), "");
            return None;
        }
        let workflows =
            self.workflows(workflows.as_deref().unwrap_or_default(), &credentials, &shared, retention);
        section.ignore(&[
            "allow_support_access",
            "cli",
            "collections",
            "color",
            "description",
            "env",
            "openfn",
            "options",
            "parent_id",
            "requires_mfa",
            "schema_version",
            "version",
        ]);
        section.finish();
        let by_id = workflows.iter().enumerate().map(|(index, it)| (it.id, index)).collect();
        let by_trigger = workflows
            .iter()
            .enumerate()
            .flat_map(|(index, it)| it.triggers.iter().enumerate().map(move |(n, it)| (it.id, (index, n))))
            .collect();
        Some(Project {
            id,
            name: name.unwrap_or("project").to_owned(),
            concurrency: concurrency.map(|most| most as u32),
            notifications: notifications.unwrap_or_default(),
            retention,
            workflows,
            by_id,
            by_trigger,
        })
    }

    fn shared_keys(&self) -> Vec<&'static str> {
        self.types.iter().filter_map(|kind| kind.shared()).collect()
    }

    fn shared(&self, section: &Section<'_>) -> SharedSettings {
        let read = |kind: &&dyn TriggerType| {
            let field = section.field(kind.shared()?)?;
            Some((kind.name(), kind.check_shared(&field)))
        };
        self.types.iter().filter_map(read).collect()
    }
}

/// A key that names a workflow, job or trigger, checked.
fn check_key(field: &Field<'_>, key: &str, what: &str) {
    let length = key.chars().count();
    if key.trim().is_empty() || length > keyway_storage::limits::NAME_CHARACTERS_MAX {
        field.mistake_at_key(format!("the key of a {what} has 1 to 255 characters"), "");
    }
    // Ids that are made for triggers are kept by `<workflow>/<trigger>`, and keys stand in URLs of the API.
    if key.chars().any(|character| character == '/' || character.is_control()) {
        field.mistake_at_key(format!("the key of a {what} has no `/` and no control characters"), "");
    }
}
