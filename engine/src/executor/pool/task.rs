//! A task: a claimed run on its way to a thread, and under way there.
//!
//! Invariant: the end of a run is reported once: by the thread that began it, or by whoever cancelled it before.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use keyway_storage::{
    event::{EventKind, FinalState, Received, RunError, RunFinished, RunState},
    limits::{PROGRESS_AFTER_MS, PROGRESS_EVERY_MS},
    place::ShardId,
};

use crate::{
    command::{RunClaim, RunCursor, RunReport},
    executor::{
        sandbox::{Halt, Watch, now},
        walk::Stopwatch,
    },
    mailbox::Mailbox,
};

const WAITS: u8 = 0;
const RUNS: u8 = 1;
const CANCELLED: u8 = 2;

/// How far a task is, known to its thread and to its shard.
#[derive(Debug, Default)]
pub struct Stage(AtomicU8);

impl Stage {
    /// Begins a task that was not cancelled.
    pub fn begin(&self) -> bool {
        self.0.compare_exchange(WAITS, RUNS, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Cancels a task; true if it had not begun, and now never will.
    pub fn cancel(&self) -> bool {
        self.0.swap(CANCELLED, Ordering::AcqRel) == WAITS
    }

    /// Takes a task back that no thread has begun; true if none ever will.
    pub fn take_back(&self) -> bool {
        self.0.compare_exchange(WAITS, CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == CANCELLED
    }
}

/// A claimed run.
pub struct Task {
    /// Where it was claimed.
    pub shard: ShardId,
    /// The claim.
    pub claim: RunClaim,
    /// Its input, if that cannot be read from the log yet.
    pub input: Option<Received>,
    /// How far it is.
    pub stage: Arc<Stage>,
    /// Which state it leaves for the next runs of its trigger, once that was read.
    pub cursor: Cell<Option<RunCursor>>,
    /// Where its reports go.
    pub reports: Arc<Mailbox<RunReport>>,
}

impl Task {
    /// The end of a run that came to no step, or to none that counts.
    pub fn finished(&self, state: RunState, error: Option<RunError>) -> EventKind {
        finished(&self.claim, state, error)
    }

    /// Looks whether the run was cancelled, and reports how far one is that takes long.
    pub fn watch(&self, events: &Rc<RefCell<Vec<EventKind>>>) -> Watch {
        let (stage, events) = (Arc::clone(&self.stage), Rc::clone(events));
        let (reports, claim, cursor) = (Arc::clone(&self.reports), self.claim, self.cursor.get());
        let clock = Stopwatch::start();
        let mut due = Duration::from_millis(PROGRESS_AFTER_MS);
        Box::new(move || {
            if clock.elapsed() > due
                // A walk holds the events only for a moment, and never while a job runs.
                && let Ok(mut events) = events.try_borrow_mut()
                && !events.is_empty()
            {
                due = clock.elapsed() + Duration::from_millis(PROGRESS_EVERY_MS);
                let bytes = events.iter().map(bytes_of).sum();
                let report = report_of(&claim, cursor, std::mem::take(&mut *events));
                if let Err(report) = reports.put(report, bytes) {
                    *events = report.events;
                }
            }
            stage.is_cancelled().then_some(Halt::Cancelled)
        })
    }

    /// Hands a report to its shard. Waits while the shard's mailbox is full: the thread has nothing better to do.
    pub fn report(&self, events: Vec<EventKind>) {
        let bytes = events.iter().map(bytes_of).sum();
        let mut report = report_of(&self.claim, self.cursor.get(), events);
        while let Err(refused) = self.reports.put(report, bytes) {
            report = refused;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends a run in which the executor itself failed.
    pub fn report_fault(&self) {
        let message = "The executor failed on this run; its trace says how.".into();
        let error = RunError { kind: "ExecutorError".into(), message };
        self.report(vec![self.finished(RunState::Exception, Some(error))]);
    }
}

/// The end of a run that was cancelled before it began.
pub fn cancelled(claim: &RunClaim) -> RunReport {
    report_of(claim, None, vec![finished(claim, RunState::Cancelled, None)])
}

fn report_of(claim: &RunClaim, cursor: Option<RunCursor>, events: Vec<EventKind>) -> RunReport {
    RunReport { run: claim.run, attempt: claim.attempt, cursor, events }
}

fn finished(claim: &RunClaim, state: RunState, error: Option<RunError>) -> EventKind {
    EventKind::RunFinished(RunFinished {
        run: claim.run,
        attempt: claim.attempt,
        state,
        error,
        final_state: FinalState::None,
        response: Bytes::new(),
        finished: now(),
    })
}

/// About what an event takes in a block.
fn bytes_of(event: &EventKind) -> usize {
    let body = match event {
        EventKind::StepFinished(step) => step.output.len(),
        EventKind::LogWritten(log) => log.lines.iter().map(|line| line.message.len() + 32).sum(),
        EventKind::RunFinished(end) => match &end.final_state {
            FinalState::Own(state) => state.len() + end.response.len(),
            FinalState::None | FinalState::Step(_) => end.response.len(),
        },
        _ => 0,
    };
    body + 128
}
