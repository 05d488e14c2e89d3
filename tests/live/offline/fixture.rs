//! Data dirs that a server wrote once: every later version finds them well, and answers as that one did.
//!
//! `KEYWAY_WRITE_FIXTURE=DIR cargo test --test offline fixture` writes one of format 2 anew, for a newer format beside it; an
//! old fixture is never changed. That of format 1 was written in the same way, but for the reshard, by a version whose queue
//! had other rows.

use std::{fs, path::Path};

use serde_json::Value;

use super::{folder::copy, furnish::offline};
use crate::common::keyway::{Keyway, eventually};

const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: fixture
workflows:
  intake:
    jobs:
      check: {name: Check, body: "fn(s => { if (s.data.bad) throw new Error('bad'); console.log('n', s.data.n); return s; })"}
      end: {name: End, body: "fn(s => ({ n: s.data.n + 1 }))"}
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, ordering: key, ordering_key: /key, on_failure: block_key}
    edges:
      hook->check: {source_trigger: hook, target_job: check, condition_type: always, enabled: true}
      check->end: {source_job: check, target_job: end, condition_type: on_job_success, enabled: true}
"#;
/// Keys of the inputs, and which of them fail: what is behind a failed one waits.
const INPUTS: [(u64, bool); 7] =
    [(1, false), (2, true), (2, false), (1, false), (3, false), (2, false), (3, true)];
/// How many wait behind a failed one.
const BEHIND: usize = 2;

fn post(server: &Keyway, n: usize, (key, bad): (u64, bool)) {
    let (status, answer) = server.post(HOOK, &format!("{{\"n\":{n},\"key\":{key},\"bad\":{bad}}}"));
    assert_eq!(status, 200, "{answer}");
}

fn is_quiet(server: &Keyway) -> bool {
    let runs = server.get("/api/status").1["data"]["runs"].take();
    let count = |state: &str| runs[state].as_u64().unwrap();
    count("claimed") + count("started") == 0 && count("available") == BEHIND as u64
}

/// Writes a data dir, and what its server says, into a folder.
fn write(into: &Path) {
    fs::write(into.join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(into, &["--shards", "1"]);
    let (first, then) = INPUTS.split_at(4);
    first.iter().enumerate().for_each(|(n, input)| post(&server, n, *input));
    eventually("the first have ended", || server.get("/api/status").1["data"]["runs"]["success"] == 2);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(offline(into, &["reshard", "--shards", "2"]).0, 0);
    let server = Keyway::start(into, &[]);
    then.iter().enumerate().for_each(|(n, input)| post(&server, first.len() + n, *input));
    eventually("all have ended that may", || is_quiet(&server));
    fs::write(into.join("answers.json"), format!("{}\n", answers(&server))).unwrap();
    assert_eq!(server.stop().code(), Some(0));
}

/// What the API says of everything.
fn answers(server: &Keyway) -> Value {
    let get = |path: &str| server.get(path).1["data"].take();
    let mut all =
        vec![get("/api/work_orders?include=input"), get("/api/runs"), get("/api/status")["runs"].take()];
    for run in all[1].as_array().unwrap().clone() {
        let id = run["id"].as_str().unwrap();
        all.push(get(&format!("/api/runs/{id}?include=states,final_state")));
        all.push(get(&format!("/api/log_lines?run_id={id}")));
    }
    Value::Array(all)
}

/// Whether everything of one document is in another one, which may have more attributes.
fn is_in(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            old.iter().all(|(name, value)| new.get(name).is_some_and(|new| is_in(value, new)))
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| is_in(old, new))
        }
        (old, new) => old == new,
    }
}

#[test]
fn a_data_dir_that_was_resharded_by_an_older_version_is_well_and_answers_as_it_did() {
    if let Some(path) = std::env::var_os("KEYWAY_WRITE_FIXTURE") {
        return write(Path::new(&path));
    }
    is_well_and_answers(2);
}

#[test]
fn a_data_dir_whose_queue_an_older_version_wrote_is_well_and_answers_as_it_did() {
    is_well_and_answers(1);
}

fn is_well_and_answers(format: u8) {
    let (home, fixtures) = (
        tempfile::tempdir().unwrap(),
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/live/offline/fixtures/format-{format}")),
    );
    let data = home.path().join("data");
    copy(&fixtures.join("data"), &data);
    // Folders that are empty in the fixture: git keeps none.
    for entry in fs::read_dir(&data).unwrap() {
        for keyspace in fs::read_dir(entry.unwrap().path().join("keyspaces")).into_iter().flatten() {
            let keyspace = keyspace.unwrap().path();
            ["tables", "blobs"].iter().for_each(|folder| fs::create_dir_all(keyspace.join(folder)).unwrap());
        }
    }
    assert_eq!(fs::read(data.join("manifest")).unwrap()[4], format);
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let shards = fs::read_dir(&data).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    let is_well = || {
        let (code, text, errors) = offline(home.path(), &["verify"]);
        assert_eq!((code, text.matches("all is well").count()), (0, shards), "{text}{errors}");
    };
    is_well();
    let told: Value =
        serde_json::from_str(&fs::read_to_string(fixtures.join("answers.json")).unwrap()).unwrap();
    let server = Keyway::start(home.path(), &[]);
    let found = answers(&server);
    assert!(is_in(&told, &found), "{told:#}\n{found:#}");
    post(&server, INPUTS.len(), (4, false));
    eventually("it goes on", || {
        server.get("/api/status").1["data"]["runs"]["success"] == told[2]["success"].as_u64().unwrap() + 1
    });
    assert!(is_quiet(&server), "what a key holds back waits on");
    assert_eq!(server.stop().code(), Some(0));
    is_well();
}
