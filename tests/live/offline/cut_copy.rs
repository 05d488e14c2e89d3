//! Copies of a data dir whose history was cut: through an export, with another number of shards, and byte by byte.

use std::{fs, io::Write, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::{
    cut::{INPUTS, LIMIT_BYTES, retention, send},
    folder::copy,
    furnish::{PROJECT, TRIGGER, offline},
};
use crate::common::{
    code,
    keyway::{Keyway, agent, eventually},
    stderr, tool,
};

/// A home folder whose server cut its history, and stopped with runs that wait, and the answer to a key that was
/// sent before all else; it may go on cutting, or not.
fn cut(shards: u8, goes_on: bool) -> (tempfile::TempDir, Value) {
    let home = tempfile::tempdir().unwrap();
    let project =
        PROJECT.replace("name: clinic", &format!("name: clinic\nhistory_retention_bytes: {LIMIT_BYTES}"));
    fs::write(home.path().join("project.yaml"), project).unwrap();
    let server = Keyway::start(home.path(), &["--shards", &shards.to_string()]);
    // The key of the first one is remembered when all else of it is gone.
    let first = keyed(&server);
    (1..INPUTS * u64::from(shards)).for_each(|seed| drop(send(&server, seed)));
    let path = format!("/api/work_orders/{}", first["work_order_id"].as_str().unwrap());
    eventually("it is cut", || server.get(&path).0 == 404 && retention(&server, "cut_events") > 0);
    eventually("every run has ended", || server.get("/api/runs?state=available").1["data"] == json!([]));
    assert_eq!(server.stop().code(), Some(0));
    if !goes_on {
        fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    }
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    (0..3).for_each(|seed| drop(send(&server, 5_000 + seed)));
    assert_eq!(server.stop().code(), Some(0));
    (home, first)
}

/// Sends what has an idempotency key.
fn keyed(server: &Keyway) -> Value {
    let request = agent().post(format!("{}{TRIGGER}", server.url)).header("idempotency-key", "once");
    let request = request.content_type("application/json");
    let mut answer = request.send("{\"n\":1}").unwrap();
    assert_eq!(answer.status(), 200);
    answer.body_mut().read_json().unwrap()
}

/// What a server says of everything that is left, but for what is of this one process.
fn answers(home: &Path) -> Vec<Value> {
    let server = Keyway::start(home, &["--executors", "0"]);
    let mut found: Vec<_> = ["/api/work_orders", "/api/runs", "/api/log_lines", "/api/dead_letters"]
        .map(|path| server.get(&format!("{path}?page_size=1000")).1["data"].take())
        .to_vec();
    for run in found[1].as_array().unwrap().clone() {
        let id = run["id"].as_str().unwrap();
        found.push(server.get(&format!("/api/runs/{id}?include=states")).1);
    }
    let mut status = server.get("/api/status").1["data"].take();
    let counts = ["work_orders", "runs", "dead_letters"].map(|name| status[name].take());
    found.extend(counts);
    found.push(keyed(&server));
    assert_eq!(server.stop().code(), Some(0));
    found
}

/// A home folder with the same project, and no data dir.
fn other(home: &Path) -> tempfile::TempDir {
    let other = tempfile::tempdir().unwrap();
    fs::copy(home.join("project.yaml"), other.path().join("project.yaml")).unwrap();
    other
}

fn done(home: &Path, line: &[&str]) -> String {
    let (code, text, errors) = offline(home, line);
    assert_eq!(code, 0, "{line:?}: {text}{errors}");
    text
}

#[test]
fn a_copy_of_a_log_that_was_cut_answers_as_the_one_that_it_is_a_copy_of() {
    let (home, first) = cut(2, false);
    let file = home.path().join("export.jsonl");
    let name = file.to_str().unwrap();
    done(home.path(), &["events", "export", name]);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("\"keyway_export\":2"), "{}", lines[0]);
    assert!(lines[1].starts_with("{\"base\":\"state\",\"shard\":0,"), "{}", lines[1]);
    // As it is, with another number of shards, and byte by byte.
    let (same, more, bytes) = (other(home.path()), other(home.path()), other(home.path()));
    done(same.path(), &["events", "import", name]);
    done(more.path(), &["events", "import", "--shards", "3", name]);
    copy(&home.path().join("data"), &bytes.path().join("data"));
    assert!(done(same.path(), &["events", "import", name]).starts_with("0 events imported, "));
    // A copy of the copy is the same file, but for its first line.
    let again = same.path().join("again.jsonl");
    done(same.path(), &["events", "export", again.to_str().unwrap()]);
    assert!(fs::read_to_string(again).unwrap().lines().skip(1).eq(lines[1..].iter().copied()));
    // One that was begun is gone on with: in the rows, behind them, and when it is whole.
    for part in [2, lines.len() / 2, lines.len() - 1, lines.len()] {
        fs::write(&file, lines[..part].join("\n") + "\n").unwrap();
        done(home.path(), &["events", "export", "--continue", name]);
        assert!(fs::read_to_string(&file).unwrap().lines().skip(1).eq(lines[1..].iter().copied()), "{part}");
    }
    let expected = answers(home.path());
    assert_eq!(expected.last(), Some(&first));
    let waiting = |run: &&Value| run["attributes"]["state"] == "available";
    assert_eq!(expected[1].as_array().unwrap().iter().filter(waiting).count(), 3);
    for copied in [&same, &more, &bytes] {
        done(copied.path(), &["verify"]);
        assert_eq!(answers(copied.path()), expected);
        done(copied.path(), &["rebuild", "all"]);
        done(copied.path(), &["verify"]);
    }
}

#[test]
fn a_damaged_export_of_a_log_that_was_cut_leaves_nothing_and_a_live_one_is_whole() {
    let (home, _) = cut(1, true);
    let (file, broken) = (home.path().join("export.jsonl"), home.path().join("broken.jsonl"));
    let server = Keyway::start(home.path(), &[]);
    let export = || {
        let output = tool().args(["--server", &server.api, "events", "export"]).arg(&file).output().unwrap();
        let is_whole = code(&output) == 0;
        // Where the load has cut the log on the way, it says so; whoever is told exports once more.
        if !is_whole {
            assert!(stderr(&output).contains("history was cut while it was exported"), "{}", stderr(&output));
            fs::remove_file(&file).unwrap();
        }
        is_whole
    };
    std::thread::scope(|scope| {
        let load = scope.spawn(|| (0..60).for_each(|seed| drop(send(&server, 7_000 + seed))));
        eventually("an export is whole", export);
        load.join().unwrap();
    });
    assert_eq!(server.stop().code(), Some(0));
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |number: usize, line: Option<&str>| {
        let mut changed: Vec<&str> = lines.clone();
        changed.splice(number - 1..number, line);
        changed.join("\n") + "\n"
    };
    let flipped = lines[2].replace("\"key\":\"", "\"key\":\"0f");
    let cases = [
        (with(3, Some(&flipped)), "broken.jsonl:3: its check does not match"),
        (with(3, None), "its last line counts other events than are in it"),
        (lines[..2].join("\n") + "\n", "it was cut off; nothing is imported"),
        (with(lines.len(), None), "it was cut off; nothing is imported"),
        (text[..text.len() - 2].to_owned(), "the file was cut off; nothing is imported"),
    ];
    let copied = other(home.path());
    for (content, expected) in cases {
        fs::write(&broken, content).unwrap();
        let (code, text, errors) = offline(copied.path(), &["events", "import", broken.to_str().unwrap()]);
        assert_eq!(code, 1, "{expected}: {text}");
        assert!(errors.contains(expected), "{expected}: {errors}");
        assert!(!copied.path().join("data").exists());
    }
    // One that is killed leaves what the next one throws away.
    let mut child = tool()
        .args(["events", "import", "--data-dir"])
        .arg(copied.path().join("data"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&text.as_bytes()[..text.len() / 2]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!copied.path().join("data").exists());
    assert!(copied.path().join("data.import").exists());
    done(copied.path(), &["events", "import", file.to_str().unwrap()]);
    assert!(!copied.path().join("data.import").exists());
    done(copied.path(), &["verify"]);
    let server = Keyway::start(copied.path(), &[]);
    let newest = send(&server, 9_999)["work_order_id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/api/work_orders/{newest}")).0, 200);
    assert_eq!(server.stop().code(), Some(0));
}
