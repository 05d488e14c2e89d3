//! A walk: one run, step by step along the edges of its workflow.
//!
//! Invariant: steps are numbered in the order in which they began, and each is reported with where its input came
//! from, so that the run can be read, or begun again from any step, out of the log alone.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use keyway_storage::{
    event::{
        EventKind, ExitReason, FinalState, JobId, Level, LogSource, LogWritten, RunError, RunFinished,
        RunStarted, RunState, StepFinished, StepInput, StepStarted,
    },
    limits::{RUN_OUTPUT_BYTES_MAX, STEPS_PER_RUN_MAX},
    place::{Offset, RunKey},
};

use super::{
    language,
    log::Lines,
    sandbox::{JobError, Sandbox, Scripts, Severity, StepEnd, Watch, now},
};
use crate::project::{Condition, Edge, Job, Workflow};

/// A run, read from the log and ready to be walked.
pub struct Plan<'a> {
    /// The run.
    pub run: RunKey,
    /// The attempt.
    pub attempt: u8,
    /// The workflow, as it was when the run was made.
    pub workflow: &'a Workflow,
    /// The jobs that come first.
    pub first: Vec<JobId>,
    /// JSON of the initial state.
    pub state: Bytes,
    /// Where the initial state comes from.
    pub input: StepInput,
    /// The `CursorSet` that the initial state comes from.
    pub cursor: Option<Offset>,
    /// Whether the report that ends the run must hold its final state: the next run starts with it.
    pub ends_whole: bool,
}

struct Leaf {
    job: JobId,
    step: u16,
    end: StepEnd,
}

/// A walk under way.
pub struct Walk<'a> {
    plan: Plan<'a>,
    scripts: &'a Scripts,
    lines: Rc<RefCell<Lines>>,
    /// What is to be reported, shared with the watch that reports a long run's beginning.
    events: Rc<RefCell<Vec<EventKind>>>,
    leaves: Vec<Leaf>,
    steps: u16,
    output_bytes: usize,
}

impl<'a> Walk<'a> {
    /// Begins a walk; its events go to `events`.
    pub fn new(plan: Plan<'a>, scripts: &'a Scripts, events: Rc<RefCell<Vec<EventKind>>>) -> Self {
        let (run, attempt, cursor) = (plan.run, plan.attempt, plan.cursor);
        events.borrow_mut().push(EventKind::RunStarted(RunStarted { run, attempt, started: now(), cursor }));
        Self { plan, scripts, lines: Rc::default(), events, leaves: Vec::new(), steps: 0, output_bytes: 0 }
    }

    /// Walks to the end in this sandbox, and adds the events of all steps and of the end.
    pub fn finish(mut self, sandbox: &Sandbox, watch: Watch) {
        sandbox.begin(Duration::from_millis(self.plan.workflow.run_timeout_ms), watch);
        self.lines = Rc::clone(sandbox.lines());
        let fatal = self.steps(sandbox);
        let (run, attempt) = (self.plan.run, self.plan.attempt);
        let (state, error) = self.outcome(fatal);
        let finished = RunFinished {
            run,
            attempt,
            state,
            error,
            final_state: self.final_state(),
            response: self.response(),
            finished: now(),
        };
        self.events.borrow_mut().push(EventKind::RunFinished(finished));
    }

    /// Walks all steps; what ends the run in the middle is returned.
    fn steps(&mut self, sandbox: &Sandbox) -> Option<JobError> {
        let (state, input) = (self.plan.state.clone(), self.plan.input);
        let first = std::mem::take(&mut self.plan.first);
        let mut due: VecDeque<(JobId, StepInput, Bytes)> =
            first.into_iter().map(|job| (job, input, state.clone())).collect();
        while let Some((job, input, state)) = due.pop_front() {
            if self.steps == STEPS_PER_RUN_MAX {
                let message = format!("A run may have {STEPS_PER_RUN_MAX} steps.");
                return Some(JobError::new("TooManyStepsError", Severity::Kill, message));
            }
            let step = self.steps;
            self.steps += 1;
            let end = self.step(sandbox, step, job, input, &state);
            if let Some(error) = end.error.clone().filter(|error| error.severity != Severity::Fail) {
                self.leaves.push(Leaf { job, step, end });
                return Some(error);
            }
            let next = match self.next(sandbox, job, &end) {
                Ok(next) => next,
                Err(error) => return Some(error),
            };
            if next.is_empty() {
                self.leaves.push(Leaf { job, step, end });
            } else {
                let state = Bytes::from(end.state);
                due.extend(next.into_iter().map(|job| (job, StepInput::Step(step), state.clone())));
            }
        }
        None
    }

    fn step(&mut self, sandbox: &Sandbox, step: u16, id: JobId, input: StepInput, state: &[u8]) -> StepEnd {
        let (run, attempt) = (self.plan.run, self.plan.attempt);
        let job = &self.plan.workflow.jobs[usize::from(id.0)];
        let credential = job.credential.as_ref().map(|secret| secret.0.as_str());
        self.lines.borrow_mut().begin_step(step, credential);
        let began = StepStarted { run, attempt, step, job: id, input, started: now() };
        self.events.borrow_mut().push(EventKind::StepStarted(began));
        let mut end = match prepare(self.scripts, job) {
            Ok(script) => {
                let state = std::str::from_utf8(state).unwrap_or("{}");
                sandbox.step(&script, state, credential, &job.key)
            }
            Err(error) => StepEnd::without_state(error),
        };
        self.output_bytes += end.state.len();
        if self.output_bytes > RUN_OUTPUT_BYTES_MAX {
            let message = format!("The states of all steps are more than {RUN_OUTPUT_BYTES_MAX} bytes.");
            end = StepEnd::without_state(JobError::new("StateTooLargeError", Severity::Kill, message));
        }
        if let Some(error) = &mut end.error {
            let place = error.pos.map_or_else(String::new, |pos| format!(" (line {})", pos.line));
            let text = format!("{} aborted with error: {}{place}", job.name, error.message);
            self.lines.borrow_mut().write(Level::Error, LogSource::Runtime, now(), &text);
            error.message = self.lines.borrow().error_message(&error.message);
        }
        self.report_lines();
        let finished = StepFinished {
            run,
            attempt,
            step,
            job: id,
            exit: end.error.as_ref().map_or(ExitReason::Success, |error| exit_reason(error.severity)),
            error: end.error.as_ref().map(run_error),
            output: Bytes::copy_from_slice(end.state.as_bytes()),
            finished: now(),
        };
        self.events.borrow_mut().push(EventKind::StepFinished(finished));
        end
    }

    fn report_lines(&self) {
        let lines = self.lines.borrow_mut().take();
        if !lines.is_empty() {
            let (run, attempt) = (self.plan.run, self.plan.attempt);
            self.events.borrow_mut().push(EventKind::LogWritten(LogWritten { run, attempt, lines }));
        }
    }

    /// The jobs that the edges behind a step lead to.
    fn next(&self, sandbox: &Sandbox, job: JobId, end: &StepEnd) -> Result<Vec<JobId>, JobError> {
        let mut next = Vec::new();
        for edge in &self.plan.workflow.graph.from_job[usize::from(job.0)] {
            if follows(edge, self.scripts, sandbox, end.error.is_some(), &end.state)? {
                next.push(edge.target);
            }
        }
        Ok(next)
    }

    /// The run's state is the worst of its leaves': a failure that a path handled to success is a success.
    fn outcome(&self, fatal: Option<JobError>) -> (RunState, Option<RunError>) {
        if let Some(error) = fatal {
            let state = match error.severity {
                Severity::Fail => RunState::Failed,
                Severity::Crash => RunState::Crashed,
                Severity::Kill => RunState::Killed,
                Severity::Cancel => RunState::Cancelled,
            };
            return (state, (error.severity != Severity::Cancel).then(|| run_error(&error)));
        }
        match self.leaves.iter().find_map(|leaf| leaf.end.error.as_ref()) {
            Some(error) => (RunState::Failed, Some(run_error(error))),
            None => (RunState::Success, None),
        }
    }

    /// As in OpenFn, leaves that left no state do not count.
    fn final_state(&self) -> FinalState {
        let leaves: Vec<&Leaf> = self.leaves.iter().filter(|leaf| !leaf.end.state.is_empty()).collect();
        match &leaves[..] {
            [] => FinalState::None,
            [leaf] if self.plan.ends_whole && self.is_reported(leaf.step) => {
                FinalState::Own(Bytes::copy_from_slice(leaf.end.state.as_bytes()))
            }
            [leaf] => FinalState::Step(leaf.step),
            leaves => FinalState::Own(composed(self.plan.workflow, leaves)),
        }
    }

    /// Whether the end of a step is on its way already, in an earlier report.
    fn is_reported(&self, step: u16) -> bool {
        let is_end =
            |event: &EventKind| matches!(event, EventKind::StepFinished(finished) if finished.step == step);
        !self.events.borrow().iter().any(is_end)
    }

    /// Of the leaves whose state holds an object, the one that ended last.
    fn response(&self) -> Bytes {
        let last = self.leaves.iter().rev().find(|leaf| !leaf.end.response.is_empty());
        last.map_or_else(Bytes::new, |leaf| Bytes::copy_from_slice(leaf.end.response.as_bytes()))
    }
}

/// Several leaves: an object keyed by job, one state each. A job that ended several paths is numbered.
fn composed(workflow: &Workflow, leaves: &[&Leaf]) -> Bytes {
    let mut text = String::from("{");
    for (index, leaf) in leaves.iter().enumerate() {
        let key = &workflow.jobs[usize::from(leaf.job.0)].key;
        let before = leaves[..index].iter().filter(|other| other.job == leaf.job).count();
        let key = if before == 0 { key.clone() } else { format!("{key}-{before}") };
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(key).to_string());
        text.push(':');
        text.push_str(&leaf.end.state);
    }
    text.push('}');
    Bytes::from(text)
}

fn follows(
    edge: &Edge,
    scripts: &Scripts,
    sandbox: &Sandbox,
    failed: bool,
    state: &str,
) -> Result<bool, JobError> {
    match &edge.condition {
        Condition::Always => Ok(true),
        Condition::OnJobSuccess => Ok(!failed),
        Condition::OnJobFailure => Ok(failed),
        Condition::Expression(source) => sandbox.condition(&scripts.condition(source)?, state),
    }
}

/// The jobs that a run begins with: those behind the trigger's edges.
pub fn first_jobs(
    edges: &[Edge],
    scripts: &Scripts,
    sandbox: &Sandbox,
    state: &str,
) -> Result<Vec<JobId>, JobError> {
    let mut first = Vec::new();
    for edge in edges {
        let follow = match &edge.condition {
            Condition::Expression(source) => {
                sandbox.begin(Duration::from_secs(5), no_watch());
                sandbox.condition(&scripts.condition(source)?, state)?
            }
            Condition::OnJobFailure => false,
            Condition::Always | Condition::OnJobSuccess => true,
        };
        if follow {
            first.push(edge.target);
        }
    }
    Ok(first)
}

fn prepare(scripts: &Scripts, job: &Job) -> Result<Arc<super::sandbox::Bytecode>, JobError> {
    if !language::provides(&job.adaptor) {
        let (adaptor, known) = (&job.adaptor, language::ADAPTORS.join(", "));
        let message = format!("The adaptor {adaptor} is not available here; these are: {known}.");
        return Err(JobError::new("ImportError", Severity::Crash, message));
    }
    if let Some(missing) = &job.credential_missing {
        let message = format!("The credential of this job cannot be read: {}.", missing.0);
        return Err(JobError::new("CredentialLoadError", Severity::Crash, message));
    }
    scripts.job(&job.body)
}

fn run_error(error: &JobError) -> RunError {
    RunError { kind: error.name.as_str().into(), message: error.message.as_str().into() }
}

fn exit_reason(severity: Severity) -> ExitReason {
    match severity {
        Severity::Fail => ExitReason::Fail,
        Severity::Crash => ExitReason::Crash,
        Severity::Kill => ExitReason::Kill,
        Severity::Cancel => ExitReason::Cancel,
    }
}

/// A watch that never stops a run.
pub fn no_watch() -> Watch {
    Box::new(|| None)
}

/// How long a run has been going on.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "a stopwatch measures real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since then.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
