//! The command line, as a script sees it: what is printed, and the exit code.
//!
//! The server is a fake, so that each answer of the API, also one that is hard to provoke, is met here.

mod output;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::common::{code, fake::Fake, stderr, stdout, tool};
use serde_json::{Value, json};

const RUN: &str = "0190aaaa-0000-7000-8000-000000000001";

const PROJECT: &str = r#"
name: clinic
workflows:
  intake:
    jobs: {noop: {name: Noop, adaptor: '@openfn/language-common@latest', body: "fn(state => state)"}}
    triggers: {webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, custom_path: in}}
    edges: {webhook->noop: {source_trigger: webhook, target_job: noop, condition_type: always, enabled: true}}
"#;

fn run(number: usize) -> Value {
    let attributes = json!({"state": "success", "work_order_id": "w", "attempt": 1, "error_type": null,
        "inserted_at": "2026-11-24T10:00:00.000001Z", "finished_at": "2026-11-24T10:00:01.500000Z"});
    json!({"type": "run", "id": format!("run-{number}"), "attributes": attributes})
}

fn page(runs: std::ops::Range<usize>, next: Option<&str>) -> String {
    let data: Vec<_> = runs.map(run).collect();
    json!({"data": data, "meta": {}, "links": {"next": next}}).to_string()
}

/// Runs the tool against a fake server.
fn ask(fake: &Fake, line: &[&str]) -> std::process::Output {
    tool().args(["--server", &fake.url]).args(line).output().unwrap()
}

#[test]
fn a_project_file_without_mistakes_is_summed_up() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, PROJECT).unwrap();
    let output = tool().arg("validate").arg(&file).output().unwrap();
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    assert!(text.starts_with("ok: 1 workflow, 1 trigger\n"), "{text}");
    assert!(text.contains("/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01"), "{text}");

    let output = tool().arg("validate").arg(&file).arg("--json").output().unwrap();
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["valid"], true);
    assert_eq!(document["triggers"][0]["urls"][0], "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01");
}

#[test]
fn every_mistake_has_its_line_with_its_place_and_the_exit_code_is_3() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(
        &file,
        PROJECT.replace("target_job: noop", "target_job: nop").replace("type: webhook", "type: hook"),
    )
    .unwrap();
    let output = tool().arg("validate").arg(&file).output().unwrap();
    assert_eq!(code(&output), 3);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with(&format!("{}:6:", file.display())), "{text}");
    assert!(lines[1].starts_with(&format!("{}:7:", file.display())), "{text}");
    assert!(lines[1].ends_with("(did you mean `noop`?)"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_a_failure_and_not_a_mistake_in_it() {
    let output = tool().args(["validate", "/nowhere/project.yaml"]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("/nowhere/project.yaml"));
}

#[test]
fn a_list_follows_its_links_up_to_the_limit() {
    let next = "http://elsewhere.example:4001/api/runs?page_size=3&after=run-2";
    let fake = Fake::new(&[
        ("GET /api/runs?page_size=3", 200, page(0..2, Some(next))),
        ("GET /api/runs?page_size=3&after=run-2", 200, page(2..4, Some("/api/runs?after=run-4"))),
    ]);
    let output = ask(&fake, &["runs", "list", "--limit", "3", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["run-0", "run-1", "run-2"]);
    assert_eq!(lines[0]["state"], "success");
    assert_eq!(lines[0]["attributes"], Value::Null);
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn all_of_a_list_is_all_of_it_in_large_pages() {
    let fake = Fake::new(&[
        ("GET /api/runs?state=failed&page_size=1000", 200, page(0..1000, Some("/api/runs?after=run-999"))),
        ("GET /api/runs?after=run-999", 200, page(1000..1001, None)),
    ]);
    let output = ask(&fake, &["runs", "list", "--all", "--state", "failed"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 1_002);
}

#[test]
fn a_table_has_its_columns_whole_and_no_colours_in_a_pipe() {
    let fake = Fake::new(&[("GET /api/runs?page_size=50", 200, page(0..1, None))]);
    let output = ask(&fake, &["runs", "list"]);
    let expected = "\
ID     STATE    WORK ORDER ID  ATTEMPT  INSERTED AT              FINISHED AT              ERROR TYPE
run-0  success  w              1        2026-11-24 10:00:00.000  2026-11-24 10:00:01.500  -
";
    assert_eq!(stdout(&output), expected);
}

#[test]
fn a_run_is_shown_with_its_steps_below_it() {
    let run = json!({"data": {"type": "run", "id": RUN, "attributes": {"state": "failed", "attempt": 1, "steps": [
        {"id": "s1", "job": "validate", "exit_reason": "success"},
        {"id": "s2", "job": "load", "exit_reason": "fail"}]}}});
    let path = format!("GET /api/runs/{RUN}?include=final_state%2Cstates");
    let fake = Fake::new(&[(&path, 200, run.to_string())]);
    let output = ask(&fake, &["runs", "show", RUN, "--final-state", "--states"]);
    let expected = format!(
        "id       {RUN}\nstate    failed\nattempt  1\n\nsteps\n\
         ID  JOB       EXIT REASON\ns1  validate  success\ns2  load      fail\n"
    );
    assert_eq!(stdout(&output), expected);

    let output = ask(&fake, &["--json", "runs", "show", RUN, "--final-state", "--states"]);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["id"], RUN);
    assert_eq!(document["steps"][1]["exit_reason"], "fail");
}

#[test]
fn log_lines_come_with_level_and_time_and_cannot_steer_the_terminal() {
    let line = |level: &str, message: Value| {
        json!({"type": "log_line", "id": "l", "attributes": {"run_id": RUN, "job": "load", "level": level,
            "source": "JOB", "message": message, "timestamp": "2026-11-24T10:00:00.123456Z"}})
    };
    let lines = json!({"data": [line("info", json!("a\u{1b}[2J")), line("error", json!({"b": 1}))],
        "links": {"next": null}});
    let fake = Fake::new(&[
        (&format!("GET /api/runs/{RUN}"), 200, json!({"data": {"id": RUN, "attributes": {}}}).to_string()),
        (&format!("GET /api/log_lines?run_id={RUN}&page_size=1000"), 200, lines.to_string()),
    ]);
    let output = ask(&fake, &["runs", "logs", RUN]);
    let expected = "2026-11-24 10:00:00.123  info   load  a\\u{1b}[2J\n\
                    2026-11-24 10:00:00.123  error  load  {\"b\":1}\n";
    assert_eq!(stdout(&output), expected);
}

#[test]
fn what_the_server_refuses_fails_with_its_own_words() {
    let fake = Fake::new(&[(
        &format!("POST /api/runs/{RUN}/cancel"),
        409,
        json!({"error": "ended", "message": "The run has ended."}).to_string(),
    )]);
    let output = ask(&fake, &["runs", "cancel", RUN]);
    assert_eq!(code(&output), 1);
    assert_eq!(stderr(&output), "keyway: The run has ended.\n");
    let output = ask(&fake, &["runs", "show", RUN]);
    assert_eq!(code(&output), 1);
    assert_eq!(stderr(&output), "keyway: There is no such thing.\n");
}

#[test]
fn the_token_is_sent_and_its_absence_explained() {
    let fake = Fake::new(&[("GET /api/status", 401, json!({"error": "Unauthorized"}).to_string())]);
    let output =
        tool().args(["status", "--server", &fake.url]).env("KEYWAY_API_TOKEN", "s3cret").output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("KEYWAY_API_TOKEN"));
    assert!(!stderr(&output).contains("s3cret"));
    assert_eq!(fake.asked()[0].headers["authorization"], "Bearer s3cret");
}

#[test]
fn a_server_that_is_not_there_is_exit_code_4_with_a_hint() {
    // Port 1 belongs to a service that nobody runs any more.
    let output = tool().args(["status", "--server", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("keyway serve"), "{}", stderr(&output));
}

#[test]
fn another_program_on_the_port_is_named_as_such() {
    let fake = Fake::new(&[("GET /api/status", 200, "<html>It works!</html>".to_owned())]);
    let output = ask(&fake, &["status"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("does not answer as keyway does"), "{}", stderr(&output));
}

#[test]
fn what_makes_no_sense_is_exit_code_2() {
    for line in [
        &["serve", "--bogus"][..],
        &["serve", "--runtime", "threads"],
        &["runs"],
        &["runs", "show", "a/../b"],
        &["status", "--server", "https://keyway.example"],
        &["status", "--data-dir", "data"],
    ] {
        assert_eq!(code(&tool().args(line).output().unwrap()), 2, "{line:?}");
    }
    // In the environment the data dir is the server's, and no reason to refuse.
    let output =
        tool().args(["status", "--server", "http://127.0.0.1:1"]).env("KEYWAY_DATA_DIR", "d").output();
    assert_eq!(code(&output.unwrap()), 4);
}

#[test]
fn an_applied_project_with_mistakes_prints_them_as_validate_does() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, PROJECT).unwrap();
    let mistake =
        json!({"path": "name", "line": 2, "column": 7, "message": "this is no name", "hint": "a word"});
    let answer = json!({"error": "invalid_project", "message": "1 mistake", "mistakes": [mistake]});
    let fake = Fake::new(&[("PUT /api/project", 422, answer.to_string())]);
    let output = tool().args(["--server", &fake.url]).arg("apply").arg(&file).output().unwrap();
    assert_eq!(code(&output), 3);
    assert_eq!(stdout(&output), format!("{}:2:7: this is no name (a word)\n", file.display()));
    assert_eq!(fake.asked()[0].body, PROJECT);
}

#[test]
fn every_flag_can_be_set_in_the_environment() {
    let fake = Fake::new(&[("GET /api/runs?workflow=intake&page_size=7", 200, page(0..1, None))]);
    let output = tool()
        .args(["runs", "list"])
        .envs([("KEYWAY_SERVER", fake.url.as_str()), ("KEYWAY_JSON", "yes")])
        .envs([("KEYWAY_WORKFLOW", "intake"), ("KEYWAY_LIMIT", "7")])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).starts_with(r#"{"id":"run-0","#));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let fake = Fake::new(&[("GET /api/runs?page_size=1000", 200, page(0..1_000, None))]);
    let mut child = tool()
        .args(["runs", "list", "--all", "--json", "--server", &fake.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(code(&output), 0);
}

#[test]
fn events_can_be_followed_until_ctrl_c() {
    let event = |offset: u64| {
        json!({"type": "event", "id": format!("0-{offset}"), "attributes": {"shard": 0, "offset": offset,
            "kind": "Received", "at": "2026-11-24T10:00:00.000000Z", "trigger_id": "t"}})
    };
    let events = json!({"data": [event(7), event(8)], "links": {"next": null}}).to_string();
    let fake = Fake::new(&[
        ("GET /api/status", 200, json!({"data": {"shards": [{"shard": 0, "tail": 7}]}}).to_string()),
        ("GET /api/events?shard=0&from=7&limit=1000", 200, events),
        ("GET /api/events?shard=0&from=9&limit=1000", 200, json!({"data": []}).to_string()),
    ]);
    let mut child =
        tool().args(["events", "tail", "--server", &fake.url]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert_eq!(first, "0-7  2026-11-24 10:00:00.000  Received  trigger_id=t");
    assert!(lines.next().unwrap().unwrap().starts_with("0-8"));
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(lines.next().is_none());
}

#[test]
fn following_ends_when_nobody_reads_any_more() {
    let fake = Fake::new(&[
        ("GET /api/status", 200, json!({"data": {"shards": [{"shard": 0, "tail": 7}]}}).to_string()),
        ("GET /api/events?shard=0&from=7&limit=1000", 200, json!({"data": []}).to_string()),
    ]);
    let mut child =
        tool().args(["events", "tail", "--server", &fake.url]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_event_is_shown_by_its_shard_and_offset() {
    let event =
        json!({"type": "event", "id": "3-8", "attributes": {"shard": 3, "offset": 8, "kind": "Opened"}});
    let fake = Fake::new(&[("GET /api/events/3-8", 200, json!({"data": event}).to_string())]);
    let output = ask(&fake, &["events", "show", "3-8"]);
    assert!(stdout(&output).contains("Opened"), "{}", stderr(&output));
    assert_eq!(code(&ask(&fake, &["events", "show", "3-9"])), 1);
}
