//! What concerns the log as a whole: starts, projects, replays.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::{Shared, TriggerId};
use crate::place::Place;

/// The log was opened by a process.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// How often this log was opened, from 1.
    pub boot: u64,
}

/// An id that the project file does not name and that was made once.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct MadeId {
    /// `project`, or `<workflow>/<trigger>`.
    pub name: Box<str>,
    /// The UUID.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
}

/// A project file came into force.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ProjectApplied {
    /// The file as it was read.
    #[rkyv(with = Shared)]
    #[serde(with = "super::text::json")]
    pub file: Bytes,
    /// Ids that were made because the file does not name them, in this or an earlier apply.
    pub made: Vec<MadeId>,
}

/// A trigger was enabled or disabled by hand.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct TriggerSwitched {
    /// The trigger.
    pub trigger: TriggerId,
    /// Whether it is enabled now.
    pub enabled: bool,
}

/// A replay began.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ReplayStarted {
    /// Its UUID, the same on all shards.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
    /// JSON of its filter and rate.
    #[rkyv(with = Shared)]
    #[serde(with = "super::text::json")]
    pub filter: Bytes,
}

/// A replay ended.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ReplayEnded {
    /// Its UUID.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
    /// Whether someone cancelled it.
    pub cancelled: bool,
}

/// A replay was stopped for a while, or goes on.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ReplaySwitched {
    /// Its UUID.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
    /// Whether it is stopped now.
    pub paused: bool,
}

/// An item of a replay could not become a work order, again.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ReplayItemFailed {
    /// The replay's UUID.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
    /// The dead letter or event that was to go through again.
    pub item: Place,
    /// Why, for people.
    pub reason: Box<str>,
}

/// A replay ended before its last item, because something that it needs cannot be read.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ReplayFailed {
    /// Its UUID.
    #[serde(with = "super::text::uuid")]
    pub id: [u8; 16],
    /// Why, for people.
    pub reason: Box<str>,
}

/// A row that must outlive retired blocks was written again.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The row's key, with its tag.
    #[serde(with = "super::text::raw")]
    pub key: Box<[u8]>,
    /// The row's value.
    #[serde(with = "super::text::raw")]
    pub value: Box<[u8]>,
}
