//! The events: every fact that a log can hold, with no meaning attached.
//!
//! Invariant: an event never changes and its `Kind` number is never reused. A changed shape is a new schema
//! version of that kind, with a decoder for each older one (`block.rs`).

mod bulk;
mod cut;
mod input;
mod run;
mod schedule;
mod shared;
mod system;
pub(crate) mod text;
mod warning;
mod wipe;

pub use bulk::{BulkDeed, BulkEnded, BulkStarted};
pub use cut::{CutAway, CutOrders, HistoryCut, HistoryTrimmed};
pub use input::{
    DeadLetterClosed, DeadLettered, Letter, LetterEnd, MoveReason, Position, Reason, Received, StreamMoved,
    TickSkipped, TriggerId, WorkflowId,
};
pub use run::{
    CancelRequested, Cause, ClaimedRun, ExitReason, FinalState, Held, JobId, LaneId, LeaseExpired,
    LeaseReturned, Level, LogLine, LogSource, LogWritten, Released, RunError, RunFinished, RunRequested,
    RunStarted, RunState, RunsClaimed, StepFinished, StepInput, StepStarted,
};
pub use schedule::{
    ClockSet, CursorFate, CursorSet, CursorState, SchedulesSet, TICKS, TICKS_SKIPPED, TriggerSchedule,
};
pub use shared::{Named, Shared, SharedSource};
pub use system::{
    Carried, MadeId, Opened, ProjectApplied, ReplayEnded, ReplayFailed, ReplayItemFailed, ReplayStarted,
    ReplaySwitched, TriggerSwitched,
};
pub use warning::{Concern, Noticed, Warned};
pub use wipe::{Content, KeptCursor, Wiped, wiped_at, wiped_mark};

use serde_json::value::{RawValue, to_raw_value};

use crate::place::{Place, Timestamp};

/// A fact, where it stands and when its turn was.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Shard and offset.
    pub place: Place,
    /// The time of the turn that appended it; all events of a block share it.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

macro_rules! kinds {
    ($($(#[doc = $doc:expr])* $name:ident = $number:literal,)*) => {
        /// What happened, past tense.
        #[derive(Clone, PartialEq, Debug)]
        pub enum EventKind {
            $($(#[doc = $doc])* $name($name),)*
        }

        /// The number of an event kind on disk. Never reuse one, only add.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &[Kind] = &[$(Kind::$name),*];

            /// The kind with this number, if there is one.
            pub fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name that users see.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }

        impl EventKind {
            /// Its fields as JSON, none left out.
            pub fn to_json(&self) -> Box<RawValue> {
                let json = match self {
                    $(Self::$name(event) => to_raw_value(event),)*
                };
                json.expect("what we write has text keys and finite numbers")
            }

            /// Reads the fields of an event of this kind.
            pub fn from_json(kind: Kind, text: &str) -> serde_json::Result<Self> {
                match kind {
                    $(Kind::$name => serde_json::from_str(text).map(Self::$name),)*
                }
            }

            /// Which kind this is.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)*
                }
            }
        }

        $(impl From<$name> for EventKind {
            fn from(event: $name) -> Self {
                Self::$name(event)
            }
        })*
    };
}
// One list keeps variant, number and name together; three hand-written matches would drift.
kinds! {
    /// The log was opened by a process.
    Opened = 1,
    /// A project file came into force.
    ProjectApplied = 2,
    /// An input became a work order.
    Received = 3,
    /// An input could not become a work order and is kept whole.
    DeadLettered = 4,
    /// A dead letter was replayed or discarded.
    DeadLetterClosed = 5,
    /// A cron tick made no work order, and why.
    TickSkipped = 6,
    /// A worker took runs under a lease.
    RunsClaimed = 7,
    /// A claimed run is offered again because its lease ran out.
    LeaseExpired = 8,
    /// Another run of a work order was asked for.
    RunRequested = 9,
    /// A worker began a run.
    RunStarted = 10,
    /// A run reached its final state.
    RunFinished = 11,
    /// A job inside a run began.
    StepStarted = 12,
    /// A job inside a run ended.
    StepFinished = 13,
    /// A run wrote log lines.
    LogWritten = 14,
    /// Someone asked that a run end.
    CancelRequested = 15,
    /// A lane or key was stopped after a failure.
    Held = 16,
    /// A held lane or key may go on.
    Released = 17,
    /// A replay began.
    ReplayStarted = 18,
    /// A replay ended.
    ReplayEnded = 19,
    /// A warning was delivered, or given up.
    Noticed = 20,
    /// A row that must outlive retired blocks was written again.
    Carried = 21,
    /// A trigger was enabled or disabled by hand.
    TriggerSwitched = 22,
    /// What the next runs of a trigger start with was set.
    CursorSet = 23,
    /// Triggers follow other schedules than before.
    SchedulesSet = 24,
    /// People should be told of something.
    Warned = 30,
    /// A replay was stopped for a while, or goes on.
    ReplaySwitched = 31,
    /// An item of a replay could not become a work order.
    ReplayItemFailed = 32,
    /// A replay ended before its last item.
    ReplayFailed = 33,
    /// A stream goes on at a number that is not the one after its last input.
    StreamMoved = 40,
    /// The clock was set back by far, and triggers follow it from there.
    ClockSet = 45,
    /// Content whose time is over was taken out of the log.
    Wiped = 50,
    /// The history of work orders and dead letters whose time is over left all rows.
    HistoryCut = 51,
    /// Events that nobody needs left the log.
    HistoryTrimmed = 52,
    /// An event was here that nobody needs.
    CutAway = 53,
    /// Something was asked of many at once.
    BulkStarted = 57,
    /// It was asked of each of them.
    BulkEnded = 58,
    /// A claimed run is offered again because its worker never began it.
    LeaseReturned = 60,
}
