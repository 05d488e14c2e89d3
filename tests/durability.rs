//! Nobody is told anything before the disk has it.
//!
//! A shard on a real store whose syncs can be held back or failed. The test fails when release and append are
//! swapped in the turn.

#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
    mpsc::{Receiver, Sender, channel},
};

use bytes::Bytes;
use keyway_engine::{
    catalog::{Catalog, ProjectLoader},
    command::{Answer, Apply, Command, Input, Receipt, Ticket},
    mailbox::Bell,
    permit::PermitPool,
    project::{Origin, Project, Reference, SecretSource, read},
    shard::{Fatal, Shard, ShardSetup},
    source::{Batch, Positions, Source},
    stats::Stats,
};
use keyway_ingest::trigger::types;
use keyway_storage::{
    directory::{DataDir, Durability},
    error::AppendError,
    event::{Position, ProjectApplied},
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

/// A peer that offers inputs and counts what it was told.
struct Peer {
    to_offer: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
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
                follow: None,
                replays: None,
            };
            batch.push(Ticket(n), Command::Receive(input), 2);
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        for receipt in receipts.drain(..) {
            if matches!(receipt.answer, Answer::Accepted(_)) {
                self.told.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

struct Bench {
    shard: Shard,
    disk: Arc<Disk>,
    to_offer: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
    reached: Receiver<()>,
    go: Sender<()>,
    _home: tempfile::TempDir,
}

fn bench() -> Bench {
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
    let mut shard = Shard::open(ShardSetup {
        id: ShardId(0),
        log: Box::new(store.log),
        state: store.state,
        views: store.views,
        catalog: Arc::new(Catalog::new(Box::new(Loader))),
        permits: Arc::new(PermitPool::default()),
        bell: Arc::<Bell>::default(),
        clock: Box::new(|| Timestamp(1_000_000)),
        stats: Arc::<Stats>::default(),
    })
    .unwrap();
    let file = Bytes::from_static(PROJECT.as_bytes());
    shard.request(Command::Apply(Apply { file, made: vec![], project: project() })).unwrap();
    let (to_offer, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    shard.connect(vec![Box::new(Peer { to_offer: Arc::clone(&to_offer), told: Arc::clone(&told) })]);
    Bench { shard, disk, to_offer, told, reached, go, _home: home }
}

#[test]
fn an_input_is_acknowledged_only_when_its_sync_has_returned() {
    let Bench { mut shard, disk, to_offer, told, reached, go, _home } = bench();
    disk.held.store(true, Ordering::SeqCst);
    to_offer.store(3, Ordering::SeqCst);
    let turn = std::thread::spawn(move || shard.turn(Timestamp(2_000_000)).map(|_| shard));
    reached.recv().unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 0, "told before the disk had it");
    go.send(()).unwrap();
    assert!(turn.join().unwrap().is_ok());
    assert_eq!(told.load(Ordering::SeqCst), 3);
}

#[test]
fn nothing_is_acknowledged_when_a_sync_fails_and_the_shard_takes_nothing_more() {
    let Bench { mut shard, disk, to_offer, told, .. } = bench();
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
