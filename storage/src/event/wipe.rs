//! Wiping: bodies, states and log lines leave events whose time is over; the events stay.
//!
//! Invariant: a wiped event folds like the one that it was: nothing that rows are made of is taken out of it. What was
//! wiped says so, and when: it is a zero byte, with which no JSON begins, and the time.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::{CursorState, EventKind, FinalState, TriggerId};
use crate::place::{Offset, Timestamp};

/// What is wiped. The numbers are on disk: never reuse one, only add.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[repr(u8)]
pub enum Content {
    /// Bodies and metadata of inputs, states of steps and runs.
    Dataclips = 0,
    /// What jobs logged.
    LogLines = 1,
    /// Work orders and dead letters, with all that the log has of them.
    History = 2,
}

impl Content {
    /// Everything that may go.
    pub const ALL: [Self; 3] = [Self::Dataclips, Self::LogLines, Self::History];
    /// What leaves its event, and leaves the event behind.
    pub const WIPED: [Self; 2] = [Self::Dataclips, Self::LogLines];

    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dataclips => "dataclips",
            Self::LogLines => "log_lines",
            Self::History => "history",
        }
    }
}

/// The `CursorSet` that a trigger's next runs start with; a wipe passed over it.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(deny_unknown_fields)]
pub struct KeptCursor {
    /// The trigger.
    pub trigger: TriggerId,
    /// Its `CursorSet`.
    pub set: Offset,
}

/// Content of runs and dead letters that ended long enough ago is gone from the log.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Wiped {
    /// What was wiped.
    pub content: Content,
    /// Of workflows that keep it for so many seconds; from 2^63 on a number that stands for a bound of its bytes.
    pub seconds: u64,
    /// Hash of which workflows keep it for how long: under other rules everything is looked at anew.
    #[serde(with = "super::text::hash")]
    pub rules: u64,
    /// The first offset that was not looked at.
    pub before: Offset,
    /// How many events lost content since the last such event.
    pub events: u64,
    /// How many bytes they lost.
    pub bytes: u64,
    /// States before that offset that are kept as long as the next runs start with them.
    pub kept: Vec<KeptCursor>,
}

const MARK: u8 = 0;
const MARK_BYTES: usize = 9;

/// What stands for content that was wiped at this time.
pub fn wiped_mark(at: Timestamp) -> Bytes {
    let mut mark = [MARK; MARK_BYTES];
    mark[1..].copy_from_slice(&at.0.to_le_bytes());
    Bytes::copy_from_slice(&mark)
}

/// When content was wiped; `None` if it was not.
pub fn wiped_at(content: &[u8]) -> Option<Timestamp> {
    let (mark, time) = content.split_first()?;
    let time = time.try_into().ok().filter(|_| *mark == MARK)?;
    Some(Timestamp(u64::from_le_bytes(time)))
}

/// Takes content out, if there is some that is longer than what stands for it. Returns how many bytes went.
fn wipe(content: &mut Bytes, at: Timestamp) -> u64 {
    if content.is_empty() || wiped_at(content).is_some() {
        return 0;
    }
    let bytes = content.len() as u64;
    *content = wiped_mark(at);
    bytes
}

impl EventKind {
    /// Takes content out of the event. Returns how many bytes went; 0 leaves the event as it was.
    pub fn wipe(&mut self, content: Content, at: Timestamp) -> u64 {
        match (content, self) {
            (Content::Dataclips, Self::Received(it)) => wipe(&mut it.request, at) + wipe(&mut it.body, at),
            (Content::Dataclips, Self::DeadLettered(it)) => {
                let raw = it.letter.raw.take().map_or(0, |raw| raw.len() as u64);
                raw + wipe(&mut it.letter.request, at)
            }
            (Content::Dataclips, Self::StepFinished(it)) => wipe(&mut it.output, at),
            (Content::Dataclips, Self::RunFinished(it)) => {
                let state = match &mut it.final_state {
                    FinalState::Own(state) => wipe(state, at),
                    FinalState::None | FinalState::Step(_) => 0,
                };
                state + wipe(&mut it.response, at)
            }
            (Content::Dataclips, Self::CursorSet(it)) => match &mut it.state {
                CursorState::Own(state) => wipe(state, at),
                CursorState::None | CursorState::At(_) => 0,
            },
            (Content::LogLines, Self::LogWritten(it)) => {
                it.lines.drain(..).map(|line| line.message.len() as u64 + 1).sum()
            }
            _ => 0,
        }
    }
}
