//! Rules about the clock, the disk, the network and chance: a few files touch them, the others are told.

use super::Complaint;
use crate::source::{Source, Tree};

const CLOCK: &[&[&str]] =
    &[&["Instant", "::", "now"], &["SystemTime", "::", "now"], &["Timestamp", "::", "now"]];
const DISK: &[&[&str]] = &[&["std", "::", "fs"], &["fs", "::"], &["File", "::"], &["OpenOptions", "::"]];
const NETWORK: &[&[&str]] = &[&["TcpListener"], &["TcpStream"], &["UdpSocket"], &["ToSocketAddrs"]];
const RANDOM: &[&[&str]] =
    &[&["rand", "::"], &["getrandom"], &["fastrand"], &["Uuid", "::", "new_v4"], &["Uuid", "::", "now_v7"]];
const SLEEP: &[&[&str]] = &[&["thread", "::", "sleep"]];

/// Files that may read the clock: where a turn, a request or a run gets its time, and what measures.
const CLOCK_FILES: &[&str] = &[
    "storage/src/place.rs",
    "engine/src/shard",
    "engine/src/executor",
    "ingest/src/",
    "tools/keyway/serve",
    "tools/keyway/bench",
];
/// Files that may touch the disk. The engine reads and writes through `storage` alone.
const DISK_FILES: &[&str] = &[
    "storage/src/directory",
    "storage/src/disk.rs",
    "storage/src/log/",
    "ingest/src/secret.rs",
    "ingest/src/api/metrics/memory.rs",
    "tools/keyway/",
];
/// Files that may open sockets.
const NETWORK_FILES: &[&str] = &["ingest/src/", "tools/keyway/"];
/// Files that may draw random numbers: keys and ids that are made once and then stored, and what a job asks for.
const RANDOM_FILES: &[&str] =
    &["storage/src/directory", "engine/src/executor/", "ingest/src/", "tools/keyway/"];
/// Files that may sleep: those that wait for another process, and the executor's threads, which have nothing better
/// to do while a shard's mailbox is full or a job waits for its timer.
const SLEEP_FILES: &[&str] = &["tests/common/", "engine/src/executor/"];

/// Files that decide, fold or read, and nothing else: not even threads, channels or the environment.
const PURE: &[&str] = &[
    "engine/src/decide",
    "engine/src/queue",
    "engine/src/projection",
    "engine/src/project",
    "engine/src/run.rs",
    "engine/src/state",
    "engine/src/command.rs",
    "storage/src/block",
    "storage/src/event",
    "storage/src/id.rs",
    "storage/src/key.rs",
    "storage/src/limits",
    "storage/src/table",
];
const IMPURE: &[&[&str]] = &[
    &["std", "::", "env"],
    &["env", "::", "var"],
    &["std", "::", "net"],
    &["std", "::", "process"],
    &["std", "::", "thread"],
    &["thread", "::"],
    &["thread_local"],
    &["crossbeam_channel"],
    &["Mutex"],
    &["RwLock"],
    &["RandomState"],
];

pub fn clock(source: &Source, _: &Tree) -> Vec<Complaint> {
    outside(source, CLOCK_FILES, CLOCK, "time is an argument")
}

pub fn disk(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut found = outside(source, DISK_FILES, DISK, "few files touch the disk");
    if !source.is_in(DISK_FILES) {
        let is_bad = |path: &[String]| path.len() > 1 && path[0] == "std" && path[1] == "fs";
        let uses = source.uses().iter().filter(|it| is_bad(&it.path) && !source.is_test_line(it.line));
        found.extend(uses.map(|it| (it.line, "`std::fs`: few files touch the disk".to_owned())));
    }
    found.sort();
    found.dedup_by_key(|(line, _)| *line);
    found
}

pub fn network(source: &Source, _: &Tree) -> Vec<Complaint> {
    outside(source, NETWORK_FILES, NETWORK, "only the edge opens sockets")
}

pub fn random(source: &Source, _: &Tree) -> Vec<Complaint> {
    outside(source, RANDOM_FILES, RANDOM, "ids come in with the call")
}

/// Tests are not excused: one that sleeps is slow on a fast machine and fails on a slow one.
pub fn sleep(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    if !source.is_in(SLEEP_FILES) {
        for pattern in SLEEP {
            found.extend(
                source.find(pattern).into_iter().map(|line| (line, "wait for the thing itself".to_owned())),
            );
        }
    }
    found
}

pub fn pure(source: &Source, _: &Tree) -> Vec<Complaint> {
    if !source.is_in(PURE) {
        return Vec::new();
    }
    let patterns = [CLOCK, DISK, NETWORK, RANDOM, SLEEP, IMPURE].concat();
    outside(
        source,
        &[],
        &patterns,
        "this file is pure: no clock, disk, network, chance, thread or environment",
    )
}

fn outside(source: &Source, allowed: &[&str], patterns: &[&[&str]], reason: &str) -> Vec<Complaint> {
    if source.is_in(allowed) || source.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for pattern in patterns {
        let lines = source.find(pattern).into_iter().filter(|line| !source.is_test_line(*line));
        found.extend(lines.map(|line| (line, format!("`{}`: {reason}", pattern.concat()))));
    }
    found.sort();
    found.dedup_by_key(|(line, _)| *line);
    found
}
