//! What concerns triggers that follow a clock: their schedules, and what their runs start with.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::{Shared, TriggerId};
use crate::place::{Offset, RunKey, Timestamp};

/// The stream of a trigger's ticks; the number of a tick is the second at which it was due.
pub const TICKS: &str = "tick";
/// The stream of the ticks that a trigger passed over, by the same numbers.
pub const TICKS_SKIPPED: &str = "tick skipped";

/// A trigger with the schedule that it follows.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(deny_unknown_fields)]
pub struct TriggerSchedule {
    /// The trigger.
    pub trigger: TriggerId,
    /// Hash of its schedule; `None` follows none, because it is disabled or gone.
    #[serde(with = "super::text::maybe_hash")]
    pub schedule: Option<u64>,
}

/// From here on triggers follow other schedules than before; nothing is made up for from before it.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct SchedulesSet {
    /// Each trigger whose schedule changed.
    pub schedules: Vec<TriggerSchedule>,
}

/// The machine's clock was set back by far and stayed so: triggers that follow it do so from here on.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(deny_unknown_fields)]
pub struct ClockSet {
    /// What it shows. No tick is made up for from before it, and none counts as made from after it.
    pub wall: Timestamp,
}

/// What became of a state that the next runs of a trigger were to start with.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[repr(u8)]
pub enum CursorFate {
    /// The next runs start with it.
    Kept = 0,
    /// The next runs start with it, and it is larger than is good.
    Warned = 1,
    /// It is larger than is allowed: the next runs start with the last one that was kept.
    TooLarge = 2,
}

/// Where the state is.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CursorState {
    /// There is none: the next runs start with `{}`.
    None,
    /// The output of the `StepFinished`, or the own final state of the `RunFinished`, at this offset.
    At(Offset),
    /// Here, as compact JSON.
    Own(
        #[rkyv(with = Shared)]
        #[serde(with = "super::text::json")]
        Bytes,
    ),
}

/// What the next runs of a trigger start with was set: by a run, or by hand.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct CursorSet {
    /// The trigger.
    pub trigger: TriggerId,
    /// The run that left it; `None` by hand.
    pub run: Option<RunKey>,
    /// Where the state is.
    pub state: CursorState,
    /// Its bytes, as compact JSON.
    pub bytes: u64,
    /// What became of it.
    pub fate: CursorFate,
    /// The limit that it went over; 0 when it went over none.
    pub limit_bytes: u64,
}
