//! Order for webhooks: inputs of one key run one at a time, in the order in which they came, whatever happens to them.
//!
//! The keys of the journey are spread over two shards; the executor has four threads, so that nothing but the order keeps
//! runs apart.

use std::{collections::BTreeMap, fs, thread};

use crate::common::{
    keyway::{Keyway, eventually},
    stdout, tool,
    wire::{JSON, ask, on_both_runtimes, request},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: order
workflows:
  patients:
    jobs: &jobs
      job:
        name: Job
        body: |
          fn(state => {
            while (state.data.hang) {}
            if (state.data.fail) { throw new Error('it was told to fail'); }
            const until = Date.now() + 3;
            while (Date.now() < until) {}
            return state;
          })
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, ordering: key, ordering_key: /patient/id}
    edges: &edges {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  tenants:
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, ordering: key, ordering_key: 'header:X-Tenant'}
    edges: *edges
  retried:
    retry: {attempts_max: 3, backoff_initial_ms: 20, backoff_max_ms: 20}
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, ordering: key, ordering_key: /key, on_failure: retry}
    edges: *edges
  blocking:
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, ordering: key, ordering_key: /key, on_failure: block_key}
    edges: *edges
  two:
    jobs: *jobs
    triggers:
      on: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f06, type: webhook, ordering: key, ordering_key: /key, on_failure: continue}
      block: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f07, type: webhook, ordering: key, ordering_key: /key, on_failure: block_key}
    edges:
      a: {source_trigger: on, target_job: job, condition_type: always, enabled: true}
      b: {source_trigger: block, target_job: job, condition_type: always, enabled: true}
  serial:
    concurrency: 1
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05, type: webhook, on_failure: block_key}
    edges: *edges
"#;
const PATIENTS: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const TENANTS: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const RETRIED: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const BLOCKING: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
const SERIAL: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05";
const GOES_ON: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f06";
const BLOCKS: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f07";
const FLAGS: &[&str] = &["--shards", "2", "--executors", "4"];

/// Sends a body; gives the ids of the work order and its first run.
fn send(server: &Keyway, trigger: &str, headers: &str, body: &Value) -> (String, String) {
    let body = body.to_string();
    let headers = format!("{JSON}{headers}");
    let (status, _, text) =
        ask(server, &request("POST", &format!("/i/{trigger}"), &headers, body.as_bytes()));
    assert_eq!(status, 200, "{text}");
    let ids: Value = serde_json::from_str(&text).unwrap();
    let id = |name: &str| ids[name].as_str().unwrap().to_owned();
    (id("work_order_id"), id("run_id"))
}

fn run(server: &Keyway, id: &str) -> Value {
    server.get(&format!("/api/runs/{id}")).1["data"]["attributes"].clone()
}

fn order(server: &Keyway, id: &str) -> Value {
    server.get(&format!("/api/work_orders/{id}")).1["data"]["attributes"].clone()
}

fn trigger(server: &Keyway, id: &str) -> Value {
    server.get(&format!("/api/triggers/{id}")).1["data"]["attributes"].clone()
}

/// Each run began after the one before it had ended.
fn are_one_after_the_other(runs: &[Value]) {
    for pair in runs.windows(2) {
        let (ended, began) = (pair[0]["finished_at"].as_str(), pair[1]["started_at"].as_str());
        assert!(ended.is_some(), "it has not ended");
        assert!(ended <= began, "{began:?} began before {ended:?}");
    }
}

#[test]
fn inputs_of_one_key_run_in_their_order_and_other_keys_beside_them() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        // Several senders; each owns its keys, so that it knows their order.
        let runs: Vec<BTreeMap<u64, Vec<String>>> = thread::scope(|scope| {
            let senders: Vec<_> = (0..4_u64)
                .map(|sender| {
                    scope.spawn(move || {
                        let mut runs: BTreeMap<u64, Vec<String>> = BTreeMap::new();
                        for n in 0..24 {
                            let key = sender * 10 + n % 3;
                            let (trigger, headers, body) = match sender % 2 {
                                0 => (PATIENTS, String::new(), json!({"patient": {"id": key}, "n": n})),
                                _ => (TENANTS, format!("x-tenant: t{key}\r\n"), json!({"n": n})),
                            };
                            runs.entry(key).or_default().push(send(server, trigger, &headers, &body).1);
                        }
                        runs
                    })
                })
                .collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        let mut keys = 0;
        for of_key in runs.iter().flat_map(BTreeMap::values) {
            let ended: Vec<Value> = of_key.iter().map(|id| server.ended_run(id)).collect();
            assert_eq!(ended.len(), 8);
            assert!(ended.iter().all(|run| run["state"] == "success"));
            are_one_after_the_other(&ended);
            keys += 1;
        }
        assert_eq!(keys, 12);
        // An input without the key waits for nobody.
        for (trigger, body) in
            [(PATIENTS, json!({"patient": null})), (PATIENTS, json!([])), (TENANTS, json!(1))]
        {
            assert_eq!(server.ended_run(&send(server, trigger, "", &body).1)["state"], "success");
        }
    });
}

#[test]
fn a_run_that_takes_its_time_holds_back_its_own_key_and_no_other() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        let of = |key: u64| json!({"patient": {"id": key}});
        let (_, long) = send(server, PATIENTS, "", &json!({"patient": {"id": 1}, "hang": true}));
        eventually("it has begun", || run(server, &long)["state"] == "started");
        let (_, behind) = send(server, PATIENTS, "", &of(1));
        let beside: Vec<String> = (2..12).map(|key| send(server, PATIENTS, "", &of(key)).1).collect();
        for id in &beside {
            assert_eq!(server.ended_run(id)["state"], "success");
        }
        assert_eq!(run(server, &long)["state"], "started");
        assert_eq!(run(server, &behind)["state"], "available");
        let cancelled = tool().args(["--server", &server.api, "runs", "cancel", &long]).output().unwrap();
        assert!(cancelled.status.success());
        let ended = [server.ended_run(&long), server.ended_run(&behind)];
        assert_eq!((&ended[0]["state"], &ended[1]["state"]), (&json!("cancelled"), &json!("success")));
        are_one_after_the_other(&ended);
    });
}

#[test]
fn a_key_waits_for_the_retries_of_its_first_and_then_goes_on() {
    on_both_runtimes(PROJECT, FLAGS, |server| {
        let (failing, _) = send(server, RETRIED, "", &json!({"key": "a", "fail": true}));
        let (_, behind) = send(server, RETRIED, "", &json!({"key": "a"}));
        let (_, beside) = send(server, RETRIED, "", &json!({"key": "b"}));
        assert_eq!(server.ended_run(&behind)["state"], "success");
        assert_eq!(server.ended_run(&beside)["state"], "success");
        let failed = order(server, &failing);
        assert_eq!((&failed["state"], failed["runs"].as_array().unwrap().len()), (&json!("failed"), 3));
        let ids = failed["runs"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
        let mut runs: Vec<Value> = ids.map(|id| run(server, id)).collect();
        runs.push(run(server, &behind));
        are_one_after_the_other(&runs);
        assert_eq!(trigger(server, RETRIED)["blocked_keys_count"], 0, "nobody has to decide");
    });
}

#[test]
fn a_blocked_key_is_shown_survives_a_crash_and_goes_on_when_someone_decides() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), FLAGS);
    let key = "schl\u{fc}ssel/?+";
    let base64 = STANDARD.encode(key);
    let (failing, first) = send(&server, BLOCKING, "", &json!({"key": key, "fail": true}));
    server.ended_run(&first);
    let (_, behind) = send(&server, BLOCKING, "", &json!({"key": key}));
    let (_, beside) = send(&server, BLOCKING, "", &json!({"key": "other"}));
    assert_eq!(server.ended_run(&beside)["state"], "success");
    server.kill();

    let server = Keyway::start(home.path(), FLAGS);
    assert_eq!(run(&server, &behind)["state"], "available");
    let shown = trigger(&server, BLOCKING);
    let blocked = &shown["blocked_keys"][0];
    assert_eq!(shown["blocked_keys_count"], 1);
    assert_eq!((&blocked["key_base64"], &blocked["work_order_id"]), (&json!(base64), &json!(failing)));
    assert!(blocked["reason"].as_str().unwrap().contains("it was told to fail"), "{blocked}");
    assert!(blocked["since"].is_string());

    // Tried again, it fails again, and blocks again: what is behind it still waits.
    assert_eq!(ask_for(&server, &["retry-key", BLOCKING, &base64]), 0);
    eventually("the second run has failed", || {
        order(&server, &failing)["runs"].as_array().unwrap().len() == 2
    });
    eventually("the key is blocked again", || trigger(&server, BLOCKING)["blocked_keys_count"] == 1);
    assert_eq!(run(&server, &behind)["state"], "available");
    assert_eq!(ask_for(&server, &["skip-key", BLOCKING, "bm9ib2R5"]), 1, "no such key");
    assert_eq!(ask_for(&server, &["skip-key", BLOCKING, "-"]), 1, "no whole lane is blocked");
    assert_eq!(ask_for(&server, &["skip-key", BLOCKING, &base64]), 0);
    assert_eq!(server.ended_run(&behind)["state"], "success");
    assert_eq!(trigger(&server, BLOCKING)["blocked_keys"], json!([]));
    assert_eq!(order(&server, &failing)["state"], "failed", "it was passed over");
    assert_eq!(ask_for(&server, &["skip-key", BLOCKING, &base64]), 1, "it is not blocked any more");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_trigger_that_goes_on_after_a_failure_does_so_beside_one_of_its_workflow_that_blocks() {
    // One shard, so that nothing but their triggers keeps equal keys apart.
    on_both_runtimes(PROJECT, &["--shards", "1", "--executors", "4"], |server| {
        let fails = json!({"key": "a", "fail": true});
        let (blocking, first) = send(server, BLOCKS, "", &fails);
        assert_eq!(server.ended_run(&first)["state"], "failed");
        let (_, behind) = send(server, BLOCKS, "", &json!({"key": "a"}));
        for _ in 0..2 {
            let (_, failing) = send(server, GOES_ON, "", &fails);
            let (_, next) = send(server, GOES_ON, "", &json!({"key": "a"}));
            assert_eq!(server.ended_run(&failing)["state"], "failed");
            assert_eq!(server.ended_run(&next)["state"], "success");
        }
        assert_eq!(trigger(server, GOES_ON)["blocked_keys"], json!([]));
        let blocked = &trigger(server, BLOCKS)["blocked_keys"];
        assert_eq!((blocked.as_array().unwrap().len(), &blocked[0]["work_order_id"]), (1, &json!(blocking)));
        assert_eq!(run(server, &behind)["state"], "available");
        // What a person reads says the same.
        let shown = tool().args(["triggers", "show", BLOCKS, "--server", &server.api]).output().unwrap();
        let shown = stdout(&shown);
        assert!(shown.contains(&STANDARD.encode("a")), "{shown}");
        assert!(shown.contains(&blocking), "{shown}");
        assert_eq!(ask_for(server, &["skip-key", BLOCKS, &STANDARD.encode("a")]), 0);
        assert_eq!(server.ended_run(&behind)["state"], "success");
    });
}

#[test]
fn a_blocked_workflow_in_strict_order_has_no_key_and_can_be_released() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), FLAGS);
    let (failing, first) = send(&server, SERIAL, "", &json!({"fail": true}));
    let (_, behind) = send(&server, SERIAL, "", &json!({}));
    server.ended_run(&first);
    eventually("the workflow is blocked", || trigger(&server, SERIAL)["blocked_keys_count"] == 1);
    let blocked = &trigger(&server, SERIAL)["blocked_keys"][0];
    assert_eq!((&blocked["key_base64"], &blocked["work_order_id"]), (&Value::Null, &json!(failing)));
    assert_eq!(run(&server, &behind)["state"], "available");
    assert_eq!(ask_for(&server, &["skip-key", SERIAL, "-"]), 0);
    assert_eq!(server.ended_run(&behind)["state"], "success");
    assert_eq!(server.stop().code(), Some(0));
}

/// The exit code of `keyway triggers ...`.
fn ask_for(server: &Keyway, arguments: &[&str]) -> i32 {
    let output = tool().arg("triggers").args(arguments).args(["--server", &server.api]).output().unwrap();
    output.status.code().unwrap()
}

#[test]
fn a_failure_that_has_nothing_to_block_is_warned_of() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    let told = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = tool().arg("validate").arg(&file).output().unwrap();
        assert!(output.status.success());
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let warning = "`on_failure: block_key` has nothing to block";
    assert!(!told(PROJECT).contains(warning), "a workflow with concurrency 1 has an order");
    assert!(told(&PROJECT.replace("    concurrency: 1\n", "")).contains(warning));
}
