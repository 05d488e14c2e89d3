//! A running keyway, from end to end: what a newcomer does in the first ten minutes, and what can go wrong then.

use std::{collections::BTreeMap, fs, path::Path};

use crate::common::{
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
    let message = format!(
        "keyway: the data dir {} is in use by process {}: stop it, or use another data dir",
        home.path().join("data").display(),
        first.pid()
    );
    assert!(trace.contains(&message), "{trace}");
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

/// A project that may have three runs at once, each of which takes a while.
const LIMITED: &str = r#"
name: limited
concurrency: 3
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(async s => { await new Promise(done => setTimeout(done, 20)); return s; })"}}
    triggers: {webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: webhook, target_job: job, condition_type: always, enabled: true}}
"#;

#[test]
fn the_shards_of_a_project_together_have_as_many_runs_at_once_as_it_may_and_no_more() {
    let home = home(LIMITED);
    let keyway = Keyway::start(home.path(), &["--shards", "4", "--executors", "4"]);
    let runs = 100;
    for _ in 0..runs {
        assert_eq!(keyway.post(TRIGGER, "{}").0, 200);
    }
    eventually("all runs end", || keyway.get("/api/status").1["data"]["runs"]["success"] == runs);
    let (_, listed) = keyway.get("/api/runs?page_size=1000");
    let listed = listed["data"].as_array().unwrap();
    assert_eq!(listed.len(), runs);
    // Those that end at the moment at which another one begins were not there at the same time.
    let mut changes = Vec::new();
    for run in listed.iter().map(|run| &run["attributes"]) {
        changes.push((run["finished_at"].as_str().unwrap(), -1));
        changes.push((run["started_at"].as_str().unwrap(), 1));
    }
    changes.sort();
    let (mut now, mut most) = (0, 0);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    assert_eq!(most, 3);
}

/// Two jobs with credentials, one out of a file and one out of the environment.
const SECRETIVE: &str = r#"
name: secretive
credentials:
  filed: {name: filed, owner: o, body: {file: filed.json}}
  set: {name: set, owner: o, body: {env: SET_CREDENTIAL}}
workflows:
  intake:
    jobs:
      first:
        name: First
        body: "fn(s => { console.log('first', s.configuration.password, s.configuration); return s; })"
        credential: filed
      second:
        name: Second
        body: "fn(s => { console.log(`second ${s.configuration.password}`); return { ...s, had: !!s.configuration.password }; })"
        credential: set
    triggers: {webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges:
      e: {source_trigger: webhook, target_job: first, condition_type: always, enabled: true}
      f: {source_job: first, target_job: second, condition_type: always, enabled: true}
"#;

#[test]
fn a_credential_is_seen_by_its_job_and_by_nobody_after_it() {
    let home = home(SECRETIVE);
    fs::write(home.path().join("filed.json"), r#"{"password": "filed-hunter22"}"#).unwrap();
    let set = [("SET_CREDENTIAL", r#"{"password": "set-hunter22"}"#)];
    let keyway = Keyway::start_with(home.path(), &["--shards", "1"], &set);
    let (_, answer) = keyway.post(TRIGGER, "{}");
    let run = id(&answer, "run_id").to_owned();
    assert_eq!(keyway.ended_run(&run)["state"], "success");
    let lines = ask(&keyway, &["runs", "logs", &run]);
    assert!(lines.contains(r#"first [REDACTED] {"password":"[REDACTED]"}"#), "{lines}");
    assert!(lines.contains("second [REDACTED]"), "{lines}");
    let shown: Value =
        serde_json::from_str(&ask(&keyway, &["runs", "show", &run, "--final-state", "--json"])).unwrap();
    assert_eq!(shown["final_state"]["had"], true);
    assert_eq!(shown["final_state"]["configuration"], Value::Null);
    let export = ask(&keyway, &["events", "export"]);
    let events = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let outputs: Vec<_> = events
        .filter(|line| line["kind"] == "StepFinished")
        .map(|line| line["event"]["output"].clone())
        .collect();
    assert_eq!(outputs.len(), 2, "{export}");
    for output in outputs {
        assert!(output["data"].is_object(), "{output}");
        assert_eq!(output["configuration"], Value::Null, "{output}");
    }
    let shown = shown.to_string() + &lines + &export + &keyway.text("/metrics") + &keyway.trace();
    assert!(!shown.contains("hunter22"), "{shown}");
    assert_eq!(keyway.stop().code(), Some(0));
    for (path, bytes) in files(&home.path().join("data")) {
        assert!(!bytes.windows(8).any(|part| part == b"hunter22"), "{}", path.display());
    }
}
