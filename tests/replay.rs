//! The journey of a replay: past events go through again on a machine that is killed (-9) in the middle of it.
//!
//! Each must become one work order, in the order in which it came, whatever the kills were; what came in meanwhile must
//! not be held up, and the rows must be the fold of the log.

#![allow(clippy::unwrap_used)]

mod common;

use std::{path::Path, sync::Arc};

use common::keyway::{Keyway, eventually};
use keyway_engine::{refold, shard::ShardReader, stats::Stats};
use keyway_storage::{
    directory::{DataDir, Durability},
    log::Log,
};
use serde_json::{Value, json};

const INPUTS: u64 = 600;
const KEYS: u64 = 7;
const KILLS: usize = 6;
const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: again
workflows:
  intake:
    jobs:
      same: {name: Same, body: "fn(state => state)"}
    triggers:
      webhook:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01
        type: webhook
        enabled: true
        ordering: key
        ordering_key: /key
    edges:
      webhook->same: {source_trigger: webhook, target_job: same, condition_type: always, enabled: true}
"#;

fn start(home: &Path, round: usize) -> Keyway {
    Keyway::start(home, &["--shards", "2", "--runtime", ["io_uring", "epoll"][round % 2]])
}

fn post(server: &Keyway, path: &str, body: &Value) -> Value {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(format!("{}{path}", server.api)).send_json(body).unwrap();
    answer.body_mut().read_json().unwrap()
}

fn show(server: &Keyway, id: &str) -> Value {
    server.get(&format!("/api/replays/{id}")).1["data"]["attributes"].clone()
}

#[test]
fn every_item_goes_through_once_and_in_order_whatever_kills_there_are() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = start(home.path(), 0);
    for n in 0..INPUTS {
        assert_eq!(server.post(HOOK, &json!({"key": n % KEYS, "n": n}).to_string()).0, 200);
    }
    let body = json!({"from": "events", "workflow": "intake", "rate_per_second": 200});
    let begun = post(&server, "/api/replays", &body);
    assert_eq!(begun["data"]["attributes"]["matched"], INPUTS, "{begun}");
    let id = begun["data"]["id"].as_str().unwrap().to_owned();
    let mut server = server;
    for round in 1..=KILLS {
        let target = (INPUTS as usize * round / (KILLS + 2)) as u64;
        eventually("it has come far enough", || show(&server, &id)["replayed"].as_u64().unwrap() >= target);
        server.kill();
        server = start(home.path(), round);
        assert_eq!(show(&server, &id)["state"], "running");
        assert_eq!(server.post(HOOK, &json!({"key": "live", "n": INPUTS + round as u64}).to_string()).0, 200);
    }
    eventually("it is done", || show(&server, &id)["state"] == "done");
    let done = show(&server, &id);
    assert_eq!((&done["replayed"], &done["failed"]), (&json!(INPUTS), &json!(0)));
    let again = replayed(&server);
    for key in 0..KEYS {
        let of_key: Vec<_> = again.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
        let expected: Vec<_> = (0..INPUTS).filter(|n| n % KEYS == key).collect();
        assert_eq!(of_key, expected, "key {key}");
    }
    eventually("every run has ended", || server.get("/api/status").1["data"]["runs"]["available"] == 0);
    assert_eq!(server.stop().code(), Some(0));
    rows_are_the_fold_of_the_log(&home.path().join("data"));
}

/// Key and number of what was replayed, in the order of each log.
fn replayed(server: &Keyway) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut next = Some("/api/events?page_size=1000".to_owned());
    while let Some(path) = next {
        let (_, page) = server.get(&path);
        let events = page["data"].as_array().unwrap().iter().map(|event| &event["attributes"]);
        for event in events.filter(|event| event["kind"] == "Received" && !event["replays"].is_null()) {
            found.push((event["body"]["key"].as_u64().unwrap(), event["body"]["n"].as_u64().unwrap()));
        }
        next = page["links"]["next"].as_str().map(str::to_owned);
    }
    found
}

fn rows_are_the_fold_of_the_log(data: &Path) {
    let data = DataDir::open(data, 2).unwrap();
    for shard in data.shards() {
        let store = data.open_shard(shard, Durability::Fsync, None).unwrap();
        let (log, state, views) = (store.log.reader(), store.state.reader(), store.views.reader());
        let reader = ShardReader { shard, log, state, views, stats: Arc::<Stats>::default() };
        assert_eq!(refold::difference(&reader).unwrap(), None);
    }
}
