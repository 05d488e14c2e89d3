//! Nobody is told anything before the disk has it.
//!
//! A shard on a real store whose syncs can be held back or failed. The test fails when release and append are
//! swapped in the turn.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
    mpsc::{Receiver, Sender, channel},
};
use std::time::Duration;

use bytes::Bytes;
use keyway_engine::{
    catalog::{Catalog, ProjectLoader},
    command::{Answer, Apply, Claim, Command, Input, Permits, Presence, Receipt, RunReport, Ticket},
    mailbox::Bell,
    permit::PermitPool,
    project::{Origin, Project, Reference, SecretSource, read},
    shard::{Fatal, Shard, ShardSetup},
    source::{Ahead, Batch, Positions, Source},
    stats::{Health, Stats},
};
use keyway_ingest::trigger::types;
use keyway_storage::{
    directory::{DataDir, Durability},
    error::AppendError,
    event::{EventKind, FinalState, Position, ProjectApplied, RunFinished, RunStarted, RunState},
    log::SyncProbe,
    place::{Offset, ShardId, Timestamp},
};

const PROJECT: &str = "
name: durability
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

fn project() -> Arc<Project> {
    let origin = Origin { file: "test".into(), folder: "/".into() };
    Arc::new(read(PROJECT, &origin, &types(), &NoSecrets, &[], &mut || [1; 16]).unwrap().project)
}

struct Loader;

impl ProjectLoader for Loader {
    fn load(&self, _: &ProjectApplied) -> Arc<Project> {
        project()
    }
}

/// A disk whose syncs wait for the test, and fail when it says so.
struct Disk {
    held: AtomicBool,
    broken: AtomicBool,
    reached: Mutex<Sender<()>>,
    go: Mutex<Receiver<()>>,
}

impl SyncProbe for Disk {
    fn before_sync(&self, _: Offset) -> Result<(), String> {
        if self.held.load(Ordering::SeqCst) {
            self.reached.lock().unwrap().send(()).unwrap();
            self.go.lock().unwrap().recv().unwrap();
        }
        if self.broken.load(Ordering::SeqCst) { Err("the disk is broken".to_owned()) } else { Ok(()) }
    }
}

/// A peer that offers inputs and counts what it was told: that they are there, and that their runs have ended.
struct Peer {
    to_offer: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    /// There while the peer waits for ends.
    waits: Option<Presence>,
}

/// Executes what someone waits for at once, and nothing else.
struct Runner {
    bell: Arc<Bell>,
    done: Vec<RunReport>,
    began: Arc<AtomicU64>,
}

impl Source for Runner {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        for report in self.done.drain(..) {
            batch.push(Ticket(0), Command::Report(report), 0);
        }
        batch.push(Ticket(0), Command::Claim(Claim { worker: 0, demand: 8, permits: Permits::default() }), 0);
    }

    fn run_ahead(&mut self, runs: Vec<Ahead>) -> Duration {
        for Ahead { claim, input } in runs {
            assert_eq!(input.unwrap().body, "{}", "what the log does not have yet comes with the claim");
            let (run, attempt, at) = (claim.run, claim.attempt, Timestamp(2_000_000));
            let started = RunStarted { run, attempt, started: at, cursor: None };
            let (final_state, response) = (FinalState::None, Bytes::new());
            let finished = at;
            let state = RunState::Success;
            let end = RunFinished { run, attempt, state, error: None, final_state, response, finished };
            let events = vec![EventKind::RunStarted(started), EventKind::RunFinished(end)];
            self.done.push(RunReport { run, attempt, cursor: None, events });
            self.began.fetch_add(1, Ordering::SeqCst);
        }
        self.bell.ring();
        Duration::from_secs(60)
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        receipts.clear();
    }
}

impl Source for Peer {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        for n in 0..self.to_offer.swap(0, Ordering::SeqCst) {
            let input = Input {
                trigger: project().triggers().next().unwrap().1.id,
                position: Position::None,
                key: None,
                stream: 0,
                request: Bytes::new(),
                body: Ok(Bytes::from_static(b"{}")),
                follow: self.waits.as_ref().map(Presence::follow),
                replays: None,
            };
            batch.push(Ticket(n), Command::Receive(input), 2);
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        for receipt in receipts.drain(..) {
            match receipt.answer {
                Answer::Accepted(_) | Answer::Ended(_) => self.told.fetch_add(1, Ordering::SeqCst),
                Answer::Refused(_) => self.refused.fetch_add(1, Ordering::SeqCst),
                other => panic!("{other:?}"),
            };
        }
    }
}

struct Bench {
    shard: Shard,
    disk: Arc<Disk>,
    to_offer: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    began: Arc<AtomicU64>,
    bell: Arc<Bell>,
    reached: Receiver<()>,
    go: Sender<()>,
    _home: tempfile::TempDir,
}

fn bench(waits: Option<Presence>) -> Bench {
    let home = tempfile::tempdir().unwrap();
    let (reached_sender, reached) = channel();
    let (go, go_receiver) = channel();
    let disk = Arc::new(Disk {
        held: AtomicBool::new(false),
        broken: AtomicBool::new(false),
        reached: Mutex::new(reached_sender),
        go: Mutex::new(go_receiver),
    });
    let data = DataDir::open(&home.path().join("data"), 1).unwrap();
    let probe = Arc::clone(&disk) as Arc<dyn SyncProbe>;
    let store = data.open_shard(ShardId(0), Durability::Fsync, Some(probe)).unwrap();
    let bell = Arc::<Bell>::default();
    let mut shard = Shard::open(ShardSetup {
        id: ShardId(0),
        log: Box::new(store.log),
        state: store.state,
        views: store.views,
        catalog: Arc::new(Catalog::new(Box::new(Loader))),
        permits: Arc::new(PermitPool::default()),
        bell: Arc::clone(&bell),
        clock: Box::new(|| Timestamp(1_000_000)),
        stats: Arc::<Stats>::default(),
    })
    .unwrap();
    let file = Bytes::from_static(PROJECT.as_bytes());
    shard.request(Command::Apply(Apply { file, made: vec![], project: project() })).unwrap();
    let [to_offer, told, refused, began] = [(); 4].map(|()| Arc::new(AtomicU64::new(0)));
    let peer = Peer {
        to_offer: Arc::clone(&to_offer),
        told: Arc::clone(&told),
        refused: Arc::clone(&refused),
        waits,
    };
    shard.connect(vec![
        Box::new(peer),
        Box::new(Runner { bell: Arc::clone(&bell), done: Vec::new(), began: Arc::clone(&began) }),
    ]);
    Bench { shard, disk, to_offer, told, refused, began, bell, reached, go, _home: home }
}

#[test]
fn an_input_is_acknowledged_only_when_its_sync_has_returned() {
    let Bench { mut shard, disk, to_offer, told, began, reached, go, _home, .. } = bench(None);
    disk.held.store(true, Ordering::SeqCst);
    to_offer.store(3, Ordering::SeqCst);
    let turn = std::thread::spawn(move || shard.turn(Timestamp(2_000_000)).map(|_| shard));
    reached.recv().unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 0, "told before the disk had it");
    go.send(()).unwrap();
    assert!(turn.join().unwrap().is_ok());
    assert_eq!(told.load(Ordering::SeqCst), 3);
    assert_eq!(began.load(Ordering::SeqCst), 0, "nobody waits for these runs");
}

#[test]
fn a_run_that_someone_waits_for_may_end_before_the_sync_and_is_told_after_it() {
    let Bench { mut shard, disk, to_offer, told, began, reached, go, _home, .. } =
        bench(Some(Presence::new()));
    disk.held.store(true, Ordering::SeqCst);
    to_offer.store(3, Ordering::SeqCst);
    let turn = std::thread::spawn(move || shard.turn(Timestamp(2_000_000)).map(|_| shard));
    reached.recv().unwrap();
    assert_eq!(began.load(Ordering::SeqCst), 3);
    assert_eq!(told.load(Ordering::SeqCst), 0, "told before the disk had it");
    // One sync, for three inputs and the ends of their runs: a second one would wait for the test.
    go.send(()).unwrap();
    assert!(turn.join().unwrap().is_ok());
    assert_eq!(told.load(Ordering::SeqCst), 6);
}

#[test]
fn nothing_is_acknowledged_when_a_sync_fails_and_the_shard_takes_nothing_more() {
    let Bench { mut shard, disk, to_offer, told, .. } = bench(Some(Presence::new()));
    disk.broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        to_offer.store(3, Ordering::SeqCst);
        let fatal = shard.turn(Timestamp(2_000_000)).unwrap_err();
        assert!(matches!(fatal, Fatal::Append(AppendError::Poisoned { .. })), "{fatal}");
        // Mended or not: after a failed sync nobody knows what the disk holds.
        disk.broken.store(false, Ordering::SeqCst);
    }
    assert_eq!(told.load(Ordering::SeqCst), 0);
}

#[test]
fn whoever_asks_a_shard_whose_sync_failed_is_refused_until_it_is_stopped() {
    let Bench { mut shard, disk, to_offer, told, refused, bell, _home, .. } = bench(Some(Presence::new()));
    disk.broken.store(true, Ordering::SeqCst);
    to_offer.store(3, Ordering::SeqCst);
    let health = shard.reader().stats;
    let turns = std::thread::spawn(move || {
        let fatal = shard.run().unwrap_err();
        shard.refuse_until_stopped();
        fatal
    });
    let are_refused = |count| {
        while refused.load(Ordering::SeqCst) < count {
            std::thread::yield_now();
        }
    };
    are_refused(3);
    assert_eq!(health.health(), Health::Poisoned);
    disk.broken.store(false, Ordering::SeqCst);
    for count in [5, 7] {
        to_offer.store(2, Ordering::SeqCst);
        bell.ring();
        are_refused(count);
    }
    bell.stop();
    let fatal = turns.join().unwrap();
    assert!(matches!(fatal, Fatal::Append(AppendError::Poisoned { .. })), "{fatal}");
    assert_eq!((told.load(Ordering::SeqCst), refused.load(Ordering::SeqCst)), (0, 7));
}
