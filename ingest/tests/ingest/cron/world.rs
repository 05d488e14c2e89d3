//! One shard with its cron source, on a disk that outlives it, by a clock that a test turns by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use keyway_engine::{
    admin::{AdminPort, admin},
    catalog::{Catalog, ProjectLoader},
    command::{Answer, Apply, Command, Receipt, Switch},
    executor::{Executor, Pool, PoolSettings},
    mailbox::Bell,
    project::Project,
    shard::{Shard, ShardReader, ShardSetup},
    source::{Batch, Positions, Source},
    stats::Stats,
};
use keyway_ingest::trigger::cron::{leaving::Leaving, source::CronSource};
use keyway_storage::{
    event::{Event, EventKind, Position, ProjectApplied, TICKS, TriggerId},
    key::Tag,
    log::Log,
    place::{Offset, ShardId, Timestamp},
    rows::Rows,
};

use super::{
    at,
    disk::{Disk, Fault},
};
use crate::reading;

/// Longest wait for a run: far more than a busy machine needs.
const WAIT_SECONDS_MAX: u64 = 60;

struct Files;

impl ProjectLoader for Files {
    fn load(&self, applied: &ProjectApplied) -> Arc<Project> {
        read(&applied.file)
    }
}

fn read(file: &[u8]) -> Arc<Project> {
    let text = std::str::from_utf8(file).unwrap();
    Arc::new(reading::read(text).unwrap_or_else(|mistakes| panic!("{}", reading::shown(&mistakes))).project)
}

/// Executes nothing.
struct Nobody;

impl Source for Nobody {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, _: &mut Batch) {}

    fn release(&mut self, _: &mut Vec<Receipt>) {}
}

/// A process that runs.
struct Running {
    shard: Shard,
    port: AdminPort,
    pool: Option<(Arc<Pool>, Vec<JoinHandle<()>>)>,
}

/// A machine: its disk, its clock, its project file, and a process while there is one.
pub struct World {
    pub disk: Disk,
    /// What was committed of the rows outlives a process, like the log.
    state: Rows,
    views: Rows,
    clock: Arc<AtomicU64>,
    project: String,
    /// The project file that the log has last.
    applied: Option<String>,
    executes: bool,
    dies_settling: Option<Fault>,
    running: Option<Running>,
}

impl World {
    /// A machine whose clock shows this time, with a process on this project.
    pub fn new(time: &str, project: &str) -> Self {
        Self::with(time, project, false)
    }

    /// The same, with an executor.
    pub fn with_executor(time: &str, project: &str) -> Self {
        Self::with(time, project, true)
    }

    fn with(time: &str, project: &str, executes: bool) -> Self {
        let clock = Arc::new(AtomicU64::new(at(time).0));
        let project = project.to_owned();
        let mut world = Self {
            disk: Disk::default(),
            state: Rows::memory(Tag::Watermark),
            views: Rows::memory(Tag::ViewsWatermark),
            clock,
            project,
            applied: None,
            executes,
            dies_settling: None,
            running: None,
        };
        world.start();
        world
    }

    /// Sets the machine's clock, whether or not a process looks at it.
    pub fn set_clock(&self, time: Timestamp) {
        self.clock.store(time.0, Ordering::Release);
    }

    /// What the machine's clock shows.
    pub fn time(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Acquire))
    }

    /// Starts a process, as `keyway serve --project` does.
    pub fn start(&mut self) {
        let catalog = Arc::new(Catalog::new(Box::new(Files)));
        let (bell, clock) = (Arc::<Bell>::default(), Arc::clone(&self.clock));
        let setup = ShardSetup {
            id: ShardId(0),
            log: Box::new(self.disk.clone()),
            state: self.state.again().unwrap(),
            views: self.views.again().unwrap(),
            catalog: Arc::clone(&catalog),
            permits: Arc::default(),
            bell: Arc::clone(&bell),
            clock: Box::new(move || Timestamp(clock.load(Ordering::Acquire))),
            stats: Arc::<Stats>::default(),
        };
        // A start that dies is followed by another one.
        let Ok(mut shard) = Shard::open(setup) else { return self.start() };
        if !self.settle(&mut shard) {
            return self.start();
        }
        if self.applied.as_ref() != Some(&self.project) {
            shard.request(Command::Apply(self.apply_command())).unwrap();
            self.applied = Some(self.project.clone());
        }
        let (port, requests) = admin(&bell);
        let cron: Box<dyn Source> = Box::new(CronSource::new(ShardId(0), 1));
        let pool = self.executes.then(|| Pool::new(PoolSettings { threads: 1, catalog }));
        let executor: Box<dyn Source> = match &pool {
            Some(pool) => Box::new(Executor::new(ShardId(0), Arc::clone(pool), &bell)),
            None => Box::new(Nobody),
        };
        shard.connect(vec![cron, Box::new(requests), executor]);
        let pool = pool.map(|pool| {
            let threads = pool.start(&[shard.reader()]).unwrap();
            (pool, threads)
        });
        self.running = Some(Running { shard, port, pool });
    }

    /// Starts a process that dies of an append among the ticks that it settles, and then one that does not.
    pub fn start_after_death_in_settling(&mut self, fault: Fault) {
        self.dies_settling = Some(fault);
        self.start();
        assert!(self.dies_settling.is_none());
    }

    /// What the file that was in force still owes before another one comes.
    fn settle(&mut self, shard: &mut Shard) -> bool {
        if self.applied.as_ref().is_none_or(|applied| *applied == self.project) {
            return true;
        }
        if let Some(fault) = self.dies_settling.take() {
            self.disk.fail(fault);
        }
        let next = read(self.project.as_bytes());
        shard.settle(Box::new(Leaving::new(ShardId(0), 1, next))).is_ok()
    }

    /// The process is gone, with all that it had not written.
    pub fn kill(&mut self) {
        if let Some((pool, threads)) = self.running.take().unwrap().pool {
            pool.stop();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }

    /// Turns until nothing is left to do. False if the process died of it.
    pub fn turn(&mut self) -> bool {
        let running = self.running.as_mut().unwrap();
        loop {
            match running.shard.turn_now() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => {
                    self.kill();
                    return false;
                }
            }
        }
    }

    /// Sets the clock and turns, which must go well.
    pub fn go_to(&mut self, time: &str) {
        self.set_clock(at(time));
        assert!(self.turn());
    }

    /// Lets time pass by so many minutes, with a turn in each.
    pub fn pass_minutes(&mut self, minutes: u64) {
        for _ in 0..minutes {
            self.set_clock(self.time().plus_millis(60_000));
            assert!(self.turn());
        }
    }

    /// Turns until this holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}");
            assert!(self.turn());
            std::thread::yield_now();
        }
    }

    /// Asks the shard, as the API does.
    pub fn ask(&mut self, command: Command) -> Answer {
        let answer = self.running.as_ref().unwrap().port.send(command).unwrap();
        assert!(self.turn());
        answer.try_recv().unwrap()
    }

    pub fn reader(&self) -> ShardReader {
        self.running.as_ref().unwrap().shard.reader()
    }

    /// Puts another project file into force, as SIGHUP does.
    pub fn apply(&mut self, project: &str) {
        self.edit(project);
        let command = Command::Apply(self.apply_command());
        assert!(matches!(self.ask(command), Answer::Done));
        self.applied = Some(self.project.clone());
    }

    /// Changes the file that the next start puts into force.
    pub fn edit(&mut self, project: &str) {
        self.project = project.to_owned();
    }

    pub fn switch(&mut self, trigger: TriggerId, enabled: bool) {
        assert!(matches!(self.ask(Command::Switch(Switch { trigger, enabled })), Answer::Done));
    }

    fn apply_command(&self) -> Apply {
        let file = Bytes::from(self.project.clone());
        Apply { project: read(&file), file, made: Vec::new() }
    }

    /// Everything that is on disk.
    pub fn events(&self) -> Vec<Event> {
        let blocks = self.disk.reader().blocks(Offset(0)).map(Result::unwrap);
        let all = |block: keyway_storage::block::PackedBlock| {
            block.events(Offset(0)).map(Result::unwrap).collect::<Vec<_>>()
        };
        blocks.flat_map(all).collect()
    }

    /// When each tick of a trigger that was made was due, in the order of the log.
    pub fn made(&self, trigger: TriggerId) -> Vec<Timestamp> {
        let tick = |event: Event| match event.kind {
            EventKind::Received(it) if it.trigger == trigger => match it.position {
                Position::Next { stream, number } if *stream == *TICKS => Some(Timestamp(number * 1_000_000)),
                other => panic!("not a tick: {other:?}"),
            },
            _ => None,
        };
        self.events().into_iter().filter_map(tick).collect()
    }

    /// The same, as times of the day.
    pub fn made_at(&self, trigger: TriggerId) -> Vec<String> {
        let time = |tick: &Timestamp| keyway_ingest::time::rfc3339(*tick)[11..16].to_owned();
        self.made(trigger).iter().map(time).collect()
    }

    /// To what the log says that triggers follow the clock.
    pub fn clocks_set(&self) -> Vec<Timestamp> {
        let set = |event: Event| match event.kind {
            EventKind::ClockSet(set) => Some(set.wall),
            _ => None,
        };
        self.events().into_iter().filter_map(set).collect()
    }

    /// Each passed over tick of a trigger, as the time of the day, with the reason.
    pub fn skipped(&self, trigger: TriggerId) -> Vec<(String, String)> {
        let skip = |event: Event| match event.kind {
            EventKind::TickSkipped(it) if it.trigger == trigger => {
                Some((keyway_ingest::time::rfc3339(it.due)[11..16].to_owned(), it.reason.into()))
            }
            _ => None,
        };
        self.events().into_iter().filter_map(skip).collect()
    }
}
