//! What a webhook counts: how many requests it takes, and what became of them.

use std::{fs, io::Write, path::Path, thread, time::Instant};

use crate::common::{
    keyway::{Keyway, eventually},
    stderr, stdout, tool,
    wire::{JSON, answer, ask, connect, on_both_runtimes_in, request},
};
use serde_json::{Value, json};

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: limits
webhook_auth_methods: {office: {type: api, api_key: {file: office.key}}}
workflows:
  limited:
    jobs: &jobs {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, rate_limit: {requests_per_second: 1, burst: 100}}
    edges: &edges {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  steady:
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, rate_limit: {requests_per_second: 200, burst: 100}}
    edges: *edges
  guarded:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, webhook_auth_methods: [office]}}
    edges: *edges
  waiting:
    jobs: *jobs
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, webhook_reply: after_completion,
             response_timeout_seconds: 1}
    edges: *edges
"#;
const LIMITED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const GUARDED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const WAITING: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const STEADY: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
const FLAGS: &[&str] = &["--shards", "4", "--executors", "0"];

fn post(server: &Keyway, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
    let bytes = request("POST", path, &format!("{JSON}{headers}"), body.as_bytes());
    let (status, head, text) = ask(server, &bytes);
    (status, head, serde_json::from_str(&text).unwrap())
}

fn trigger(server: &Keyway, path: &str) -> Value {
    server.get(&format!("/api/triggers/{}", &path[3..])).1["data"]["attributes"].clone()
}

fn furnish(home: &Path) {
    fs::write(home.join("project.yaml"), PROJECT).unwrap();
    fs::write(home.join("office.key"), "secret").unwrap();
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    furnish(home.path());
    home
}

fn apply(server: &Keyway, home: &Path, project: &str) {
    let file = home.join("other.yaml");
    fs::write(&file, project).unwrap();
    let output = tool().arg("apply").arg(&file).args(["--server", &server.api]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Sends until the limit refuses; gives that refusal.
fn exhaust(server: &Keyway) -> (u16, String, Value) {
    (0..1_000).map(|_| post(server, LIMITED, "", "{}")).find(|(status, _, _)| *status != 200).unwrap()
}

#[test]
fn a_rate_limit_is_one_for_all_doors_and_says_when_to_come_again() {
    on_both_runtimes_in(furnish, FLAGS, |server| {
        let start = Instant::now();
        let taken: usize = thread::scope(|scope| {
            let sender = || (0..30).filter(|_| post(server, LIMITED, "", "{}").0 == 200).count();
            let senders: Vec<_> = (0..8).map(|_| scope.spawn(sender)).collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).sum()
        });
        let most = 100 + start.elapsed().as_secs() as usize + 1;
        assert!(taken >= 100, "{taken}");
        assert!(taken <= most, "{taken} of {most}");
        let (status, head, body) = exhaust(server);
        assert_eq!((status, &body["error"]), (429, &json!("too_many_requests")));
        assert_eq!(body["message"], "This webhook takes 1 requests per second. Please retry in 1s.");
        assert!(head.contains("retry-after: 1\r\n"), "{head}");
    });
}

/// When something happened on a connection, in seconds since a common start, and how many requests were taken.
struct Watched {
    first_answer: f64,
    last_refused: f64,
    last_answer: f64,
    taken: usize,
}

/// Sends on one connection as fast as it is answered, for a while.
fn send_for_a_while(server: &Keyway, start: Instant) -> Watched {
    let mut stream = connect(server);
    let mut seen = Watched { first_answer: f64::MAX, last_refused: 0.0, last_answer: 0.0, taken: 0 };
    while start.elapsed().as_secs_f64() < 2.5 {
        let sent = start.elapsed().as_secs_f64();
        stream.write_all(&request("POST", STEADY, JSON, b"{}")).unwrap();
        let (status, _, _) = answer(&mut stream);
        seen.last_answer = start.elapsed().as_secs_f64();
        seen.first_answer = seen.first_answer.min(seen.last_answer);
        match status {
            200 => seen.taken += 1,
            429 => seen.last_refused = sent,
            other => panic!("{other}"),
        }
    }
    seen
}

#[test]
fn a_rate_is_exact_within_a_twentieth_over_all_doors() {
    on_both_runtimes_in(furnish, FLAGS, |server| {
        let start = Instant::now();
        let seen: Vec<Watched> = thread::scope(|scope| {
            let senders: Vec<_> = (0..16).map(|_| scope.spawn(|| send_for_a_while(server, start))).collect();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        let taken: usize = seen.iter().map(|it| it.taken).sum();
        let latest = |time: fn(&Watched) -> f64| seen.iter().map(time).fold(0.0, f64::max);
        let first = seen.iter().map(|it| it.first_answer).fold(f64::MAX, f64::min);
        // However slow this machine is: no more than there was time for, and all that there was when one was refused.
        let most = 100.0 + 200.0 * latest(|it| it.last_answer);
        let least = 100.0 + 200.0 * (latest(|it| it.last_refused) - first);
        assert!(taken as f64 <= most * 1.05, "{taken} of {most}");
        assert!(taken as f64 >= least * 0.95, "{taken} of {least}");
        assert!(least > 300.0, "it was refused, and for long: {least}");
    });
}

#[test]
fn what_is_wrong_with_a_request_comes_before_the_rate_limit() {
    on_both_runtimes_in(furnish, FLAGS, |server| {
        exhaust(server);
        assert_eq!(post(server, LIMITED, "", "{").0, 400);
        let xml = request("POST", LIMITED, "content-type: text/xml\r\n", b"<a/>");
        assert_eq!(ask(server, &xml).0, 415);
        assert_eq!(ask(server, &request("GET", LIMITED, "", b"")).0, 200);
        let switch = |word: &str| {
            let arguments = ["triggers", word, &LIMITED[3..], "--server", &server.api];
            assert!(tool().args(arguments).output().unwrap().status.success());
        };
        switch("disable");
        assert_eq!(post(server, LIMITED, "", "{}").0, 403);
        switch("enable");
        // Other triggers do not feel it.
        assert_eq!(post(server, WAITING, "", "{}").0, 504);
    });
}

#[test]
fn a_project_that_is_applied_again_fills_no_bucket_whose_limit_is_the_same() {
    let home = home();
    let server = Keyway::start(home.path(), FLAGS);
    exhaust(&server);
    let before = Instant::now();
    server.signal("HUP");
    let renamed = PROJECT.replace("name: limits", "name: renamed");
    apply(&server, home.path(), &renamed);
    let taken = (0..50).filter(|_| post(&server, LIMITED, "", "{}").0 == 200).count();
    assert!(taken <= before.elapsed().as_secs() as usize + 1, "{taken}");
    apply(&server, home.path(), &renamed.replace("burst: 100", "burst: 10"));
    let taken = (0..50).filter(|_| post(&server, LIMITED, "", "{}").0 == 200).count();
    assert!(taken >= 10, "a new limit begins with a full bucket: {taken}");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_trigger_shows_what_became_of_its_requests() {
    let home = home();
    let server = Keyway::start(home.path(), FLAGS);
    let nothing = trigger(&server, GUARDED);
    assert_eq!((&nothing["last_event_at"], &nothing["last_refusal"]), (&Value::Null, &Value::Null));
    assert_eq!((&nothing["accepted"], &nothing["refused"]), (&json!(0), &json!({})));
    let sent = [
        ("x-api-key: secret\r\n", "{}", 200),
        ("x-api-key: secret\r\nidempotency-key: k\r\n", "{}", 200),
        ("x-api-key: secret\r\nidempotency-key: k\r\n", "{}", 200),
        ("x-api-key: secret\r\nidempotency-key: k\r\n", "[]", 422),
        ("x-api-key: secret\r\nidempotency-key: \"\r\n", "{}", 400),
        ("x-api-key: secret\r\n", "{", 400),
        ("x-api-key: wrong\r\n", "{}", 404),
        ("", "{}", 401),
    ];
    for (headers, body, status) in sent {
        assert_eq!(post(&server, GUARDED, headers, body).0, status, "{headers}");
    }
    // A look is neither an event nor a refusal.
    assert_eq!(ask(&server, &request("GET", GUARDED, "x-api-key: secret\r\n", b"")).0, 200);
    assert_eq!(post(&server, WAITING, "", "{}").0, 504);
    assert_eq!(post(&server, "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff", "", "{}").0, 404);
    let shown = trigger(&server, GUARDED);
    assert_eq!((&shown["accepted"], &shown["repeated"]), (&json!(2), &json!(1)));
    assert_eq!(shown["refused"], json!({"invalid": 2, "unauthorized": 1, "not_found": 1, "key_reused": 1}));
    assert_eq!(shown["last_refusal"]["reason"], "unauthorized");
    assert!(shown["last_refusal"]["at"].as_str() > shown["last_event_at"].as_str());
    assert_eq!(
        (&trigger(&server, WAITING)["accepted"], &trigger(&server, WAITING)["timeouts"]),
        (&json!(1), &json!(1))
    );
    let (_, metrics) = server.get("/metrics");
    let (id, waiting) = (&GUARDED[3..], &WAITING[3..]);
    for line in [
        format!("keyway_webhook_requests_total{{trigger=\"{id}\",outcome=\"accepted\"}} 2"),
        format!("keyway_webhook_requests_total{{trigger=\"{id}\",outcome=\"repeated\"}} 1"),
        format!("keyway_webhook_requests_total{{trigger=\"{id}\",outcome=\"invalid\"}} 2"),
        "keyway_webhook_requests_total{trigger=\"none\",outcome=\"not_found\"} 1".to_owned(),
        format!("keyway_webhook_timeouts_total{{trigger=\"{waiting}\"}} 1"),
    ] {
        assert!(metrics.as_str().unwrap().lines().any(|it| it == line), "{line} in\n{metrics}");
    }
    let list = stdout(&tool().args(["triggers", "list", "--server", &server.api]).output().unwrap());
    let line = list.lines().find(|line| line.starts_with(id)).unwrap();
    let url = format!("{}{GUARDED}", server.url);
    // To the millisecond, as people read it.
    let last = shown["last_event_at"].as_str().unwrap()[11..23].to_owned();
    for part in ["invalid 2, unauthorized 1, not_found 1, key_reused 1", &url, &last] {
        assert!(line.contains(part), "{part} in {line}");
    }
    // Counters begin anew with the process; the last event is in the log.
    let last = shown["last_event_at"].as_str().unwrap()[..19].to_owned();
    server.kill();
    let server = Keyway::start(home.path(), FLAGS);
    let again = trigger(&server, GUARDED);
    assert_eq!((&again["accepted"], &again["refused"]), (&json!(0), &json!({})));
    assert_eq!(&again["last_event_at"].as_str().unwrap()[..19], last);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn what_was_counted_outlives_a_new_project_and_goes_with_its_trigger() {
    let home = home();
    let server = Keyway::start(home.path(), FLAGS);
    assert_eq!(post(&server, GUARDED, "", "{}").0, 401);
    apply(&server, home.path(), &PROJECT.replace("name: limits", "name: renamed"));
    eventually("the new project counts on", || {
        trigger(&server, GUARDED)["refused"] == json!({"unauthorized": 1})
    });
    let without = PROJECT.split("  guarded:").next().unwrap();
    apply(&server, home.path(), without);
    apply(&server, home.path(), PROJECT);
    assert_eq!(trigger(&server, GUARDED)["refused"], json!({}));
    assert_eq!(server.stop().code(), Some(0));
}
