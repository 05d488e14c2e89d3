//! One shard on a real disk, one project, and a source that floods it.
//!
//! Invariant: what is appended here is what a webhook of this size leaves in the log.

use std::{
    path::Path,
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
    mailbox::Bell,
    permit::PermitPool,
    project::{Origin, Project, Reference, SecretSource, read},
    shard::{Shard, ShardSetup},
    source::{Batch, Positions, Source},
    state::State,
    stats::Stats,
};
use keyway_ingest::{time, trigger::types};
use keyway_storage::{
    directory::{DataDir, Durability},
    event::{Event, EventKind, Position, ProjectApplied, TriggerId},
    key::Tag,
    place::{Offset, Place, ShardId, Timestamp},
    rows::Rows,
};

use crate::{
    bench::load::template::{Filling, Template},
    failure::Failure,
};

/// The only shard.
pub const SHARD: ShardId = ShardId(0);

const PROJECT: &str = "
name: bench
workflows:
  intake:
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";
const REQUEST: &[u8] = br#"{"method":"POST","headers":{"content-type":"application/json"}}"#;

/// Bodies are no more alike than this many bytes of them: twice what the store's packing looks back.
const BODIES_BYTES: usize = 128 << 10;

/// What all shards of a bench share.
pub struct World {
    project: Arc<Project>,
    /// They take turns.
    bodies: Arc<[Bytes]>,
}

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn resolve(&self, _: &Reference) -> Result<String, String> {
        Err("is not set".to_owned())
    }
}

struct Loader(Arc<Project>);

impl ProjectLoader for Loader {
    fn load(&self, _: &ProjectApplied) -> Arc<Project> {
        Arc::clone(&self.0)
    }
}

impl World {
    /// A world with bodies of this size.
    pub fn new(body_bytes: usize) -> Self {
        let origin = Origin { file: "bench".into(), folder: "/".into() };
        let reading = read(PROJECT, &origin, &types(), &NoSecrets, &[], &mut || [1; 16]);
        let project = Arc::new(reading.expect("our own project is valid").project);
        // The quotes and the name take eleven bytes.
        let template = Template::parse(r#"{"note":"{{pad}}"}"#).expect("our own template is whole");
        let body = |number: usize| {
            let mut body = Vec::new();
            template.fill(&Filling { number: number as u64, key: "", bytes: body_bytes }, &mut body);
            Bytes::from(body)
        };
        let bodies = (0..1 + BODIES_BYTES / body_bytes.max(1)).map(body).collect();
        Self { project, bodies }
    }

    fn trigger(&self) -> TriggerId {
        self.project.triggers().next().expect("our own project has one").1.id
    }

    fn apply(&self) -> Command {
        let file = Bytes::from_static(PROJECT.as_bytes());
        Command::Apply(Apply { file, made: vec![], project: Arc::clone(&self.project) })
    }

    /// A state that knows the project, on these rows.
    pub fn state(&self, rows: Rows) -> Result<State, Failure> {
        let project = Arc::clone(&self.project);
        State::open(SHARD, rows, Arc::new(move |_, _| Some(Arc::clone(&project)))).map_err(refuse)
    }

    /// So many events of inputs, as a shard decides them, behind the one that puts the project into force.
    pub fn events(&self, count: u64) -> Result<Vec<Event>, Failure> {
        let mut state = self.state(Rows::memory(Tag::Watermark))?;
        let (mut kinds, mut events) = (Vec::new(), Vec::new());
        let at = time::now();
        for offset in 0..=count {
            let body = &self.bodies[offset as usize % self.bodies.len()];
            let command =
                if offset == 0 { self.apply() } else { Command::Receive(input(self.trigger(), body)) };
            decide(&state, command, at, Offset(offset), &mut kinds).map_err(refuse)?;
            for kind in kinds.drain(..) {
                let place = Place { shard: SHARD, offset: Offset(events.len() as u64) };
                let event = Event { place, at, kind };
                if offset == 0 {
                    state.apply(&event).map_err(refuse)?;
                }
                events.push(event);
            }
        }
        Ok(events)
    }

    /// What inputs leave in the log, one of each body.
    pub fn kinds(&self) -> Result<Vec<EventKind>, Failure> {
        let events = self.events(self.bodies.len() as u64)?;
        Ok(events.into_iter().skip(1).map(|event| event.kind).collect())
    }

    /// The shard in this folder.
    pub fn open(&self, folder: &Path) -> Result<Shard, Failure> {
        let data = DataDir::open(folder, 1).map_err(refuse)?;
        let store = data.open_shard(SHARD, Durability::Fsync, None).map_err(refuse)?;
        Shard::open(ShardSetup {
            id: SHARD,
            log: Box::new(store.log),
            state: store.state,
            views: store.views,
            catalog: Arc::new(Catalog::new(Box::new(Loader(Arc::clone(&self.project))))),
            permits: Arc::new(PermitPool::default()),
            bell: Arc::<Bell>::default(),
            clock: Box::new(time::now),
            stats: Arc::<Stats>::default(),
        })
        .map_err(refuse)
    }

    /// A shard in this folder with the project in force, and the count of inputs that it still takes in.
    pub fn flooded(&self, folder: &Path) -> Result<(Shard, Arc<AtomicU64>), Failure> {
        let mut shard = self.open(folder)?;
        shard.request(self.apply()).map_err(refuse)?;
        let left = Arc::<AtomicU64>::default();
        let (trigger, bodies) = (self.trigger(), Arc::clone(&self.bodies));
        shard.connect(vec![Box::new(Flood { left: Arc::clone(&left), trigger, bodies, next: 0 })]);
        Ok((shard, left))
    }
}

/// Offers as many inputs as are left, as fast as a batch takes them.
struct Flood {
    left: Arc<AtomicU64>,
    trigger: TriggerId,
    bodies: Arc<[Bytes]>,
    next: usize,
}

impl Source for Flood {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        while self.left.load(Ordering::Relaxed) > 0 {
            let body = &self.bodies[self.next];
            if !batch.has_room(body.len()) {
                return;
            }
            self.left.fetch_sub(1, Ordering::Relaxed);
            batch.push(Ticket(0), Command::Receive(input(self.trigger, body)), body.len());
            self.next = (self.next + 1) % self.bodies.len();
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        receipts.clear();
    }
}

/// A webhook's input, as a door makes it.
fn input(trigger: TriggerId, body: &Bytes) -> Input {
    Input {
        trigger,
        position: Position::None,
        key: None,
        stream: 0,
        request: Bytes::from_static(REQUEST),
        body: Ok(body.clone()),
        follow: None,
        replays: None,
    }
}

/// What the store says is the bench's failure.
pub fn refuse(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}
