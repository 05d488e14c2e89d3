//! A running keyway, from end to end: what a newcomer does in the first ten minutes, and what can go wrong then.

#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use common::{
    code,
    keyway::{Keyway, eventually},
    stderr, stdout, tool,
};
use keyway_storage::{
    directory::{DataDir, Durability},
    key::{Key, Tag},
    log::Log,
    place::ShardId,
};
use serde_json::{Value, json};

const TRIGGER: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: clinic
workflows:
  intake:
    jobs:
      greet:
        name: Greet
        adaptor: '@openfn/language-common@latest'
        body: |
          fn(state => {
            console.log('hello', state.data.name);
            return { ...state, data: { greeting: `Hello, ${state.data.name}!` } };
          });
    triggers:
      webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, custom_path: front}
    edges:
      webhook->greet: {source_trigger: webhook, target_job: greet, condition_type: always, enabled: true}
"#;

/// A home folder with this project file.
fn home(project: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), project);
    home
}

fn write(home: &Path, project: &str) {
    fs::write(home.join("project.yaml"), project).unwrap();
}

fn id<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// Runs the tool against a server, expects success, gives what it printed.
fn ask(keyway: &Keyway, line: &[&str]) -> String {
    let output = tool().args(["--server", &keyway.api]).args(line).output().unwrap();
    assert_eq!(code(&output), 0, "{line:?}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_webhook_becomes_a_finished_run_on_either_runtime() {
    for runtime in ["auto", "epoll"] {
        let home = home(PROJECT);
        let keyway = Keyway::start(home.path(), &["--runtime", runtime]);
        let (status, answer) = keyway.post(TRIGGER, r#"{"name": "Amina"}"#);
        assert_eq!(status, 200, "{answer}");
        let (work_order, run) = (id(&answer, "work_order_id"), id(&answer, "run_id"));
        assert_eq!(keyway.ended_run(run)["state"], "success");

        let shown: Value =
            serde_json::from_str(&ask(&keyway, &["runs", "show", run, "--final-state", "--json"])).unwrap();
        assert_eq!(shown["final_state"]["data"], json!({"greeting": "Hello, Amina!"}));
        assert_eq!(shown["work_order_id"], work_order);
        assert_eq!(shown["steps"][0]["job"], "greet");
        let shown: Value =
            serde_json::from_str(&ask(&keyway, &["work-orders", "show", work_order, "--input", "--json"]))
                .unwrap();
        assert_eq!(shown["state"], "success");
        assert_eq!(shown["input"]["data"], json!({"name": "Amina"}));
        assert!(ask(&keyway, &["runs", "logs", run]).contains("hello Amina"));
        assert!(ask(&keyway, &["runs", "list"]).contains(run));
        assert!(ask(&keyway, &["work-orders", "list", "--state", "success"]).contains(work_order));
        assert!(ask(&keyway, &["triggers", "list"]).contains(TRIGGER));
        assert!(ask(&keyway, &["events", "list"]).contains("RunFinished"));
        assert!(ask(&keyway, &["status"]).contains("1 success"));
        assert_eq!(keyway.stop().code(), Some(0));
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let home = home(PROJECT);
    let keyway = Keyway::start(home.path(), &["--executors", "0"]);
    let ids: Vec<String> = (0..20)
        .map(|number| {
            let (status, answer) = keyway.post(TRIGGER, &json!({ "name": number }).to_string());
            assert_eq!(status, 200, "{answer}");
            id(&answer, "run_id").to_owned()
        })
        .collect();
    keyway.kill();
    let keyway = Keyway::start(home.path(), &[]);
    for id in ids {
        assert_eq!(keyway.ended_run(&id)["state"], "success");
    }
    let (_, status) = keyway.get("/api/status");
    assert_eq!(status["data"]["work_orders"]["success"], 20);
}

#[test]
fn a_second_process_on_the_data_dir_is_refused_with_exit_code_5() {
    let home = home(PROJECT);
    let first = Keyway::start(home.path(), &[]);
    let Err((status, trace)) = Keyway::try_start(home.path(), &[]) else {
        panic!("two writers on one data dir")
    };
    assert_eq!(status.code(), Some(5), "{trace}");
    assert!(trace.contains("keyway: "), "{trace}");
    assert_eq!(first.post(TRIGGER, "{}").0, 200);
}

/// What is in a data dir, but for the note of who has it.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false if path.ends_with("lock") => {}
            false => drop(files.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    files
}

#[test]
fn a_data_dir_of_a_newer_format_is_refused_with_exit_code_5_and_left_as_it_is() {
    let home = home(PROJECT);
    assert_eq!(Keyway::start(home.path(), &[]).stop().code(), Some(0));
    let data = home.path().join("data");
    let manifest = data.join("manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[4] = 99;
    fs::write(&manifest, bytes).unwrap();
    let before = files(&data);
    let Err((status, trace)) = Keyway::try_start(home.path(), &[]) else { panic!("served a newer format") };
    let mut told = vec![(status.code(), trace)];
    for command in ["verify", "rebuild"] {
        let output = tool().args([command, "--data-dir"]).arg(&data).output().unwrap();
        told.push((output.status.code(), stderr(&output)));
    }
    for (code, message) in told {
        assert_eq!(code, Some(5), "{message}");
        assert!(message.contains("the data dir has format 99, this keyway knows formats up to"), "{message}");
        assert!(message.contains("use a newer keyway"), "{message}");
    }
    assert_eq!(files(&data), before);
}

#[test]
fn rows_that_are_not_what_was_written_end_the_start_with_exit_code_6() {
    let home = home(PROJECT);
    assert_eq!(Keyway::start(home.path(), &["--shards", "1"]).stop().code(), Some(0));
    {
        let data = DataDir::open_existing(&home.path().join("data")).unwrap();
        let mut store = data.open_shard(ShardId(0), Durability::Fsync, None).unwrap();
        let end = store.log.live().end;
        store.state.put(Key::new(Tag::Counts), b"not what was written"[..].into());
        store.state.commit(end).unwrap();
    }
    let Err((status, trace)) = Keyway::try_start(home.path(), &[]) else { panic!("served damaged rows") };
    assert_eq!(status.code(), Some(6), "{trace}");
    assert!(trace.contains("keyway: a damaged row"), "{trace}");
}

#[test]
fn a_project_file_with_mistakes_is_refused_whole_with_exit_code_3() {
    let home = home(&PROJECT.replace("target_job: greet", "target_job: meet"));
    let Err((status, trace)) = Keyway::try_start(home.path(), &[]) else { panic!("served with a mistake") };
    assert_eq!(status.code(), Some(3), "{trace}");
    assert!(trace.contains("there is no job `meet`"), "{trace}");
}

#[test]
fn a_project_is_applied_whole_or_not_at_all() {
    let home = home(PROJECT);
    let keyway = Keyway::start(home.path(), &[]);
    let other = home.path().join("other.yaml");
    fs::write(&other, PROJECT.replace("target_job: greet", "target_job: meet")).unwrap();
    let output = tool().args(["--server", &keyway.api]).arg("apply").arg(&other).output().unwrap();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stdout(&output).starts_with(&format!("{}:", other.display())), "{}", stdout(&output));

    fs::write(&other, PROJECT.replace("Hello, ", "Karibu, ")).unwrap();
    ask(&keyway, &["apply", other.to_str().unwrap()]);
    let (_, answer) = keyway.post(TRIGGER, r#"{"name": "Amina"}"#);
    let run = id(&answer, "run_id").to_owned();
    keyway.ended_run(&run);
    let (_, run) = keyway.get(&format!("/api/runs/{run}?include=final_state"));
    assert_eq!(run["data"]["attributes"]["final_state"]["data"]["greeting"], "Karibu, Amina!");
}

#[test]
fn hang_up_reads_the_project_file_again() {
    let home = home(PROJECT);
    let keyway = Keyway::start(home.path(), &[]);
    write(home.path(), &PROJECT.replace("custom_path: front", "custom_path: back"));
    keyway.signal("HUP");
    let path = "/i/3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11/back";
    eventually("the new path is served", || keyway.post(path, "{}").0 == 200);
}

#[test]
fn a_trigger_can_be_switched_off_and_on() {
    let home = home(PROJECT);
    let keyway = Keyway::start(home.path(), &[]);
    let trigger = TRIGGER.trim_start_matches("/i/");
    ask(&keyway, &["triggers", "disable", trigger]);
    eventually("the trigger refuses", || keyway.post(TRIGGER, "{}").0 == 403);
    ask(&keyway, &["triggers", "enable", trigger]);
    eventually("the trigger accepts", || keyway.post(TRIGGER, "{}").0 == 200);
}

#[test]
fn a_finished_run_can_be_run_again_and_not_cancelled() {
    let home = home(PROJECT);
    let keyway = Keyway::start(home.path(), &[]);
    let (_, answer) = keyway.post(TRIGGER, r#"{"name": "Amina"}"#);
    let (work_order, run) = (id(&answer, "work_order_id"), id(&answer, "run_id"));
    keyway.ended_run(run);
    let output = tool().args(["--server", &keyway.api, "runs", "cancel", run]).output().unwrap();
    assert_eq!(code(&output), 1);
    let again: Value =
        serde_json::from_str(&ask(&keyway, &["work-orders", "rerun", work_order, "--json"])).unwrap();
    let again = keyway.ended_run(id(&again, "id"));
    assert_eq!(again["state"], "success");
    assert_eq!(again["work_order_id"], work_order);
}
