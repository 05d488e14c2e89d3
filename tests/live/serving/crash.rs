//! What a crash (`kill -9`) leaves of runs under way: they are offered again, or are lost where they may run only once.

use std::fs;

use serde_json::{Value, json};

use crate::common::keyway::{Keyway, eventually};

const PROJECT: &str = r#"
name: crash
workflows:
  again:
    jobs: &jobs
      first: {name: First, body: "fn(s => s)"}
      slow: {name: Slow, body: "fn(s => new Promise(done => setTimeout(() => done(s), s.data.ms)))"}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: &edges
      e: {source_trigger: hook, target_job: first, condition_type: always, enabled: true}
      f: {source_job: first, target_job: slow, condition_type: always, enabled: true}
  once:
    at_most_once: true
    jobs: *jobs
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: true}}
    edges: *edges
"#;
/// Longer than it takes a run to be reported as begun, with its first step.
const MS: u64 = 2_000;

#[test]
fn a_run_under_way_is_offered_again_after_a_crash_and_one_that_may_run_once_is_lost_with_its_open_step() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let flags = ["--shards", "2", "--executors", "2"];
    let server = Keyway::start(home.path(), &flags);
    let [again, once] = ["01", "02"].map(|hook| {
        let body = json!({ "ms": MS }).to_string();
        let (status, answer) = server.post(&format!("/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f{hook}"), &body);
        assert_eq!(status, 200, "{answer}");
        answer["run_id"].as_str().unwrap().to_owned()
    });
    let run =
        |server: &Keyway, id: &str| server.get(&format!("/api/runs/{id}")).1["data"]["attributes"].take();
    for id in [&again, &once] {
        eventually("both steps have begun", || {
            run(&server, id)["steps"].as_array().is_some_and(|it| it.len() == 2)
        });
    }
    server.kill();

    let server = Keyway::start(home.path(), &flags);
    let ended = server.ended_run(&again);
    assert_eq!((&ended["state"], &ended["attempt"]), (&json!("success"), &json!(2)));
    let exits = |run: &Value| {
        let steps = run["steps"].as_array().unwrap();
        steps.iter().map(|step| step["exit_reason"].clone()).collect::<Value>()
    };
    assert_eq!(exits(&ended), json!(["success", "success"]), "those of the attempt that ended it");
    let lost = server.ended_run(&once);
    assert_eq!((&lost["state"], &lost["attempt"]), (&json!("lost"), &json!(1)));
    assert_eq!(lost["error_type"], "LostAfterStart");
    assert_eq!(exits(&lost), json!(["success", "lost"]));
    assert_eq!(lost["steps"][1]["finished_at"], Value::Null);
    assert_eq!(server.stop().code(), Some(0));
}
