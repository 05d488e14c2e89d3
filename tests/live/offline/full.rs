//! A disk that fills in the middle of a command: it says so, and with room it goes on where it ended.

use std::fs;

use keyway_storage::event::TriggerId;
use serde_json::{Value, json};

use super::furnish::{KAFKA, MEASURES, PROJECT, TRIGGER, furnished, offline};
use crate::common::{
    disk::Disk,
    keyway::{Keyway, eventually},
    letters::{dead_letter, write_letters},
    noise::noise,
};

/// What is left on the full disk: enough to begin, not to end.
const LEFT_BYTES: u64 = 8 << 10;
const INPUTS: u64 = 20;

#[test]
fn a_full_disk_stops_every_command_with_words_and_room_lets_it_go_on() {
    let Some(disk) = Disk::mount(PROJECT) else { return };
    let server = Keyway::start(disk.path(), &["--shards", "1"]);
    for n in 0..INPUTS {
        // Packing makes an export of it no smaller than what is left.
        let body = json!({"n": n, "text": noise(n, 2_000)}).to_string();
        assert_eq!(server.post(TRIGGER, &body).0, 200);
    }
    assert_eq!(server.stop().code(), Some(0));
    let (elsewhere, _) = furnished();
    let file = elsewhere.path().join("other.jsonl");
    let other = file.to_str().unwrap();
    assert_eq!(offline(elsewhere.path(), &["events", "export", other]).0, 0);
    let (_, before, _) = offline(disk.path(), &["events", "export"]);
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();

    let copy = disk.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let export = disk.path().join("export.jsonl");
    let into = export.to_str().unwrap();
    let [packed, again] = ["export.zst", "again.zst"].map(|name| disk.path().join(name));
    let [packed_to, packed_again] = [&packed, &again].map(|path| path.to_str().unwrap());
    // Those that write more than there is room for must fail; what the others write may be there already.
    let commands: [(&std::path::Path, &[&str], &[&str], bool); 6] = [
        (disk.path(), &["events", "export", into], &["events", "export", "--continue", into], true),
        (
            disk.path(),
            &["events", "export", "--compress", packed_to],
            // It is one stream, which nobody goes on with.
            &["events", "export", "--compress", packed_again],
            true,
        ),
        (&copy, &["events", "import", other], &["events", "import", other], true),
        (disk.path(), &["rebuild"], &["rebuild"], false),
        (disk.path(), &["verify", "--repair"], &["verify", "--repair"], false),
        (disk.path(), &["reshard", "--shards", "3"], &["reshard", "--shards", "3"], true),
    ];
    for (home, first, again, must_fail) in commands {
        disk.fill_to(LEFT_BYTES);
        let (code, text, errors) = offline(home, first);
        assert!(code == 1 || code == 0 && !must_fail, "{first:?}: {code} {text}{errors}");
        assert!(!errors.contains("panicked"), "{first:?}: {errors}");
        assert_eq!(code == 0, errors.is_empty(), "{first:?}: {errors}");
        disk.make_room();
        if code == 1 || *first != *again {
            let (code, text, errors) = offline(home, again);
            assert_eq!(code, 0, "{again:?}: {text}{errors}");
        }
        let (code, text, errors) = offline(home, &["verify"]);
        assert_eq!(code, 0, "{first:?}: {text}{errors}");
    }
    let whole = fs::read_to_string(&export).unwrap();
    assert!(lines(&whole) == lines(&before));
    assert!(
        lines(&String::from_utf8(zstd::decode_all(&fs::read(&again).unwrap()[..]).unwrap()).unwrap())
            == lines(&before)
    );
    let (code, _, errors) = offline(&elsewhere.path().join("none"), &["events", "import", packed_to]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("export.zst:"), "{errors}");
    let (_, copied, _) = offline(&copy, &["events", "export"]);
    assert!(lines(&copied) == lines(&fs::read_to_string(&file).unwrap()));
}

fn count(server: &Keyway, of: &str, name: &str) -> u64 {
    server.get("/api/status").1["data"][of][name].as_u64().unwrap()
}

/// Fills what is left to a server whose disk is full, and asks for what it must refuse then; gives how many inputs it took.
fn refused_when_full<P: AsRef<str>>(server: &Keyway, requests: &[(P, Value)]) -> u64 {
    // What the disk had room for when it was last asked may be used up first.
    let body = json!({"n": "x".repeat(1_000_000)}).to_string();
    let mut accepted = 0;
    eventually("inputs are refused", || {
        let status = server.post(TRIGGER, &body).0;
        accepted += u64::from(status == 200);
        status == 503
    });
    for (path, body) in requests {
        let path = path.as_ref();
        let (status, answer) = server.ask(path, body);
        assert_eq!((status, &answer["error"]), (503, &json!("service_unavailable")), "{path}: {answer}");
    }
    accepted
}

#[test]
fn a_server_on_a_full_disk_refuses_what_is_asked_of_many_and_does_it_once_when_there_is_room() {
    let Some(disk) = Disk::mount(PROJECT) else { return };
    assert_eq!(Keyway::start(disk.path(), &["--shards", "1"]).stop().code(), Some(0));
    write_letters(&disk.path().join("data"), |_| {
        (0..INPUTS).map(|n| dead_letter(TriggerId([7; 16]), n, n, "oops".to_owned())).collect()
    });
    let server = Keyway::start(disk.path(), &[]);
    (0..INPUTS).for_each(|n| assert_eq!(server.post(TRIGGER, &format!("{{\"n\":{n}}}")).0, 200));
    eventually("all runs end", || count(&server, "runs", "success") == INPUTS);
    assert_eq!(server.stop().code(), Some(0));
    let server = Keyway::start(disk.path(), &["--executors", "0"]);
    let before = server.get("/api/work_orders?page_size=100").1["data"].take();
    disk.fill_to(LEFT_BYTES);
    let requests = [
        ("/api/reruns", json!({})),
        ("/api/discards", json!({"reason": "a test"})),
        ("/api/rebuild", json!({"what": "views"})),
    ];
    let accepted = refused_when_full(&server, &requests);
    assert_eq!(server.get("/api/status").1["data"]["dead_letters"], INPUTS);
    disk.make_room();
    eventually("there is room", || server.get("/health/ready").0 == 200);
    for (path, body) in &requests {
        let mut told = (0, Value::Null);
        eventually("it is taken", || {
            told = server.ask(path, body);
            told.0 == 202
        });
        if *path != "/api/rebuild" {
            assert_eq!(told.1["data"]["matched"], INPUTS, "{path}: {}", told.1);
        }
    }
    eventually("each has another run", || count(&server, "runs", "available") == accepted + INPUTS);
    eventually("all are given up", || server.get("/api/status").1["data"]["dead_letters"] == 0);
    eventually("all are cancelled", || {
        server.ask("/api/cancels", &json!({}));
        count(&server, "runs", "available") == 0
    });
    assert_eq!(count(&server, "runs", "cancelled"), accepted + INPUTS);
    let after = server.get("/api/work_orders?page_size=100").1["data"].take();
    let ids = |orders: &Value| {
        orders.as_array().unwrap().iter().map(|order| order["id"].clone()).collect::<Vec<_>>()
    };
    assert!(ids(&after).ends_with(&ids(&before)));
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, errors) = offline(disk.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
}

/// Asks until nothing hinders it; gives the answer.
fn asked(server: &Keyway, path: &str, body: &Value) -> Value {
    let mut told = (0, Value::Null);
    eventually("it is taken", || {
        told = server.ask(path, body);
        told.0 != 503
    });
    assert!(told.0 < 300, "{path}: {}", told.1);
    told.1
}

#[test]
fn a_server_on_a_full_disk_refuses_a_replay_and_what_is_asked_of_one_and_does_it_once_when_there_is_room() {
    let Some(disk) = Disk::mount(&[PROJECT, MEASURES].concat()) else { return };
    let server = Keyway::start(disk.path(), &["--shards", "1"]);
    let post = |n: u64| server.post(TRIGGER, &format!("{{\"n\":{n}}}")).1;
    let orders: Vec<Value> = (0..INPUTS).map(post).collect();
    let order = orders[0]["work_order_id"].as_str().unwrap();
    eventually("all runs end", || count(&server, "runs", "success") == INPUTS);
    assert_eq!(server.stop().code(), Some(0));
    write_letters(&disk.path().join("data"), |_| {
        (0..2).map(|n| dead_letter(KAFKA, n, n, format!("{{\"n\":{n}}}"))).collect()
    });
    let server = Keyway::start(disk.path(), &["--executors", "0"]);
    let letters = server.get("/api/dead_letters").1["data"].take();
    let letter = |n: usize| letters[n]["id"].as_str().unwrap();
    let requests = [
        (format!("/api/dead_letters/{}/replay", letter(0)), json!({})),
        (format!("/api/dead_letters/{}/discard", letter(1)), json!({"reason": "a test"})),
        (format!("/api/work_orders/{order}/reruns"), json!({})),
        ("/api/replays".to_owned(), json!({"from": "events", "workflow": "intake", "state": "success"})),
    ];
    disk.fill_to(LEFT_BYTES);
    let accepted = refused_when_full(&server, &requests);
    assert_eq!(server.get("/api/status").1["data"]["dead_letters"], 2);
    assert_eq!(server.get("/api/replays").1["data"], json!([]));
    disk.make_room();
    eventually("there is room", || server.get("/health/ready").0 == 200);
    let answers = requests.each_ref().map(|(path, body)| asked(&server, path, body));
    let how = |answer: &Value| answer["data"]["attributes"]["resolved"]["how"].clone();
    assert_eq!([how(&answers[0]), how(&answers[1])], ["replayed", "discarded"]);
    let id = answers[3]["data"]["id"].as_str().unwrap();
    let replay = || server.get(&format!("/api/replays/{id}")).1["data"]["attributes"].take();
    eventually("it is done", || replay()["state"] == "done");
    // All but the one that runs again.
    assert_eq!((&replay()["replayed"], &replay()["failed"]), (&json!(INPUTS - 1), &json!(0)));
    assert_eq!(count(&server, "runs", "available"), accepted + 1 + 1 + INPUTS - 1);
    assert_eq!(server.get("/api/status").1["data"]["dead_letters"], 0);
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, errors) = offline(disk.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
}

#[test]
fn a_disk_that_fills_before_content_is_wiped_puts_it_off_until_there_is_room() {
    let project = PROJECT.replace("  intake:\n", "  intake:\n    zero_persistence: true\n");
    let Some(disk) = Disk::mount(&project) else { return };
    let server = Keyway::start(disk.path(), &["--shards", "1"]);
    let (status, answer) = server.post(TRIGGER, "{\"n\":7}");
    assert_eq!(status, 200, "{answer}");
    let run = answer["run_id"].as_str().unwrap().to_owned();
    server.ended_run(&run);
    disk.fill_to(LEFT_BYTES);
    // Nothing else writes: what finds the disk full is the wipe, seconds after the run.
    eventually("the wipe found no room", || server.get("/health/ready").0 == 503);
    let states = format!("/api/runs/{run}?include=input,final_state");
    let kept = server.get(&states).1["data"]["attributes"].take();
    assert_eq!((&kept["final_state"]["data"], &kept["wiped_at"]), (&json!({"n": 8}), &Value::Null));
    disk.make_room();
    eventually("it is wiped", || server.get(&states).1["data"]["attributes"]["wiped_at"].is_string());
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, errors) = offline(disk.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
}
