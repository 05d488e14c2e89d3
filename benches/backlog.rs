//! A backlog: how much memory waiting runs take, how long a restart with them, and how fast they are worked off.
//!
//!     cargo bench --bench backlog            # one million
//!     KEYWAY_BACKLOG=10000000 cargo bench --bench backlog
//!
//! Another process fills a shard on a real store through its source, in full batches, without a worker, and is killed
//! (-9). Then the shard is opened again, and 100,000 of the runs are executed on one thread, through log and rows.

mod common;

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Flood, apply, catalog, data, home, open};
use keyway_engine::{
    executor::{Executor, Pool, PoolSettings},
    mailbox::Bell,
    shard::Shard,
};
use keyway_ingest::time;
use keyway_storage::{directory::Durability, event::RunState, place::ShardId};

const EXECUTED: u64 = 100_000;
/// Names the folder to the process that fills.
const FILL: &str = "KEYWAY_BACKLOG_FILL";

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    // User and system time, in hundredths of a second on Linux.
    (ticks(11) + ticks(12)) / 100.0
}

fn fill(shard: &mut Shard, count: u64) {
    let left = Arc::new(AtomicU64::new(count));
    shard.connect(vec![Box::new(Flood::new(&left))]);
    let started = Instant::now();
    while left.load(Ordering::Relaxed) > 0 {
        shard.turn(time::now()).expect("the turn succeeds");
    }
    let took = started.elapsed();
    println!("{count} waiting runs of 300 bytes: {:.0} events/s", count as f64 / took.as_secs_f64());
    println!("resident with the backlog: {} MiB", resident_mib());
}

/// Turns until so many runs have ended, with one thread that executes them.
fn work_off(mut shard: Shard, pool: &Arc<Pool>, bell: &Arc<Bell>, count: u64) {
    bell.attach();
    shard.connect(vec![Box::new(Executor::new(ShardId(0), Arc::clone(pool), bell))]);
    let threads = pool.start(&[shard.reader()]).expect("the thread starts");
    let (started, cpu) = (Instant::now(), cpu_seconds());
    while shard.current().counts().runs[RunState::Success as usize] < count {
        bell.clear();
        if !shard.turn(time::now()).expect("the turn succeeds") {
            bell.wait(Some(Duration::from_millis(100)));
        }
    }
    let (took, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{count} runs executed through log and rows: {:.0}/s on one thread, {:.0}/s for each second of CPU",
        count as f64 / took,
        count as f64 / cpu
    );
    pool.stop();
    while threads.iter().any(|thread| !thread.is_finished()) {
        shard.turn(time::now()).expect("the turn succeeds");
        thread::yield_now();
    }
}

/// Fills a data dir in another process, and kills that process (-9) once it has.
fn fill_and_kill(home: &Path) {
    let mut child = process::Command::new(env::current_exe().expect("this bench"))
        .env(FILL, home)
        .stdout(process::Stdio::piped())
        .spawn()
        .expect("the bench starts again");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    for line in lines.map_while(Result::ok).take(2) {
        println!("{line}");
    }
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
}

fn main() {
    let count: u64 = env::var("KEYWAY_BACKLOG").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let bell = Arc::<Bell>::default();
    if let Some(home) = env::var_os(FILL) {
        let dir = data(Path::new(&home));
        let mut shard = open(&dir, Durability::Fsync, &catalog(), &bell);
        apply(&mut shard);
        fill(&mut shard, count);
        thread::park();
    }
    let home = home();
    fill_and_kill(home.path());
    let dir = data(home.path());
    let (catalog, started) = (catalog(), Instant::now());
    let shard = open(&dir, Durability::Fsync, &catalog, &bell);
    println!("ready again after {:.3} s", started.elapsed().as_secs_f64());
    let waiting = shard.current().counts().runs[RunState::Available as usize];
    println!("waiting: {waiting}, resident: {} MiB", resident_mib());
    let pool = Pool::new(PoolSettings { threads: 1, catalog });
    work_off(shard, &pool, &bell, EXECUTED.min(count));
}
