//! What became of work orders: claims, runs, steps, log lines, holds.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::Shared;
use crate::place::{Offset, RunKey, Timestamp};

/// A job's index in its workflow, in the project that its run was made for.
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
    Hash,
    Debug,
)]
pub struct JobId(pub u16);

/// A first-in-first-out line of work orders.
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
    Hash,
    Debug,
)]
#[serde(deny_unknown_fields)]
pub struct LaneId {
    /// Hash of the workflow or trigger that the lane belongs to.
    #[serde(with = "super::text::hash")]
    pub owner: u64,
    /// Which lane of that owner.
    pub number: u16,
    /// The held key that has this lane to itself; 0 in a shared lane.
    #[serde(with = "super::text::hash")]
    pub key: u64,
}

/// A run's state, in the words of OpenFn.
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
    Hash,
    Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[repr(u8)]
pub enum RunState {
    /// Waits to be claimed.
    Available = 0,
    /// A worker has it.
    Claimed = 1,
    /// A worker runs it.
    Started = 2,
    /// Ended well.
    Success = 3,
    /// A job threw.
    Failed = 4,
    /// A job could not be run at all.
    Crashed = 5,
    /// Someone cancelled it.
    Cancelled = 6,
    /// It went over a limit.
    Killed = 7,
    /// The engine failed it.
    Exception = 8,
    /// Its worker was never heard of again.
    Lost = 9,
}

/// Why a step ended, in the words of OpenFn's worker.
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
    Hash,
    Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[repr(u8)]
pub enum ExitReason {
    /// It returned.
    Success = 0,
    /// It threw.
    Fail = 1,
    /// It could not be run.
    Crash = 2,
    /// Its run was cancelled.
    Cancel = 3,
    /// It went over a limit.
    Kill = 4,
    /// The engine failed it.
    Exception = 5,
    /// Its worker was never heard of again.
    Lost = 6,
}

/// What went wrong, for people and for filters.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Eq, Debug,
)]
#[serde(deny_unknown_fields)]
pub struct RunError {
    /// A class name such as `TimeoutError`.
    pub kind: Box<str>,
    /// One sentence.
    pub message: Box<str>,
}

/// One run in a claim.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(deny_unknown_fields)]
pub struct ClaimedRun {
    /// The run.
    pub run: RunKey,
    /// How often it was claimed, from 1.
    pub attempt: u8,
    /// The lane it was taken from.
    pub lane: LaneId,
}

/// A worker took runs under a lease.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct RunsClaimed {
    /// The worker; 0 is the embedded executor.
    pub worker: u32,
    /// When the lease runs out.
    pub until: Timestamp,
    /// The runs, oldest first.
    pub runs: Vec<ClaimedRun>,
    /// Lanes with the offset up to which entries of held keys were moved to lanes of their own.
    pub diverted: Vec<(LaneId, Offset)>,
}

/// A claimed run is offered again, at its old place, because its lease ran out or its executor is gone.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct LeaseExpired {
    /// The run.
    pub run: RunKey,
    /// The attempt that ends.
    pub attempt: u8,
}

/// A claimed run is offered again, at its old place, because its worker stopped before it began it: the attempt does not
/// count.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct LeaseReturned {
    /// The run.
    pub run: RunKey,
    /// The attempt that was none.
    pub attempt: u8,
}

/// Another run of a work order was asked for.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct RunRequested {
    /// The new run.
    pub run: RunKey,
    /// The `ProjectApplied` whose jobs it executes.
    pub project: Offset,
    /// The job that it starts with; `None` starts at the trigger's edges.
    pub start: Option<JobId>,
    /// Where its first step's input comes from.
    pub input: StepInput,
    /// The run whose step `input` names.
    pub origin: u8,
    /// The lane in which it waits.
    pub lane: LaneId,
    /// The hash by which the lane tells its ordering key from others.
    #[serde(with = "super::text::maybe_hash")]
    pub key: Option<u64>,
}

/// Where a step's input comes from.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepInput {
    /// The run's initial state.
    Run,
    /// The output of this step of the run.
    Step(u16),
    /// The same input as this step's.
    InputOf(u16),
}

/// A worker began a run.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct RunStarted {
    /// The run.
    pub run: RunKey,
    /// The attempt.
    pub attempt: u8,
    /// By the worker's clock.
    pub started: Timestamp,
    /// The initial state where it is not derived from the `Received`: a cron trigger's cursor.
    pub cursor: Option<Offset>,
}

/// Where a run's final state is.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FinalState {
    /// There is none.
    None,
    /// The output of this step.
    Step(u16),
    /// Several leaves, composed.
    Own(
        #[rkyv(with = Shared)]
        #[serde(with = "super::text::json")]
        Bytes,
    ),
}

/// A run reached its final state.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct RunFinished {
    /// The run.
    pub run: RunKey,
    /// The attempt.
    pub attempt: u8,
    /// Which final state.
    pub state: RunState,
    /// What went wrong, if something did.
    pub error: Option<RunError>,
    /// Where the final state is.
    pub final_state: FinalState,
    /// JSON of `webhookResponse` in the final state, unread.
    #[rkyv(with = Shared)]
    #[serde(with = "super::text::json")]
    pub response: Bytes,
    /// By the worker's clock.
    pub finished: Timestamp,
}

/// A job inside a run began.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct StepStarted {
    /// The run.
    pub run: RunKey,
    /// The attempt.
    pub attempt: u8,
    /// Which step of the run, from 0.
    pub step: u16,
    /// The job.
    pub job: JobId,
    /// Where its input comes from.
    pub input: StepInput,
    /// By the worker's clock.
    pub started: Timestamp,
}

/// A job inside a run ended.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct StepFinished {
    /// The run.
    pub run: RunKey,
    /// The attempt.
    pub attempt: u8,
    /// Which step of the run, from 0.
    pub step: u16,
    /// The job.
    pub job: JobId,
    /// Why it ended.
    pub exit: ExitReason,
    /// What went wrong, if something did.
    pub error: Option<RunError>,
    /// JSON of the state after it; empty when there is none.
    #[rkyv(with = Shared)]
    #[serde(with = "super::text::json")]
    pub output: Bytes,
    /// By the worker's clock.
    pub finished: Timestamp,
}

/// How urgent a log line is.
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
pub enum Level {
    /// `console.debug`.
    Debug = 0,
    /// `console.log` and `console.info`.
    Info = 1,
    /// `console.warn`.
    Warn = 2,
    /// `console.error`.
    Error = 3,
    /// Ended well.
    Success = 4,
    /// Shown whatever the level.
    Always = 5,
}

/// Who wrote a log line.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[repr(u8)]
pub enum LogSource {
    /// The job's own code.
    Job = 0,
    /// The executor.
    Runtime = 1,
}

/// One line that a run wrote.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// The step that wrote it.
    pub step: Option<u16>,
    /// How urgent.
    pub level: Level,
    /// Who wrote it.
    pub source: LogSource,
    /// By the worker's clock.
    pub at: Timestamp,
    /// The text.
    pub message: Box<str>,
}

/// A run wrote log lines.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct LogWritten {
    /// The run.
    pub run: RunKey,
    /// The attempt.
    pub attempt: u8,
    /// The lines, in order.
    pub lines: Vec<LogLine>,
}

/// Someone asked that a run end.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct CancelRequested {
    /// The run.
    pub run: RunKey,
}

/// Why a lane or key is held.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// The run failed and is tried again at `until`.
    Retry,
    /// The run failed and the trigger blocks its key until someone decides.
    Blocked,
}

/// A lane or key was stopped after a failure.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// What is held: a lane, or one key of it.
    pub lane: LaneId,
    /// The work order that failed.
    pub work_order: Offset,
    /// When it goes on by itself; `Timestamp::NEVER` when it does not.
    pub until: Timestamp,
    /// Why.
    pub cause: Cause,
}

/// A held lane or key may go on.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// What was held.
    pub lane: LaneId,
    /// The work order that failed.
    pub work_order: Offset,
    /// Whether the failed work order is passed over; otherwise it is tried first.
    pub skip: bool,
}
