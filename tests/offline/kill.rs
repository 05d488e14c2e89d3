//! Commands that are killed (-9) in the middle: whatever was begun ends with the next start or the next try, once.

use std::{fs, os::unix::process::ExitStatusExt, path::Path};

use bytes::Bytes;
use keyway_storage::{
    directory::{DataDir, Durability},
    event::TriggerId,
    key::{Key, Tag},
    log::Log,
};
use serde_json::{Value, json};

use crate::{
    common::{
        code,
        keyway::{Keyway, eventually},
        kill::{Kill, SIGKILL, variables},
        letters::{dead_letter, write_letters},
        stderr, tool,
    },
    furnish::{PROJECT, TRIGGER, answers, furnished, offline},
};

const MANY: u64 = 400;

fn runs(server: &Keyway, state: &str) -> u64 {
    server.get("/api/status").1["data"]["runs"][state].as_u64().unwrap()
}

#[test]
fn what_was_asked_of_many_is_asked_of_each_once_whatever_kills_there_are() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "2"]);
    (0..MANY).for_each(|n| assert_eq!(server.post(TRIGGER, &format!("{{\"n\":{n}}}")).0, 200));
    eventually("all runs end", || runs(&server, "success") == MANY);
    assert_eq!(server.stop().code(), Some(0));
    let mut server = Keyway::start(home.path(), &["--executors", "0"]);
    let (status, asked) = server.ask("/api/reruns", &json!({}));
    assert_eq!((status, &asked["data"]["matched"]), (202, &json!(MANY)), "{asked}");
    for _ in 0..3 {
        server.kill();
        server = Keyway::start(home.path(), &["--executors", "0"]);
    }
    eventually("each has another run", || runs(&server, "available") == MANY);
    let (status, asked) = server.ask("/api/cancels", &json!({}));
    assert_eq!((status, &asked["data"]["matched"]), (202, &json!(MANY)), "{asked}");
    server.kill();
    server = Keyway::start(home.path(), &["--executors", "0"]);
    eventually("each is cancelled", || runs(&server, "cancelled") == MANY && runs(&server, "available") == 0);
    let orders = server.get("/api/work_orders?page_size=1000").1["data"].take();
    let runs_of = |order: &Value| order["attributes"]["runs"].as_array().unwrap().len();
    assert!(orders.as_array().unwrap().iter().all(|order| runs_of(order) == 2));
    let ends = |shard: u8| server.get(&format!("/api/export?shard={shard}&kind=BulkEnded")).1["data"].take();
    // Of both requests on both shards.
    eventually("their ends are noted", || {
        (0..2).map(|shard| ends(shard).as_array().unwrap().len()).sum::<usize>() == 4
    });
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, _) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}");
    let (_, began, _) = offline(home.path(), &["events", "export", "--kind", "BulkStarted"]);
    let (_, ended, _) = offline(home.path(), &["events", "export", "--kind", "BulkEnded"]);
    assert_eq!(began.lines().count(), ended.lines().count(), "something was begun and never ended");
}

/// The steps at which commands are killed, one try after the other.
const KILLS: [Kill; 10] = [
    ("write", 0),
    ("whole", 0),
    ("write", 2),
    ("sync", 0),
    ("write", 7),
    ("whole", 3),
    ("rename", 0),
    ("write", 30),
    ("sync", 2),
    ("rename", 2),
];

/// Kills a command at one step after the other, each try on what the last one left. Returns how often it was killed; at
/// other times it had ended before it came to the step.
fn killed(home: &Path, first: &[&str], again: &[&str]) -> usize {
    let mut kills = 0;
    for kill in KILLS {
        let line = if kills == 0 { first } else { again };
        let mut command = tool();
        command.envs(variables(kill, &home.join("project.yaml"))).args(line);
        let output = command.arg("--data-dir").arg(home.join("data")).output().unwrap();
        match output.status.signal() {
            Some(SIGKILL) => kills += 1,
            _ => assert_eq!(code(&output), 0, "{line:?} at {kill:?}: {}", stderr(&output)),
        }
    }
    kills
}

/// Rows that the log contradicts, in each shard.
fn contradict(home: &Path) {
    let data = DataDir::open_existing(&home.join("data")).unwrap();
    for shard in data.shards() {
        let mut store = data.open_shard(shard, Durability::Fsync, None).unwrap();
        let end = store.log.live().end;
        store.state.put(Key::new(Tag::DeadLetter).u64(3), Bytes::new());
        store.state.commit(end).unwrap();
    }
}

#[test]
fn a_command_that_is_killed_at_any_step_on_its_way_to_the_disk_loses_nothing() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    let is_well = |line: &[&str]| {
        let (code, text, errors) = offline(home.path(), &["verify"]);
        assert_eq!(code, 0, "{line:?}: {text}{errors}");
        assert_eq!(answers(home.path(), &run), before, "{line:?}");
    };
    contradict(home.path());
    let commands: [(&[&str], usize); 4] = [
        (&["verify", "--repair"], 3),
        (&["rebuild", "all"], 5),
        (&["rebuild", "views"], 3),
        (&["reshard", "--shards", "3"], 5),
    ];
    for (line, least) in commands {
        let kills = killed(home.path(), line, line);
        println!("{line:?}: killed {kills} times");
        assert!(kills >= least, "{line:?} was killed {kills} times only");
        let (code, text, errors) = offline(home.path(), line);
        assert_eq!(code, 0, "{line:?}: {text}{errors}");
        is_well(line);
    }
}

#[test]
fn what_is_killed_while_it_exports_or_imports_goes_on_and_has_each_event_once() {
    let (home, run) = furnished();
    let (file, whole) = (home.path().join("killed.jsonl"), home.path().join("whole.jsonl"));
    let name = file.to_str().unwrap();
    let again = ["events", "export", "--continue", name];
    let kills = killed(home.path(), &["events", "export", name], &again);
    assert!(kills >= 3, "the export was killed {kills} times only");
    assert_eq!(offline(home.path(), &again).0, 0);
    assert_eq!(offline(home.path(), &["events", "export", whole.to_str().unwrap()]).0, 0);
    let lines = |path: &Path| {
        fs::read_to_string(path).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(lines(&file) == lines(&whole));

    let copy = tempfile::tempdir().unwrap();
    fs::write(copy.path().join("project.yaml"), PROJECT).unwrap();
    let line = ["events", "import", name];
    let kills = killed(copy.path(), &line, &line);
    assert!(kills >= 5, "the import was killed {kills} times only");
    assert_eq!(offline(copy.path(), &line).0, 0);
    let back = copy.path().join("back.jsonl");
    assert_eq!(offline(copy.path(), &["events", "export", back.to_str().unwrap()]).0, 0);
    assert!(lines(&back) == lines(&whole));
    assert_eq!(answers(copy.path(), &run), answers(home.path(), &run));
}

/// A server that is killed at a step, once `now` is in its home.
fn doomed(home: &Path, kill: Kill) -> Keyway {
    let variables = variables(kill, &home.join("now"));
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _ = fs::remove_file(home.join("now"));
    Keyway::start_with(home, &["--executors", "0"], &variables)
}

/// Asks such a server for something, in the middle of which it dies.
fn killed_by(home: &Path, kill: Kill, path: &str, body: &Value) {
    let mut server = doomed(home, kill);
    fs::write(home.join("now"), "").unwrap();
    // Whether the answer came before the kill is nobody's business.
    let _ = server.try_ask(path, body);
    assert_eq!(server.wait().signal(), Some(SIGKILL), "{kill:?}");
}

#[test]
fn a_server_that_is_killed_while_it_derives_its_views_anew_shows_what_it_showed_before() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    for kill in [("write", 0), ("whole", 0), ("write", 1), ("whole", 1)] {
        killed_by(home.path(), kill, "/api/rebuild", &json!({"what": "views"}));
        let (code, text, errors) = offline(home.path(), &["verify"]);
        assert_eq!(code, 0, "{kill:?}: {text}{errors}");
    }
    assert_eq!(answers(home.path(), &run), before);
}

#[test]
fn dead_letters_that_are_given_up_all_at_once_are_closed_once_each_whatever_kills_there_are() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    assert_eq!(Keyway::start(home.path(), &["--shards", "2"]).stop().code(), Some(0));
    write_letters(&home.path().join("data"), |shard| {
        let own = (0..MANY).filter(|n| n % 2 == u64::from(shard.0));
        own.map(|n| dead_letter(TriggerId([7; 16]), n, n, "oops".to_owned())).collect()
    });
    // A handful of turns before it is over.
    killed_by(home.path(), ("synced", 4), "/api/discards", &json!({"reason": "a test"}));
    let closed = || {
        let (code, text, errors) = offline(home.path(), &["events", "export", "--kind", "DeadLetterClosed"]);
        assert_eq!(code, 0, "{errors}");
        let lines = text.lines().skip(1).filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["kind"] == "DeadLetterClosed")
            .map(|line| line.to_string())
            .collect::<Vec<_>>()
    };
    let first = closed().len() as u64;
    assert!((1..MANY).contains(&first), "{first} were given up before the kill");
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    eventually("all are given up", || server.get("/api/status").1["data"]["dead_letters"] == 0);
    let ends = |shard: u8| server.get(&format!("/api/export?shard={shard}&kind=BulkEnded")).1["data"].take();
    eventually("its ends are noted", || (0..2).all(|shard| ends(shard).as_array().unwrap().len() == 1));
    let letters = server.get("/api/dead_letters?page_size=1000").1["data"].take();
    let how = |letter: &Value| letter["attributes"]["resolved"]["how"] == "discarded";
    assert_eq!(letters.as_array().unwrap().iter().filter(|letter| how(letter)).count() as u64, MANY);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(closed().len() as u64, MANY);
    let (code, text, _) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}");
}
