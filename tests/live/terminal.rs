//! On a terminal: colours, and bars that are gone when the work is done. In a pipe: neither. And events as they come in.
//!
//! The terminal is one of script(1), which every Debian has.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::common::{
    code,
    fake::Fake,
    keyway::{Keyway, eventually},
    stderr, stdout, tool,
};
use serde_json::{Value, json};

const ESCAPE: &str = "\u{1b}[";
const INPUTS: u64 = 20;
const TRIGGER: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const PROJECT: &str = "
name: terminal
workflows:
  intake:
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";

/// What the tool writes to a terminal.
fn on_terminal(line: &[&str]) -> String {
    let program = tool().get_program().to_str().unwrap().to_owned();
    let line = [&[program.as_str()], line].concat().join(" ");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    script.env("TERM", "xterm-256color").env("COLUMNS", "100").env_remove("NO_COLOR");
    let output = script.stdin(Stdio::null()).output().unwrap();
    assert_eq!(code(&output), 0, "{line}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

#[test]
fn a_table_has_colours_on_a_terminal_and_none_in_a_pipe() {
    let run =
        |state: &str| json!({"type": "runs", "id": format!("run-{state}"), "attributes": {"state": state}});
    let page = json!({"data": [run("success"), run("failed")], "links": {"next": null}}).to_string();
    let fake = Fake::new(&[("GET /api/runs?page_size=50", 200, page)]);
    let line = ["--server", &fake.url, "runs", "list"];
    let shown = on_terminal(&line);
    for state in ["success", "failed"] {
        // Right behind the end of a colour, once as a part of an id and once by itself.
        let is_coloured = |(at, _): (usize, &str)| {
            let before = shown[..at].trim_end_matches(' ');
            before.ends_with('m') && before.rfind(ESCAPE).is_some_and(|colour| before.len() - colour < 16)
        };
        assert!(shown.match_indices(state).any(is_coloured), "{state}: {shown:?}");
    }
    let piped = tool().args(line).output().unwrap();
    assert_eq!(code(&piped), 0, "{}", stderr(&piped));
    assert!(stdout(&piped).contains("run-success"), "{}", stdout(&piped));
    assert!(!stdout(&piped).contains(ESCAPE), "{}", stdout(&piped));
}

/// A server that has taken some inputs.
fn started(home: &std::path::Path) -> Keyway {
    fs::write(home.join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home, &["--shards", "1"]);
    let post = |n: u64| assert_eq!(server.post(&format!("/i/{TRIGGER}"), &format!("{{\"n\":{n}}}")).0, 200);
    (0..INPUTS).for_each(post);
    server
}

#[test]
fn a_replay_is_followed_with_a_bar_that_says_how_far_it_is_and_how_long_it_takes() {
    let home = tempfile::tempdir().unwrap();
    let server = started(home.path());
    let begun = |rate: u64| -> String {
        let mut answer = ureq::post(format!("{}/api/replays", server.api))
            .send_json(json!({"from": "events", "trigger_id": TRIGGER, "rate_per_second": rate}))
            .unwrap();
        let answer: Value = answer.body_mut().read_json().unwrap();
        answer["data"]["id"].as_str().unwrap().to_owned()
    };
    let shown = on_terminal(&["--server", &server.api, "replay", "follow", &begun(20)]);
    for part in [" of 20  ", "/s  ", " left"] {
        assert!(shown.contains(part), "{part}: {shown:?}");
    }
    let id = begun(1_000);
    let piped = tool().args(["--server", &server.api, "replay", "follow", &id]).output().unwrap();
    assert_eq!(code(&piped), 0, "{}", stderr(&piped));
    assert!(!stdout(&piped).contains(ESCAPE), "{}", stdout(&piped));
    assert_eq!(stderr(&piped), "");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn what_is_done_to_a_data_dir_has_a_bar_that_says_how_much_there_is_and_how_long_it_takes() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(started(home.path()).stop().code(), Some(0));
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (data, copy, file) = (at("data"), at("copy"), at("export.jsonl"));
    let lines: [(&[&str], &str); 5] = [
        (&["rebuild", "--data-dir", &data], "derived from"),
        (&["verify", "--data-dir", &data], "all is well"),
        (&["events", "export", &file, "--data-dir", &data], ""),
        (&["events", "import", &file, "--data-dir", &copy], "events imported"),
        (&["reshard", "--shards", "2", "--data-dir", &data], "2 shards take inputs"),
    ];
    for (line, said) in lines {
        let shown = on_terminal(line);
        assert!(shown.contains(said), "{line:?}: {shown:?}");
        assert!(shown.contains(" left"), "{line:?}: {shown:?}");
        // What is to be done is counted beforehand; `begin` may have drawn the bar of an import of nothing once.
        let totals = shown.match_indices(", ").filter_map(|(at, _)| shown[..at].rsplit_once('/'));
        let counted = totals.filter(|(_, total)| total.parse::<u64>().is_ok_and(|total| total > 0));
        assert!(counted.count() > 0, "{line:?}: {shown:?}");
    }
    // How large the file is, not how many lines it has: nobody knows that before it was read.
    let bytes = fs::metadata(&file).unwrap().len();
    let shown = on_terminal(&["events", "import", &file, "--data-dir", &at("another")]);
    let total = format!("/{},{:03}, ", bytes / 1_000, bytes % 1_000);
    assert!(shown.contains(&total), "{total}: {shown:?}");
}

#[test]
fn events_of_a_server_are_shown_as_they_are_accepted_until_ctrl_c() {
    let home = tempfile::tempdir().unwrap();
    let server = started(home.path());
    eventually("all runs have ended", || server.get("/api/status").1["data"]["runs"]["success"] == INPUTS);
    let line = ["events", "tail", "--server", &server.api];
    let mut child = tool().args(line).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // It shows what comes in from when it has looked where the log ends.
    let post = || server.post(&format!("/i/{TRIGGER}"), "{\"n\":77}").1;
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut seen = Vec::new();
    eventually("something is shown", || {
        post();
        seen.extend(receiver.try_iter());
        !seen.is_empty()
    });
    // What is shown first may be the end of one that came before; this one is shown whole.
    let run = post()["run_id"].as_str().unwrap().to_owned();
    let is_shown = |line: &String, kind: &str| line.contains(kind) && line.contains(&run);
    eventually("its end is shown", || {
        seen.extend(receiver.try_iter());
        seen.iter().any(|line| is_shown(line, "  RunFinished  "))
    });
    let of = |line: &String| {
        line.split_whitespace().next().unwrap().trim_start_matches("0-").parse::<u64>().unwrap()
    };
    let offsets: Vec<_> = seen.iter().map(of).collect();
    assert!(offsets.windows(2).all(|two| two[1] == two[0] + 1), "none twice, none left out: {seen:?}");
    assert!(seen.iter().any(|line| is_shown(line, "  Received  ")), "{seen:?}");
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    reader.join().unwrap();
}
