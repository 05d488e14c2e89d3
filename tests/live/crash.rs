//! The journey of a machine that dies: the process is killed (-9) again and again under concurrent load.
//!
//! Whoever was told 200 must find his work order afterwards, once, with its input, and its run must end. The rows
//! that survived must be the fold of the log that survived.

mod many;
mod steps;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::common::keyway::{Keyway, eventually};
use keyway_engine::{refold, shard::ShardReader, stats::Stats};
use keyway_storage::{
    directory::{DataDir, Durability},
    log::Log,
};
use serde_json::Value;

const ROUNDS: usize = 20;
const SENDERS: usize = 8;
/// How many acknowledgements each round waits for before the kill: never the same point of a turn twice.
const ACKNOWLEDGED_BEFORE_KILL: [usize; 5] = [1, 17, 60, 150, 333];
const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: crash
workflows:
  intake:
    jobs:
      double: {name: Double, body: "fn(state => ({ data: { n: state.data.n * 2 } }))"}
    triggers:
      webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}
    edges:
      webhook->double: {source_trigger: webhook, target_job: double, condition_type: always, enabled: true}
"#;

/// What the senders were told: the number that they sent, by the work order that they were given for it.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_twenty_kills() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let acknowledged = Acknowledged::default();
    let sent = Arc::new(AtomicU64::new(0));
    for round in 0..ROUNDS {
        let server = start(home.path(), round);
        if round % 3 == 2 {
            // One that five processes in a row had and lost is lost by the rules: some get through in between.
            eventually("what was left has ended", || open_runs(&server) == 0);
        }
        let target = acknowledged.lock().unwrap().len() + ACKNOWLEDGED_BEFORE_KILL[round % 5];
        send_until_killed(server, target, &acknowledged, &sent);
    }
    let server = start(home.path(), ROUNDS);
    is_whole(server, &acknowledged.lock().unwrap(), sent.load(Ordering::SeqCst));
    rows_are_the_fold_of_the_log(&home.path().join("data"));
}

/// Lets every run end, and holds what is there against what was acknowledged. Gives how many work orders there are.
fn is_whole(server: Keyway, acknowledged: &BTreeMap<String, u64>, sent: u64) -> usize {
    eventually("every run has ended", || open_runs(&server) == 0);
    let found = check(&server, acknowledged, sent);
    assert_eq!(server.stop().code(), Some(0));
    found
}

fn start(home: &Path, round: usize) -> Keyway {
    Keyway::start(home, &["--shards", "2", "--runtime", ["io_uring", "epoll"][round % 2]])
}

/// Sends from several connections at once, and kills the server in the middle of it.
fn send_until_killed(server: Keyway, target: usize, acknowledged: &Acknowledged, sent: &Arc<AtomicU64>) {
    let dead = Arc::new(AtomicBool::new(false));
    let url = format!("{}{HOOK}", server.url);
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| send(url.clone(), Arc::clone(acknowledged), Arc::clone(sent), Arc::clone(&dead)))
        .collect();
    eventually("enough is acknowledged", || acknowledged.lock().unwrap().len() >= target);
    server.kill();
    dead.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().unwrap();
    }
}

fn send(
    url: String,
    acknowledged: Acknowledged,
    sent: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
    let agent: ureq::Agent = config.build().into();
    thread::spawn(move || {
        while !dead.load(Ordering::SeqCst) {
            let n = sent.fetch_add(1, Ordering::SeqCst);
            let post = agent.post(&url).content_type("application/json").send(format!("{{\"n\":{n}}}"));
            // The server is gone, or went while it answered.
            let Ok(mut answer) = post else { return };
            let Ok(body) = answer.body_mut().read_json::<Value>() else { return };
            assert_eq!(answer.status().as_u16(), 200);
            let id = body["work_order_id"].as_str().unwrap().to_owned();
            assert_eq!(
                acknowledged.lock().unwrap().insert(id, n),
                None,
                "one work order was given to two inputs"
            );
        }
    })
}

fn open_runs(server: &Keyway) -> u64 {
    let (_, status) = server.get("/api/status");
    let runs = &status["data"]["runs"];
    ["available", "claimed", "started"].iter().map(|state| runs[*state].as_u64().unwrap()).sum()
}

/// Every acknowledged input is there once; what was sent and not acknowledged may be there, once too. Gives how many are.
fn check(server: &Keyway, acknowledged: &BTreeMap<String, u64>, sent: u64) -> usize {
    let mut seen = HashSet::new();
    let mut found = BTreeMap::new();
    let mut next = Some("/api/work_orders?include=input&page_size=500".to_owned());
    while let Some(path) = next {
        let (_, page) = server.get(&path);
        for order in page["data"].as_array().unwrap() {
            let attributes = &order["attributes"];
            let n = attributes["input"]["data"]["n"].as_u64().unwrap();
            assert!(n < sent);
            assert!(seen.insert(n), "input {n} became two work orders");
            assert_eq!(attributes["state"], "success", "{order}");
            assert_eq!(attributes["runs"].as_array().unwrap().len(), 1, "{order}");
            found.insert(order["id"].as_str().unwrap().to_owned(), n);
        }
        next = page["links"]["next"].as_str().map(str::to_owned);
    }
    for (id, n) in acknowledged {
        assert_eq!(found.get(id), Some(n), "acknowledged, but not there: {id}");
    }
    let Some((id, n)) = found.iter().next() else { return 0 };
    let (_, order) = server.get(&format!("/api/work_orders/{id}"));
    let run = order["data"]["attributes"]["runs"][0].as_str().unwrap().to_owned();
    let (_, run) = server.get(&format!("/api/runs/{run}?include=final_state"));
    assert_eq!(run["data"]["attributes"]["final_state"]["data"]["n"], n * 2);
    found.len()
}

fn rows_are_the_fold_of_the_log(data: &Path) {
    let data = DataDir::open_existing(data).unwrap();
    for shard in data.shards() {
        let store = data.open_shard(shard, Durability::Fsync, None).unwrap();
        let (log, state, views) = (store.log.reader(), store.state.reader(), store.views.reader());
        let reader = ShardReader { shard, log, state, views, stats: Arc::<Stats>::default() };
        assert_eq!(refold::difference(&reader).unwrap(), None);
    }
}
