//! A backlog: how much memory waiting runs take, and how long a restart with them.
//!
//!     cargo bench --bench backlog            # one million
//!     KEYWAY_BACKLOG=10000000 cargo bench --bench backlog
//!
//! Fills a shard on a real store through its source, in full batches, without a worker; drops it without a clean end,
//! and opens it again. Prints events per second, resident memory before and after, and the time until it is ready.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use keyway_engine::{
    catalog::{Catalog, ProjectLoader},
    command::{Apply, Command, Input, Receipt, Ticket},
    mailbox::Bell,
    permit::PermitPool,
    project::{Origin, Project, Reference, SecretSource, read},
    shard::{Shard, ShardSetup},
    source::{Batch, Positions, Source},
    stats::Stats,
};
use keyway_ingest::{time, trigger::TRIGGERS};
use keyway_storage::{
    directory::{DataDir, Durability},
    event::{Position, ProjectApplied, TriggerId},
    place::{ShardId, Timestamp},
};

const PROJECT: &str = "
name: backlog
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
    let origin = Origin { file: "backlog".into(), folder: "/".into() };
    let reading = read(PROJECT, &origin, TRIGGERS, &NoSecrets, &[], &mut || [1; 16]);
    Arc::new(reading.expect("the project is valid").project)
}

struct Loader;

impl ProjectLoader for Loader {
    fn load(&self, _: &ProjectApplied) -> Arc<Project> {
        project()
    }
}

struct Flood {
    left: Arc<AtomicU64>,
    trigger: TriggerId,
    body: Bytes,
}

impl Source for Flood {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        while self.left.load(Ordering::Relaxed) > 0 && batch.has_room(self.body.len()) {
            self.left.fetch_sub(1, Ordering::Relaxed);
            let input = Input {
                trigger: self.trigger,
                position: Position::None,
                key: None,
                stream: 0,
                request: Bytes::new(),
                body: Ok(self.body.clone()),
                follow: false,
                replays: None,
            };
            batch.push(Ticket(0), Command::Receive(input), self.body.len());
        }
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        receipts.clear();
    }
}

fn open(data: &DataDir) -> Shard {
    let store = data.open_shard(ShardId(0), Durability::Fsync, None).expect("the shard opens");
    Shard::open(ShardSetup {
        id: ShardId(0),
        log: Box::new(store.log),
        state: store.state,
        views: store.views,
        catalog: Arc::new(Catalog::new(Box::new(Loader))),
        permits: Arc::new(PermitPool::default()),
        bell: Arc::<Bell>::default(),
        clock: Box::new(time::now),
        stats: Arc::<Stats>::default(),
    })
    .expect("the shard opens")
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn main() {
    let count: u64 =
        std::env::var("KEYWAY_BACKLOG").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let home = tempfile::tempdir_in(".").expect("a folder on this disk");
    let path = home.path().join("data");
    let data = DataDir::open(&path, 1).expect("the data dir opens");
    let mut shard = open(&data);
    let file = Bytes::from_static(PROJECT.as_bytes());
    shard
        .request(Command::Apply(Apply { file, made: vec![], project: project() }))
        .expect("the project is applied");
    let left = Arc::new(AtomicU64::new(count));
    let trigger = project().triggers().next().expect("there is one").1.id;
    let body = Bytes::from(format!("{{\"note\":\"{}\"}}", "x".repeat(288)));
    shard.connect(vec![Box::new(Flood { left: Arc::clone(&left), trigger, body })]);
    let started = Instant::now();
    while left.load(Ordering::Relaxed) > 0 {
        shard.turn(time::now()).expect("the turn succeeds");
    }
    let took = started.elapsed();
    println!("{count} waiting runs of 300 bytes: {:.0} events/s", count as f64 / took.as_secs_f64());
    println!("resident with the backlog: {} MiB", resident_mib());
    drop(shard);
    println!("resident after it was dropped: {} MiB", resident_mib());
    drop(data);
    let data = DataDir::open(&path, 1).expect("the data dir opens");
    let started = Instant::now();
    let shard = open(&data);
    println!("ready again after {:.3} s", started.elapsed().as_secs_f64());
    println!("waiting: {}, resident: {} MiB", shard.current().counts().runs[0], resident_mib());
}
