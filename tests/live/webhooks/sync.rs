//! Webhooks that answer with the result of their run, through real sockets, on both runtimes.
//!
//! What a job asks for by `webhookResponse` is held against the user's document, row by row.

use std::{
    fs,
    io::Write,
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    code, http2,
    keyway::{Keyway, eventually},
    stderr,
    tls::rest,
    tool,
    wire::{JSON, answer, ask, connect, on_both_runtimes, request},
};
use keyway_storage::limits::{FOLLOWS_MAX, HTTP2_STREAMS_MAX};
use serde_json::{Value, json};

/// `{response}` is what the job leaves as `webhookResponse`, `{fail}` makes it throw afterwards.
const PROJECT: &str = r#"
name: sync
workflows:
  plain:
    jobs: {job: {name: Job, body: "fn(s => { s.webhookResponse = s.data.response; if (s.data.fail) throw new Error('no'); return s; })"}}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, webhook_reply: after_completion}}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  coded:
    jobs: {job: {name: Job, body: "fn(s => { s.webhookResponse = s.data.response; if (s.data.fail) throw new Error('no'); return s; })"}}
    triggers:
      t:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02
        type: webhook
        enabled: true
        webhook_reply: after_completion
        webhook_response_config: {success_code: 202, error_code: 422}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  states:
    run_timeout_ms: 300
    jobs:
      job:
        name: Job
        body: |
          fn(s => {
            if (s.data.end === 'failed') throw new Error('no');
            if (s.data.end === 'crashed') return missing.thing;
            if (s.data.end === 'killed') while (true) {}
            return s;
          })
    triggers:
      t:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03
        type: webhook
        enabled: true
        webhook_reply: after_completion
        webhook_response_config: {error_code: 500}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  steps:
    jobs:
      first: {name: First, body: "fn(s => ({...s, webhookResponse: {status: 203, body: {from: 'first'}}}))"}
      second: {name: Second, body: "fn(s => ({...s, webhookResponse: s.data.second === 'keep' ? s.webhookResponse : s.data.second}))"}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, enabled: true, webhook_reply: after_completion}}
    edges:
      a: {source_trigger: t, target_job: first, condition_type: always, enabled: true}
      b: {source_job: first, target_job: second, condition_type: always, enabled: true}
  leaves:
    jobs:
      one: {name: One, body: "fn(s => ({n: 1, webhookResponse: {status: 203}}))"}
      two: {name: Two, body: "fn(s => ({n: 2}))"}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05, type: webhook, enabled: true, webhook_reply: after_completion}}
    edges:
      a: {source_trigger: t, target_job: one, condition_type: always, enabled: true}
      b: {source_trigger: t, target_job: two, condition_type: always, enabled: true}
  answering:
    jobs:
      one: {name: One, body: "fn(s => ({n: 1, webhookResponse: {status: 203, body: {from: 'one'}}}))"}
      two: {name: Two, body: "fn(s => ({n: 2, webhookResponse: {status: 207, body: {from: 'two'}}}))"}
      three: {name: Three, body: "fn(s => ({n: 3, webhookResponse: 'not an object'}))"}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f08, type: webhook, enabled: true, webhook_reply: after_completion}}
    edges:
      a: {source_trigger: t, target_job: one, condition_type: always, enabled: true}
      b: {source_trigger: t, target_job: two, condition_type: always, enabled: true}
      c: {source_trigger: t, target_job: three, condition_type: always, enabled: true}
  slow:
    jobs: {job: {name: Job, body: "fn(s => new Promise(done => setTimeout(() => done(s), s.data.ms)))"}}
    triggers:
      t:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f06
        type: webhook
        enabled: true
        webhook_reply: after_completion
        response_timeout_seconds: 1
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  patient:
    jobs: {job: {name: Job, body: "fn(s => new Promise(done => setTimeout(() => done(s), s.data.ms)))"}}
    triggers:
      t:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f07
        type: webhook
        enabled: true
        webhook_reply: after_completion
        response_timeout_seconds: 3600
        webhook_response_config: {error_code: 409}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
"#;
/// What is in place of the codes when only one is given.
const HALF: &str = "webhook_response_config: {success_code: 202}";
const PLAIN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const CODED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const STATES: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const STEPS: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
const LEAVES: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05";
const SLOW: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f06";
const PATIENT: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f07";
const ANSWERING: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f08";

fn post(server: &Keyway, path: &str, body: &Value) -> (u16, String, Value) {
    let (status, head, text) = ask(server, &request("POST", path, JSON, body.to_string().as_bytes()));
    (status, head, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn failed(state: &str) -> Value {
    json!({"message": format!("Run completed with status: {state}. As a security policy, OpenFn does not send state data when the run errors out to avoid leaking sensitive information")})
}

fn malformed(reason: &str) -> Value {
    json!({"message": format!("Run completed, but webhook_response was malformed: {reason}")})
}

/// `2026-05-21T10:00:00.000000Z`.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 27 && &text[10..11] == "T" && &text[19..20] == "." && text.ends_with('Z')
}

#[test]
fn the_answer_holds_the_final_state_and_what_is_known_of_the_run() {
    on_both_runtimes(PROJECT, &["--shards", "2"], |server| {
        let (status, head, answer) = post(server, PLAIN, &json!({"n": 1}));
        assert_eq!(status, 201);
        assert!(head.contains("\r\ncontent-type: application/json; charset=utf-8\r\n"), "{head}");
        assert_eq!(answer["data"]["data"], json!({"n": 1}));
        assert_eq!(answer["data"]["request"]["method"], "POST");
        let meta = answer["meta"].as_object().unwrap();
        let keys: Vec<_> = meta.keys().map(String::as_str).collect();
        let all = [
            "work_order_id",
            "run_id",
            "state",
            "error_type",
            "inserted_at",
            "started_at",
            "claimed_at",
            "finished_at",
        ];
        assert_eq!(keys, all);
        assert_eq!((&meta["state"], &meta["error_type"]), (&json!("success"), &Value::Null));
        for time in &all[4..] {
            assert!(is_time(&meta[*time]), "{time}: {}", meta[*time]);
        }
        assert!(meta["inserted_at"].as_str() <= meta["finished_at"].as_str());
        assert!(head.contains(&format!("x-meta-work-order-id: {}", meta["work_order_id"].as_str().unwrap())));
        assert!(head.contains(&format!("x-meta-run-id: {}", meta["run_id"].as_str().unwrap())));
        assert_eq!(post(server, CODED, &json!({})).0, 202);
        let (status, _, answer) = post(server, LEAVES, &json!({}));
        // Of the leaves that leave an object, the one that ended last counts.
        assert_eq!(status, 203);
        assert_eq!(answer["data"]["one"]["n"], 1);
        assert_eq!(answer["data"]["two"]["n"], 2);
    });
}

/// What a job leaves as `webhookResponse`; status and data of the answer, where null is the final state.
fn responses() -> Vec<(Value, u16, Value)> {
    let long = "x".repeat(300);
    let integer = |got: &str| malformed(&format!("status needs to be an integer, got: {got}"));
    let range = |got: &str| malformed(&format!("status needs to be between 200 and 599, got: {got}"));
    let object = |got: &str| malformed(&format!("body needs to be a JSON object, got: {got}"));
    vec![
        (json!({"status": 203, "body": {"a": 1}}), 203, json!({"a": 1})),
        (json!({"status": 203}), 203, Value::Null),
        (json!({"status": 203.0}), 203, Value::Null),
        (json!({"body": {"a": 1}}), 201, json!({"a": 1})),
        (json!({"body": {}}), 201, json!({})),
        (json!({"status": 404, "body": {"a": 1}}), 404, json!({"a": 1})),
        (json!({"status": 599}), 599, Value::Null),
        (json!({}), 201, Value::Null),
        (json!({"status": null, "body": null}), 201, Value::Null),
        // Not an object: ignored.
        (json!(null), 201, Value::Null),
        (json!("text"), 201, Value::Null),
        (json!(7), 201, Value::Null),
        (json!(true), 201, Value::Null),
        (json!([{"status": 203}]), 201, Value::Null),
        // Malformed.
        (json!({"status": 203.9}), 201, integer("203.9")),
        (json!({"status": "203"}), 201, integer("\"203\"")),
        (json!({"status": true}), 201, integer("true")),
        (json!({"status": [203]}), 201, integer("[203]")),
        (json!({"status": {"code": 203}, "body": {"a": 1}}), 201, integer("{\"code\":203}")),
        (json!({"status": 199}), 201, range("199")),
        (json!({"status": 600}), 201, range("600")),
        (json!({"status": 99}), 201, range("99")),
        (json!({"status": -1}), 201, range("-1")),
        (json!({"status": 1e300}), 201, range("1e+300")),
        (json!({"body": [1]}), 201, object("[1]")),
        (json!({"body": "text", "status": 203}), 201, object("\"text\"")),
        (json!({"body": 5}), 201, object("5")),
        (json!({"body": false}), 201, object("false")),
        // The status is looked at first, and a long value is cut.
        (json!({"status": "x", "body": "y"}), 201, integer("\"x\"")),
        (json!({"body": long}), 201, object(&format!("\"{}", &long[..199]))),
    ]
}

#[test]
fn a_job_chooses_status_and_body_as_the_document_says() {
    on_both_runtimes(PROJECT, &["--shards", "1"], |server| {
        for (response, status, data) in responses() {
            let body = json!({"response": response});
            let (found, _, answer) = post(server, PLAIN, &body);
            assert_eq!(found, status, "{response}: {answer}");
            match &data {
                // JSON has one type of numbers: what came as 203.0 leaves the job as 203.
                Value::Null => assert_eq!(answer["data"]["request"]["method"], "POST", "{response}"),
                data => assert_eq!(answer["data"], *data, "{response}"),
            }
            assert_eq!(answer["meta"]["state"], "success");
            // The same of a run that fails: what it asks for is given, what it does not ask for is not its state.
            let is_default = status == 201;
            let status = if is_default { 422 } else { status };
            let (found, _, answer) = post(server, CODED, &json!({"response": response, "fail": true}));
            let data = if data.is_null() { failed("failed") } else { data };
            assert_eq!((found, &answer["data"]), (status, &data), "{response}, failed");
            assert_eq!(answer["meta"]["state"], "failed");
        }
        for status in [204, 304] {
            let body = json!({"response": {"status": status, "body": {"a": 1}}}).to_string();
            let (found, head, text) = ask(server, &request("POST", PLAIN, JSON, body.as_bytes()));
            assert_eq!((found, text.as_str()), (status, ""));
            assert!(head.contains("x-meta-run-id"), "{head}");
            assert!(!head.contains("content-type"), "{head}");
        }
    });
}

#[test]
fn a_run_that_fails_on_a_trigger_without_an_error_code_is_answered_201() {
    let half = PROJECT.replace("webhook_response_config: {success_code: 202, error_code: 422}", HALF);
    on_both_runtimes(&half, &["--shards", "1"], |server| {
        for (path, success) in [(PLAIN, 201), (CODED, 202)] {
            let ask = |response: Value, fail: bool| {
                let (status, _, answer) = post(server, path, &json!({"response": response, "fail": fail}));
                assert_eq!(answer["meta"]["state"], if fail { "failed" } else { "success" });
                (status, answer["data"].clone())
            };
            let status = malformed("status needs to be an integer, got: \"x\"");
            let body = malformed("body needs to be a JSON object, got: [1]");
            assert_eq!(ask(Value::Null, false).0, success);
            assert_eq!(ask(Value::Null, true), (201, failed("failed")));
            assert_eq!(ask(json!({"status": "x"}), false), (success, status.clone()));
            assert_eq!(ask(json!({"status": "x"}), true), (201, status));
            assert_eq!(ask(json!({"status": 203, "body": [1]}), true), (201, body));
            assert_eq!(ask(json!({"body": {"a": 1}}), true), (201, json!({"a": 1})));
            assert_eq!(ask(json!({"status": 203}), true), (203, failed("failed")));
        }
    });
}

#[test]
fn only_the_final_states_response_counts() {
    on_both_runtimes(PROJECT, &["--shards", "1"], |server| {
        let (status, _, answer) = post(server, STEPS, &json!({"second": "keep"}));
        assert_eq!((status, &answer["data"]), (203, &json!({"from": "first"})));
        let (status, _, answer) = post(server, STEPS, &json!({"second": {"status": 207}}));
        assert_eq!((status, &answer["data"]["data"]), (207, &json!({"second": {"status": 207}})));
        for gone in [json!({}), json!({"second": "text"}), json!({"second": null})] {
            let (status, _, answer) = post(server, STEPS, &gone);
            assert_eq!((status, &answer["data"]["data"]), (201, &gone));
        }
    });
}

#[test]
fn of_several_leaves_the_one_that_ended_last_and_left_an_object_gives_the_response() {
    on_both_runtimes(PROJECT, &["--shards", "1"], |server| {
        let (status, _, answer) = post(server, ANSWERING, &json!({}));
        let run = server.ended_run(answer["meta"]["run_id"].as_str().unwrap());
        let steps = run["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 3);
        let responses = steps.iter().filter(|step| step["job"] != "three");
        let last = responses.max_by_key(|step| step["finished_at"].as_str().unwrap()).unwrap();
        let expected = if last["job"] == "one" { 203 } else { 207 };
        assert_eq!((status, &answer["data"]), (expected, &json!({"from": last["job"]})));
    });
}

#[test]
fn every_state_that_is_no_success_gets_the_error_code_and_no_state() {
    on_both_runtimes(PROJECT, &["--shards", "1"], |server| {
        for state in ["failed", "crashed", "killed"] {
            let (status, _, answer) = post(server, STATES, &json!({"end": state, "secret": "s3cr3t"}));
            assert_eq!((status, &answer["data"]), (500, &failed(state)), "{answer}");
            assert_eq!(answer["meta"]["state"], state);
            assert!(answer["meta"]["error_type"].is_string(), "{answer}");
            assert!(!answer.to_string().contains("s3cr3t"));
        }
        assert_eq!(post(server, STATES, &json!({})).0, 201);
        // A run that someone cancels has ended too, and its caller is told.
        let mut stream = connect(server);
        stream.write_all(&request("POST", PATIENT, JSON, b"{\"ms\": 600000}")).unwrap();
        let mut run = String::new();
        eventually("the run is under way", || {
            let (_, runs) = server.get("/api/runs?state=started");
            run = runs["data"][0]["id"].as_str().unwrap_or_default().to_owned();
            !run.is_empty()
        });
        let output = tool().args(["--server", &server.api, "runs", "cancel", &run]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let (status, _, text) = answer(&mut stream);
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["data"]), (409, &failed("cancelled")));
        assert_eq!(answer["meta"]["state"], "cancelled");
        assert_eq!(answer["meta"]["run_id"], run);
    });
}

#[test]
fn a_run_that_takes_too_long_goes_on_after_its_caller_was_told() {
    on_both_runtimes(PROJECT, &["--shards", "1"], |server| {
        let since = Instant::now();
        let (status, head, answer) = post(server, SLOW, &json!({"ms": 2_500}));
        assert!(since.elapsed() >= Duration::from_secs(1));
        assert_eq!(status, 504);
        let work_order = answer["work_order_id"].as_str().unwrap();
        let expected = json!({
            "error": "timeout",
            "message": "Workflow did not complete within timeout period",
            "work_order_id": work_order,
        });
        assert_eq!(answer, expected);
        assert!(head.contains(&format!("x-meta-work-order-id: {work_order}")), "{head}");
        let run = head.lines().find_map(|line| line.strip_prefix("x-meta-run-id: ")).unwrap();
        assert_eq!(server.ended_run(run)["state"], "success");
    });
}

#[test]
fn a_run_that_ends_before_the_wait_begins_is_never_missed() {
    on_both_runtimes(PROJECT, &["--shards", "2"], |server| {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut stream = connect(server);
                    for n in 0..100 {
                        let body = format!("{{\"n\":{n}}}");
                        stream.write_all(&request("POST", PLAIN, JSON, body.as_bytes())).unwrap();
                        let (status, _, text) = answer(&mut stream);
                        let answer: Value = serde_json::from_str(&text).unwrap();
                        assert_eq!((status, &answer["data"]["data"]["n"]), (201, &json!(n)));
                    }
                });
            }
        });
    });
}

#[test]
fn a_caller_that_hangs_up_leaves_its_place_to_others_and_its_run_alone() {
    // Nothing executes: whoever waits would wait for an hour.
    let flags = ["--shards", "1", "--executors", "0", "--connections-max", "4"];
    on_both_runtimes(PROJECT, &flags, |server| {
        let waiting: Vec<_> = (0..4)
            .map(|n| {
                let mut stream = connect(server);
                let body = format!("{{\"n\":{n}}}");
                stream.write_all(&request("POST", PATIENT, JSON, body.as_bytes())).unwrap();
                stream
            })
            .collect();
        let available = || server.get("/api/status").1["data"]["runs"]["available"].clone();
        eventually("all of them wait", || available() == 4);
        assert_eq!(ask(server, &request("GET", PLAIN, "", b"")).0, 503);
        drop(waiting);
        eventually("their places are free", || ask(server, &request("GET", PLAIN, "", b"")).0 == 200);
        // Whoever says that nothing more will come gives up the wait, and is told what goes on without them.
        let mut stream = connect(server);
        stream.write_all(&request("POST", PATIENT, JSON, b"{}")).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let (status, head, _) = answer(&mut stream);
        assert_eq!(status, 504);
        assert!(head.contains("x-meta-run-id"), "{head}");
        assert!(rest(&mut stream).is_empty());
        eventually("their runs are still there", || available() == 5);
        // A caller that sends its next request already is still there.
        let mut stream = connect(server);
        let two = [request("POST", SLOW, JSON, b"{}"), request("GET", PLAIN, "", b"")].concat();
        stream.write_all(&two).unwrap();
        assert_eq!((answer(&mut stream).0, answer(&mut stream).0), (504, 200));
    });
}

#[test]
fn callers_that_wait_are_bounded_and_those_that_left_do_not_count() {
    let flags = ["--shards", "1", "--executors", "0", "--http2-prior-knowledge"];
    on_both_runtimes(PROJECT, &flags, |server| {
        let streams = HTTP2_STREAMS_MAX as usize;
        let typed = [("content-type", "application/json")];
        http2::run(async {
            let mut waiting = Vec::new();
            while waiting.len() < FOLLOWS_MAX {
                let client = http2::connect(server, None).await;
                for _ in 0..streams.min(FOLLOWS_MAX - waiting.len()) {
                    let client = client.clone();
                    waiting.push(tokio::task::spawn_local(async move {
                        http2::ask(&client, "POST", PATIENT, &typed, "{}").await
                    }));
                }
            }
            // No one else may take a place before all of them have theirs.
            while server.get("/api/status").1["data"]["runs"]["available"] != FOLLOWS_MAX {
                tokio::task::yield_now().await;
            }
            let client = http2::connect(server, None).await;
            let refused = http2::ask(&client, "POST", SLOW, &typed, "{}").await.unwrap();
            assert_eq!(refused.status, 503, "{}", refused.body);
            assert_eq!(refused.headers["retry-after"], "1");
            let message = "Unable to take the request at the moment. Please try again.";
            let busy = json!({"error": "service_unavailable", "message": message, "retry_after": 1});
            assert_eq!(serde_json::from_str::<Value>(&refused.body).unwrap(), busy);
            assert_eq!(http2::ask(&client, "GET", PLAIN, &[], "").await.unwrap().status, 200);
            for caller in waiting.drain(..) {
                caller.abort();
            }
            while http2::ask(&client, "POST", SLOW, &typed, "{}").await.unwrap().status == 503 {}
        });
    });
}

#[test]
fn back_in_asynchronous_mode_a_trigger_has_no_codes() {
    let files = tempfile::tempdir().unwrap();
    for (file, reply) in [("sync", "after_completion"), ("async", "before_start"), ("custom", "custom")] {
        fs::write(files.path().join(file), PROJECT.replace("after_completion", reply)).unwrap();
    }
    on_both_runtimes(PROJECT, &["--shards", "2"], |server| {
        let apply = |file: &str| {
            let output = tool()
                .args(["--server", &server.api, "apply"])
                .arg(files.path().join(file))
                .output()
                .unwrap();
            assert_eq!(code(&output), 0, "{}", stderr(&output));
        };
        assert_eq!(post(server, CODED, &json!({})).0, 202);
        for file in ["async", "custom"] {
            apply(file);
            for body in [json!({}), json!({"fail": true}), json!({"response": {"status": 203}})] {
                let (status, head, answer) = post(server, CODED, &body);
                let keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!((status, keys), (200, vec!["work_order_id", "run_id"]));
                assert!(head.contains("x-meta-run-id"), "{head}");
            }
        }
        apply("sync");
        assert_eq!(post(server, CODED, &json!({})).0, 202);
    });
}
