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
    world::{Setting, TRIGGER, all, has_orders, is_idle, received, status, trigger},
};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn send(client: &Client, setting: &Setting, key: &str, body: &Value) {
    send_to(client, setting, i32::from(key.as_bytes()[0] % 2), key, body);
}

fn send_to(client: &Client, setting: &Setting, partition: i32, key: &str, body: &Value) {
    client.queue(&setting.topic, partition, Some(key.as_bytes()), Some(body.to_string().as_bytes()));
}

/// All runs in the order in which they began, each with its message's metadata.
fn runs(server: &Keyway) -> Vec<(Value, Value)> {
    let (_, page) = server.get("/api/work_orders?include=input&page_size=1000");
    let request = |order: &Value| order["attributes"]["input"]["request"].clone();
    let orders = page["data"].as_array().unwrap().iter();
    let requests: BTreeMap<&str, Value> =
        orders.map(|order| (order["id"].as_str().unwrap(), request(order))).collect();
    let runs = all(server, "/api/runs?page_size=1000").into_iter();
    let mut runs: Vec<(Value, Value)> =
        runs.map(|run| (requests[run["work_order_id"].as_str().unwrap()].clone(), run)).collect();
    runs.sort_by_key(|(_, run)| run["started_at"].as_str().map(str::to_owned));
    runs
}

/// The runs of each line, in the order in which its messages came; `line` names the line of a request.
pub fn lines(server: &Keyway, line: impl Fn(&Value) -> String) -> BTreeMap<String, Vec<Value>> {
    let mut runs = runs(server);
    runs.sort_by_key(|(request, _)| request["offset"].as_u64());
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (request, run) in runs {
        found.entry(line(&request)).or_default().push(run);
    }
    found
}

pub fn are_one_after_the_other(runs: &[Value]) {
    for pair in runs.windows(2) {
        let (ended, began) = (pair[0]["finished_at"].as_str(), pair[1]["started_at"].as_str());
        assert!(ended.is_some(), "it has not ended");
        assert!(ended <= began, "{began:?} began before {ended:?}");
    }
}

/// Whether a run of the one was under way together with a run of the other.
fn overlap<'a>(ones: &'a [Value], others: &'a [Value]) -> bool {
    let span = |run: &'a Value| run["started_at"].as_str().zip(run["finished_at"].as_str()).unwrap();
    let together = |one: &'a Value, other: &'a Value| {
        let ((began, ended), (other_began, other_ended)) = (span(one), span(other));
        one != other && began < other_ended && other_began < ended
    };
    ones.iter().any(|one| others.iter().any(|other| together(one, other)))
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
            send(&client, &setting, KEYS[n % 4], &json!({"n": n, "ms": 10, "fail": n % 11 == 3}));
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
        let lines: Vec<_> = lines.values().collect();
        let beside =
            |(index, one): (usize, &&Vec<Value>)| lines[..index].iter().any(|other| overlap(one, other));
        assert!(lines.iter().enumerate().any(beside), "{ordering}: no two lines went on at the same time");
    }
}

#[test]
fn without_an_order_messages_of_one_key_run_beside_each_other() {
    let (setting, client) = Setting::new("none", 1);
    let setting = setting.trigger("ordering: none");
    let home = tempfile::tempdir().unwrap();
    (0..20).for_each(|n| send_to(&client, &setting, 0, "a", &json!({"n": n, "ms": 20})));
    client.flush();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 20);
    is_idle(&server);
    let lines = lines(&server, |request| request["key"].to_string());
    let runs = &lines["\"a\""];
    assert_eq!(runs.len(), 20);
    assert!(overlap(runs, runs), "each waited for the one before it");
}

#[test]
fn a_key_that_continues_after_a_failure_lets_the_next_go_before_the_failed_one_is_tried_again() {
    let (setting, client) = Setting::new("continue", 1);
    let setting = setting.trigger("ordering: key").trigger("on_failure: continue");
    let setting =
        setting.workflow("retry: {attempts_max: 2, backoff_initial_ms: 2000, backoff_max_ms: 2000}");
    let home = tempfile::tempdir().unwrap();
    for key in ["a", "b"] {
        (0..4).for_each(|n| send_to(&client, &setting, 0, key, &json!({"n": n, "ms": 5, "fail": n == 0})));
    }
    client.flush();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 8);
    eventually("both were tried again", || status(&server)["runs"]["failed"] == 4);
    is_idle(&server);
    let (mut lines, mut offsets) = (BTreeMap::new(), BTreeMap::new());
    for (request, run) in runs(&server) {
        let key = request["key"].as_str().unwrap().to_owned();
        lines.entry(key.clone()).or_insert_with(Vec::new).push(run);
        offsets.entry(key).or_insert_with(Vec::new).push(request["offset"].as_u64());
    }
    for (key, first) in [("a", 0), ("b", 4)] {
        let expected = [first, first + 1, first + 2, first + 3, first].map(Some);
        assert_eq!(offsets[key], expected, "{key}: in the order of their beginnings");
        are_one_after_the_other(&lines[key]);
    }
    assert_eq!(trigger(&server)["blocked_keys_count"], 0);
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
    let (began, runs): (Vec<Value>, Vec<Value>) = runs(&server).into_iter().unzip();
    are_one_after_the_other(&runs);
    let log = received(&server);
    assert!(log.iter().all(|event| event["shard"] == log[0]["shard"]), "one shard has them all");
    assert!(log.is_sorted_by_key(|event| event["offset"].as_u64()));
    let came: Vec<Value> = log.into_iter().map(|mut event| event["request"].take()).collect();
    assert_eq!(began, came);
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
    let ask = |verb: &str| {
        let line = ["triggers", verb, TRIGGER, "YQ==", "--server", &server.api];
        code(&tool().args(line).output().unwrap())
    };
    assert_eq!(ask("retry-key"), 0);
    eventually("it failed again, and blocks again", || {
        status(&server)["runs"]["failed"] == 2 && trigger(&server)["blocked_keys_count"] == 1
    });
    assert!(waiting(3), "nothing overtakes it");
    assert_eq!(ask("skip-key"), 0);
    is_idle(&server);
    assert_eq!(ask("retry-key"), 1, "it is not blocked any more");
    assert_eq!(trigger(&server)["blocked_keys_count"], 0);
}

#[test]
fn of_two_partitions_that_are_blocked_the_one_that_is_named_goes_on_and_the_other_stays() {
    let (setting, client) = Setting::new("two", 2);
    let setting = setting.trigger("ordering: partition").trigger("on_failure: block_key");
    for partition in 0..2 {
        send_to(&client, &setting, partition, "a", &json!({"fail": true}));
        (0..2).for_each(|n| send_to(&client, &setting, partition, "a", &json!({"n": n})));
    }
    client.flush();
    let home = tempfile::tempdir().unwrap();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 6);
    let (names, topic) = (["name", "key_base64"], &setting.topic);
    let blocked = |partition: usize| {
        let found = trigger(&server)["partitions"][partition]["blocked_keys"].clone();
        found.get(0).map(|found| names.map(|name| found[name].clone()))
    };
    let shown = |partition: usize| [json!(format!("-{topic}:{partition}")), Value::Null];
    eventually("both are blocked", || (0..2).all(|it| blocked(it) == Some(shown(it))));
    let path = |key: &str, verb: &str| format!("/api/triggers/{TRIGGER}/blocked_keys/{key}/{verb}");
    let (answer, refused) = server.ask(&path("-", "skip"), &json!({}));
    assert_eq!(answer, 409, "{refused}");
    assert_eq!(server.ask(&path(&format!("-{topic}:2"), "skip"), &json!({})).0, 404);
    let second = format!("-{topic}:1");
    let output = tool().args(["triggers", "skip-key", TRIGGER, &second, "--server", &server.api]).output();
    assert_eq!(code(&output.unwrap()), 0);
    eventually("what waited behind it has run", || status(&server)["runs"]["success"] == 2);
    assert_eq!((blocked(0), blocked(1)), (Some(shown(0)), None));
    let ran = runs(&server).into_iter().filter(|(_, run)| run["state"] == "success");
    assert_eq!(ran.map(|(request, _)| request["partition"].clone()).collect::<Vec<_>>(), [1, 1]);
    // Of one alone the short name is enough.
    assert_eq!(server.ask(&path("-", "skip"), &json!({})).0, 200);
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
    let ask = |key: &str, verb: &str| {
        server.ask(&format!("/api/triggers/{TRIGGER}/blocked_keys/{key}/{verb}"), &json!({})).0
    };
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
    assert_eq!(server.ask(&format!("/api/triggers/{TRIGGER}/blocked_keys/YQ==/skip"), &json!({})).0, 200);
    is_idle(&server);
    assert_eq!(trigger(&server)["blocked_keys_count"], 0);
    assert_eq!(server.ask(&format!("/api/triggers/{TRIGGER}/blocked_keys/YQ==/skip"), &json!({})).0, 404);
    let lines = lines(&server, |request| request["key"].to_string());
    let states: Vec<_> = lines["\"a\""].iter().map(|run| run["state"].clone()).collect();
    assert_eq!(json!(states), json!(["failed", "failed", "success", "success", "success"]));
    lines.values().for_each(|runs| are_one_after_the_other(runs));
}
