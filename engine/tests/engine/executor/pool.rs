//! The pool beside a whole shard, in memory: runs are claimed, executed and reported.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use keyway_engine::{
    catalog::{Catalog, ProjectLoader},
    command::{Answer, Apply, Command, Input, Receipt, Ticket},
    executor::{Executor, Pool, PoolSettings},
    mailbox::Bell,
    permit::PermitPool,
    project::{Condition, Project},
    shard::{Shard, ShardReader, ShardSetup},
    source::{Batch, Positions, Source},
    stats::{Health, Stats},
};
use keyway_storage::{
    block::Block,
    error::AppendError,
    event::{EventKind, Position, ProjectApplied, RunFinished, RunState},
    key::Tag,
    log::{Log, LogReader, MemoryLog},
    place::{Offset, RunKey, ShardId, Span, Timestamp},
    rows::Rows,
};
use serde_json::json;

use super::rehearsal::project;

/// Offers what the test puts into it.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<Vec<Command>>>);

impl Source for Feed {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        self.0.lock().unwrap().drain(..).for_each(|command| batch.push(Ticket(0), command, 0));
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        receipts.clear();
    }
}

struct Same(Arc<Project>);

impl ProjectLoader for Same {
    fn load(&self, _: &ProjectApplied) -> Arc<Project> {
        Arc::clone(&self.0)
    }
}

/// A log on a disk that is full when the test says so.
struct Full(MemoryLog, Arc<AtomicBool>);

impl Log for Full {
    fn append(&mut self, block: &mut Block) -> Result<Span, AppendError> {
        if self.has_room() { self.0.append(block) } else { Err(AppendError::Full { free_bytes: 0 }) }
    }

    fn rewrite(&mut self, block: &mut Block) -> Result<(), AppendError> {
        self.0.rewrite(block)
    }

    fn shrink(&mut self) -> bool {
        self.0.shrink()
    }

    fn is_shrinking(&self) -> bool {
        self.0.is_shrinking()
    }

    fn retire(&mut self, dense: Offset, gone: &[Offset]) -> Result<(), AppendError> {
        self.0.retire(dense, gone)
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        self.0.sync()
    }

    fn live(&self) -> Span {
        self.0.live()
    }

    fn has_room(&self) -> bool {
        !self.1.load(Ordering::SeqCst)
    }

    fn reserve(&mut self) -> bool {
        self.has_room()
    }

    fn reader(&self) -> LogReader {
        self.0.reader()
    }
}

/// A shard with a pool of so many threads.
struct House {
    shard: Shard,
    reader: ShardReader,
    feed: Feed,
    bell: Arc<Bell>,
    pool: Arc<Pool>,
    threads: Vec<JoinHandle<()>>,
    project: Arc<Project>,
    seen: Offset,
    full: Arc<AtomicBool>,
    ends: Vec<RunFinished>,
    steps: Vec<u16>,
    started: usize,
    now: u64,
}

impl House {
    fn open(jobs: &[(&str, &str)], more: &str, threads: usize) -> Self {
        let chain: Vec<_> = jobs.windows(2).map(|pair| (pair[0].0, pair[1].0, "always")).collect();
        Self::of(project(jobs, &chain, more), threads)
    }

    fn of(project: Project, threads: usize) -> Self {
        let project = Arc::new(project);
        let catalog = Arc::new(Catalog::new(Box::new(Same(Arc::clone(&project)))));
        let bell = Arc::new(Bell::default());
        let (mut now, full) = (1_000_000, Arc::<AtomicBool>::default());
        let setup = ShardSetup {
            id: ShardId(0),
            log: Box::new(Full(MemoryLog::new(ShardId(0)), Arc::clone(&full))),
            state: Rows::memory(Tag::Watermark),
            views: Rows::memory(Tag::ViewsWatermark),
            catalog: Arc::clone(&catalog),
            permits: Arc::new(PermitPool::default()),
            bell: Arc::clone(&bell),
            clock: Box::new(move || {
                now += 1_000;
                Timestamp(now)
            }),
            stats: Arc::new(Stats::default()),
        };
        let mut shard = Shard::open(setup).unwrap();
        let apply =
            Apply { file: Bytes::from_static(b"file"), made: Vec::new(), project: Arc::clone(&project) };
        assert!(matches!(shard.request(Command::Apply(apply)).unwrap(), Answer::Done));
        let pool = Pool::new(PoolSettings { threads, catalog });
        let feed = Feed::default();
        let executor = Executor::new(ShardId(0), Arc::clone(&pool), &bell);
        shard.connect(vec![Box::new(feed.clone()), Box::new(executor)]);
        let reader = shard.reader();
        let threads = pool.start(std::slice::from_ref(&reader)).unwrap();
        bell.attach();
        let seen = Offset(0);
        let (ends, steps) = (Vec::new(), Vec::new());
        Self {
            shard,
            reader,
            feed,
            bell,
            pool,
            threads,
            project,
            seen,
            full,
            ends,
            steps,
            started: 0,
            now: 2_000_000,
        }
    }

    fn receive(&self, body: &serde_json::Value) {
        let input = Input {
            trigger: self.project.workflows[0].triggers[0].id,
            position: Position::None,
            key: None,
            stream: 0,
            request: Bytes::from_static(b"{\"method\":\"POST\"}"),
            body: Ok(Bytes::from(body.to_string())),
            follow: None,
            replays: None,
        };
        self.feed.0.lock().unwrap().push(Command::Receive(input));
        self.bell.ring();
    }

    /// Turns until something is so.
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            self.now += 1;
            self.bell.clear();
            let worked = self.shard.turn(Timestamp(self.now)).unwrap();
            self.look();
            if done(self) {
                return;
            }
            if !worked {
                self.bell.wait(Some(Duration::from_millis(100)));
            }
        }
        panic!("it never was so: {:?}", self.ends);
    }

    fn look(&mut self) {
        for block in self.reader.log.blocks(self.seen) {
            let block = block.unwrap();
            for event in block.events(self.seen) {
                match event.unwrap().kind {
                    EventKind::RunFinished(end) => self.ends.push(end),
                    EventKind::StepFinished(step) => self.steps.push(step.step),
                    EventKind::RunStarted(_) => self.started += 1,
                    _ => {}
                }
            }
            self.seen = block.span().end;
        }
    }

    fn run_of_first_input(&self) -> RunKey {
        let received = self
            .reader
            .log
            .blocks(Offset(0))
            .flat_map(|block| block.unwrap().events(Offset(0)).map(Result::unwrap).collect::<Vec<_>>());
        let first = received.into_iter().find(|event| matches!(event.kind, EventKind::Received(_))).unwrap();
        RunKey { work_order: first.place.offset, n: 1 }
    }

    fn cancel(&self, run: RunKey) {
        self.feed.0.lock().unwrap().push(Command::Cancel(run));
        self.bell.ring();
    }

    /// Moves the shard's clock.
    fn skip(&mut self, millis: u64) {
        self.now += millis * 1_000;
        self.bell.ring();
    }

    fn close(self) {
        self.pool.stop();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn every_input_becomes_a_finished_run() {
    let mut house = House::open(&[("job", "fn(s => ({ n: s.data.n, method: s.request.method }))")], "", 2);
    (0..500).for_each(|n| house.receive(&json!({ "n": n })));
    house.until(|house| house.ends.len() == 500);
    assert!(house.ends.iter().all(|end| end.state == RunState::Success), "{:?}", house.ends[0].error);
    let mut runs: Vec<_> = house.ends.iter().map(|end| end.run).collect();
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 500);
    house.close();
}

#[test]
fn a_long_run_is_seen_to_have_begun_and_can_be_cancelled() {
    let mut house = House::open(&[("job", "fn(() => { while (true) {} })")], "", 1);
    house.receive(&json!({}));
    house.until(|house| house.started == 1);
    assert!(house.ends.is_empty());
    house.cancel(house.run_of_first_input());
    house.until(|house| house.ends.len() == 1);
    assert_eq!(house.ends[0].state, RunState::Cancelled);
    house.close();
}

#[test]
fn a_run_whose_first_steps_met_a_full_disk_is_executed_again_so_that_its_history_is_whole() {
    let slow = "fn(async s => { await new Promise(done => setTimeout(done, 700)); return s; })";
    let mut house = House::open(&[("first", "fn(s => s)"), ("second", slow)], "", 1);
    house.receive(&json!({}));
    // The claim is in the log; the report of the first step is not.
    house.until(|house| house.seen > Offset(2));
    let claimed = house.seen;
    house.full.store(true, Ordering::SeqCst);
    house.until(|house| house.shard.reader().stats.health() == Health::Full);
    house.full.store(false, Ordering::SeqCst);
    house.skip(2_000);
    house.until(|house| house.ends.len() == 1);
    assert_eq!(house.ends[0].state, RunState::Success);
    assert!(house.seen > claimed);
    assert_eq!(house.steps, [0, 1]);
    house.close();
}

#[test]
fn a_claimed_run_that_has_not_begun_is_cancelled_at_once() {
    let mut house = House::open(&[("job", "fn(s => { while (s.data.busy) {} return s; })")], "", 1);
    house.receive(&json!({"busy": true}));
    house.until(|house| house.started == 1);
    let busy = house.run_of_first_input();
    house.receive(&json!({"busy": false}));
    let mut waiting = busy;
    waiting.work_order = house.seen;
    // One thread, and it is busy: the second run is claimed and waits in the queue.
    house.until(|house| house.seen > waiting.work_order);
    house.cancel(waiting);
    house.until(|house| house.ends.len() == 1);
    assert_eq!((house.ends[0].run, house.ends[0].state), (waiting, RunState::Cancelled));
    house.cancel(busy);
    house.until(|house| house.ends.len() == 2);
    assert_eq!(house.started, 1, "the cancelled run never began");
    house.close();
}

#[test]
fn a_pool_without_threads_leaves_runs_waiting() {
    let mut house = House::open(&[("job", "fn(s => s)")], "", 0);
    house.receive(&json!({}));
    house.until(|house| house.seen > Offset(2));
    assert_eq!((house.started, house.ends.len()), (0, 0));
    house.close();
}

#[test]
fn runs_wait_for_slow_ones_before_them_longer_than_a_lease() {
    let body = "fn(async s => { await new Promise(done => setTimeout(done, 30)); return s; })";
    let mut house = House::open(&[("job", body)], "    run_timeout_ms: 1000\n", 1);
    (0..20).for_each(|n| house.receive(&json!({ "n": n })));
    house.until(|house| house.ends.len() == 20);
    assert!(house.ends.iter().all(|end| end.state == RunState::Success && end.attempt == 1));
    assert_eq!(house.started, 20);
    house.close();
}

#[test]
fn an_edge_from_the_trigger_is_followed_where_its_condition_holds_and_one_that_throws_crashes_the_run() {
    let cases = [
        ("state.data.n > 1 && state.request.method == 'POST'", RunState::Success, &[0][..], None),
        ("state.data.n > 2", RunState::Success, &[], None),
        ("state.data.x.y", RunState::Crashed, &[], Some("EdgeConditionError")),
    ];
    for (condition, state, steps, error) in cases {
        let mut project = project(&[("job", "fn(s => s)")], &[], "");
        project.workflows[0].graph.from_trigger[0][0].condition = Condition::Expression(condition.to_owned());
        let mut house = House::of(project, 1);
        house.receive(&json!({"n": 2}));
        house.until(|house| house.ends.len() == 1);
        let end = &house.ends[0];
        assert_eq!((end.state, house.started, &house.steps[..]), (state, 1, steps), "{condition}");
        assert_eq!(end.error.as_ref().map(|error| &*error.kind), error, "{condition}");
        house.close();
    }
}
