//! The pool: the executor's threads, the slots that claims reserve, and how long runs take.

mod ends;
mod task;

use std::{
    cell::RefCell,
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use keyway_storage::{
    event::{EventKind, RunError, RunStarted, RunState, StepInput},
    limits::{EXECUTOR_QUEUE_MAX, EXECUTOR_QUEUE_MS, EXECUTOR_STACK_BYTES, RUN_AHEAD_US_MAX},
    place::ShardId,
};

use ends::Ends;
pub(super) use task::{Stage, Task, cancelled};

use super::{
    sandbox::{JobError, Sandbox, Scripts, Severity, now},
    walk::{Plan, Stopwatch, Walk, first_jobs},
};
use crate::{
    catalog::Catalog,
    command::RunCursor,
    mailbox::Bell,
    shard::ShardReader,
    view::{
        begin::{Began, begin},
        run::{received, requested},
    },
};

/// How many threads, and what they read.
pub struct PoolSettings {
    /// Threads; 0 executes nothing.
    pub threads: usize,
    /// The projects of all shards.
    pub catalog: Arc<Catalog>,
}

/// The executor's threads.
pub struct Pool {
    threads: usize,
    catalog: Arc<Catalog>,
    scripts: Scripts,
    readers: OnceLock<HashMap<ShardId, ShardReader>>,
    tasks: (Sender<Task>, Receiver<Task>),
    /// Runs that were claimed, or may be by a claim under way, and have not ended.
    taken: AtomicUsize,
    /// A moving average of what a run takes.
    run_micros: AtomicU64,
    hungry: Mutex<Vec<(Arc<Bell>, Arc<AtomicBool>)>>,
    shards: AtomicUsize,
    stopped: AtomicBool,
    pub(super) ends: Ends,
}

/// How much less of a busy core a job gets than a door or a shard.
const NICENESS: i32 = 10;

/// Lets the threads that answer callers go first, where jobs take all that the machine has.
fn give_way() {
    // Of this thread alone on Linux, whatever POSIX says; see setpriority(2).
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "jobs run with the priority of all else");
    }
}

impl Pool {
    /// A pool whose threads are not started yet.
    pub fn new(settings: PoolSettings) -> Arc<Self> {
        let tasks = bounded(settings.threads.max(1) * (EXECUTOR_QUEUE_MAX + 1));
        Arc::new(Self {
            threads: settings.threads,
            catalog: settings.catalog,
            scripts: Scripts::default(),
            readers: OnceLock::new(),
            tasks,
            taken: AtomicUsize::new(0),
            run_micros: AtomicU64::new(1_000),
            hungry: Mutex::default(),
            shards: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            ends: Ends::default(),
        })
    }

    /// Starts the threads on what they read.
    pub fn start(self: &Arc<Self>, readers: &[ShardReader]) -> std::io::Result<Vec<JoinHandle<()>>> {
        // Runs are claimed in the order of their inputs, which are neighbours in the log.
        let readers = readers.iter().map(|reader| (reader.shard, reader.remembering())).collect();
        assert!(self.readers.set(readers).is_ok(), "a pool is started once");
        let start = |index| {
            let pool = Arc::clone(self);
            let builder =
                thread::Builder::new().name(format!("executor-{index}")).stack_size(EXECUTOR_STACK_BYTES);
            builder.spawn(move || {
                give_way();
                pool.work()
            })
        };
        (0..self.threads).map(start).collect()
    }

    /// Tells the threads to end after what they run, and the shards to take back what none has begun.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for (bell, _) in self.hungry.lock().expect("no holder panics").iter() {
            bell.ring();
        }
    }

    /// Whether the threads begin nothing any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Registers a shard: its flag is set while it wants slots, and its bell rings when some come free.
    pub(super) fn register(&self, bell: Arc<Bell>) -> Arc<AtomicBool> {
        let hungry = Arc::new(AtomicBool::new(false));
        self.hungry.lock().expect("no holder panics").push((bell, Arc::clone(&hungry)));
        self.shards.fetch_add(1, Ordering::Relaxed);
        hungry
    }

    /// Reserves slots for a claim: as many as the threads will get to soon.
    pub(super) fn reserve(&self) -> u16 {
        let per_thread = EXECUTOR_QUEUE_MS * 1_000 / self.run_micros.load(Ordering::Relaxed).max(1);
        let most = self.threads * (1 + (per_thread as usize).clamp(1, EXECUTOR_QUEUE_MAX));
        let alone = self.shards.load(Ordering::Relaxed) <= 1;
        // Half of what is free leaves slots to the shards that turn at the same time.
        let share = |free: usize| if alone { free } else { free.div_ceil(2) };
        let reserved = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            let free = most.saturating_sub(taken);
            (free > 0 && !self.is_stopped()).then_some(taken + share(free))
        });
        reserved.map_or(0, |before| share(most - before) as u16)
    }

    /// How long the end of a run that begins now is worth waiting for.
    pub(super) fn patience(&self) -> Duration {
        // One that takes as long as a sync ends beside it, not before it.
        let is_short = self.run_micros.load(Ordering::Relaxed) < RUN_AHEAD_US_MAX;
        if is_short { Duration::from_micros(RUN_AHEAD_US_MAX) } else { Duration::ZERO }
    }

    /// Gives slots back.
    pub(super) fn give_back(&self, slots: usize) {
        if slots == 0 {
            return;
        }
        self.taken.fetch_sub(slots, Ordering::AcqRel);
        for (bell, hungry) in self.hungry.lock().expect("no holder panics").iter() {
            if hungry.swap(false, Ordering::AcqRel) {
                bell.ring();
            }
        }
    }

    pub(super) fn send(&self, task: Task) {
        let sent = self.tasks.0.try_send(task);
        assert!(sent.is_ok(), "a claim never exceeds the slots");
    }

    fn work(&self) {
        let mut sandbox = None;
        while !self.is_stopped() {
            let Some(task) = self.next(&mut sandbox) else { continue };
            if task.stage.begin() {
                let clock = Stopwatch::start();
                let own = sandbox.get_or_insert_with(Sandbox::new);
                // A fault of ours ends its run, not the thread that others wait for.
                let executed = catch_unwind(AssertUnwindSafe(|| self.execute(&task, own)));
                match (executed, own) {
                    (Ok(()), Ok(own)) => own.reset(),
                    (Ok(()), Err(_)) => sandbox = None,
                    (Err(_), _) => {
                        sandbox = None;
                        task.report_fault();
                    }
                }
                let took = clock.elapsed().as_micros() as u64;
                let average = self.run_micros.load(Ordering::Relaxed);
                self.run_micros.store((average * 7 + took) / 8, Ordering::Relaxed);
            }
            self.give_back(1);
        }
    }

    /// The next task. A thread that has to wait for it makes its sandbox meanwhile.
    fn next(&self, sandbox: &mut Option<Result<Sandbox, JobError>>) -> Option<Task> {
        if let Ok(task) = self.tasks.1.try_recv() {
            return Some(task);
        }
        sandbox.get_or_insert_with(Sandbox::new);
        self.tasks.1.recv_timeout(Duration::from_millis(100)).ok()
    }

    fn execute(&self, task: &Task, sandbox: &Result<Sandbox, JobError>) {
        let events = Rc::new(RefCell::new(Vec::new()));
        let walked = sandbox.as_ref().map_err(JobError::clone);
        if let Err(error) = walked.and_then(|sandbox| self.walk(task, sandbox, &events)) {
            let (run, attempt) = (task.claim.run, task.claim.attempt);
            let mut events = events.borrow_mut();
            if events.is_empty() {
                events.push(EventKind::RunStarted(RunStarted { run, attempt, started: now(), cursor: None }));
            }
            let state = if error.severity == Severity::Kill { RunState::Killed } else { RunState::Crashed };
            let error = RunError { kind: error.name.into(), message: error.message.into() };
            events.push(task.finished(state, Some(error)));
        }
        if let Some(cursor) = task.cursor.get() {
            self.ends.sent(cursor.trigger);
        }
        task.report(events.take());
    }

    fn walk(
        &self,
        task: &Task,
        sandbox: &Sandbox,
        events: &Rc<RefCell<Vec<EventKind>>>,
    ) -> Result<(), JobError> {
        let claim = &task.claim;
        let reader =
            self.readers.get().and_then(|readers| readers.get(&task.shard)).expect("started with all shards");
        let unreadable = |error: keyway_storage::error::ReadError| {
            JobError::new("ReadError", Severity::Crash, format!("The input cannot be read: {error}"))
        };
        let gone = || JobError::new("ReadError", Severity::Crash, "The input is no longer there.");
        let input = match &task.input {
            Some(input) => input.clone(),
            None => received(reader, claim.run.work_order).map_err(unreadable)?.ok_or_else(gone)?.1,
        };
        let again = match claim.requested {
            Some(offset) => Some(requested(reader, offset).map_err(unreadable)?.ok_or_else(gone)?),
            None => None,
        };
        let project = again.as_ref().map_or(input.project, |again| again.project);
        let project = self.catalog.get(task.shard, project).ok_or_else(gone)?;
        let Some(workflow) = project.workflow(claim.workflow) else {
            return Err(JobError::new(
                "WorkflowError",
                Severity::Crash,
                "The workflow is no longer in the project.",
            ));
        };
        let rules = project.trigger(input.trigger).and_then(|(_, trigger)| trigger.cursor);
        let cursor = rules.map(|rules| RunCursor { trigger: input.trigger, rules });
        task.cursor.set(cursor);
        if cursor.is_some() {
            // It starts with what the runs before it left, and those may have ended a moment ago.
            self.ends.wait(input.trigger);
        }
        let began = begin(reader, claim.run, &input, again.as_ref(), cursor.is_some());
        let Began { state, cursor: set } = began.map_err(unreadable)?.ok_or_else(gone)?;
        let first = match again.and_then(|again| again.start) {
            Some(job) => vec![job],
            None => {
                let index = project.trigger_index(workflow.id, input.trigger);
                let edges = index.map(|index| &workflow.graph.from_trigger[index][..]);
                first_jobs(
                    edges.unwrap_or_default(),
                    &self.scripts,
                    sandbox,
                    std::str::from_utf8(&state).unwrap_or("{}"),
                )?
            }
        };
        let plan = Plan {
            run: claim.run,
            attempt: claim.attempt,
            workflow,
            first,
            state,
            input: StepInput::Run,
            cursor: set,
            ends_whole: cursor.is_some(),
        };
        Walk::new(plan, &self.scripts, Rc::clone(events)).finish(sandbox, task.watch(events));
        Ok(())
    }
}
