//! The pool beside a whole shard, in memory: runs are claimed, executed and reported.

use std::{
    sync::{Arc, Mutex},
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
    project::Project,
    shard::{Shard, ShardReader, ShardSetup},
    source::{Batch, Positions, Source},
    stats::Stats,
};
use keyway_storage::{
    event::{EventKind, Position, ProjectApplied, RunFinished, RunState},
    key::Tag,
    log::MemoryLog,
    place::{Offset, RunKey, ShardId, Timestamp},
    rows::Rows,
};
use serde_json::json;

use crate::rehearsal::project;

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
    ends: Vec<RunFinished>,
    started: usize,
}

impl House {
    fn open(jobs: &[(&str, &str)], more: &str, threads: usize) -> Self {
        let project = Arc::new(project(jobs, &[], more));
        let catalog = Arc::new(Catalog::new(Box::new(Same(Arc::clone(&project)))));
        let bell = Arc::new(Bell::default());
        let mut now = 1_000_000;
        let setup = ShardSetup {
            id: ShardId(0),
            log: Box::new(MemoryLog::new(ShardId(0))),
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
        Self { shard, reader, feed, bell, pool, threads, project, seen, ends: Vec::new(), started: 0 }
    }

    fn receive(&self, body: &serde_json::Value) {
        let input = Input {
            trigger: self.project.workflows[0].triggers[0].id,
            position: Position::None,
            key: None,
            stream: 0,
            request: Bytes::from_static(b"{\"method\":\"POST\"}"),
            body: Ok(Bytes::from(body.to_string())),
            follow: false,
            replays: None,
        };
        self.feed.0.lock().unwrap().push(Command::Receive(input));
        self.bell.ring();
    }

    /// Turns until something is so.
    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        for now in 2_000_000..2_100_000 {
            self.bell.clear();
            let worked = self.shard.turn(Timestamp(now)).unwrap();
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
