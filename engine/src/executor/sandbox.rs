//! A sandbox: a QuickJS for one run after the other, fresh for each, with limits on memory, stack and time.
//!
//! Invariant: a job reaches nothing of the host. State, log lines and conditions cross the border as text.

mod bytecode;
mod error;
mod heap;
mod host;
mod machine;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use keyway_storage::{
    limits::{STATE_BYTES_MAX, TIMER_SLEEP_MS_MAX},
    place::Timestamp,
};
use rquickjs::{Array, Ctx, Function, Object, Promise, promise::PromiseState};

use super::log::Lines;

pub use bytecode::{Bytecode, Scripts, load_error};
pub use error::{JobError, Position, Severity};
use host::Host;
use machine::Machine;

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

impl StepEnd {
    /// A step that an error ended without a state.
    pub fn without_state(error: JobError) -> Self {
        Self { state: String::new(), response: String::new(), error: Some(error) }
    }
}

/// When a run must stop, and whether it must already.
struct Alarm {
    halt: Cell<Option<Halt>>,
    timeout: Cell<Duration>,
    deadline: Cell<Option<Instant>>,
    watch: RefCell<Watch>,
}

impl Default for Alarm {
    fn default() -> Self {
        let watch: Watch = Box::new(|| None);
        Self {
            halt: Cell::default(),
            timeout: Cell::default(),
            deadline: Cell::default(),
            watch: RefCell::new(watch),
        }
    }
}

impl Alarm {
    fn reset(&self) {
        self.halt.set(None);
        self.deadline.set(None);
        *self.watch.borrow_mut() = Box::new(|| None);
    }

    #[expect(clippy::disallowed_methods, reason = "a job is stopped by the real clock")]
    fn set(&self, timeout: Duration, watch: Watch) {
        self.timeout.set(timeout);
        self.deadline.set(Some(Instant::now() + timeout));
        *self.watch.borrow_mut() = watch;
    }

    #[expect(clippy::disallowed_methods, reason = "a job is stopped by the real clock")]
    fn rings(&self) -> bool {
        let is_late = self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline);
        let halted = if is_late { Some(Halt::TimedOut) } else { (self.watch.borrow_mut())() };
        self.halt.set(self.halt.get().or(halted));
        self.halt.get().is_some()
    }
}

/// What runs run in, one at a time.
pub struct Sandbox {
    machine: Machine,
    alarm: Rc<Alarm>,
    host: Rc<Host>,
}

impl Sandbox {
    /// A sandbox for a first run. It takes several times longer to make than a short run itself: use it again.
    pub fn new() -> Result<Self, JobError> {
        let alarm = Rc::<Alarm>::default();
        let own = Rc::clone(&alarm);
        let host = Rc::new(Host::default());
        let machine = Machine::new(move || own.rings(), |ctx| host::install(&host, ctx));
        Ok(Self { machine: machine.map_err(engine_error)?, alarm, host })
    }

    /// Makes it fresh for another run.
    pub fn reset(&mut self) {
        self.machine.reset();
        self.alarm.reset();
        self.host.reset();
    }

    /// Begins a run: its time counts from now, and `watch` may stop it.
    pub fn begin(&self, timeout: Duration, watch: Watch) {
        self.alarm.set(timeout, watch);
    }

    /// What the run writes.
    pub fn lines(&self) -> &Rc<RefCell<Lines>> {
        &self.host.lines
    }

    /// Runs a job on a state.
    pub fn step(&self, script: &Arc<Bytecode>, state: &str, credential: Option<&str>, job: &str) -> StepEnd {
        self.host.begin(script);
        let end = self.machine.with(|ctx| {
            let settled = host::load(&self.host, &ctx, script.parts)
                .and_then(|()| start(&ctx, script, state, credential.unwrap_or_default(), job))
                .and_then(|promise| self.settle(&ctx, &promise));
            match (settled, self.halted()) {
                (_, Some(error)) => StepEnd::without_state(error),
                (Ok(Some(end)), None) => end,
                (Ok(None), None) => self.failed(&ctx, job, "PromiseError", UNRESOLVED),
                (Err(error), None) => StepEnd::without_state(self.error_of(&ctx, &error)),
            }
        });
        match end {
            StepEnd { error: Some(error), .. } if error.severity == Severity::Kill => {
                StepEnd::without_state(error)
            }
            StepEnd { state, .. } if state.len() > STATE_BYTES_MAX => {
                let message =
                    format!("State is {} bytes; at most {STATE_BYTES_MAX} are allowed.", state.len());
                StepEnd::without_state(JobError::new("StateTooLargeError", Severity::Kill, message))
            }
            end => end,
        }
    }

    /// Whether an edge is followed.
    pub fn condition(&self, script: &Arc<Bytecode>, state: &str) -> Result<bool, JobError> {
        self.host.begin(script);
        self.machine.with(|ctx| {
            let evaluate = || -> rquickjs::Result<bool> {
                host::load(&self.host, &ctx, script.parts)?;
                let condition = script.load(&ctx)?;
                ctx.globals().get::<_, Function>("__condition")?.call((condition, state))
            };
            evaluate().map_err(|error| {
                let error = self.error_of(&ctx, &error);
                match error.severity {
                    Severity::Kill | Severity::Cancel => error,
                    _ => {
                        let message = self.host.lines.borrow().error_message(&error.message);
                        JobError::new("EdgeConditionError", Severity::Crash, message)
                    }
                }
            })
        })
    }

    /// Lets the promise of a step come to its end; `None` when it never will.
    fn settle<'js>(&self, ctx: &Ctx<'js>, promise: &Promise<'js>) -> rquickjs::Result<Option<StepEnd>> {
        while promise.state() == PromiseState::Pending && self.alarm.halt.get().is_none() {
            if !ctx.execute_pending_job() && !self.wait_for_timer(ctx)? {
                return Ok(None);
            }
        }
        promise.result::<Array>().transpose()?.map(|result| step_end(&result)).transpose()
    }

    /// Sleeps until the next timer of the job and calls it; false without one.
    fn wait_for_timer(&self, ctx: &Ctx<'_>) -> rquickjs::Result<bool> {
        let Some(next) = ctx.globals().get::<_, Option<Function>>("__timer")? else { return Ok(false) };
        loop {
            let wait: f64 = next.call(())?;
            if wait <= 0.0 || self.alarm.rings() {
                return Ok(wait >= 0.0);
            }
            thread::sleep(Duration::from_millis((wait as u64).clamp(1, TIMER_SLEEP_MS_MAX)));
        }
    }

    /// The end of a step that failed for a reason that its own code does not see.
    fn failed(&self, ctx: &Ctx<'_>, job: &str, name: &str, message: &str) -> StepEnd {
        let compose = || -> rquickjs::Result<StepEnd> {
            let error = Object::new(ctx.clone())?;
            for (key, value) in
                [("source", "runtime"), ("name", name), ("severity", "fail"), ("message", message)]
            {
                error.set(key, value)?;
            }
            step_end(&ctx.globals().get::<_, Function>("__failed")?.call((job, error))?)
        };
        compose().unwrap_or_else(|error| StepEnd::without_state(self.error_of(ctx, &error)))
    }

    fn halted(&self) -> Option<JobError> {
        Some(match self.alarm.halt.get()? {
            Halt::TimedOut => {
                let message =
                    format!("Job took longer than {}ms to complete", self.alarm.timeout.get().as_millis());
                JobError::new("TimeoutError", Severity::Kill, message)
            }
            Halt::Cancelled => JobError::new("CancelError", Severity::Cancel, "The run was cancelled."),
        })
    }

    /// An error that came out of the sandbox.
    fn error_of(&self, ctx: &Ctx<'_>, error: &rquickjs::Error) -> JobError {
        if let Some(error) = self.halted() {
            return error;
        }
        let thrown = ctx.catch();
        let object = thrown.as_object();
        let text = |key: &str| object.and_then(|object| object.get::<_, Option<String>>(key).ok().flatten());
        let message = text("message").unwrap_or_else(|| error.to_string());
        // QuickJS throws null where there is no memory left for an error.
        let out_of_memory = thrown.is_null() || message.contains("out of memory");
        if out_of_memory || matches!(error, rquickjs::Error::Allocation) {
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

const UNRESOLVED: &str = "The job waits for a promise that nothing can resolve any more.";

fn engine_error(error: rquickjs::Error) -> JobError {
    JobError::new("ExecutorError", Severity::Crash, error.to_string())
}

/// What the harness returned: state, response and error, each as text.
fn step_end(result: &Array<'_>) -> rquickjs::Result<StepEnd> {
    let (state, response, error): (String, String, String) = (result.get(0)?, result.get(1)?, result.get(2)?);
    let read = |_| JobError::new("JobError", Severity::Fail, error.as_str());
    let error = (!error.is_empty()).then(|| serde_json::from_str(&error).unwrap_or_else(read));
    Ok(StepEnd { state, response, error })
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
#[expect(clippy::disallowed_methods, reason = "a run says when it began and ended")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_micros() as u64)
}
