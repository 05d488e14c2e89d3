//! Order with concurrency: runs of one key one after the other, other keys beside them, whatever fails or crashes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    broker::Broker,
    client::Client,
    common::{
        code,
        keyway::{Keyway, eventually},
        tool,
    },
    world::{Setting, TRIGGER, all, by_place, has_orders, is_read, orders, status, trigger},
};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn send(client: &Client, setting: &Setting, key: &str, body: &Value) {
    let partition = i32::from(key.as_bytes()[0] % 2);
    client.queue(&setting.topic, partition, Some(key.as_bytes()), Some(body.to_string().as_bytes()));
}

/// Waits until no run is open.
fn is_idle(server: &Keyway) {
    eventually("all runs have ended", || {
        let runs = status(server)["runs"].clone();
        ["available", "claimed", "started"].iter().all(|state| runs[*state].as_u64().unwrap_or(0) == 0)
    });
}

/// The runs of each line, in the order in which its messages came; `line` names the line of a request.
fn lines(server: &Keyway, line: impl Fn(&Value) -> String) -> BTreeMap<String, Vec<Value>> {
    let runs: BTreeMap<String, Vec<Value>> =
        all(server, "/api/runs?page_size=1000").into_iter().fold(BTreeMap::new(), |mut runs, run| {
            runs.entry(run["work_order_id"].as_str().unwrap().to_owned()).or_insert_with(Vec::new).push(run);
            runs
        });
    let mut found: BTreeMap<String, Vec<(Value, Value)>> = BTreeMap::new();
    let (_, page) = server.get("/api/work_orders?include=input&page_size=1000");
    for order in page["data"].as_array().unwrap() {
        let request = &order["attributes"]["input"]["request"];
        for run in &runs[order["id"].as_str().unwrap()] {
            found.entry(line(request)).or_default().push((request["offset"].clone(), run.clone()));
        }
    }
    let sorted = |mut runs: Vec<(Value, Value)>| {
        runs.sort_by_key(|(offset, run)| (offset.as_u64(), run["started_at"].as_str().map(str::to_owned)));
        runs.into_iter().map(|(_, run)| run).collect()
    };
    found.into_iter().map(|(line, runs)| (line, sorted(runs))).collect()
}

fn are_one_after_the_other(runs: &[Value]) {
    for pair in runs.windows(2) {
        let (ended, began) = (pair[0]["finished_at"].as_str(), pair[1]["started_at"].as_str());
        assert!(ended.is_some(), "it has not ended");
        assert!(ended <= began, "{began:?} began before {ended:?}");
    }
}

#[test]
fn sharp_edge_order_or_concurrency_each_key_keeps_its_order_beside_the_others() {
    for (ordering, count) in [("key", 4), ("partition", 2)] {
        let (setting, client) = Setting::new("order", 2);
        let setting = setting.trigger(&format!("ordering: {ordering}")).trigger("on_failure: retry");
        let setting =
            setting.workflow("retry: {attempts_max: 2, backoff_initial_ms: 20, backoff_max_ms: 20}");
        let home = tempfile::tempdir().unwrap();
        for n in 0..40 {
            send(&client, &setting, KEYS[n % 4], &json!({"n": n, "fail": n % 11 == 3}));
        }
        client.flush();
        let server = setting.start(home.path(), &[]);
        has_orders(&server, 40);
        is_idle(&server);
        let lines = lines(&server, |request| match ordering {
            "key" => request["key"].to_string(),
            _ => request["partition"].to_string(),
        });
        assert_eq!(lines.len(), count);
        lines.values().for_each(|runs| are_one_after_the_other(runs));
        // Four failed, and were tried a second time before anything of their line went on.
        assert_eq!(lines.values().map(Vec::len).sum::<usize>(), 44);
    }
}

#[test]
fn a_workflow_with_concurrency_one_runs_all_messages_in_the_order_of_the_log() {
    let (setting, client) = Setting::new("serial", 2);
    let setting = setting.workflow("concurrency: 1");
    let home = tempfile::tempdir().unwrap();
    (0..30).for_each(|n| send(&client, &setting, KEYS[n % 4], &json!({"n": n})));
    client.flush();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 30);
    is_idle(&server);
    let mut runs = all(&server, "/api/runs?page_size=1000");
    runs.sort_by_key(|run| run["started_at"].as_str().map(str::to_owned));
    are_one_after_the_other(&runs);
    lines(&server, |request| request["partition"].to_string())
        .values()
        .for_each(|runs| are_one_after_the_other(runs));
}

#[test]
fn a_blocked_key_is_shown_with_its_partition_and_goes_on_when_someone_decides() {
    let (setting, client) = Setting::new("blocked", 2);
    let setting = setting.trigger("on_failure: block_key");
    let home = tempfile::tempdir().unwrap();
    send(&client, &setting, "a", &json!({"fail": true}));
    (0..3).for_each(|n| send(&client, &setting, "a", &json!({"n": n})));
    (0..3).for_each(|n| send(&client, &setting, "c", &json!({"n": n})));
    client.flush();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 7);
    let waiting = |count: u64| status(&server)["runs"]["available"].as_u64().unwrap_or(0) == count;
    eventually("only the blocked key waits", || waiting(3) && trigger(&server)["blocked_keys_count"] == 1);
    let seen = trigger(&server);
    let blocked = &seen["partitions"][1]["blocked_keys"][0];
    assert_eq!(
        (&blocked["key_base64"], &seen["partitions"][1]["blocked_keys_count"]),
        (&json!("YQ=="), &json!(1))
    );
    assert!(blocked["reason"].as_str().unwrap().contains("it was told to fail"));
    assert_eq!(seen["partitions"][0]["blocked_keys"], json!([]));
    let output =
        tool().args(["triggers", "skip-key", TRIGGER, "YQ==", "--server", &server.api]).output().unwrap();
    assert_eq!(code(&output), 0);
    is_idle(&server);
    assert_eq!(trigger(&server)["blocked_keys_count"], 0);
}

/// A keyway and a broker that are killed while messages flow: each message becomes one work order, in the order of its key.
#[test]
fn whatever_is_killed_each_message_becomes_one_work_order_and_keys_keep_their_order() {
    const PARTITIONS: i32 = 4;
    let count = std::env::var("KEYWAY_TEST_KAFKA_MESSAGES").map_or(4_000, |count| count.parse().unwrap());
    let mut broker = Broker::start();
    let client = Client::new(&broker.address());
    let setting = Setting::on(&broker.address(), "crash", PARTITIONS);
    let home = tempfile::tempdir().unwrap();
    let mut server = setting.start(home.path(), &[]);
    const ROUNDS: i64 = 6;
    for round in 0..ROUNDS {
        for n in round * count / ROUNDS..(round + 1) * count / ROUNDS {
            let (key, body) = (format!("k{}", n % 50), json!({"n": n}).to_string());
            client.queue(
                &setting.topic,
                (n % 50) as i32 % PARTITIONS,
                Some(key.as_bytes()),
                Some(body.as_bytes()),
            );
        }
        let before = orders(&server);
        eventually("some came in", || orders(&server) > before);
        if round % 3 == 1 {
            broker.kill();
            broker.restart();
        }
        server.kill();
        client.flush();
        let committed = client.committed(&setting.group, &setting.topic, PARTITIONS);
        server = setting.start(home.path(), &[]);
        is_read(&server, PARTITIONS as usize);
        for partition in trigger(&server)["partitions"].as_array().unwrap() {
            let committed = committed[partition["partition"].as_u64().unwrap() as usize].unwrap_or(0);
            assert!(partition["position"].as_i64().unwrap() >= committed, "committed ahead of the log");
        }
    }
    assert_eq!(client.count(&setting.topic, PARTITIONS), count, "the broker has each message once");
    eventually("all came in", || orders(&server) >= count as u64);
    is_idle(&server);
    // By their places first: a message that came twice is told from one that was sent twice.
    let places = by_place(&server);
    let twice: Vec<_> = places.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "not once: {twice:?}");
    assert_eq!(places.len() as i64, count);
    has_orders(&server, count as u64);
    let mut last: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for (key, runs) in begun(&server) {
        for (offset, started, finished) in runs {
            let before = last.insert(key.clone(), (offset, finished));
            assert!(
                before.is_none_or(|(before, ended)| before < offset && ended <= started),
                "{key} at {offset}"
            );
        }
    }
    assert_eq!(last.len(), 50);
}

/// Offset, begin and end of the runs of each key, in the order of their ends.
fn begun(server: &Keyway) -> BTreeMap<String, Vec<(u64, String, String)>> {
    let events = crate::world::events(server);
    let (mut keys, mut begins) = (BTreeMap::new(), BTreeMap::new());
    let mut found: BTreeMap<String, Vec<(u64, String, String)>> = BTreeMap::new();
    for event in events {
        let run = event["run_id"].as_str().unwrap_or_default().to_owned();
        match event["kind"].as_str().unwrap() {
            "Received" => {
                let key = event["request"]["key"].as_str().unwrap().to_owned();
                keys.insert(run, (key, event["kafka_offset"].as_u64().unwrap()));
            }
            "RunStarted" => drop(begins.insert(run, event["started"].as_str().unwrap().to_owned())),
            "RunFinished" => {
                let (key, offset) = keys[&run].clone();
                let ended = event["finished"].as_str().unwrap().to_owned();
                found.entry(key).or_default().push((offset, begins[&run].clone(), ended));
            }
            _ => {}
        }
    }
    found
}
