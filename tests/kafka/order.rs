//! Order with concurrency: runs of one key one after the other, other keys beside them, whatever fails or crashes.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::{
    client::Client,
    common::{
        code,
        keyway::{Keyway, eventually},
        tool,
    },
    world::{Setting, TRIGGER, all, has_orders, is_idle, status, trigger},
};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn send(client: &Client, setting: &Setting, key: &str, body: &Value) {
    let partition = i32::from(key.as_bytes()[0] % 2);
    client.queue(&setting.topic, partition, Some(key.as_bytes()), Some(body.to_string().as_bytes()));
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

/// A server whose key `a` is blocked by its first message: three of `a` wait behind it, three of `c` do not.
fn blocked(home: &Path, name: &str) -> (Setting, Keyway) {
    let (setting, client) = Setting::new(name, 2);
    let setting = setting.trigger("on_failure: block_key");
    send(&client, &setting, "a", &json!({"fail": true}));
    (0..3).for_each(|n| send(&client, &setting, "a", &json!({"n": n})));
    (0..3).for_each(|n| send(&client, &setting, "c", &json!({"n": n})));
    client.flush();
    let server = setting.start(home, &[]);
    has_orders(&server, 7);
    (setting, server)
}

#[test]
fn a_blocked_key_is_shown_with_its_partition_and_goes_on_when_someone_decides() {
    let home = tempfile::tempdir().unwrap();
    let (_, server) = blocked(home.path(), "blocked");
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

#[test]
fn a_blocked_key_is_tried_again_and_passed_over_by_the_api_and_what_waited_follows_in_order() {
    let home = tempfile::tempdir().unwrap();
    let (setting, server) = blocked(home.path(), "released");
    let state = |state: &str| status(&server)["runs"][state].as_u64().unwrap_or(0);
    let blocked = || trigger(&server)["blocked_keys_count"].as_u64().unwrap();
    eventually("only the blocked key waits", || state("available") == 3 && blocked() == 1);
    let ask =
        |key: &str, verb: &str| server.ask(&format!("/api/triggers/{TRIGGER}/blocked_keys/{key}/{verb}")).0;
    assert_eq!(ask("Yw==", "skip"), 404, "the other key is not blocked");

    // Tried again, it fails again: nothing overtakes it.
    assert_eq!(ask("YQ==", "retry"), 200);
    eventually("it failed again, and blocks again", || state("failed") == 2 && blocked() == 1);
    assert_eq!(state("available"), 3);
    // Nor does a crash let anything pass.
    server.kill();
    let server = setting.read(home.path(), 2);
    let seen = trigger(&server);
    assert_eq!((&seen["blocked_keys_count"], &status(&server)["runs"]["available"]), (&json!(1), &json!(3)));
    assert_eq!(server.ask(&format!("/api/triggers/{TRIGGER}/blocked_keys/YQ==/skip")).0, 200);
    is_idle(&server);
    assert_eq!(trigger(&server)["blocked_keys_count"], 0);
    assert_eq!(server.ask(&format!("/api/triggers/{TRIGGER}/blocked_keys/YQ==/skip")).0, 404);
    let lines = lines(&server, |request| request["key"].to_string());
    let states: Vec<_> = lines["\"a\""].iter().map(|run| run["state"].clone()).collect();
    assert_eq!(json!(states), json!(["failed", "failed", "success", "success", "success"]));
    lines.values().for_each(|runs| are_one_after_the_other(runs));
}
