//! A workflow that keeps nothing: input and states leave the log soon after the run, whatever happens to the server.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::furnish::{PROJECT, TRIGGER, offline};
use crate::common::{
    keyway::{Keyway, eventually},
    noise::noise,
};

const SECRET: &str = "nobody shall read this again";

#[test]
fn nothing_of_a_workflow_that_keeps_nothing_is_in_the_log_after_its_runs() {
    let home = tempfile::tempdir().unwrap();
    let project = PROJECT
        .replace("  intake:\n", "  intake:\n    zero_persistence: true\n    log_retention_period: 0\n");
    fs::write(home.path().join("project.yaml"), project.replace("state.data.n", "state.data.text")).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "1"]);
    let (status, answer) = server.post(TRIGGER, &json!({ "text": SECRET }).to_string());
    assert_eq!(status, 200, "{answer}");
    let run = answer["run_id"].as_str().unwrap().to_owned();
    assert_eq!(server.ended_run(&run)["state"], "success");
    let states = format!("/api/runs/{run}?include=input,final_state,states");
    eventually("the run is wiped", || server.get(&states).1["data"]["attributes"]["wiped_at"].is_string());
    eventually("its log lines are wiped", || {
        server.get("/api/status").1["data"]["retention"]["wiped_log_lines"].as_u64() >= Some(1)
    });
    let wiped = server.get(&states).1;
    assert!(!wiped.to_string().contains(SECRET), "{wiped}");
    assert_eq!(wiped["data"]["attributes"]["state"], "success");
    assert_eq!(wiped["data"]["attributes"]["steps"][0]["exit_reason"], "success");
    // That it was wiped is in the log: a crash does not undo it.
    server.kill();
    let server = Keyway::start(home.path(), &[]);
    assert_eq!(server.get(&states).1, wiped);
    let order = answer["work_order_id"].as_str().unwrap();
    let (status, rerun) = server.ask(&format!("/api/work_orders/{order}/reruns"), &json!({}));
    assert_eq!((status, &rerun["error"]), (409, &json!("wiped")), "{rerun}");
    assert_eq!(server.stop().code(), Some(0));
    let verified = offline(home.path(), &["verify"]);
    assert_eq!(verified.0, 0, "{verified:?}");
    let (code, exported, _) = offline(home.path(), &["events", "export"]);
    assert_eq!(code, 0);
    assert!(exported.contains("\"Wiped\""), "{exported}");
    assert!(!exported.contains(SECRET), "{exported}");
    copied(&exported, &wiped, &states);
}

#[test]
fn a_wipe_that_is_killed_ends_with_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    let project = PROJECT.replace("  intake:\n", "  intake:\n    zero_persistence: true\n");
    fs::write(home.path().join("project.yaml"), project.replace("state.data.n", "state.data.text")).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "1"]);
    let body = json!({ "text": SECRET }).to_string();
    // More than one turn wipes.
    (0..300).for_each(|_| assert_eq!(server.post(TRIGGER, &body).0, 200));
    let wiped = |server: &Keyway| {
        server.get("/api/status").1["data"]["retention"]["wiped_dataclips"].as_u64().unwrap()
    };
    eventually("a wipe goes on", || wiped(&server) > 0);
    server.kill();
    let verified = offline(home.path(), &["verify"]);
    assert_eq!(verified.0, 0, "{verified:?}");
    let server = Keyway::start(home.path(), &[]);
    // What a crash left of it is found anew.
    eventually("nothing is left", || !server.text("/api/export?shard=0&kind=Received").contains(SECRET));
    assert_eq!(server.stop().code(), Some(0));
    let verified = offline(home.path(), &["verify"]);
    assert_eq!(verified.0, 0, "{verified:?}");
}

/// Whether a text is in any file below a folder.
fn is_in_files(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| match entry.file_type().unwrap().is_dir() {
        true => is_in_files(&entry.path(), text),
        // One that the store took away meanwhile has nothing any more.
        false => fs::read(entry.path()).is_ok_and(|bytes| memmem(&bytes, text.as_bytes())),
    })
}

fn memmem(bytes: &[u8], text: &[u8]) -> bool {
    let first = text[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(text) {
            return true;
        }
        from += at + 1;
    }
    false
}

#[test]
fn what_is_wiped_leaves_the_files_of_the_log_when_they_are_shrunk() {
    let home = tempfile::tempdir().unwrap();
    // A limit that is not reached: a quarter of it is what is shrunk for.
    let project = PROJECT
        .replace("name: clinic", "name: clinic\nhistory_retention_bytes: 40000000")
        .replace("  intake:\n", "  intake:\n    zero_persistence: true\n");
    fs::write(home.path().join("project.yaml"), project).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "1"]);
    // What is in memory is written out within them, and those that hold the secret are the first to be wiped.
    for n in 0..100 {
        let secret = if n < 40 { SECRET } else { "" };
        let body = json!({"n": n, "text": format!("{secret}{}", noise(n, 200_000))});
        assert_eq!(server.post(TRIGGER, &body.to_string()).0, 200);
    }
    let keyspaces = home.path().join("data/shard-000/keyspaces");
    eventually("the secret is in the files", || is_in_files(&keyspaces, SECRET));
    eventually("the files are shrunk", || !is_in_files(&keyspaces, SECRET));
    assert_eq!(server.get("/api/work_orders?page_size=1000").1["data"].as_array().unwrap().len(), 100);
    assert_eq!(server.stop().code(), Some(0));
    assert!(!is_in_files(&keyspaces, SECRET), "no file of any projection has it");
    let verified = offline(home.path(), &["verify"]);
    assert_eq!(verified.0, 0, "{verified:?}");
}

/// What was exported fills another data dir, which says the same.
fn copied(exported: &str, wiped: &Value, states: &str) {
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("export.jsonl");
    fs::write(&file, exported).unwrap();
    fs::write(other.path().join("project.yaml"), PROJECT).unwrap();
    let imported = offline(other.path(), &["events", "import", file.to_str().unwrap()]);
    assert_eq!(imported.0, 0, "{imported:?}");
    assert_eq!(offline(other.path(), &["verify"]).0, 0);
    let server = Keyway::start(other.path(), &[]);
    assert_eq!(server.get(states).1, *wiped);
    assert_eq!(server.stop().code(), Some(0));
}
