//! A home folder with a data dir that holds finished runs, and what a server says of it.

use std::{fs, path::Path};

use keyway_storage::event::TriggerId;
use serde_json::Value;

use crate::common::{code, keyway::Keyway, stderr, stdout, tool};

pub const TRIGGER: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
pub const INPUTS: usize = 30;

pub const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: clinic
workflows:
  intake:
    jobs:
      greet:
        name: Greet
        body: "fn(state => { console.log('hello', state.data.n); return { data: { n: state.data.n + 1 } }; })"
    triggers:
      webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}
    edges:
      webhook->greet: {source_trigger: webhook, target_job: greet, condition_type: always, enabled: true}
"#;

/// The trigger of `MEASURES`.
pub const KAFKA: TriggerId = TriggerId(0x0c9f_1f9e_60a4_4f0c_8a4a_3f3c_9f1d_9f04_u128.to_be_bytes());
/// Another workflow of the project: dead letters of its trigger can go through again. Nobody answers it.
pub const MEASURES: &str = r#"  measures:
    jobs:
      same: {name: Same, body: "fn(state => state)"}
    triggers:
      kafka:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04
        type: kafka
        enabled: true
        kafka_configuration: {hosts: ['localhost:9'], topics: [measures]}
    edges:
      kafka->same: {source_trigger: kafka, target_job: same, condition_type: always, enabled: true}
"#;

/// A home folder whose data dir holds finished runs; gives one of them.
pub fn furnished() -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "2"]);
    let mut run = String::new();
    for n in 0..INPUTS {
        let (status, answer) = server.post(TRIGGER, &format!("{{\"n\":{n}}}"));
        assert_eq!(status, 200, "{answer}");
        run = answer["run_id"].as_str().unwrap().to_owned();
        server.ended_run(&run);
    }
    assert_eq!(server.stop().code(), Some(0));
    (home, run)
}

/// Runs the tool on the data dir of a home folder: exit code, stdout, stderr.
pub fn offline(home: &Path, line: &[&str]) -> (i32, String, String) {
    let output = tool().args(line).arg("--data-dir").arg(home.join("data")).output().unwrap();
    (code(&output), stdout(&output), stderr(&output))
}

/// What the API says of everything.
pub fn answers(home: &Path, run: &str) -> Vec<Value> {
    let server = Keyway::start(home, &[]);
    let paths = [
        "/api/work_orders?page_size=100".to_owned(),
        "/api/runs?page_size=100&state=success".to_owned(),
        format!("/api/runs/{run}?include=states"),
        format!("/api/log_lines?run_id={run}"),
    ];
    let mut found: Vec<_> = paths.iter().map(|path| server.get(path).1).collect();
    found.iter_mut().for_each(|answer| drop(answer["links"].take()));
    assert_eq!(found[0]["data"].as_array().unwrap().len(), INPUTS);
    assert_eq!(server.stop().code(), Some(0));
    found
}
