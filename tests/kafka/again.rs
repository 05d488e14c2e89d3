//! The story of messages that could not become work orders, found, corrected and replayed: in order, none twice.
//!
//! OpenFn's Kafka triggers lost such messages (Lightning's issue 4564): their offsets were committed, nothing was kept.

use std::{fs, thread};

use serde_json::{Value, json};

use crate::{
    common::{
        code,
        keyway::{Keyway, eventually},
        stderr, stdout, tool,
    },
    order::{are_one_after_the_other, lines},
    world::{Setting, TRIGGER, all, by_place, has_orders, is_idle, is_read, orders, received, trigger},
};

#[test]
fn sharp_edge_no_reprocessing_messages_that_could_not_become_work_orders_are_found_corrected_and_replayed() {
    let (setting, client) = Setting::new("again", 2);
    let home = tempfile::tempdir().unwrap();
    // Of each key every third message is an array, and one is no JSON at all.
    for n in 0..60_i64 {
        let (key, partition) = (["a", "b", "c", "d"][n as usize % 4], (n % 2) as i32);
        let value = match n {
            7 => "{\"n\": 7,".to_owned(),
            n if n % 3 == 0 => format!("[{n}]"),
            n => format!("{{\"n\":{n}}}"),
        };
        client.queue(&setting.topic, partition, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    client.flush();
    let server = setting.start(home.path(), &[]);
    has_orders(&server, 39);
    eventually("the others are kept", || trigger(&server)["dead_letters"] == 21);
    eventually("all is committed", || {
        client.committed(&setting.group, &setting.topic, 2) == [Some(30), Some(30)]
    });
    let ask = |line: &[&str]| tool().args(["--server", &server.api]).args(line).output().unwrap();

    // Found, looked at, and corrected by hand.
    let found =
        stdout(&ask(&["dead-letters", "list", "--state", "open", "--reason", "invalid_json", "--json"]));
    let letter: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(letter["source"]["kafka_offset"], 3);
    let id = letter["id"].as_str().unwrap();
    assert!(stdout(&ask(&["dead-letters", "show", id])).contains("{\"n\": 7,"));
    let refused = ask(&["dead-letters", "replay", id]);
    assert_eq!(code(&refused), 1, "as it is, it fails again");
    let good = home.path().join("good.json");
    fs::write(&good, "{\"n\": 7}").unwrap();
    let output = ask(&["dead-letters", "replay", id, "--body", good.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));

    // The others fail again until the trigger takes arrays.
    let failed = ask(&["replay", "--trigger-id", TRIGGER, "--reason", "not_an_object", "--json"]);
    let failed: Value = serde_json::from_str(&stdout(&failed)).unwrap();
    assert_eq!(
        (&failed["matched"], &failed["replayed"], &failed["failed"]),
        (&json!(20), &json!(0), &json!(20))
    );
    let setting = setting.kafka("payload: any_json");
    fs::write(home.path().join("project.yaml"), setting.project()).unwrap();
    let applied = ask(&["apply", home.path().join("project.yaml").to_str().unwrap()]);
    assert_eq!(code(&applied), 0, "{}", stderr(&applied));
    let range = ["--topic", &setting.topic, "--partition", "0", "--from-offset", "0", "--to-offset", "29"];
    let done = ask(&[&["replay", "--json"], &range[..]].concat());
    let done: Value = serde_json::from_str(&stdout(&done)).unwrap();
    assert_eq!((&done["matched"], &done["replayed"]), (&json!(10), &json!(10)), "one partition");
    let done = ask(&["replay", "--trigger-id", TRIGGER, "--json"]);
    let done: Value = serde_json::from_str(&stdout(&done)).unwrap();
    assert_eq!((&done["matched"], &done["replayed"]), (&json!(10), &json!(10)), "the rest of them");

    each_became_one_work_order(&server);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn messages_of_a_key_that_come_during_its_replay_run_between_the_replayed_ones_and_never_beside_one() {
    let (setting, client) = Setting::new("between", 1);
    let home = tempfile::tempdir().unwrap();
    let topic = setting.topic.clone();
    let send = |body: String| client.send(&topic, 0, Some(b"a"), Some(body.as_bytes()));
    // They may be replayed when the trigger takes arrays; their runs take a while then.
    (0..20).for_each(|n| send(format!("[{n}]")));
    let server = setting.read(home.path(), 1);
    eventually("all are kept", || trigger(&server)["dead_letters"] == 20);
    let setting = setting.kafka("payload: any_json");
    fs::write(home.path().join("project.yaml"), setting.project()).unwrap();
    let ask = |line: &[&str]| {
        let output = tool().args(["--server", &server.api]).args(line).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    };
    ask(&["apply", home.path().join("project.yaml").to_str().unwrap()]);
    is_read(&server, 1);
    thread::scope(|scope| {
        scope.spawn(|| (0..20).for_each(|n| send(format!("{{\"n\":{n},\"ms\":20}}"))));
        eventually("the first of them runs", || orders(&server) > 0);
        ask(&["replay", "--trigger-id", TRIGGER]);
    });
    has_orders(&server, 40);
    is_idle(&server);
    let lines = lines(&server, |request| request["key"].to_string());
    let mut runs = lines["\"a\""].clone();
    assert_eq!(runs.len(), 40);
    let began = |run: &Value| run["started_at"].as_str().unwrap().to_owned();
    let replayed: Vec<String> = runs[..20].iter().map(began).collect();
    let live: Vec<String> = runs[20..].iter().map(began).collect();
    assert!(replayed.is_sorted(), "{replayed:?}");
    assert!(live.is_sorted(), "{live:?}");
    assert!(live.last() > replayed.first(), "they did not come together");
    assert!(live.first() < replayed.last(), "they did not come together");
    runs.sort_by_key(began);
    are_one_after_the_other(&runs);
}

/// Those of a key in their order, and nothing is left.
fn each_became_one_work_order(server: &Keyway) {
    has_orders(server, 60);
    eventually("nothing is left", || trigger(server)["dead_letters"] == 0);
    assert!(all(server, "/api/dead_letters").iter().all(|letter| letter["resolved"]["how"] == "replayed"));
    let again: Vec<Value> = received(server).into_iter().filter(|event| event["body"].is_array()).collect();
    for key in ["a", "b", "c", "d"] {
        let numbers: Vec<i64> = again
            .iter()
            .filter(|event| event["request"]["key"] == key)
            .map(|event| event["body"][0].as_i64().unwrap())
            .collect();
        assert_eq!(numbers.len(), 5, "{key}");
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    assert!(again.iter().all(|event| !event["key"].is_null()), "they keep the key that orders them");
    assert_eq!(by_place(server).len(), 60);
}
