//! The end of a server that was asked to end: what is in flight is finished, nothing more comes in, and nothing that waited
//! is the worse for it.

use std::{io::Write, net::TcpStream, path::Path};

use crate::common::{
    keyway::{Keyway, eventually},
    wire::{self, JSON, answer, connect},
};
use serde_json::Value;

const SYNC: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const ASYNC: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const ONCE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const ENDLESS: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
/// How many wait behind the run that is under way.
const BEHIND: usize = 4;

const PROJECT: &str = "
name: stop
workflows:
  sync:
    jobs: {job: {name: Job, body: &slow 'fn(s => { const end = Date.now() + 1500; while (Date.now() < end) {} return s; })'}}
    triggers:
      hook:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01
        type: webhook
        enabled: true
        webhook_reply: after_completion
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  async:
    jobs: {job: {name: Job, body: *slow}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  once:
    at_most_once: true
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  endless:
    run_timeout_ms: 600000
    jobs: {job: {name: Job, body: 'fn(s => { while (true) {} })'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    home
}

fn post(server: &Keyway, path: &str) -> String {
    let (status, answer) = server.post(path, "{}");
    assert_eq!(status, 200, "{answer}");
    answer["run_id"].as_str().unwrap().to_owned()
}

/// Waits until so many runs are with the executor.
fn are_claimed(server: &Keyway, count: usize) {
    eventually("the executor has them", || {
        let runs = server.get("/api/status").1["data"]["runs"].clone();
        runs["claimed"].as_u64().unwrap() + runs["started"].as_u64().unwrap() == count as u64
    });
}

/// Waits until a run has begun: one that was only claimed is given back at the end, and its attempt with it.
fn has_begun(server: &Keyway, run: &str) {
    eventually("it has begun", || {
        server.get(&format!("/api/runs/{run}")).1["data"]["attributes"]["state"] == "started"
    });
}

/// Every run ended well, at its first attempt.
fn went_well(home: &Path, runs: &[String]) {
    let server = Keyway::start(home, &[]);
    for id in runs {
        let run = server.ended_run(id);
        assert_eq!(run["state"], "success", "{run}");
        assert_eq!(run["attempt"], 1, "{run}");
    }
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn what_is_in_flight_is_finished_and_nothing_more_comes_in() {
    for runtime in ["io_uring", "epoll"] {
        let home = home();
        let mut server = Keyway::start(home.path(), &["--executors", "2", "--runtime", runtime]);
        let mut caller = connect(&server);
        caller.write_all(&wire::request("POST", SYNC, JSON, b"{}")).unwrap();
        let run = post(&server, ASYNC);
        eventually("both have begun", || server.get("/api/status").1["data"]["runs"]["started"] == 2);
        server.signal("TERM");
        eventually("no connection is taken", || TcpStream::connect(server.address()).is_err());
        let (status, reason) = server.get("/health/ready");
        assert_eq!(status, 503);
        assert_eq!(reason["message"], "The server is stopping.");
        let (status, _, body) = answer(&mut caller);
        assert_eq!(status, 201, "{body}");
        assert_eq!(server.wait().code(), Some(0));
        let body: Value = serde_json::from_str(&body).unwrap();
        let called = body["meta"]["run_id"].as_str().unwrap().to_owned();
        went_well(home.path(), &[called, run]);
    }
}

#[test]
fn a_run_that_never_ends_does_not_keep_the_server_and_is_offered_again() {
    let home = home();
    let flags = ["--executors", "1", "--drain-seconds", "1"];
    let server = Keyway::start(home.path(), &flags);
    let run = post(&server, ENDLESS);
    has_begun(&server, &run);
    assert_eq!(server.stop().code(), Some(0));
    let server = Keyway::start(home.path(), &flags);
    eventually("it is claimed again", || {
        let (_, answer) = server.get(&format!("/api/runs/{run}"));
        answer["data"]["attributes"]["attempt"] == 2
    });
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn runs_that_wait_their_turn_in_the_executor_are_neither_lost_nor_tried_once_less() {
    let home = home();
    let server = Keyway::start(home.path(), &["--shards", "1", "--executors", "1"]);
    let mut runs = vec![post(&server, ASYNC)];
    has_begun(&server, &runs[0]);
    for path in [ONCE, ASYNC].into_iter().cycle().take(BEHIND) {
        runs.push(post(&server, path));
    }
    are_claimed(&server, 1 + BEHIND);
    assert_eq!(server.stop().code(), Some(0));
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    let (_, events) = server.get("/api/events?shard=0&from=0&limit=1000");
    let events = events["data"].as_array().unwrap();
    let returned = events.iter().filter(|event| event["attributes"]["kind"] == "LeaseReturned");
    assert_eq!(returned.count(), BEHIND);
    assert_eq!(server.get("/api/status").1["data"]["runs"]["available"], BEHIND);
    assert_eq!(server.stop().code(), Some(0));
    went_well(home.path(), &runs);
}
