//! Commands and their answers: what a source may ask of a shard.
//!
//! Invariant: an answer is released only after the events of its turn are durable.

mod replay;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use keyway_storage::{
    event::{
        BulkStarted, Concern, EventKind, JobId, LaneId, MadeId, MoveReason, Noticed, Position, Reason,
        RunError, RunState, StepInput, TriggerId, WorkflowId,
    },
    place::{Offset, Place, RunKey, Timestamp},
};

use crate::project::{Cursor, Project};

pub use replay::{ReplayEnd, ReplayId, ReplayItem, ReplayWish};

/// What a source asks of a shard, imperative.
#[derive(Debug)]
pub enum Command {
    /// Time passed: expire leases, end holds.
    Advance,
    /// Make a work order of an input, or a dead letter.
    Receive(Input),
    /// Pass over a tick of a trigger that follows a clock.
    Skip(Skip),
    /// Let triggers that follow a clock follow it from here on: it was set back by far.
    SetClock(Timestamp),
    /// Hand out runs.
    Claim(Claim),
    /// Record what happened to a run.
    Report(RunReport),
    /// Offer a run again that its worker has not begun, and will not.
    GiveBack(GiveBack),
    /// End a run.
    Cancel(RunKey),
    /// Make another run of a work order.
    Rerun(Rerun),
    /// Let a held lane or key go on.
    Release(Release),
    /// Give up a dead letter.
    Discard(Discard),
    /// Let one dead letter go through again.
    Resend(ReplayItem),
    /// Begin, move or end a replay.
    Replay(ReplayWish),
    /// Note what is asked of many at once, or that it was asked of each.
    Bulk(BulkWish),
    /// Put a project file into force.
    Apply(Apply),
    /// Enable or disable a trigger.
    Switch(Switch),
    /// Tell people of something.
    Warn(Warn),
    /// Record that people were told.
    Noticed(Noticed),
    /// Drop the views and derive them anew, a slice in each turn.
    Rebuild,
    /// Set what the next runs of a trigger start with.
    SetCursor(SetCursor),
    /// Let a stream go on at another number.
    Move(Move),
}

/// An input on its way to become a work order.
#[derive(Debug, Clone)]
pub struct Input {
    /// The trigger that it came through.
    pub trigger: TriggerId,
    /// What makes it the same input when it comes again.
    pub position: Position,
    /// Hash of the ordering key, if the trigger orders by key and the input has one.
    pub key: Option<u64>,
    /// Hash of the Kafka partition or other stream that the input belongs to; 0 when there is none.
    pub stream: u64,
    /// JSON of the metadata; empty when there is none.
    pub request: Bytes,
    /// JSON of the body, or why there is none.
    pub body: Result<Bytes, Unusable>,
    /// Who waits for the end of the first run, if someone does.
    pub follow: Option<Follow>,
    /// The dead letter or event that this input replays.
    pub replays: Option<Place>,
}

/// Someone who waits for the end of a run.
#[derive(Debug, Clone)]
pub struct Follow(Weak<()>);

/// Kept by whoever waits, for as long as they wait.
#[derive(Debug)]
pub struct Presence(Arc<()>);

impl Presence {
    /// Someone who begins to wait.
    #[expect(clippy::new_without_default, reason = "it stands for someone, not for a value")]
    pub fn new() -> Self {
        Self(Arc::new(()))
    }

    /// What a shard knows of them.
    pub fn follow(&self) -> Follow {
        Follow(Arc::downgrade(&self.0))
    }
}

impl Follow {
    /// Whether they still wait.
    pub fn waits(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// An input that cannot become a work order.
#[derive(Debug, Clone)]
pub struct Unusable {
    /// The raw payload; `None` is Kafka's null.
    pub raw: Option<Bytes>,
    /// Why.
    pub reason: Reason,
    /// The same for people.
    pub detail: Box<str>,
}

/// A tick that makes no work order.
#[derive(Debug)]
pub struct Skip {
    /// The trigger.
    pub trigger: TriggerId,
    /// When the tick was due.
    pub due: Timestamp,
    /// Why it is passed over, for people.
    pub reason: Box<str>,
}

/// A worker's wish for runs.
#[derive(Debug)]
pub struct Claim {
    /// The worker; 0 is the embedded executor.
    pub worker: u32,
    /// Most runs to hand out.
    pub demand: u16,
    /// What the limits that span shards allow.
    pub permits: Permits,
}

/// How many runs the limits that span shards allow a claim to start. Unused permits go back.
#[derive(Debug, Default, Clone)]
pub struct Permits {
    /// For the project; `u32::MAX` without a limit.
    pub project: u32,
    /// For each limited workflow that has runs ready here; a workflow that is absent has no limit.
    pub workflows: Vec<(WorkflowId, u32)>,
}

/// What happened to a run, as the events that record it.
#[derive(Debug)]
pub struct RunReport {
    /// The run.
    pub run: RunKey,
    /// The attempt; a report of an older one is answered with `Stop`.
    pub attempt: u8,
    /// Set if the run leaves a state for the next runs of its trigger. A report that ends such a run has the steps that
    /// its final state names, or the state itself.
    pub cursor: Option<RunCursor>,
    /// `RunStarted`, `StepStarted`, `StepFinished`, `LogWritten`, `RunFinished`, in order.
    pub events: Vec<EventKind>,
}

/// A claimed run that its worker has not begun, and will not.
#[derive(Debug, Clone, Copy)]
pub struct GiveBack {
    /// The run.
    pub run: RunKey,
    /// The attempt; one of an older one is answered with `Stop`.
    pub attempt: u8,
}

/// Which state a run leaves for the next runs of its trigger, in the project that the run was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor {
    /// The trigger.
    pub trigger: TriggerId,
    /// Which state counts, and how large it may be.
    pub rules: Cursor,
}

/// A wish for another run of a work order.
#[derive(Debug)]
pub struct Rerun {
    /// The work order.
    pub work_order: Offset,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// The lane of its `Received`.
    pub lane: LaneId,
    /// The hash by which that lane tells its key from others.
    pub key: Option<u64>,
    /// The `ProjectApplied` whose jobs it executes; `None` is the project in force.
    pub project: Option<Offset>,
    /// The job of that project to start with; `None` starts at the trigger's edges.
    pub start: Option<JobId>,
    /// Where the first step's input comes from.
    pub input: StepInput,
    /// The run whose step `input` names.
    pub origin: u8,
}

/// A wish to let a held lane or key go on.
#[derive(Debug)]
pub struct Release {
    /// What is held.
    pub lane: LaneId,
    /// Whether the failed work order is passed over; otherwise it is tried first.
    pub skip: bool,
}

/// A wish to give up a dead letter.
#[derive(Debug)]
pub struct Discard {
    /// The dead letter.
    pub letter: Offset,
    /// Why, in the sender's words.
    pub reason: Box<str>,
}

/// A wish about many at once.
#[derive(Debug)]
pub enum BulkWish {
    /// Keep in mind that it is to be asked.
    Begin(BulkStarted),
    /// It was asked of each.
    End([u8; 16]),
}

/// A project on its way into force.
#[derive(Debug)]
pub struct Apply {
    /// The file as it was read.
    pub file: Bytes,
    /// Ids that the file does not name.
    pub made: Vec<MadeId>,
    /// The same, read.
    pub project: Arc<Project>,
}

/// A wish to enable or disable a trigger.
#[derive(Debug)]
pub struct Switch {
    /// The trigger.
    pub trigger: TriggerId,
    /// Whether it shall be enabled.
    pub enabled: bool,
}

/// A wish that people be told of something about a trigger.
#[derive(Debug)]
pub struct Warn {
    /// The trigger.
    pub trigger: TriggerId,
    /// What it is about.
    pub concern: Concern,
    /// One sentence.
    pub message: Box<str>,
}

/// A wish to set what the next runs of a trigger start with.
#[derive(Debug)]
pub struct SetCursor {
    /// The trigger.
    pub trigger: TriggerId,
    /// Compact JSON; `None` is `{}`.
    pub state: Option<Bytes>,
}

/// A wish that a stream go on at another number than the next one.
#[derive(Debug, Clone)]
pub struct Move {
    /// The trigger.
    pub trigger: TriggerId,
    /// The stream.
    pub stream: Box<str>,
    /// The number that is due from now on.
    pub next: u64,
    /// Why.
    pub reason: MoveReason,
}

/// Names a command inside its source, so that the answer finds its way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Ticket(pub u64);

/// A durable answer.
#[derive(Debug)]
pub struct Receipt {
    /// The ticket of the command.
    pub ticket: Ticket,
    /// The time of the turn, which is part of the ids of what it made.
    pub at: Timestamp,
    /// The answer.
    pub answer: Answer,
}

/// What became of a command.
#[derive(Debug)]
pub enum Answer {
    /// A new work order, with its first run waiting.
    Accepted(Place),
    /// The input came before and became this work order or dead letter, in a turn at this time.
    Repeated(Place, Timestamp),
    /// The input is kept as a dead letter.
    DeadLettered(Place),
    /// Nothing was done.
    Refused(Refusal),
    /// Runs to execute.
    Claimed(Vec<RunClaim>),
    /// A run that was followed has ended; comes after `Accepted`, with the same ticket.
    Ended(Arc<RunEnd>),
    /// The run is no longer the sender's: stop it.
    Stop(RunKey),
    /// A new run of an old work order.
    Run(RunKey),
    /// This was the first of a replay's items that there was no room for; `usize::MAX` when all were decided.
    Replayed(usize),
    /// Done, with nothing to say.
    Done,
}

/// Why nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such trigger in the current project.
    UnknownTrigger,
    /// The trigger is disabled.
    Disabled,
    /// The idempotency key came before with another body.
    KeyReused,
    /// No such work order, run, lane, job or dead letter.
    NotFound,
    /// It has ended already.
    Ended,
    /// The work order has an open run, and only one may be open.
    Open,
    /// The work order has as many runs as it may have.
    TooManyRuns,
    /// The input is larger than one turn may append.
    TooLarge,
    /// A bound was reached; try again later.
    Full,
}

/// A run to execute. What it is of stands in the log: its work order's `Received`, and its `RunRequested`.
#[derive(Debug, Clone, Copy)]
pub struct RunClaim {
    /// The run.
    pub run: RunKey,
    /// How often it was claimed, from 1.
    pub attempt: u8,
    /// The workflow.
    pub workflow: WorkflowId,
    /// Its `RunRequested`; `None` for a first run.
    pub requested: Option<Offset>,
    /// When the lease runs out.
    pub until: Timestamp,
}

/// How a followed run ended.
#[derive(Debug)]
pub struct RunEnd {
    /// The run.
    pub run: RunKey,
    /// Its final state.
    pub state: RunState,
    /// What went wrong, if something did.
    pub error: Option<RunError>,
    /// JSON of the final state; empty when there is none.
    pub final_state: Bytes,
    /// JSON of `webhookResponse` in the final state, unread; empty when there is none.
    pub response: Bytes,
    /// When the run was made.
    pub inserted: Timestamp,
    /// When it was claimed.
    pub claimed: Option<Timestamp>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
}
