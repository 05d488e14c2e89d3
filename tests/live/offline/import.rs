//! Import: a data dir made of an export answers as the one that was exported, ids and all.
//!
//! A file that is damaged or cut off stops at its line, and nothing is there twice when the whole one comes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::furnish::{INPUTS, PROJECT, TRIGGER, answers, furnished, offline};
use crate::common::{
    code,
    keyway::{Keyway, eventually},
    stderr, stdout, tool,
};

/// An export of a furnished home, with one of its runs.
fn exported() -> (tempfile::TempDir, String, PathBuf) {
    let (home, run) = furnished();
    let file = home.path().join("export.jsonl");
    let (code, _, errors) = offline(home.path(), &["events", "export", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    (home, run, file)
}

/// A home folder without a data dir.
fn empty() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    home
}

fn import(home: &Path, file: &Path) -> (i32, String, String) {
    offline(home, &["events", "import", file.to_str().unwrap()])
}

/// The lines of an export but for the first.
fn lines(home: &Path) -> Vec<String> {
    let (code, text, errors) = offline(home, &["events", "export"]);
    assert_eq!(code, 0, "{errors}");
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_copy_answers_as_what_it_is_a_copy_of() {
    let (home, run, file) = exported();
    let copy = empty();
    let (code, text, errors) = import(copy.path(), &file);
    assert_eq!(code, 0, "{errors}");
    assert!(text.ends_with("events imported, 0 were there already\n"), "{text}");
    assert_eq!(lines(copy.path()), lines(home.path()));
    let (code, text, _) = offline(copy.path(), &["verify"]);
    assert_eq!(code, 0, "{text}");
    let (code, text, _) = import(copy.path(), &file);
    assert_eq!(code, 0);
    assert!(text.starts_with("0 events imported, "), "{text}");
    assert_eq!(answers(copy.path(), &run), answers(home.path(), &run));
}

#[test]
fn a_copy_knows_what_was_replayed() {
    let (home, _) = furnished();
    let server = Keyway::start(home.path(), &[]);
    let output = tool()
        .args(["--server", &server.api, "replay", "--from", "events", "--trigger-id", &TRIGGER[3..]])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    eventually("all are replayed", || {
        server.get("/api/status").1["data"]["work_orders"]["success"] == 2 * INPUTS
    });
    assert_eq!(server.stop().code(), Some(0));
    let file = home.path().join("export.jsonl");
    assert_eq!(offline(home.path(), &["events", "export", file.to_str().unwrap()]).0, 0);
    let copy = empty();
    assert_eq!(import(copy.path(), &file).0, 0);
    for data in [home.path(), copy.path()] {
        let (code, text, _) = offline(data, &["verify"]);
        assert_eq!(code, 0, "{text}");
    }
    assert_eq!(lines(copy.path()), lines(home.path()));
}

#[test]
fn a_compressed_export_comes_back_through_a_pipe() {
    let (home, run, _) = exported();
    let (copy, packed) = (empty(), home.path().join("export.zst"));
    let (status, _, errors) =
        offline(home.path(), &["events", "export", "--compress", packed.to_str().unwrap()]);
    assert_eq!(status, 0, "{errors}");
    let mut child = tool()
        .args(["events", "import", "--data-dir"])
        .arg(copy.path().join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&packed).unwrap()).unwrap();
    assert_eq!(code(&child.wait_with_output().unwrap()), 0);
    assert_eq!(answers(copy.path(), &run), answers(home.path(), &run));
    let bytes = fs::read(&packed).unwrap();
    fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
    let (status, _, errors) = import(empty().path(), &packed);
    assert_eq!(status, 1);
    assert!(errors.contains("export.zst:"), "{errors}");
}

#[test]
fn a_damaged_or_cut_off_file_stops_at_its_line_and_the_whole_one_goes_on_behind_it() {
    let (home, _, file) = exported();
    let text = fs::read_to_string(&file).unwrap();
    let all: Vec<&str> = text.lines().collect();
    let broken = home.path().join("broken.jsonl");
    let with = |number: usize, line: &str| {
        let mut changed = all.clone();
        changed[number - 1] = line;
        changed.join("\n") + "\n"
    };
    let late = all[19].replace("\"kind\"", "\"kin\"");
    let changed = all[19].replace("\"check\":\"", "\"check\":\"0");
    let cases = [
        (with(20, &late), "broken.jsonl:20:"),
        (with(20, &changed), "broken.jsonl:20: its check does not match"),
        (with(20, all[20]), "broken.jsonl:20: event 0-18 is missing before 0-19"),
        (all[..30].join("\n") + "\n", "broken.jsonl:31: it ends without its last line"),
        (text[..text.len() - 2].to_owned(), "it has no end: the file was cut off"),
        (all[1..].join("\n") + "\n", "broken.jsonl:1: it does not begin like an export"),
        (String::new(), "broken.jsonl:1: it is empty"),
    ];
    for (content, expected) in cases {
        let copy = empty();
        fs::write(&broken, content).unwrap();
        for _ in 0..2 {
            let (code, text, errors) = import(copy.path(), &broken);
            assert_eq!(code, 1, "{expected}: {text}");
            assert!(errors.contains(expected), "{expected}: {errors}");
        }
        assert_eq!(import(copy.path(), &file).0, 0);
        assert_eq!(lines(copy.path()), lines(home.path()), "{expected}");
        assert_eq!(offline(copy.path(), &["verify"]).0, 0);
    }
}

#[test]
fn what_is_no_copy_is_refused_and_left_as_it_is() {
    let (home, _, file) = exported();
    let (other, _) = furnished();
    let before = lines(other.path());
    let (code, _, errors) = import(other.path(), &file);
    assert_eq!(code, 1);
    assert!(errors.contains("holds another log than this file is of"), "{errors}");
    assert_eq!(lines(other.path()), before);
    // A copy that went on by itself is a data dir of its own.
    let copy = empty();
    assert_eq!(import(copy.path(), &file).0, 0);
    let server = Keyway::start(copy.path(), &[]);
    let (code, _, errors) = import(copy.path(), &file);
    assert_eq!(code, 5, "{errors}");
    assert_eq!(server.post(TRIGGER, "{\"n\":1}").0, 200);
    assert_eq!(server.stop().code(), Some(0));
    let server = Keyway::start(home.path(), &[]);
    assert_eq!(server.post(TRIGGER, "{\"n\":2}").0, 200);
    assert_eq!(server.stop().code(), Some(0));
    let (code, _, _) = offline(home.path(), &["events", "export", "--continue", file.to_str().unwrap()]);
    assert_eq!(code, 0);
    let (code, _, errors) = import(copy.path(), &file);
    assert_eq!(code, 1);
    assert!(errors.contains("the data dir holds another event at this place"), "{errors}");
    let filtered = home.path().join("filtered.jsonl");
    offline(home.path(), &["events", "export", "--kind", "Received", filtered.to_str().unwrap()]);
    let (code, _, errors) = import(empty().path(), &filtered);
    assert_eq!(code, 1);
    assert!(errors.contains("filtered.jsonl:1: it was exported with filters"), "{errors}");
}

#[test]
fn an_import_that_is_killed_begins_again_without_a_trace() {
    let (home, run, file) = exported();
    let copy = empty();
    let text = fs::read(&file).unwrap();
    for part in [2, 3] {
        let mut child = tool()
            .args(["events", "import", "--data-dir"])
            .arg(copy.path().join("data"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&text[..text.len() * part / 4]).unwrap();
        eventually("the data dir is there", || copy.path().join("data/shard-001").exists());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (code, _, errors) = import(copy.path(), &file);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(lines(copy.path()), lines(home.path()));
    assert_eq!(answers(copy.path(), &run), answers(home.path(), &run));
}

#[test]
fn a_backup_of_a_server_under_load_is_whole_and_holds_all_that_was_acknowledged_before() {
    let (home, _) = furnished();
    let server = Keyway::start(home.path(), &[]);
    let file = home.path().join("backup.jsonl");
    let (_, acknowledged) = server.post(TRIGGER, "{\"n\":77}");
    std::thread::scope(|scope| {
        let load =
            scope.spawn(|| (0..200).for_each(|n| drop(server.post(TRIGGER, &format!("{{\"n\":{n}}}")))));
        let output = tool().args(["--server", &server.api, "events", "export"]).arg(&file).output().unwrap();
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        load.join().unwrap();
    });
    let copy = empty();
    assert_eq!(import(copy.path(), &file).0, 0);
    assert_eq!(offline(copy.path(), &["verify"]).0, 0);
    let restored = Keyway::start(copy.path(), &[]);
    let id = acknowledged["run_id"].as_str().unwrap();
    assert_eq!(restored.ended_run(id)["state"], "success");
}
