//! The journey of a replay: past events and dead letters go through again on a machine that is killed (-9) in the middle.
//!
//! Each must become one work order, in the order in which it came, whatever the kills were; what came in meanwhile must
//! not be held up, and the rows must be the fold of the log.

use std::{path::Path, sync::Arc};

use crate::common::{
    keyway::{Keyway, eventually},
    letters::{dead_letter, write_letters},
};
use keyway_engine::{refold, shard::ShardReader, stats::Stats};
use keyway_storage::{
    directory::{DataDir, Durability},
    event::{DeadLettered, TriggerId},
    log::Log,
    place::ShardId,
};
use serde_json::{Value, json};

const INPUTS: u64 = 600;
const KEYS: u64 = 7;
const KILLS: usize = 6;
const LETTERS: u64 = 400;
/// Every so many dead letters one is still no good.
const BAD_ONE_IN: u64 = 10;
const KAFKA: TriggerId = TriggerId(0x0c9f_1f9e_60a4_4f0c_8a4a_3f3c_9f1d_9f04_u128.to_be_bytes());
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
  measures:
    jobs:
      same: {name: Same, body: "fn(state => state)"}
    triggers:
      kafka:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04
        type: kafka
        enabled: true
        kafka_configuration: {hosts: ['localhost:9092'], topics: [measures]}
    edges:
      kafka->same: {source_trigger: kafka, target_job: same, condition_type: always, enabled: true}
"#;

fn start(home: &Path, round: usize) -> Keyway {
    Keyway::start(home, &["--shards", "2", "--runtime", ["io_uring", "epoll"][round % 2]])
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
    let begun = server.ask("/api/replays", &body).1;
    assert_eq!(begun["data"]["attributes"]["matched"], INPUTS, "{begun}");
    let id = begun["data"]["id"].as_str().unwrap().to_owned();
    let server = killed_until_done(home.path(), server, &id, INPUTS);
    let done = show(&server, &id);
    assert_eq!((&done["replayed"], &done["failed"]), (&json!(INPUTS), &json!(0)));
    each_key_in_order(&server, INPUTS, |_| true);
    eventually("every run has ended", || server.get("/api/status").1["data"]["runs"]["available"] == 0);
    assert_eq!(server.stop().code(), Some(0));
    rows_are_the_fold_of_the_log(&home.path().join("data"));
}

#[test]
fn every_dead_letter_goes_through_once_and_in_order_whatever_kills_there_are() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    assert_eq!(start(home.path(), 0).stop().code(), Some(0));
    write_letters(&home.path().join("data"), letters_of);
    let server = start(home.path(), 0);
    let counted = |server: &Keyway| server.get("/api/status").1["data"]["dead_letters"].as_u64();
    assert_eq!(counted(&server), Some(LETTERS));
    let body = json!({"from": "dead_letters", "reason": "no_run_created", "rate_per_second": 200});
    let begun = server.ask("/api/replays", &body).1;
    assert_eq!(begun["data"]["attributes"]["matched"], LETTERS, "{begun}");
    let id = begun["data"]["id"].as_str().unwrap().to_owned();
    let server = killed_until_done(home.path(), server, &id, LETTERS);
    let (done, bad) = (show(&server, &id), LETTERS / BAD_ONE_IN);
    assert_eq!((&done["replayed"], &done["failed"]), (&json!(LETTERS - bad), &json!(bad)));
    assert_eq!(counted(&server), Some(bad), "what is still no good stays open");
    each_key_in_order(&server, LETTERS, |n| n % BAD_ONE_IN != 0);
    eventually("every run has ended", || server.get("/api/status").1["data"]["runs"]["available"] == 0);
    assert_eq!(server.stop().code(), Some(0));
    rows_are_the_fold_of_the_log(&home.path().join("data"));
}

/// Each log has those of its keys, and every tenth is still no good.
fn letters_of(shard: ShardId) -> Vec<DeadLettered> {
    let letter = |n: u64| {
        let key = n % KEYS;
        let raw = match n % BAD_ONE_IN {
            0 => format!("{{\"n\": {n}, oops"),
            _ => json!({"key": key, "n": n}).to_string(),
        };
        dead_letter(KAFKA, n, key, raw)
    };
    (0..LETTERS).filter(|n| n % KEYS % 2 == u64::from(shard.0)).map(letter).collect()
}

/// Kills the server again and again while a replay goes on, which must end all the same.
fn killed_until_done(home: &Path, mut server: Keyway, id: &str, items: u64) -> Keyway {
    for round in 1..=KILLS {
        let target = (items as usize * round / (KILLS + 2)) as u64;
        eventually("it has come far enough", || show(&server, id)["replayed"].as_u64().unwrap() >= target);
        server.kill();
        server = start(home, round);
        assert_eq!(show(&server, id)["state"], "running");
        assert_eq!(server.post(HOOK, &json!({"key": "live", "n": items + round as u64}).to_string()).0, 200);
    }
    eventually("it is done", || show(&server, id)["state"] == "done");
    server
}

fn each_key_in_order(server: &Keyway, items: u64, is_good: impl Fn(u64) -> bool) {
    let again = replayed(server);
    for key in 0..KEYS {
        let of_key: Vec<_> = again.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
        let expected: Vec<_> = (0..items).filter(|n| n % KEYS == key && is_good(*n)).collect();
        assert_eq!(of_key, expected, "key {key}");
    }
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
