//! Ids of the project and its triggers: from the file, or made once and kept.
//!
//! Invariant: an id that was made once for a name stays the id of that name.

use std::collections::HashMap;

use keyway_storage::{
    event::{MadeId, TriggerId},
    limits::{MADE_ID_BYTES, MADE_IDS_BYTES_MAX, MADE_IDS_MAX},
};
use uuid::Uuid;

use crate::project::{Field, Section};

/// Length of the one text form of a UUID that is read.
const UUID_CHARACTERS: usize = 36;

/// Knows the ids that were made, and makes more.
pub(super) struct Ids<'a> {
    made: Vec<MadeId>,
    by_name: HashMap<Box<str>, usize>,
    used: Vec<bool>,
    /// Bytes of those that are used.
    bytes: usize,
    make: &'a mut dyn FnMut() -> [u8; 16],
}

impl<'a> Ids<'a> {
    pub fn new(made: &[MadeId], make: &'a mut dyn FnMut() -> [u8; 16]) -> Self {
        let by_name = made.iter().enumerate().map(|(index, it)| (it.name.clone(), index)).collect();
        Self { made: made.to_vec(), by_name, used: vec![false; made.len()], bytes: 0, make }
    }

    /// The project's id.
    pub fn of_project(&mut self, section: &Section<'_>) -> [u8; 16] {
        let own = section.field("id").and_then(|field| read_uuid(&field));
        let openfn = || read_uuid(&section.field("openfn")?.section()?.field("project_id")?);
        own.or_else(openfn).unwrap_or_else(|| self.made_for("project"))
    }

    /// A trigger's id.
    pub fn of_trigger(&mut self, section: &Section<'_>, workflow: &str, trigger: &str) -> TriggerId {
        let field = section.field("id");
        let Some(field) = field else {
            let before = self.bytes;
            let id = self.made_for(&format!("{workflow}/{trigger}"));
            if before <= MADE_IDS_BYTES_MAX && self.bytes > MADE_IDS_BYTES_MAX {
                let most = format!("{MADE_IDS_BYTES_MAX} bytes");
                let message = format!("the ids made for triggers, with their names, have more than {most}");
                section.mistake(message, "write the `id` of the triggers into the file");
            }
            return TriggerId(id);
        };
        let Some(id) = read_uuid(&field) else { return TriggerId([0; 16]) };
        let text = Uuid::from_bytes(id).to_string();
        if let Err(first) = field.claim("trigger id", &text) {
            field.mistake("this is already the id of another trigger", format!("see `{first}`"));
        }
        TriggerId(id)
    }

    /// All ids that were made; those of names that are gone make room when there are too many.
    pub fn into_made(self) -> Vec<MadeId> {
        let mut surplus = self.made.len().saturating_sub(MADE_IDS_MAX);
        let mut used = self.used.into_iter();
        let mut made = self.made;
        made.retain(|_| {
            let goes = surplus > 0 && !used.next().expect("there is one for each id");
            surplus -= usize::from(goes);
            !goes
        });
        made
    }

    fn made_for(&mut self, name: &str) -> [u8; 16] {
        self.bytes += name.len() + MADE_ID_BYTES;
        if let Some(&index) = self.by_name.get(name) {
            self.used[index] = true;
            return self.made[index].id;
        }
        let id = (self.make)();
        self.by_name.insert(name.into(), self.made.len());
        self.made.push(MadeId { name: name.into(), id });
        self.used.push(true);
        id
    }
}

fn read_uuid(field: &Field<'_>) -> Option<[u8; 16]> {
    let text = field.text()?;
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == UUID_CHARACTERS);
    if id.is_none() {
        let hint = "36 characters, such as 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11; without a UUID one is made";
        field.mistake(format!("`{text}` is not a UUID"), hint);
    }
    id.map(Uuid::into_bytes)
}
