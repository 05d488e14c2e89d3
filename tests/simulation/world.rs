//! A world of two shards, their workers and their users, driven by a seed.

use std::sync::Arc;

use bytes::Bytes;
use keyway_engine::{
    command::{
        Answer, Apply, Claim, Command, Input, Permits, Refusal, Release, ReplayId, RunClaim, RunReport,
    },
    decide::decide,
    keyring::{self, HeldKey},
    mailbox::Bell,
    permit::PermitPool,
    project::{Origin, Project, Reference, SecretSource, read},
    projection::Views,
    refold,
    route::Route,
    shard::ShardReader,
    state::{Projects, State},
    stats::Stats,
};
use keyway_ingest::trigger::types;
use keyway_storage::{
    block::Block,
    event::{Event, EventKind, FinalState, Opened, Position, RunFinished, RunStarted, RunState, TriggerId},
    key::{Key, Tag},
    log::{Log, MemoryLog},
    place::{Offset, Place, ShardId, Timestamp},
    routes::Routes,
    rows::Rows,
    table::ReplayState,
};

use crate::{copy, model::Model};

pub const SHARDS: u16 = 2;
/// Every so many seeds there are replays too; those that failed before there were any are not among them.
const SEEDS_PER_REPLAY: u64 = 4;
/// Every so many seeds history is cut, too; again none of those that failed before.
const SEEDS_PER_CUT: u64 = 3;
/// Copies cost more than the world that they are of: not every seed is copied.
const COPIES_ONE_IN: usize = 16;
const PROJECT: &str = include_str!("project.yaml");

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn resolve(&self, _: &Reference) -> Result<String, String> {
        Err("is not set".to_owned())
    }
}

/// The smallest generator that is good enough (SplitMix64): the schedule must be the same on every machine.
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.below(of.len())]) }
    }
}

pub struct SimShard {
    id: ShardId,
    pub log: MemoryLog,
    pub state: State,
    pub views: Views,
    block: Block,
    stats: Arc<Stats>,
    /// Keys that it holds until its rows are committed.
    pub keys: Vec<HeldKey>,
}

/// Everything.
pub struct World {
    pub random: Random,
    /// Replays that were ever begun.
    pub replays: Vec<ReplayId>,
    has_replays: bool,
    has_reshards: bool,
    pub has_cuts: bool,
    has_returns: bool,
    /// How many work orders were cut.
    pub cuts: u64,
    /// How many because a workflow had more bytes than it may.
    pub relieved: u64,
    /// Which shard owns what.
    pub routes: Routes,
    pub project: Arc<Project>,
    pub shards: Vec<SimShard>,
    pub permits: PermitPool,
    pub model: Model,
    pub now: Timestamp,
    /// Runs that a worker has, by shard and worker.
    pub working: Vec<(ShardId, u32, RunClaim)>,
    pub triggers: Vec<TriggerId>,
    numbers: u64,
    /// Whether events are printed: one seed is looked at.
    trace: bool,
    file: &'static str,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self::of(PROJECT, seed);
        let id = |key: &str| world.project.workflow_by_key(key).unwrap().id;
        let (retried, blocking, serial, limited) =
            (id("retried"), id("blocking"), id("serial"), id("limited"));
        world.model.ordered = vec![retried, blocking];
        world.model.serial = vec![serial];
        world.model.limits = vec![(serial, 1), (limited, 2)];
        world.model.project_limit = 6;
        world.model.by_key = world.has_reshards;
        world
    }

    /// A world in which this project is in force.
    pub fn of(file: &'static str, seed: u64) -> Self {
        let origin = Origin { file: "simulation".into(), folder: "/".into() };
        let reading =
            read(file, &origin, &types(), &NoSecrets, &[], &mut || [9; 16]).expect("the project is valid");
        let project = Arc::new(reading.project);
        let triggers = project.triggers().map(|(_, trigger)| trigger.id).collect();
        let mut world = Self {
            random: Random(seed),
            replays: Vec::new(),
            has_replays: seed.is_multiple_of(SEEDS_PER_REPLAY),
            has_reshards: seed % SEEDS_PER_REPLAY == 2,
            has_cuts: seed.is_multiple_of(SEEDS_PER_CUT),
            has_returns: seed % SEEDS_PER_REPLAY == 1,
            cuts: 0,
            relieved: 0,
            routes: Routes::plain(SHARDS),
            shards: Vec::new(),
            permits: PermitPool::default(),
            model: Model::default(),
            now: Timestamp(1_000_000_000),
            working: Vec::new(),
            triggers,
            numbers: 0,
            trace: std::env::var("KEYWAY_SIMULATION_SEED").is_ok(),
            file,
            project,
        };
        for shard in 0..SHARDS {
            world.add_shard(ShardId(shard as u8));
        }
        if world.has_reshards {
            world.permits.keyring.look_everywhere();
        }
        world
    }

    fn add_shard(&mut self, id: ShardId) {
        let project = Arc::clone(&self.project);
        let projects: Projects = Arc::new(move |_, _| Some(Arc::clone(&project)));
        let state = State::open(id, Rows::memory(Tag::Watermark), projects).unwrap();
        let (views, log) = (Views::open(Rows::memory(Tag::ViewsWatermark)), MemoryLog::new(id));
        let block = Block::new(id);
        self.permits.register(Arc::<Bell>::default());
        self.shards.push(SimShard { id, log, state, views, block, stats: Arc::default(), keys: vec![] });
        self.permits.keyring.add_shard(id, self.shards[usize::from(id.0)].state.reader());
        self.append(id, vec![Opened { boot: 1 }.into()], true);
        let apply = Apply {
            file: Bytes::from_static(self.file.as_bytes()),
            made: vec![],
            project: Arc::clone(&self.project),
        };
        self.command(id, Command::Apply(apply));
    }

    /// One thing happens.
    pub fn step(&mut self) {
        if self.has_replays && self.random.one_in(6) {
            return self.replay();
        }
        if self.has_reshards && self.random.one_in(8) {
            return self.reshard();
        }
        if self.has_cuts && self.random.one_in(8) {
            return self.sweep();
        }
        match self.random.below(100) {
            0..6 if self.has_returns => self.give_back(),
            0..30 => self.receive(),
            30..55 => self.claim(),
            55..80 => self.work(),
            80..86 => self.pass(),
            86..90 => self.crash(),
            90..93 => self.cancel(),
            93..96 => self.rerun(),
            _ => self.release(),
        }
    }

    fn receive(&mut self) {
        let trigger = self.random.pick(&self.triggers).unwrap();
        let (workflow, _) = self.project.trigger(trigger).unwrap();
        let serial = (workflow.concurrency == Some(1)).then_some(workflow.id);
        let keyed = workflow.key == "retried" || workflow.key == "blocking";
        let key = (keyed && !self.random.one_in(5)).then(|| 1 + self.random.below(3) as u64);
        let once = self.random.one_in(4).then(|| self.random.below(20) as u128);
        let position = match once {
            Some(key) => {
                let (body, window_seconds) =
                    (u64::from(self.random.one_in(5)), [1, 60, 300][self.random.below(3)]);
                Position::Once { key, body, window_seconds }
            }
            None if self.random.one_in(3) => {
                self.numbers += 1;
                let number = self.numbers - u64::from(self.random.one_in(4)).min(self.numbers);
                Position::Next { stream: "s".into(), number }
            }
            None => Position::None,
        };
        let route = Route { trigger, serial, key, position: &position };
        let shard = route.owner(&self.routes).unwrap_or(self.routes.home(self.random.below(2) as u16));
        let input = Input {
            trigger,
            position: position.clone(),
            key,
            stream: 0,
            request: Bytes::new(),
            body: Ok(Bytes::from_static(b"{}")),
            follow: None,
            replays: None,
        };
        let first = self.model.first(trigger, &position, self.now);
        // Whoever has not committed its rows holds a key, even if its window ended meanwhile.
        let last = self.model.first(trigger, &position, Timestamp(0));
        let before = self.model.received;
        let answer = self.command(shard, Command::Receive(input));
        let made = self.model.received - before;
        match answer {
            Answer::Accepted(place) => {
                assert_eq!((made, place.shard), (1, shard));
                assert_eq!(first, None, "the key was taken");
            }
            Answer::Repeated(place, _) => {
                assert_eq!(made, 0);
                match position {
                    Position::Once { body, .. } => assert_eq!(first, Some((place, body))),
                    position => assert_ne!(position, Position::None),
                }
            }
            Answer::Refused(Refusal::KeyReused) => {
                let Position::Once { body, .. } = position else { panic!("it has no key") };
                let (place, taken) = last.expect("the key was taken");
                assert_ne!(taken, body);
                assert!(first.is_some() || self.is_held_elsewhere(shard, place), "its window is over");
            }
            Answer::Refused(Refusal::Full) => {
                let (place, _) = last.expect("the key was taken");
                assert!(self.is_held_elsewhere(shard, place));
            }
            other => panic!("{other:?}"),
        }
    }

    fn is_held_elsewhere(&self, shard: ShardId, place: Place) -> bool {
        let watermark = self.shards[usize::from(place.shard.0)].state.watermark();
        place.shard != shard && watermark <= place.offset
    }

    pub fn claim(&mut self) {
        let shard = ShardId(self.random.below(2) as u8);
        let (worker, demand) = (self.random.below(2) as u32, 1 + self.random.below(4) as u16);
        self.claim_for(shard, worker, demand);
    }

    fn claim_for(&mut self, shard: ShardId, worker: u32, demand: u16) {
        let state = &mut self.shards[usize::from(shard.0)].state;
        state.prepare_claim().unwrap();
        let permits = self.permits.borrow(state, demand);
        let claim = Claim { worker, demand, permits: Permits { ..permits.clone() } };
        let Answer::Claimed(claims) = self.command(shard, Command::Claim(claim)) else {
            panic!("a claim is answered")
        };
        self.permits.settle(&permits, demand, &claims);
        self.working.extend(claims.into_iter().map(|claim| (shard, worker, claim)));
    }

    pub fn work(&mut self) {
        let indexes: Vec<usize> = (0..self.working.len()).collect();
        let Some(index) = self.random.pick(&indexes) else { return };
        let (shard, _, claim) = self.working[index];
        let (run, attempt) = (claim.run, claim.attempt);
        let begun = EventKind::RunStarted(RunStarted { run, attempt, started: self.now, cursor: None });
        let states = [RunState::Success, RunState::Success, RunState::Failed, RunState::Crashed];
        let end = RunFinished {
            run,
            attempt,
            state: self.random.pick(&states).unwrap(),
            error: None,
            final_state: FinalState::None,
            response: Bytes::new(),
            finished: self.now,
        };
        let events = match self.random.below(4) {
            0 => vec![begun],
            1 => vec![EventKind::RunFinished(end)],
            _ => vec![begun, EventKind::RunFinished(end)],
        };
        if events.len() == 1 && matches!(events[0], EventKind::RunStarted(_)) {
            self.command(shard, Command::Report(RunReport { run, attempt, cursor: None, events }));
        } else {
            self.working.swap_remove(index);
            self.command(shard, Command::Report(RunReport { run, attempt, cursor: None, events }));
        }
    }

    pub fn pass(&mut self) {
        let millis = [10, 1_000, 40_000, 200_000][self.random.below(4)];
        self.now = self.now.plus_millis(millis);
        for shard in 0..SHARDS {
            self.advance(ShardId(shard as u8));
        }
    }

    fn advance(&mut self, shard: ShardId) {
        if self.shards[usize::from(shard.0)].state.due() <= self.now {
            self.command(shard, Command::Advance);
        }
    }

    /// The process dies: what was not committed is lost, and so is the embedded executor of that shard.
    pub fn crash(&mut self) {
        let index = self.random.below(usize::from(SHARDS));
        let shard = &mut self.shards[index];
        shard.state.roll_back().unwrap();
        shard.views.discard();
        let reader = shard.log.reader();
        let from = shard.state.watermark();
        for block in reader.blocks(from) {
            let block = block.unwrap();
            for event in block.events(from) {
                shard.state.apply(&event.unwrap()).unwrap();
            }
        }
        shard.state.drain_freed().for_each(drop);
        shard.state.drain_stops().for_each(drop);
        shard.state.drain_intake().for_each(drop);
        let from = shard.views.watermark();
        for block in reader.blocks(from) {
            for event in block.unwrap().events(from) {
                shard.views.apply(&event.unwrap()).unwrap();
            }
        }
        let id = shard.id;
        let boot = shard.state.boots() + 1;
        self.working.retain(|(of, worker, _)| *of != id || *worker != 0);
        self.append(id, vec![Opened { boot }.into()], true);
        self.advance(id);
    }

    /// The work orders of a shard, oldest first.
    pub fn orders_of(&self, shard: ShardId) -> Vec<Place> {
        let own = self.model.orders().into_iter().filter(|(of, _)| *of == shard);
        own.map(|(shard, offset)| Place { shard, offset }).collect()
    }

    /// The event at a place.
    pub fn event(&self, place: Place) -> Event {
        let log = self.shards[usize::from(place.shard.0)].log.reader();
        log.event(place.offset).unwrap().unwrap()
    }

    /// The round of a replay on a shard, and whether it goes on there.
    pub fn round_of(&self, shard: ShardId, id: ReplayId) -> (u32, bool) {
        let row = self.shards[usize::from(shard.0)].state.replay(id);
        row.map_or((0, false), |row| (row.round, row.state == ReplayState::Running))
    }

    pub fn command(&mut self, shard: ShardId, command: Command) -> Answer {
        let own = &mut self.shards[usize::from(shard.0)];
        let next = own.log.live().end;
        let mut decided = Vec::new();
        let mut answer = decide(&own.state, command, self.now, next, &mut decided).unwrap();
        if let Some(EventKind::Received(received)) = decided.last() {
            match self.permits.keyring.claim(shard, &self.project, received, self.now).unwrap() {
                keyring::Claim::Free => {}
                keyring::Claim::Held(key) => own.keys.push(key),
                keyring::Claim::Elsewhere(other) => {
                    decided.clear();
                    answer = other;
                }
            }
        }
        let commit = !self.random.one_in(3);
        self.append(shard, decided, commit);
        answer
    }

    pub fn append(&mut self, shard: ShardId, decided: Vec<EventKind>, commit: bool) {
        let own = &mut self.shards[usize::from(shard.0)];
        if !decided.is_empty() {
            own.block.begin(own.log.live().end, self.now);
            for kind in decided {
                let place = Place { shard, offset: own.block.push(&kind) };
                let event = Event { place, at: self.now, kind };
                own.state.apply(&event).unwrap();
                own.views.apply(&event).unwrap();
                if self.trace {
                    println!("{} {} {:?}", shard.0, event.place.offset.0, event.kind);
                }
                self.model.observe(&event);
            }
            own.log.append(&mut own.block).unwrap();
        }
        for workflow in own.state.drain_freed() {
            self.permits.give_back(workflow);
        }
        own.state.drain_stops().for_each(drop);
        own.state.drain_intake().for_each(|(trigger, change)| self.permits.intake().note(trigger, change));
        if commit {
            let end = own.log.live().end;
            own.state.commit(end).unwrap();
            own.views.commit(end).unwrap();
            self.permits.keyring.give_back(own.keys.drain(..));
        }
    }

    /// Everything that waits ends.
    pub fn end_runs(&mut self) {
        for _ in 0..10_000 {
            if self.model.all_ended() && self.model.blocked().is_empty() {
                break;
            }
            for (shard, lane) in self.model.blocked() {
                self.command(shard, Command::Release(Release { lane, skip: true }));
            }
            self.now = self.now.plus_millis(70_000);
            for index in 0..SHARDS {
                let shard = ShardId(index as u8);
                self.advance(shard);
                self.claim_for(shard, 1, 4);
            }
            while let Some((shard, _, claim)) = self.working.pop() {
                let (run, attempt) = (claim.run, claim.attempt);
                let end = RunFinished {
                    run,
                    attempt,
                    state: RunState::Success,
                    error: None,
                    final_state: FinalState::None,
                    response: Bytes::new(),
                    finished: self.now,
                };
                let events = vec![end.into()];
                self.command(shard, Command::Report(RunReport { run, attempt, cursor: None, events }));
            }
        }
    }

    /// A reader of a shard's committed rows.
    pub fn reader(&self, shard: ShardId) -> ShardReader {
        let own = &self.shards[usize::from(shard.0)];
        let (log, state, views) = (own.log.reader(), own.state.reader(), own.views.reader());
        ShardReader { shard, log, state, views, stats: Arc::clone(&own.stats) }
    }

    /// Nothing more comes in: everything that waits must end, and the rows must be the fold of the log.
    pub fn finish(&mut self) {
        self.end_runs();
        assert!(self.model.all_ended(), "a run never ended");
        assert_eq!(self.permits.open(), 0, "permits leaked");
        let logs: Vec<_> = self.shards.iter().map(|own| own.log.reader()).collect();
        let is_copied = self.random.one_in(COPIES_ONE_IN);
        for shard in 0..SHARDS {
            self.append(ShardId(shard as u8), vec![], true);
        }
        for own in &self.shards {
            let reader = self.reader(own.id);
            assert_eq!(refold::difference(&reader).unwrap(), None);
            // A log that was cut has no whole copy without its base.
            if is_copied && own.log.live().first == Offset(0) {
                copy::check(&reader, &logs);
            }
            let rows = |tag| reader.state.scan(Key::new(tag), Key::new(tag).prefix_end()).count() as u64;
            assert_eq!(rows(Tag::OnceUntil), own.state.keys_count());
            assert!(rows(Tag::Once) <= rows(Tag::OnceUntil), "a key is never forgotten");
        }
    }
}
