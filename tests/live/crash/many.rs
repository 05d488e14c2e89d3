//! A keyway that is killed (-9) at each step of what was asked of many: it is asked of each once, or of none.

use std::{fs, os::unix::process::ExitStatusExt, path::Path, thread};

use serde_json::{Value, json};

use super::{HOOK, PROJECT, rows_are_the_fold_of_the_log};
use crate::common::{
    code,
    keyway::{Keyway, eventually},
    kill::SIGKILL,
    preload, stderr, stdout, tool,
};

/// More than one window of each shard.
const MANY: u64 = 150;
const FLAGS: [&str; 2] = ["--executors", "0"];
/// The steps at which a turn may be cut short, and how often each is passed before: in the turn that takes the request in,
/// and in those that ask something of each.
const STEPS: [(&str, u32); 8] = [
    ("write", 0),
    ("sync", 0),
    ("synced", 0),
    ("rows", 0),
    ("write", 2),
    ("sync", 1),
    ("synced", 2),
    ("rows", 1),
];

#[test]
fn killed_at_any_step_what_was_asked_of_many_is_asked_of_each_once_or_of_none() {
    thread::scope(|scope| {
        for (step, passed) in STEPS {
            scope.spawn(move || killed(step, passed));
        }
    });
}

fn runs(server: &Keyway, state: &str) -> u64 {
    server.get("/api/status").1["data"]["runs"][state].as_u64().unwrap()
}

fn killed(step: &str, passed: u32) {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "2", "--executors", "2"]);
    (0..MANY).for_each(|n| assert_eq!(server.post(HOOK, &format!("{{\"n\":{n}}}")).0, 200));
    eventually("all runs end", || runs(&server, "success") == MANY);
    assert_eq!(server.stop().code(), Some(0));

    let is_taken = asked(home.path(), "/api/reruns", step, passed);
    let server = Keyway::start(home.path(), &FLAGS);
    let count = if is_taken { MANY } else { 0 };
    eventually("each that was asked for has another run", || runs(&server, "available") == count);
    if !is_taken {
        assert_eq!(server.ask("/api/reruns", &json!({})).0, 202);
        eventually("each has another run", || runs(&server, "available") == MANY);
    }
    assert_eq!(server.stop().code(), Some(0));

    let is_taken = asked(home.path(), "/api/cancels", step, passed);
    let server = Keyway::start(home.path(), &FLAGS);
    let count = if is_taken { MANY } else { 0 };
    eventually("each that was asked for is cancelled", || runs(&server, "cancelled") == count);
    assert_eq!(runs(&server, "available"), MANY - count);
    assert_eq!(runs(&server, "success"), MANY);
    let orders = server.get("/api/work_orders?page_size=1000").1["data"].take();
    let runs_of = |order: &Value| order["attributes"]["runs"].as_array().unwrap().len();
    assert!(orders.as_array().unwrap().iter().all(|order| runs_of(order) == 2));
    assert_eq!(server.stop().code(), Some(0));
    rows_are_the_fold_of_the_log(&home.path().join("data"));
}

/// Asks a server that is killed at a step. Whether it took the request in: it said so, or its log does.
fn asked(home: &Path, path: &str, step: &str, passed: u32) -> bool {
    let (library, passed, when) = (preload::library("common/sync.c"), passed.to_string(), home.join("now"));
    let _ = fs::remove_file(&when);
    let variables = [
        ("LD_PRELOAD", library.as_str()),
        ("KILL_AT", step),
        ("KILL_AFTER", &passed),
        ("KILL_WHEN", when.to_str().unwrap()),
    ];
    let before = begun(home);
    let mut server = Keyway::start_with(home, &FLAGS, &variables);
    fs::write(&when, "").unwrap();
    let told = server.try_ask(path, &json!({}));
    let status = server.wait();
    assert_eq!(status.signal(), Some(SIGKILL), "{step}: {status}");
    drop(server);
    let is_begun = begun(home) > before;
    // Where it was killed before it could say so, nothing is told.
    if let Ok((status, _)) = told {
        assert_eq!(status, 202, "{step}");
        assert!(is_begun, "{step}: it was told before it was durable");
    }
    is_begun
}

/// How many requests the log of the first shard has: it is the last to be told of one.
fn begun(home: &Path) -> usize {
    let output = tool()
        .args(["events", "export", "--kind", "BulkStarted", "--data-dir"])
        .arg(home.join("data"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output).lines().filter(|line| line.starts_with("{\"id\":\"0-")).count()
}
