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

use super::furnish::{INPUTS, KAFKA, MEASURES, PROJECT, TRIGGER, answers, furnished, offline};
use crate::common::{
    code,
    keyway::{Keyway, eventually},
    kill::{Kill, SIGKILL, variables},
    letters::{dead_letter, write_letters},
    stderr, tool,
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
        kills += usize::from(killed_at(home, kill, if kills == 0 { first } else { again }));
    }
    kills
}

/// Whether a command is killed at this step; else it ends well before it comes to it.
fn killed_at(home: &Path, kill: Kill, line: &[&str]) -> bool {
    let mut command = tool();
    command.envs(variables(kill, &home.join("project.yaml"))).args(line);
    let output = command.arg("--data-dir").arg(home.join("data")).output().unwrap();
    if output.status.signal() == Some(SIGKILL) {
        return true;
    }
    assert_eq!(code(&output), 0, "{line:?} at {kill:?}: {}", stderr(&output));
    false
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

#[test]
fn a_compressed_export_that_is_killed_is_written_anew_and_what_is_left_of_it_is_taken_for_nothing() {
    let (home, run) = furnished();
    let file = home.path().join("killed.zst");
    let line = ["events", "export", "--compress", file.to_str().unwrap()];
    let import = ["events", "import", file.to_str().unwrap()];
    let empty = || {
        let empty = tempfile::tempdir().unwrap();
        fs::write(empty.path().join("project.yaml"), PROJECT).unwrap();
        empty
    };
    let mut begun = 0;
    // It is written at once, so close to its end that each step counts.
    for kill in (0..24).map(|after| ("write", after)).chain((0..6).map(|after| ("whole", after))) {
        if killed_at(home.path(), kill, &line) && file.exists() {
            begun += 1;
            let left = fs::read(&file).unwrap();
            let (code, _, errors) = offline(home.path(), &line);
            assert_eq!(code, 1, "{kill:?}");
            assert!(errors.contains("is there already"), "{errors}");
            assert_eq!(fs::read(&file).unwrap(), left, "{kill:?}: it was written over");
            // Killed before its last sync, all of it may be there.
            let (code, _, errors) = offline(empty().path(), &import);
            assert!(code == 1 || kill.0 == "whole", "{kill:?}: {errors}");
        }
        let _ = fs::remove_file(&file);
    }
    assert!(begun >= 2, "the export was killed {begun} times in the middle");
    assert_eq!(offline(home.path(), &line).0, 0);
    let copy = empty();
    assert_eq!(offline(copy.path(), &import).0, 0);
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

/// The steps of one request on its way to the disk, and whether it is done when the server comes back.
const STEPS: [(Kill, bool); 3] = [(("write", 0), false), (("sync", 0), true), (("synced", 0), true)];

/// Whether what is asked for at a path was done to the item that it names.
fn is_done(server: &Keyway, path: &str) -> bool {
    let (item, _) = path.rsplit_once('/').unwrap();
    let (status, mut shown) = server.get(item);
    assert_eq!(status, 200, "{item}: {shown}");
    let shown = shown["data"]["attributes"].take();
    match item.split('/').nth(2).unwrap() {
        "dead_letters" => !shown["resolved"].is_null(),
        "work_orders" => shown["runs"].as_array().unwrap().len() == 2,
        _ => shown["state"] == "cancelled",
    }
}

/// A home folder with three finished runs, three that wait, and six dead letters; gives the paths at which each of them is
/// asked for one thing, and a body.
fn asked_of_one(home: &Path) -> Vec<[(String, Value); 4]> {
    fs::write(home.join("project.yaml"), [PROJECT, MEASURES].concat()).unwrap();
    let post = |server: &Keyway| {
        let answer = server.post(TRIGGER, "{\"n\":1}").1;
        ["work_order_id", "run_id"].map(|name| answer[name].as_str().unwrap().to_owned())
    };
    let server = Keyway::start(home, &["--shards", "1"]);
    let orders: Vec<_> = STEPS.iter().map(|_| post(&server)).collect();
    orders.iter().for_each(|[_, run]| assert_eq!(server.ended_run(run)["state"], "success"));
    assert_eq!(server.stop().code(), Some(0));
    write_letters(&home.join("data"), |_| {
        (0..2 * STEPS.len() as u64).map(|n| dead_letter(KAFKA, n, n, format!("{{\"n\":{n}}}"))).collect()
    });
    let server = Keyway::start(home, &["--executors", "0"]);
    let waiting: Vec<_> = STEPS.iter().map(|_| post(&server)).collect();
    let letters = server.get("/api/dead_letters?page_size=100").1["data"].take();
    let letter = |n: usize| letters[n]["id"].as_str().unwrap();
    assert_eq!(server.stop().code(), Some(0));
    let of = |step: usize| {
        let [order, _] = &orders[step];
        let [_, run] = &waiting[step];
        [
            (format!("/api/dead_letters/{}/replay", letter(2 * step)), json!({})),
            (format!("/api/dead_letters/{}/discard", letter(2 * step + 1)), json!({"reason": "a test"})),
            (format!("/api/work_orders/{order}/reruns"), json!({})),
            (format!("/api/runs/{run}/cancel"), json!({})),
        ]
    };
    (0..STEPS.len()).map(of).collect()
}

#[test]
fn what_is_asked_of_one_is_done_or_not_and_never_twice_whatever_step_the_kill_comes_at() {
    let home = tempfile::tempdir().unwrap();
    let asked = asked_of_one(home.path());
    for ((kill, survives), asked) in STEPS.iter().zip(&asked) {
        for (path, body) in asked {
            killed_by(home.path(), *kill, path, body);
            let server = Keyway::start(home.path(), &["--executors", "0"]);
            assert_eq!(is_done(&server, path), *survives, "{path} at {kill:?}");
            // Another rerun would be another run.
            if !survives || !path.ends_with("reruns") {
                let (status, answer) = server.ask(path, body);
                assert_eq!(status < 300, !survives, "{path} at {kill:?}: {answer}");
            }
            assert!(is_done(&server, path), "{path} at {kill:?}");
            assert_eq!(server.stop().code(), Some(0));
        }
    }
    let count = |kind: &str| {
        let (_, text, errors) = offline(home.path(), &["events", "export", "--kind", kind]);
        text.matches(&format!("\"kind\":\"{kind}\"")).count() + errors.len()
    };
    let steps = STEPS.len();
    let counts = [("DeadLetterClosed", 2 * steps), ("RunRequested", steps), ("Received", 3 * steps)];
    counts.iter().for_each(|(kind, expected)| assert_eq!(count(kind), *expected, "{kind}"));
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
}

/// The work orders that replay something.
fn replays(server: &Keyway) -> Vec<Value> {
    let orders = server.get("/api/work_orders?page_size=1000").1["data"].take();
    let of = |order: &Value| order["attributes"]["replays"]["id"].clone();
    orders.as_array().unwrap().iter().map(of).filter(|of| !of.is_null()).collect()
}

#[test]
fn a_replay_that_is_paused_stays_so_over_kills_and_takes_each_item_once_when_it_is_resumed() {
    let (home, _) = furnished();
    let start = || Keyway::start(home.path(), &["--executors", "0"]);
    let body = json!({"from": "events", "trigger_id": &TRIGGER[3..], "rate_per_second": 10});
    let server = start();
    let id = server.ask("/api/replays", &body).1["data"]["id"].as_str().unwrap().to_owned();
    let (path, of) = (format!("/api/replays/{id}"), |verb: &str| format!("/api/replays/{id}/{verb}"));
    let show = |server: &Keyway| server.get(&path).1["data"]["attributes"].take();
    eventually("some are replayed", || show(&server)["replayed"].as_u64() >= Some(3));
    assert_eq!(server.ask(&of("pause"), &json!({})).0, 200);
    let paused = show(&server);
    assert_eq!(paused["state"], "paused");
    let taken = replays(&server).len();
    assert_eq!(paused["replayed"], taken);
    server.kill();
    // The first shard is asked last: what was asked of the other one alone was not acknowledged.
    for kill in [None, Some(("write", 0)), Some(("synced", 0))] {
        if let Some(kill) = kill {
            killed_by(home.path(), kill, &of("resume"), &json!({}));
        }
        let server = start();
        assert_eq!(show(&server), paused, "{kill:?}");
        // It has had the time of an input from end to end.
        assert_eq!(server.post(TRIGGER, "{\"n\":1}").0, 200);
        assert_eq!(replays(&server).len(), taken, "{kill:?}");
        server.kill();
    }
    let server = start();
    assert_eq!(server.ask(&of("resume"), &json!({})).0, 200);
    eventually("it is done", || show(&server)["state"] == "done");
    let done = show(&server);
    assert_eq!((&done["replayed"], &done["failed"]), (&json!(INPUTS), &json!(0)));
    let mut all = replays(&server);
    assert_eq!(all.len(), INPUTS);
    all.sort_by_key(Value::to_string);
    all.dedup();
    assert_eq!(all.len(), INPUTS, "one went through twice");
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
}

#[test]
fn a_replay_whose_begin_or_cancel_is_killed_is_there_or_not_and_ends() {
    let (home, _) = furnished();
    let start = || Keyway::start(home.path(), &["--executors", "0"]);
    let list = |server: &Keyway| server.get("/api/replays?page_size=100").1["data"].take();
    let state = |server: &Keyway, at: usize| list(server)[at]["attributes"]["state"].clone();
    let body =
        json!({"from": "events", "trigger_id": &TRIGGER[3..], "inserted_before": "2100-01-01T00:00:00Z"});
    // Nothing is written, or on one of the two shards only.
    for kill in [("write", 0), ("synced", 0)] {
        killed_by(home.path(), kill, "/api/replays", &body);
        let server = start();
        assert_eq!(list(&server), json!([]), "{kill:?}");
        assert_eq!(replays(&server).len(), 0, "{kill:?}");
        assert_eq!(server.stop().code(), Some(0));
    }
    // On both: it was begun, whoever asked for it was told or not.
    killed_by(home.path(), ("synced", 1), "/api/replays", &body);
    let server = start();
    eventually("it is done", || state(&server, 0) == "done");
    assert_eq!(replays(&server).len(), INPUTS);
    let slow = json!({"from": "events", "trigger_id": &TRIGGER[3..], "rate_per_second": 1});
    let id = server.ask("/api/replays", &slow).1["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.ask(&format!("/api/replays/{id}/pause"), &json!({})).0, 200);
    assert_eq!(server.stop().code(), Some(0));
    killed_by(home.path(), ("synced", 0), &format!("/api/replays/{id}/cancel"), &json!({}));
    let server = start();
    // Half of it was ended: the rest ends with the next start, or when it is asked again.
    let _ = server.ask(&format!("/api/replays/{id}/cancel"), &json!({}));
    eventually("it is cancelled", || state(&server, 0) == "cancelled");
    let taken = replays(&server).len();
    server.kill();
    let server = start();
    assert_eq!(state(&server, 0), "cancelled");
    assert_eq!(replays(&server).len(), taken);
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
}
