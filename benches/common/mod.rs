//! What the benches share: one project, a shard on a real store, and a source that floods it.

#![allow(dead_code, reason = "each bench uses its part")]

use std::{
    cell::RefCell,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use keyway_engine::{
    catalog::{Catalog, ProjectLoader},
    command::{Apply, Command, Input, Receipt, Ticket},
    decide::decide,
    executor::{
        sandbox::{Sandbox, Scripts},
        walk::{Plan, Walk, no_watch},
    },
    mailbox::Bell,
    permit::PermitPool,
    project::{Origin, Project, Reference, SecretSource, Workflow, read},
    shard::{Shard, ShardSetup},
    source::{Batch, Positions, Source},
    state::State,
    stats::Stats,
};
use keyway_ingest::{time, trigger::types};
use keyway_storage::{
    directory::{DataDir, Durability},
    event::{Event, EventKind, JobId, Position, ProjectApplied, RunState, StepInput, TriggerId},
    key::Tag,
    place::{Offset, Place, RunKey, ShardId, Timestamp},
    rows::Rows,
};

/// One webhook and one trivial job.
pub const PROJECT: &str = "
name: bench
workflows:
  intake:
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn resolve(&self, _: &Reference) -> Result<String, String> {
        Err("is not set".to_owned())
    }
}

/// The project, read.
pub fn project() -> Arc<Project> {
    let origin = Origin { file: "bench".into(), folder: "/".into() };
    let reading = read(PROJECT, &origin, &types(), &NoSecrets, &[], &mut || [1; 16]);
    Arc::new(reading.expect("the project is valid").project)
}

struct Loader;

impl ProjectLoader for Loader {
    fn load(&self, _: &ProjectApplied) -> Arc<Project> {
        project()
    }
}

/// A catalog that knows the project.
pub fn catalog() -> Arc<Catalog> {
    Arc::new(Catalog::new(Box::new(Loader)))
}

/// A body of 300 bytes.
pub fn body() -> Bytes {
    Bytes::from(format!("{{\"note\":\"{}\"}}", "x".repeat(288)))
}

/// A webhook's input, as a door makes it.
pub fn input(trigger: TriggerId, body: &Bytes) -> Input {
    Input {
        trigger,
        position: Position::None,
        key: None,
        stream: 0,
        request: Bytes::from_static(
            b"{\"method\":\"POST\",\"headers\":{\"content-type\":\"application/json\"}}",
        ),
        body: Ok(body.clone()),
        follow: None,
        replays: None,
    }
}

/// The webhook of the project.
pub fn trigger() -> TriggerId {
    project().triggers().next().expect("there is one").1.id
}

/// Offers as many inputs as are left, as fast as a batch takes them.
pub struct Flood {
    /// How many.
    pub left: Arc<AtomicU64>,
    trigger: TriggerId,
    body: Bytes,
    /// What they are read from, as from a Kafka partition, and the number of the next one.
    stream: Option<(Arc<str>, u64)>,
}

impl Flood {
    /// A flood of so many.
    pub fn new(left: &Arc<AtomicU64>) -> Self {
        Self { left: Arc::clone(left), trigger: trigger(), body: body(), stream: None }
    }

    /// A flood of so many, read from a stream.
    pub fn of_stream(left: &Arc<AtomicU64>, stream: &str) -> Self {
        Self { stream: Some((stream.into(), 0)), ..Self::new(left) }
    }

    fn next(&mut self) -> Input {
        let mut input = input(self.trigger, &self.body);
        if let Some((stream, number)) = &mut self.stream {
            input.position = Position::Next { stream: Arc::clone(stream), number: *number };
            *number += 1;
        }
        input
    }
}

impl Source for Flood {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        while self.left.load(Ordering::Relaxed) > 0 && batch.has_room(self.body.len()) {
            self.left.fetch_sub(1, Ordering::Relaxed);
            let input = self.next();
            batch.push(Ticket(0), Command::Receive(input), self.body.len());
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        receipts.clear();
    }
}

const SHARD: ShardId = ShardId(0);
/// When all happens that needs no clock.
pub const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

/// A state with the project in force, in memory.
pub fn state() -> State {
    let mut state = State::open(SHARD, Rows::memory(Tag::Watermark), Arc::new(|_, _| Some(project())))
        .expect("memory opens");
    let command = Command::Apply(Apply { file: bytes::Bytes::new(), made: vec![], project: project() });
    for event in decide_one(&state, command, 0) {
        state.apply(&event).expect("memory does not fail");
    }
    state
}

/// What is decided of a command, as events from this offset on.
pub fn decide_one(state: &State, command: Command, offset: u64) -> Vec<Event> {
    let mut out = Vec::new();
    decide(state, command, NOW, Offset(offset), &mut out).expect("memory does not fail");
    let event =
        |(n, kind)| Event { place: Place { shard: SHARD, offset: Offset(offset + n) }, at: NOW, kind };
    (0..).zip(out).map(event).collect()
}

/// Runs a workflow from its first job, in a fresh sandbox, and makes that fresh again; nothing is written.
pub fn run(workflow: &Workflow, scripts: &Scripts, sandbox: &mut Sandbox, state: &Bytes) {
    let events = Rc::new(RefCell::new(Vec::with_capacity(8)));
    let plan = Plan {
        run: RunKey { work_order: Offset(1), n: 1 },
        attempt: 1,
        workflow,
        first: vec![JobId(0)],
        state: state.clone(),
        input: StepInput::Run,
        cursor: None,
        ends_whole: false,
    };
    Walk::new(plan, scripts, Rc::clone(&events)).finish(sandbox, no_watch());
    sandbox.reset();
    match events.borrow().last() {
        Some(EventKind::RunFinished(end)) => assert_eq!(end.state, RunState::Success, "{:?}", end.error),
        other => panic!("{other:?}"),
    }
}

/// A data dir for one bench, on the disk of the working directory: a temporary folder may be memory.
pub fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(".").expect("a folder on this disk")
}

/// A data dir with one shard.
pub fn data(home: &Path) -> DataDir {
    DataDir::open(&home.join("data"), 1).expect("the data dir opens")
}

/// The shard, without the project.
pub fn open(data: &DataDir, durability: Durability, catalog: &Arc<Catalog>, bell: &Arc<Bell>) -> Shard {
    let store = data.open_shard(ShardId(0), durability, None).expect("the shard opens");
    Shard::open(ShardSetup {
        id: ShardId(0),
        log: Box::new(store.log),
        state: store.state,
        views: store.views,
        catalog: Arc::clone(catalog),
        permits: Arc::new(PermitPool::default()),
        bell: Arc::clone(bell),
        clock: Box::new(time::now),
        stats: Arc::<Stats>::default(),
    })
    .expect("the shard opens")
}

/// Puts the project into force.
pub fn apply(shard: &mut Shard) {
    let file = Bytes::from_static(PROJECT.as_bytes());
    shard
        .request(Command::Apply(Apply { file, made: vec![], project: project() }))
        .expect("the project is applied");
}
