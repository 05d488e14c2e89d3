//! Jobs in trouble on a living server: each ends its own run in its own way, and the runs beside it never notice.

use std::fmt::Write;

use crate::common::{
    keyway::Keyway,
    wire::{JSON, ask, on_both_runtimes, request},
};
use serde_json::{Value, json};

/// A job, and the state and the error that its run ends with.
const TROUBLE: &[(&str, &str, Option<&str>)] = &[
    ("fn(s => { while (true) {} })", "killed", Some("TimeoutError")),
    ("fn(async s => { while (true) await null; })", "killed", Some("TimeoutError")),
    (
        "fn(s => { const all = []; while (true) all.push(new Array(10000).fill(7)); })",
        "killed",
        Some("OOMError"),
    ),
    ("fn(s => { const again = () => again() + 1; return again(); })", "failed", Some("RuntimeError")),
    ("fn(s => new Promise(() => {}))", "failed", Some("PromiseError")),
    (
        "fn(s => { for (let i = 0; i < 100000; i++) console.log('y'.repeat(10000)); return s; })",
        "success",
        None,
    ),
    ("fn(s => ({ big: 'x'.repeat(11000001) }))", "killed", Some("StateTooLargeError")),
    ("fn(s => eval('1'))", "killed", Some("SecurityError")),
    ("fn(s => nowhere)", "crashed", Some("RuntimeCrash")),
    ("fn(s => { throw new Error('no'); })", "failed", Some("JobError")),
];

/// A good workflow that answers with its result, and one for each trouble that answers at once.
fn project() -> String {
    let mut text = String::from("name: trouble\nworkflows:\n");
    let mut workflow = |n: usize, body: &str, more: &str, reply: &str| {
        let (id, body) = (trigger(n), json!(body));
        write!(
            text,
            "  w{n}:\n{more}    jobs: {{job: {{name: Job, body: {body}}}}}\n    triggers: {{t: {{id: {id}, type: webhook, \
             enabled: true, webhook_reply: {reply}}}}}\n    edges: {{e: {{source_trigger: t, target_job: job, \
             condition_type: always, enabled: true}}}}\n"
        )
        .unwrap();
    };
    workflow(0, "fn(s => ({ twice: s.data.n * 2 }))", "", "after_completion");
    for (index, (body, _, error)) in TROUBLE.iter().enumerate() {
        // What does not end by itself need not take long.
        // A gigabyte is printed for half a minute where other tests take the processor.
        let timeout_ms = if *error == Some("TimeoutError") { 500 } else { 300_000 };
        workflow(index + 1, body, &format!("    run_timeout_ms: {timeout_ms}\n"), "before_start");
    }
    text
}

fn trigger(n: usize) -> String {
    format!("3b8f6a52-90c4-4a2e-8d31-7e5f0c9a{n:04}")
}

fn post(server: &Keyway, n: usize, body: &Value) -> (u16, Value) {
    let path = format!("/i/{}", trigger(n));
    let (status, _, text) = ask(server, &request("POST", &path, JSON, body.to_string().as_bytes()));
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

#[test]
fn each_trouble_ends_its_own_run_and_the_runs_beside_it_never_notice() {
    on_both_runtimes(&project(), &["--shards", "2", "--executors", "2"], |server| {
        let troubled: Vec<String> = (1..=TROUBLE.len())
            .map(|n| {
                let (status, answer) = post(server, n, &json!({}));
                assert_eq!(status, 200, "{answer}");
                answer["run_id"].as_str().unwrap().to_owned()
            })
            .collect();
        // All share two threads.
        for n in 0..20 {
            let (status, answer) = post(server, 0, &json!({"n": n}));
            assert_eq!((status, &answer["data"]), (201, &json!({"twice": n * 2})), "{answer}");
        }
        for (run, (body, state, error)) in troubled.iter().zip(TROUBLE) {
            let ended = server.ended_run(run);
            let found = (ended["state"].as_str(), ended["error_type"].as_str());
            assert_eq!(found, (Some(*state), *error), "{body}: {ended}");
        }
        let printed = &troubled[TROUBLE.iter().position(|(body, ..)| body.contains("console")).unwrap()];
        let (_, lines) = server.get(&format!("/api/log_lines?run_id={printed}&page_size=100"));
        assert!(
            lines.to_string().contains("[log truncated: a run may write 1000000 bytes]"),
            "{}",
            lines["meta"]
        );
        let (status, answer) = post(server, 0, &json!({"n": 21}));
        assert_eq!((status, &answer["data"]), (201, &json!({"twice": 42})), "{answer}");
    });
}
