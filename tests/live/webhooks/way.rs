//! Idempotency keys of a trigger whose inputs go to another shard than before: a project was applied that says so.

use std::fs;

use crate::common::{
    keyway::Keyway,
    tool,
    wire::{JSON, ask, request},
};
use serde_json::{Value, json};

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: ways
workflows:
  serial:
    concurrency: 1
    jobs: &jobs {job: {name: Job, body: "fn(s => ({n: s.data.id}))"}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook}}
    edges: &edges {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  keyed:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, ordering: key, ordering_key: /id}}
    edges: *edges
  plain:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook}}
    edges: *edges
  waiting:
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, webhook_reply: after_completion}}
    edges: *edges
"#;
/// What is changed, each of them another way.
const CHANGES: [(&str, &str); 4] = [
    ("  serial:\n    concurrency: 1\n", "  serial:\n"),
    ("ordering: key, ordering_key: /id}", "ordering: none}"),
    ("  plain:\n", "  plain:\n    concurrency: 1\n"),
    ("  waiting:\n", "  waiting:\n    concurrency: 1\n"),
];
const PATHS: [&str; 4] = [
    "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01",
    "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02",
    "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03",
    "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04",
];
const KEYS: usize = 24;
const FLAGS: &[&str] = &["--shards", "4", "--executors", "2"];

/// What a sender was told: status, whether it was told before, body.
type Told = (u16, bool, Value);

fn send(server: &Keyway, path: &str, key: usize, id: usize) -> Told {
    let headers = format!("{JSON}idempotency-key: {key}\r\n");
    let (status, head, text) =
        ask(server, &request("POST", path, &headers, format!("{{\"id\":{id}}}").as_bytes()));
    (status, head.contains("x-keyway-replayed: true"), serde_json::from_str(&text).unwrap())
}

/// Sends every key to every trigger.
fn send_all(server: &Keyway) -> Vec<Told> {
    PATHS.iter().flat_map(|path| (0..KEYS).map(move |key| send(server, path, key, key))).collect()
}

#[test]
fn keys_hold_over_a_project_that_sends_their_inputs_another_way() {
    let changed = CHANGES.iter().fold(PROJECT.to_owned(), |project, (from, to)| {
        assert!(project.contains(from), "{from}");
        project.replace(from, to)
    });
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, PROJECT).unwrap();
    let apply = |server: &Keyway, project: &str| {
        fs::write(&file, project).unwrap();
        let output = tool().arg("apply").arg(&file).args(["--server", &server.api]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let server = Keyway::start(home.path(), FLAGS);
    let mut first = send_all(&server);
    assert!(first.iter().all(|(_, replayed, _)| !replayed), "{first:?}");
    first.iter_mut().for_each(|told| told.1 = true);
    apply(&server, &changed);
    assert_eq!(send_all(&server), first);
    // Another body is told apart wherever the first one was.
    for path in PATHS {
        let reused = send(&server, path, 7, 8);
        assert_eq!(reused, (422, false, json!({"error": "idempotency_key_reused"})), "{path}");
    }
    server.kill();
    // A start does not know what was in force before.
    let server = Keyway::start(home.path(), FLAGS);
    assert_eq!(send_all(&server), first);
    apply(&server, PROJECT);
    assert_eq!(send_all(&server), first);
    let (_, status) = server.get("/api/status");
    let orders = status["data"]["work_orders"].as_object().unwrap().values();
    assert_eq!(orders.map(|count| count.as_u64().unwrap()).sum::<u64>(), (PATHS.len() * KEYS) as u64);
}
