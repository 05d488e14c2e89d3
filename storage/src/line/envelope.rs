//! The first and the last line of an export: what it is of, and that it is whole.
//!
//! Invariant: a file without its last line was cut off, and one that was filtered is no copy of anything.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    directory::Manifest,
    line::Cut,
    place::{Offset, ShardId, Timestamp},
    routes::Routes,
};

/// The newest form of exports that this version reads: that of a data dir of which history was cut.
pub const EXPORT_VERSION: u32 = 2;
/// The form of an export that has every event.
const EXPORT_VERSION_WHOLE: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The form of the file.
    pub keyway_export: u32,
    /// When it was begun.
    pub at: Timestamp,
    /// UUID of the data dir.
    #[serde(with = "crate::event::text::uuid")]
    pub data_dir: [u8; 16],
    /// The key behind its ids: a copy with the same key has the same ids.
    #[serde(with = "crate::event::text::uuid")]
    pub id_key: [u8; 16],
    /// How many shards have a log in it.
    pub shards: u16,
    /// Who owns what, if its number of shards was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<String>,
    /// For each shard what was cut, if anything was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<Cut>,
    /// The filters, if not every event was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Box<RawValue>>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The last line.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// How many events the file has.
    pub events: u64,
    /// How many rows of bases it has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub base_rows: u64,
    /// For each shard, the first event that is not in the file.
    pub tails: Vec<Offset>,
}

impl Header {
    /// The first line of an export of a data dir.
    pub fn new(manifest: &Manifest, routes: &Routes, at: Timestamp) -> Self {
        let Manifest { shards, id_key, id, .. } = *manifest;
        let routes = (!routes.is_plain()).then(|| routes.to_text());
        let (keyway_export, cuts, filter) = (EXPORT_VERSION_WHOLE, Vec::new(), None);
        Self { keyway_export, at, data_dir: id, id_key, shards, routes, cuts, filter }
    }

    /// Says what was cut, one for each shard: rows of bases follow.
    pub fn with_cuts(self, cuts: Vec<Cut>) -> Self {
        match cuts.iter().any(|cut| *cut != Cut::default()) {
            true => Self { keyway_export: EXPORT_VERSION, cuts, ..self },
            false => self,
        }
    }

    /// What was cut of a shard.
    pub fn cut(&self, shard: ShardId) -> Cut {
        self.cuts.get(usize::from(shard.0)).copied().unwrap_or_default()
    }

    /// The line, without its end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("what we write has text keys and finite numbers")
    }

    /// Reads a first line.
    pub fn read(line: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            keyway_export: u32,
        }
        let not_ours = |_| "it does not begin like an export: its first line is missing".to_owned();
        let version: Version = serde_json::from_str(line).map_err(not_ours)?;
        if !(EXPORT_VERSION_WHOLE..=EXPORT_VERSION).contains(&version.keyway_export) {
            return Err(format!(
                "it has form {}, this keyway knows forms up to {EXPORT_VERSION}: use a newer keyway",
                version.keyway_export
            ));
        }
        serde_json::from_str(line).map_err(|error| error.to_string())
    }
}

impl Trailer {
    /// The line, without its end.
    pub fn to_line(&self) -> String {
        let whole = Whole { keyway_export_end: self.clone() };
        serde_json::to_string(&whole).expect("what we write has text keys and finite numbers")
    }

    /// Reads a last line; `None` is any other line.
    pub fn read(line: &str) -> Option<Self> {
        let whole: Whole = serde_json::from_str(line).ok()?;
        Some(whole.keyway_export_end)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    keyway_export_end: Trailer,
}
