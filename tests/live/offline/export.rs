//! Export: every event as a line, from a server that goes on or from a data dir that is closed.
//!
//! A file that was cut off is gone on with, and one that is whole is brought up to date: never written over.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::Stdio,
};

use serde_json::Value;

use super::furnish::{TRIGGER, furnished, offline};
use crate::common::{code, keyway::Keyway, stderr, stdout, tool};

/// The lines of a file, but for the first, which tells when it was made.
fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().skip(1).map(str::to_owned).collect()
}

fn kinds(lines: &[String]) -> Vec<String> {
    let kind =
        |line: &String| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().map(str::to_owned);
    lines.iter().filter_map(kind).collect()
}

/// Runs the tool against a server.
fn ask(server: &Keyway, line: &[&str]) -> (i32, String, String) {
    let output = tool().args(["--server", &server.api]).args(line).output().unwrap();
    (code(&output), stdout(&output), stderr(&output))
}

#[test]
fn a_server_that_goes_on_and_a_closed_data_dir_give_the_same_lines() {
    let (home, _) = furnished();
    let at = |name: &str| home.path().join(name);
    let live = at("live.jsonl");
    let server = Keyway::start(home.path(), &[]);
    let (code, _, errors) = ask(&server, &["events", "export", live.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(server.stop().code(), Some(0));
    let closed = at("closed.jsonl");
    let (code, _, errors) = offline(home.path(), &["events", "export", closed.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(lines(&live), lines(&closed));
    let last: Value = serde_json::from_str(lines(&live).last().unwrap()).unwrap();
    assert_eq!(last["keyway_export_end"]["events"], lines(&live).len() - 1);
    assert!(kinds(&lines(&live)).iter().any(|kind| kind == "StepFinished"));
    let (code, text, _) = offline(home.path(), &["events", "export"]);
    assert_eq!(code, 0);
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), lines(&closed));
}

#[test]
fn an_export_that_was_cut_off_goes_on_and_a_whole_one_is_brought_up_to_date() {
    let (home, _) = furnished();
    let whole = home.path().join("whole.jsonl");
    let part = home.path().join("part.jsonl");
    let export = |path: &Path, flags: &[&str]| {
        let line = [&["events", "export", path.to_str().unwrap()], flags].concat();
        offline(home.path(), &line)
    };
    assert_eq!(export(&whole, &[]).0, 0);
    let text = fs::read(&whole).unwrap();
    // In the first line, in the middle of a line, behind a line, before and behind the last line.
    let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in [0, 20, text.len() / 2, last, text.len() - 3, text.len()] {
        fs::write(&part, &text[..cut]).unwrap();
        let (code, _, errors) = export(&part, &["--continue"]);
        assert_eq!(code, 0, "{cut}: {errors}");
        assert_eq!(lines(&part), lines(&whole), "{cut}");
    }
    let (code, _, errors) = export(&part, &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("--continue"), "{errors}");
    let server = Keyway::start(home.path(), &[]);
    assert_eq!(server.post(TRIGGER, "{\"n\":1}").0, 200);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(export(&part, &["--continue"]).0, 0);
    assert!(lines(&part).len() > lines(&whole).len());
    let (code, _, errors) = export(&part, &["--continue", "--kind", "Received"]);
    assert_eq!(code, 1);
    assert!(errors.contains("part.jsonl:1: it was begun with another data dir or other filters"), "{errors}");
}

#[test]
fn filters_choose_by_kind_trigger_and_time() {
    let (home, _) = furnished();
    let export = |flags: &[&str]| {
        let (code, text, errors) = offline(home.path(), &[&["events", "export"], flags].concat());
        assert_eq!(code, 0, "{errors}");
        let all: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        kinds(&all)
    };
    let all = export(&[]);
    let received = export(&["--kind", "Received,RunFinished"]);
    assert_eq!(received.len(), 2 * super::furnish::INPUTS);
    let of_trigger = export(&["--trigger-id", &TRIGGER[3..]]);
    let of_none = |kind: &&String| ["Opened", "ProjectApplied"].contains(&kind.as_str());
    assert_eq!(of_trigger.len(), all.len() - all.iter().filter(of_none).count());
    assert_eq!(export(&["--trigger-id", "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02"]), [""; 0]);
    assert_eq!(export(&["--inserted-before", "2020-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(export(&["--inserted-after", "2020-01-01T00:00:00Z"]), all);
    for wrong in [["--kind", "Recieved"], ["--trigger-id", "x"], ["--inserted-after", "today"]] {
        let (code, _, errors) = offline(home.path(), &[&["events", "export"][..], &wrong].concat());
        assert_eq!(code, 2, "{errors}");
    }
}

#[test]
fn views_are_derived_anew_while_the_server_goes_on() {
    let (home, _) = furnished();
    let server = Keyway::start(home.path(), &[]);
    let before = server.get("/api/work_orders?page_size=100").1;
    let (code, text, errors) = ask(&server, &["rebuild", "views"]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.starts_with("views derived from "), "{text}");
    assert_eq!(server.get("/api/work_orders?page_size=100").1, before);
    let (status, answer) = server.post(TRIGGER, "{\"n\":1}");
    assert_eq!(status, 200);
    server.ended_run(answer["run_id"].as_str().unwrap());
    let (code, _, errors) = ask(&server, &["rebuild"]);
    assert_eq!(code, 1);
    assert!(errors.contains("--data-dir"), "{errors}");
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, _) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn an_export_of_a_server_that_dies_goes_on_with_the_one_that_is_started_next() {
    let (home, _) = furnished();
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    // More than a page and a pipe hold: the export waits in the middle until someone reads.
    let body = format!("{{\"n\":1,\"pad\":\"{}\"}}", "x".repeat(100_000));
    (0..100).for_each(|_| assert_eq!(server.post(TRIGGER, &body).0, 200));
    let mut child = tool()
        .args(["--server", &server.api, "events", "export"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..10 {
        reader.read_line(&mut text).unwrap();
    }
    server.kill();
    reader.read_to_string(&mut text).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_ne!(ended.status.code(), Some(0), "it was over before the server died");
    assert!(!text.contains("keyway_export_end"));
    let (part, whole) = (home.path().join("part.jsonl"), home.path().join("whole.jsonl"));
    fs::write(&part, &text).unwrap();
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    let (code, _, errors) = ask(&server, &["events", "export", "--continue", part.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    // It is brought up to date while the server goes on.
    assert_eq!(server.post(TRIGGER, "{\"n\":2}").0, 200);
    let (code, _, errors) = ask(&server, &["events", "export", "--continue", part.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    let (code, _, errors) = ask(&server, &["events", "export", whole.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    // What came later stands behind what was there, whatever its shard.
    let sorted = |path: &Path| {
        let mut all = lines(path);
        all.sort();
        all
    };
    assert!(sorted(&part) == sorted(&whole));
    let before = text.lines().count();
    assert!(lines(&part).len() > before + 50, "{before} lines came before the server died");
}

#[test]
fn a_compressed_export_is_not_gone_on_with() {
    let (home, _) = furnished();
    let file = home.path().join("export.zst");
    let line = ["events", "export", "--compress", "--continue", file.to_str().unwrap()];
    let (code, _, errors) = offline(home.path(), &line);
    assert_eq!(code, 2, "{errors}");
    for flag in ["--continue", "--compress"] {
        assert!(errors.contains(flag), "{errors}");
    }
}
