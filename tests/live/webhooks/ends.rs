//! What a caller who waits is told of runs that end in rarer ways: lost with the machine, tried again, without a body.

use std::{fs, io::Write};

use crate::common::{
    keyway::{Keyway, eventually},
    wire::{JSON, ask, connect, on_both_runtimes, request},
};
use bytes::Bytes;
use hyper::StatusCode;
use keyway_engine::command::RunEnd;
use keyway_ingest::trigger::webhook::{reply::Accepted, settings::Reply};
use keyway_storage::{
    event::RunState,
    id::Ids,
    place::{Offset, Place, RunKey, ShardId, Timestamp},
};
use serde_json::{Value, json};

const PROJECT: &str = r#"
name: ends
workflows:
  once:
    at_most_once: true
    jobs:
      job:
        name: Job
        body: |
          fn(state => {
            while (state.data.endless) {}
            return state;
          })
    triggers:
      t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, webhook_reply: after_completion,
          response_timeout_seconds: 50, webhook_response_config: {error_code: 500}}
    edges: &edges {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  again:
    retry: {attempts_max: 2, backoff_initial_ms: 1, backoff_max_ms: 1}
    jobs: {job: {name: Job, body: "fn(() => { throw new Error('no'); })"}}
    triggers:
      t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, webhook_reply: after_completion,
          webhook_response_config: {error_code: 422}}
    edges: *edges
  empty:
    jobs: {job: {name: Job, body: "fn(s => { if (s.data.fail) { throw new Error('no'); } return s; })"}}
    triggers:
      t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, webhook_reply: after_completion,
          webhook_response_config: {success_code: 204, error_code: 304}}
    edges: *edges
"#;
const ONCE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const AGAIN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const EMPTY: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";

fn failed(state: &str) -> Value {
    json!({"message": format!("Run completed with status: {state}. As a security policy, OpenFn does not send state data when the run errors out to avoid leaking sensitive information")})
}

#[test]
fn a_run_that_is_lost_with_the_machine_is_told_to_whoever_asks_again() {
    for runtime in ["io_uring", "epoll"] {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
        let flags = ["--runtime", runtime, "--shards", "2", "--executors", "1"];
        let headers = format!("{JSON}idempotency-key: k\r\n");
        let asked = request("POST", ONCE, &headers, b"{\"endless\": true}");
        let server = Keyway::start(home.path(), &flags);
        let mut stream = connect(&server);
        stream.write_all(&asked).unwrap();
        let mut run = Value::Null;
        eventually("the run is under way", || {
            run = server.get("/api/runs?state=started").1["data"][0]["id"].clone();
            run.is_string()
        });
        server.kill();

        let server = Keyway::start(home.path(), &flags);
        let (status, head, text) = ask(&server, &asked);
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["data"]), (500, &failed("lost")), "{answer}");
        assert_eq!((&answer["meta"]["state"], &answer["meta"]["run_id"]), (&json!("lost"), &run));
        assert_eq!(answer["meta"]["error_type"], "LostAfterStart");
        assert!(head.contains("x-keyway-replayed: true"), "{head}");
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn a_caller_whose_workflow_tries_again_is_told_how_the_first_run_ended() {
    on_both_runtimes(PROJECT, &["--shards", "1", "--executors", "1"], |server| {
        let (status, head, text) = ask(server, &request("POST", AGAIN, JSON, b"{}"));
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["data"]), (422, &failed("failed")));
        let order = format!("/api/work_orders/{}", answer["meta"]["work_order_id"].as_str().unwrap());
        let mut runs = Value::Null;
        eventually("it was tried again", || {
            let order = server.get(&order).1;
            runs = order["data"]["attributes"]["runs"].clone();
            order["data"]["attributes"]["state"] == "failed" && runs.as_array().unwrap().len() == 2
        });
        assert_eq!(runs[0], answer["meta"]["run_id"]);
        assert!(head.contains(&format!("x-meta-run-id: {}", runs[0].as_str().unwrap())), "{head}");
    });
}

#[test]
fn codes_that_have_no_body_are_sent_without_one() {
    on_both_runtimes(PROJECT, &["--shards", "1", "--executors", "1"], |server| {
        for (body, status) in [(&b"{}"[..], 204), (b"{\"fail\": true}", 304)] {
            let (found, head, text) = ask(server, &request("POST", EMPTY, JSON, body));
            assert_eq!((found, text.as_str()), (status, ""));
            assert!(head.contains("x-meta-run-id"), "{head}");
            assert!(head.contains("x-meta-work-order-id"), "{head}");
            assert!(!head.contains("content-type"), "{head}");
        }
    });
}

/// An executor that fails on a run is not made by a request; what its caller is told is the same as of every other end.
#[test]
fn a_run_on_which_the_executor_failed_gets_the_error_code_and_no_state() {
    let place = Place { shard: ShardId(0), offset: Offset(3) };
    let (reply, now) = (
        Reply::AfterCompletion { success_code: Some(202), error_code: Some(500), timeout_seconds: 30 },
        Timestamp(1_800_000_000_000_000),
    );
    let end = RunEnd {
        run: RunKey { work_order: place.offset, n: 1 },
        state: RunState::Exception,
        error: None,
        final_state: Bytes::from_static(b"{\"secret\":1}"),
        response: Bytes::new(),
        inserted: now,
        claimed: Some(now),
        started: Some(now),
        finished: now,
    };
    let answer = Accepted::new(&Ids::new([7; 16]), place, now).at_end(reply, &end);
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = format!("{:?}", answer.body());
    assert!(body.contains("Run completed with status: exception."), "{body}");
    assert!(!body.contains("secret"), "{body}");
}
