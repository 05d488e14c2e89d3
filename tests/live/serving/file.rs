//! A project file by every road into force: `validate`, `apply`, a start, SIGHUP. Each names the same mistakes, and what
//! is in force, or was made for a run, stays whole.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::common::{
    code,
    keyway::{Keyway, eventually},
    stderr, stdout, tool,
};

const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: clinic
workflows:
  intake:
    jobs:
      greet:
        name: Greet
        body: |
          fn(state => ({ greeting: `Hello, ${state.data.name}!` }))
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, custom_path: front}}
    edges: {e: {source_trigger: hook, target_job: greet, condition_type: always, enabled: true}}
"#;

/// A file with ten mistakes, no two of a kind.
const TEN: &str = include_str!("../../../ingest/tests/ingest/reading/ten.yaml");

/// What each road says of it under this name.
fn ten_mistakes(file: &Path) -> String {
    include_str!("../../../ingest/tests/ingest/reading/ten.txt")
        .replace("f.yaml:", &format!("{}:", file.display()))
}

fn run(line: &[&str], file: &Path) -> Output {
    tool().args(line).arg(file).output().unwrap()
}

/// Mistakes as a document has them, as lines.
fn lines_of(mistakes: &Value, file: &Path) -> String {
    let line = |mistake: &Value| {
        let hint = match mistake["hint"].as_str().unwrap() {
            "" => String::new(),
            hint => format!(" ({hint})"),
        };
        assert!(mistake["path"].is_string(), "{mistake}");
        let (line, column) = (&mistake["line"], &mistake["column"]);
        format!("{}:{line}:{column}: {}{hint}\n", file.display(), mistake["message"].as_str().unwrap())
    };
    mistakes.as_array().unwrap().iter().map(line).collect()
}

fn greeting(server: &Keyway, run: &str) -> Value {
    assert_eq!(server.ended_run(run)["state"], "success");
    let (_, run) = server.get(&format!("/api/runs/{run}?include=final_state"));
    run["data"]["attributes"]["final_state"]["greeting"].clone()
}

fn post(server: &Keyway) -> String {
    let (status, answer) = server.post(HOOK, r#"{"name": "Amina"}"#);
    assert_eq!(status, 200, "{answer}");
    answer["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn ten_mistakes_are_told_alike_by_every_road_and_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    let expected = ten_mistakes(&file);
    fs::write(&file, TEN).unwrap();
    let output = run(&["validate"], &file);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (3, expected.clone(), String::new()));
    let output = run(&["validate", "--json"], &file);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((code(&output), &document["valid"]), (3, &Value::Bool(false)));
    assert_eq!(lines_of(&document["mistakes"], &file), expected);

    let Err((status, said)) = Keyway::try_start(home.path(), &[]) else { panic!("served with mistakes") };
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains(&expected), "{said}");

    fs::write(&file, PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "1"]);
    let ten = home.path().join("ten.yaml");
    fs::write(&ten, TEN).unwrap();
    let output = run(&["--server", &server.api, "apply"], &ten);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (3, ten_mistakes(&ten), String::new()));
    let output = run(&["--server", &server.api, "--json", "apply"], &ten);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((code(&output), &document["error"]), (3, &Value::from("invalid_project")));
    assert_eq!(document["message"], "The project file has 10 mistakes.");
    assert_eq!(lines_of(&document["mistakes"], &ten), ten_mistakes(&ten));
    assert_eq!(greeting(&server, &post(&server)), "Hello, Amina!");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn hang_up_with_a_broken_file_or_none_names_what_is_wrong_and_the_old_one_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "2"]);
    let goes_on = || {
        assert_eq!(greeting(&server, &post(&server)), "Hello, Amina!");
        let (status, shown) = server.get("/api/project");
        assert_eq!((status, &shown["data"]["attributes"]["file"]), (200, &Value::from(PROJECT)));
    };
    fs::write(&file, TEN).unwrap();
    server.signal("HUP");
    let refused = format!("The project file has 10 mistakes.\n{}", ten_mistakes(&file).trim_end());
    eventually("every mistake is traced", || server.trace().contains(&refused));
    assert!(
        server.trace().contains("SIGHUP: the project file was refused; nothing changed"),
        "{}",
        server.trace()
    );
    goes_on();
    fs::remove_file(&file).unwrap();
    server.signal("HUP");
    let gone = "SIGHUP: the project file cannot be read; nothing changed";
    eventually("its absence is traced", || server.trace().contains(gone));
    goes_on();
    fs::write(&file, PROJECT.replace("Hello, ", "Karibu, ")).unwrap();
    server.signal("HUP");
    eventually("a good file counts again", || greeting(&server, &post(&server)) == "Karibu, Amina!");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_run_that_waits_over_a_change_of_the_file_is_run_as_it_was_made() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("project.yaml");
    fs::write(&file, PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "1", "--executors", "0"]);
    let first = post(&server);
    // While it serves, by `apply`; then at a start, by another file still.
    let karibu = home.path().join("karibu.yaml");
    fs::write(
        &karibu,
        PROJECT
            .replace("Hello, ", "Karibu, ")
            .replace("greet:", "salute:")
            .replace("job: greet", "job: salute"),
    )
    .unwrap();
    let output = run(&["--server", &server.api, "apply"], &karibu);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let second = post(&server);
    assert_eq!(server.stop().code(), Some(0));
    fs::write(
        &file,
        PROJECT
            .replace("Hello, ", "Salut, ")
            .replace("greet:", "welcome:")
            .replace("job: greet", "job: welcome"),
    )
    .unwrap();
    let server = Keyway::start(home.path(), &["--executors", "1"]);
    let third = post(&server);
    for (run, said, job) in [
        (first, "Hello, Amina!", "greet"),
        (second, "Karibu, Amina!", "salute"),
        (third, "Salut, Amina!", "welcome"),
    ] {
        assert_eq!(greeting(&server, &run), said);
        let (_, shown) = server.get(&format!("/api/runs/{run}"));
        assert_eq!(shown["data"]["attributes"]["steps"][0]["job"], job, "{shown}");
        assert_eq!(shown["data"]["attributes"]["starting_job"], job, "{shown}");
    }
    assert_eq!(server.stop().code(), Some(0));
}
