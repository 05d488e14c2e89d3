//! A sandbox: one QuickJS runtime for one run, with limits on memory, stack and time.
//!
//! Invariant: a job reaches nothing of the host. State, log lines and conditions cross the border as text.

mod bytecode;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use keyway_storage::{
    event::{Level, LogSource},
    limits::{JOB_MEMORY_BYTES_MAX, JOB_STACK_BYTES_MAX, STATE_BYTES_MAX},
    place::Timestamp,
};
use rquickjs::{
    Array, Context, Ctx, Function, Object, Promise, Runtime, context::intrinsic, promise::PromiseState,
};
use serde::Deserialize;

use super::log::Lines;

pub use bytecode::{Bytecode, Scripts};

type Intrinsics = (
    (
        (
            (((intrinsic::Date, intrinsic::RegExpCompiler), intrinsic::RegExp), intrinsic::Json),
            intrinsic::Proxy,
        ),
        intrinsic::MapSet,
    ),
    ((intrinsic::TypedArrays, intrinsic::Promise), intrinsic::Eval),
);

/// Why a run must stop in the middle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Halt {
    /// It took too long.
    TimedOut,
    /// Someone cancelled it.
    Cancelled,
}

/// Looks, every few thousand instructions, whether the run must stop.
pub type Watch = Box<dyn FnMut() -> Option<Halt>>;

/// What a step came to.
#[derive(Debug)]
pub struct StepEnd {
    /// JSON of the state after it; empty when there is none.
    pub state: String,
    /// JSON of `webhookResponse` in it, if that is an object; empty otherwise.
    pub response: String,
    /// What went wrong, if something did.
    pub error: Option<JobError>,
}

/// What went wrong in a step.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct JobError {
    /// Its class: `JobError`, `RuntimeError`, `RuntimeCrash`, `TimeoutError`, ...
    pub name: String,
    /// One sentence.
    pub message: String,
    /// `fail` lets the run go on along its edges; `crash` and `kill` end it.
    pub severity: Severity,
}

/// How bad an error is, as in OpenFn's runtime.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The step failed.
    Fail,
    /// The run cannot go on.
    Crash,
    /// The run went over a limit.
    Kill,
    /// Someone cancelled the run.
    Cancel,
}

impl JobError {
    /// An error of this class.
    pub fn new(name: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into(), severity }
    }
}

/// One run's runtime.
pub struct Sandbox {
    context: Context,
    halt: Rc<Cell<Option<Halt>>>,
    timeout: Duration,
}

impl Sandbox {
    /// A fresh runtime whose log lines go to `lines`.
    pub fn new(timeout: Duration, lines: Rc<RefCell<Lines>>, mut watch: Watch) -> Result<Self, JobError> {
        let runtime = Runtime::new().map_err(engine_error)?;
        runtime.set_memory_limit(JOB_MEMORY_BYTES_MAX);
        runtime.set_max_stack_size(JOB_STACK_BYTES_MAX);
        let halt = Rc::new(Cell::new(None));
        let (noted, deadline) = (Rc::clone(&halt), Instant::now() + timeout);
        runtime.set_interrupt_handler(Some(Box::new(move || {
            let halted = if Instant::now() >= deadline { Some(Halt::TimedOut) } else { watch() };
            noted.set(noted.get().or(halted));
            noted.get().is_some()
        })));
        let context = Context::custom::<Intrinsics>(&runtime).map_err(engine_error)?;
        context.with(|ctx| install(&ctx, lines)).map_err(engine_error)?;
        Ok(Self { context, halt, timeout })
    }

    /// Runs a job on a state.
    pub fn step(&self, script: &Bytecode, state: &str, credential: Option<&str>, job: &str) -> StepEnd {
        let outcome = self.context.with(|ctx| {
            let promise = start(&ctx, script, state, credential.unwrap_or_default(), job);
            match promise.and_then(|promise| self.settle(&ctx, promise)) {
                Ok(end) => Ok(end),
                Err(error) => Err(self.error_of(&ctx, error)),
            }
        });
        let end = outcome.and_then(|end| match (self.halted(), end) {
            (Some(error), _) => Err(error),
            (None, Some(end)) => Ok(end),
            (None, None) => Err(JobError::new(
                "PromiseError",
                Severity::Fail,
                "The job waits for a promise that nothing can resolve any more.",
            )),
        });
        match end {
            Ok(end) if end.state.len() > STATE_BYTES_MAX => {
                let message =
                    format!("State is {} bytes; at most {STATE_BYTES_MAX} are allowed.", end.state.len());
                ended_by(JobError::new("StateTooLargeError", Severity::Kill, message))
            }
            Ok(end) => end,
            Err(error) => ended_by(error),
        }
    }

    /// Whether an edge is followed.
    pub fn condition(&self, script: &Bytecode, state: &str) -> Result<bool, JobError> {
        self.context.with(|ctx| {
            let evaluate = || -> rquickjs::Result<bool> {
                let condition = script.load(&ctx)?;
                ctx.globals().get::<_, Function>("__condition")?.call((condition, state))
            };
            evaluate().map_err(|error| {
                let error = self.error_of(&ctx, error);
                match error.severity {
                    Severity::Kill | Severity::Cancel => error,
                    _ => JobError::new("EdgeConditionError", Severity::Crash, error.message),
                }
            })
        })
    }

    /// Lets the promise of a step come to its end; `None` when it never will.
    fn settle<'js>(&self, ctx: &Ctx<'js>, promise: Promise<'js>) -> rquickjs::Result<Option<StepEnd>> {
        while promise.state() == PromiseState::Pending
            && self.halt.get().is_none()
            && ctx.execute_pending_job()
        {}
        let Some(result) = promise.result::<Array>() else { return Ok(None) };
        let result = result?;
        let (state, response, error): (String, String, String) =
            (result.get(0)?, result.get(1)?, result.get(2)?);
        let error = (!error.is_empty()).then(|| parse_error(&error));
        Ok(Some(StepEnd { state, response, error }))
    }

    fn halted(&self) -> Option<JobError> {
        Some(match self.halt.get()? {
            Halt::TimedOut => {
                let message = format!("Job took longer than {}ms to complete", self.timeout.as_millis());
                JobError::new("TimeoutError", Severity::Kill, message)
            }
            Halt::Cancelled => JobError::new("CancelError", Severity::Cancel, "The run was cancelled."),
        })
    }

    fn error_of(&self, ctx: &Ctx<'_>, error: rquickjs::Error) -> JobError {
        if let Some(error) = self.halted() {
            return error;
        }
        let thrown = ctx.catch();
        let object = thrown.as_object();
        let text = |key: &str| object.and_then(|object| object.get::<_, Option<String>>(key).ok().flatten());
        let message = text("message").unwrap_or_else(|| error.to_string());
        if message.contains("out of memory") || matches!(error, rquickjs::Error::Allocation) {
            return JobError::new("OOMError", Severity::Kill, "Run exceeded maximum memory usage");
        }
        match text("name").as_deref() {
            Some(name @ ("ReferenceError" | "SyntaxError")) => {
                JobError::new("RuntimeCrash", Severity::Crash, format!("{name}: {message}"))
            }
            Some(name @ ("TypeError" | "RangeError")) => {
                JobError::new("RuntimeError", Severity::Fail, format!("{name}: {message}"))
            }
            _ => JobError::new("JobError", Severity::Fail, message),
        }
    }
}

fn ended_by(error: JobError) -> StepEnd {
    StepEnd { state: String::new(), response: String::new(), error: Some(error) }
}

fn engine_error(error: rquickjs::Error) -> JobError {
    JobError::new("ExecutorError", Severity::Crash, error.to_string())
}

fn parse_error(text: &str) -> JobError {
    let unreadable = |_| JobError::new("JobError", Severity::Fail, text);
    serde_json::from_str(text).unwrap_or_else(unreadable)
}

/// Gives the context its operations and its console.
fn install(ctx: &Ctx<'_>, lines: Rc<RefCell<Lines>>) -> rquickjs::Result<()> {
    let write = move |level: u8, message: String| {
        let level = match level {
            0 => Level::Debug,
            2 => Level::Warn,
            3 => Level::Error,
            4 => Level::Success,
            _ => Level::Info,
        };
        lines.borrow_mut().write(level, LogSource::Job, now(), &message);
    };
    ctx.globals().set("__log", Function::new(ctx.clone(), write)?)?;
    bytecode::language().run(ctx)
}

fn start<'js>(
    ctx: &Ctx<'js>,
    script: &Bytecode,
    state: &str,
    credential: &str,
    job: &str,
) -> rquickjs::Result<Promise<'js>> {
    let make_operations: Object = script.load(ctx)?;
    ctx.globals().get::<_, Function>("__step")?.call((make_operations, state, credential, job))
}

/// The worker's clock.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_micros() as u64)
}
