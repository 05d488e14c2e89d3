//! Copies with another number of shards of logs from which something was cut and wiped by chance: they answer as before.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    cut::retention,
    furnish::offline,
    reshard::{Chance, PROJECT, Sent, all_answers, held_back, home_with, is_quiet, send, traffic_with},
};
use crate::common::keyway::{Keyway, eventually};

/// Each seed has a server, a copy and three kinds of input; what is asked of them is the same.
const SEEDS: [u64; 2] = [11, 12];
const NOISE_BYTES_MAX: u64 = 100_000;
const LIMIT: u64 = 1 << 20;

/// A project with limits that are exceeded, and others by chance.
fn limited(chance: &mut Chance) -> String {
    let mut project =
        PROJECT.replace("name: clinic", &format!("name: clinic\ndataclip_retention_bytes: {}", 2 * LIMIT));
    let mut limit = |workflow: &str, line: String| {
        let key = format!("  {workflow}:\n");
        project = project.replace(&key, &format!("{key}    {line}\n"));
    };
    limit("keyed", format!("history_retention_bytes: {LIMIT}"));
    let others = [
        ("plain", format!("history_retention_bytes: {LIMIT}")),
        ("serial", "zero_persistence: true".to_owned()),
        ("keyed", "log_retention_period: 0".to_owned()),
    ];
    others.into_iter().filter(|_| chance.below(2) == 0).for_each(|(workflow, line)| limit(workflow, line));
    project
}

/// Text that does not get smaller by packing it.
fn noise(chance: &mut Chance) -> Value {
    let count = chance.below(NOISE_BYTES_MAX);
    let letter = |_| char::from(b'a' + chance.below(26) as u8);
    json!((0..count).map(letter).collect::<String>())
}

/// A home folder of which something was cut and wiped, with what was sent, and what its server says. Runs wait in it.
fn cut(shards: u64, chance: &mut Chance) -> (tempfile::TempDir, Vec<Sent>, Vec<Value>) {
    let (home, mut sent) = (home_with(&limited(chance)), Vec::new());
    let server = Keyway::start(home.path(), &["--shards", &shards.to_string()]);
    traffic_with(&server, chance, 100, &mut sent, noise);
    eventually("all is quiet", || is_quiet(&server, held_back(&sent)));
    eventually("something is cut, and something is wiped", || {
        retention(&server, "cut_events") > 0 && retention(&server, "wiped_dataclips") > 0
    });
    assert_eq!(server.stop().code(), Some(0));
    // From here on it stays as it is.
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--executors", "0"]);
    traffic_with(&server, chance, 20, &mut sent, noise);
    let answers = all_answers(&server);
    assert_eq!(server.stop().code(), Some(0));
    (home, sent, answers)
}

fn done(home: &Path, line: &[&str]) {
    let (code, text, errors) = offline(home, line);
    assert_eq!(code, 0, "{line:?}: {text}{errors}");
}

fn check(seed: u64) {
    let mut chance = Chance(seed);
    let (from, to) = (1 + chance.below(3), 1 + chance.below(4));
    let (home, sent, answers) = cut(from, &mut chance);
    let file = home.path().join("export.jsonl");
    done(home.path(), &["events", "export", file.to_str().unwrap()]);
    let copy = home_with(PROJECT);
    done(copy.path(), &["events", "import", "--shards", &to.to_string(), file.to_str().unwrap()]);
    for part in ["copied", "derived anew"] {
        done(copy.path(), &["verify"]);
        let server = Keyway::start(copy.path(), &["--executors", "0"]);
        assert!(all_answers(&server) == answers, "seed {seed}, {from} to {to}, {part}: it answers otherwise");
        for it in sent.iter().filter(|it| it.once.is_some()) {
            let again = send(&server, it.path, &it.body, it.once.as_deref());
            assert_eq!(again, (it.work_order.clone(), true), "the key {:?} was forgotten", it.once);
        }
        assert_eq!(server.stop().code(), Some(0));
        done(copy.path(), &["rebuild", "all"]);
    }
}

#[test]
fn a_copy_of_what_chance_cut_and_wiped_answers_with_another_number_of_shards() {
    std::thread::scope(|scope| SEEDS.iter().for_each(|&seed| drop(scope.spawn(move || check(seed)))));
}
