//! A disk that takes its time, and one that fails: who is told what, and when.
//!
//! `common/sync.c` stands between keyway and the C library, notes its writes and syncs, and holds or fails its syncs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use crate::common::{
    keyway::{Keyway, eventually},
    noise::noise,
    preload, tool,
    wire::{self, JSON, answer},
};
use serde_json::Value;

const AT_ONCE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const WAITING: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
/// How long nothing may come while a sync is held: far more than an answer takes that does not wait for it.
const SILENCE_MS: u64 = 300;
const REFUSED: usize = 8;
/// Turns of which each write and each sync is looked at.
const TURNS: usize = 20;

const PROJECT: &str = "
name: sync
workflows:
  quick:
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  slow:
    jobs:
      job:
        name: Job
        body: 'fn(s => { const end = Date.now() + 2500; while (Date.now() < end) {} return s; })'
    triggers:
      hook:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02
        type: webhook
        enabled: true
        webhook_reply: after_completion
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    home
}

/// A keyway with one shard whose syncs the files `hold` and `fail` of this folder rule.
fn start(home: &Path, runtime: &str) -> Keyway {
    let library = preload::library("common/sync.c");
    let variables = [("LD_PRELOAD", library.as_str()), ("SYNC_DIR", home.to_str().unwrap())];
    Keyway::start_with(home, &["--shards", "1", "--executors", "1", "--runtime", runtime], &variables)
}

fn put(home: &Path, name: &str) {
    File::create(home.join(name)).unwrap();
}

fn take(home: &Path, name: &str) {
    fs::remove_file(home.join(name)).unwrap();
}

/// Sends a request and leaves its answer to be read.
fn send(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{JSON}");
    stream.write_all(format!("{head}content-length: 2\r\n\r\n{{}}").as_bytes()).unwrap();
    stream
}

/// Nothing has come, and nothing comes.
fn is_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(SILENCE_MS))).unwrap();
    let error = stream.read(&mut [0]).expect_err("it was answered before the disk had it");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
}

#[test]
fn not_a_byte_of_an_answer_comes_before_the_sync_has_returned() {
    for runtime in ["io_uring", "epoll"] {
        let home = home();
        let server = start(home.path(), runtime);
        let api = server.api.trim_start_matches("http://").to_owned();
        let switch = format!("/api/triggers/{}/disable", WAITING.trim_start_matches("/i/"));
        for (address, path) in [(server.address(), AT_ONCE), (&api, &switch)] {
            put(home.path(), "hold");
            let mut stream = send(address, path);
            eventually("its sync is under way", || home.path().join("held").exists());
            is_silent(&mut stream);
            take(home.path(), "hold");
            assert_eq!(answer(&mut stream).0, 200, "{path}");
            eventually("nothing more is to be written", || {
                server.get("/api/status").1["data"]["runs"]["success"] == 1
                    && !home.path().join("held").exists()
            });
        }
        assert_eq!(server.stop().code(), Some(0));
    }
}

/// What is known of a server whose sync is about to fail.
struct Told {
    acknowledged: Vec<String>,
    callers: Vec<TcpStream>,
    waiting: TcpStream,
}

/// Some inputs are acknowledged, a caller waits for his run, and others wait for a sync that is held.
fn furnish(server: &Keyway, home: &Path) -> Told {
    let acknowledged = (0..3).map(|_| {
        let (status, answer) = server.post(AT_ONCE, "{}");
        assert_eq!(status, 200, "{answer}");
        answer["work_order_id"].as_str().unwrap().to_owned()
    });
    let acknowledged = acknowledged.collect();
    let waiting = send(server.address(), WAITING);
    eventually("its run has told that it began, and all others have ended", || {
        let runs = server.get("/api/status").1["data"]["runs"].clone();
        runs["started"] == 1 && runs["success"] == 3
    });
    put(home, "hold");
    let mut callers = vec![send(server.address(), AT_ONCE)];
    eventually("a sync is held", || home.join("held").exists());
    callers.extend((1..REFUSED).map(|_| send(server.address(), AT_ONCE)));
    let behind = format!("keyway_mailbox_inputs{{shard=\"0\"}} {}", REFUSED - 1);
    eventually("all others wait behind it", || server.text("/metrics").contains(&behind));
    Told { acknowledged, callers, waiting }
}

#[test]
fn a_sync_that_fails_refuses_all_who_asked_ends_the_process_and_loses_nothing_acknowledged() {
    for runtime in ["io_uring", "epoll"] {
        let home = home();
        let mut server = start(home.path(), runtime);
        let Told { mut acknowledged, callers, mut waiting } = furnish(&server, home.path());
        put(home.path(), "fail");
        take(home.path(), "hold");
        for mut caller in callers {
            let (status, head, body) = answer(&mut caller);
            assert_eq!(status, 503, "{head}{body}");
            assert!(head.contains("\r\nretry-after: "), "{head}");
            assert!(body.contains("service_unavailable"), "{body}");
        }
        // His input is durable, and his run goes on after the restart.
        let (status, _, body) = answer(&mut waiting);
        assert_eq!(status, 504, "{body}");
        let order: Value = serde_json::from_str(&body).unwrap();
        acknowledged.push(order["work_order_id"].as_str().unwrap().to_owned());
        // The run is still under way, and so people are told why it ends.
        let (status, reason) = server.get("/health/ready");
        assert_eq!(status, 503);
        assert!(reason["message"].as_str().unwrap().contains("is poisoned"), "{reason}");
        assert_eq!(server.wait().code(), Some(1));
        assert!(server.trace().contains("a write failed at offset"), "{}", server.trace());
        drop(server);
        take(home.path(), "fail");
        is_all_there(home.path(), &acknowledged);
    }
}

#[test]
fn a_disk_that_becomes_read_only_refuses_what_comes_ends_the_process_and_loses_nothing_acknowledged() {
    for runtime in ["io_uring", "epoll"] {
        let home = home();
        let mut server = start(home.path(), runtime);
        let acknowledged: Vec<String> = (0..3)
            .map(|_| server.post(AT_ONCE, "{}").1["work_order_id"].as_str().unwrap().to_owned())
            .collect();
        eventually("nothing more is to be written", || {
            server.get("/api/status").1["data"]["runs"]["success"] == 3
        });
        put(home.path(), "read-only");
        let (status, head, body) = answer(&mut send(server.address(), AT_ONCE));
        assert_eq!(status, 503, "{head}{body}");
        assert!(head.contains("\r\nretry-after: "), "{head}");
        assert_eq!(server.wait().code(), Some(1));
        assert!(server.trace().contains("Read-only file system"), "{}", server.trace());
        drop(server);
        // Nothing is begun on it either, and nothing is changed.
        let started = tool()
            .args(["serve", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.path().join("data"))
            .env("LD_PRELOAD", preload::library("common/sync.c"))
            .env("SYNC_DIR", home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&started.stderr);
        assert!(!started.status.success(), "{said}");
        assert!(said.contains("Read-only file system"), "{said}");
        take(home.path(), "read-only");
        is_all_there(home.path(), &acknowledged);
    }
}

/// Writes and syncs that were noted, without those of traces: `true` is a sync.
fn noted(home: &Path) -> Vec<bool> {
    let notes = fs::read_to_string(home.join("notes")).unwrap();
    let of_data = notes.lines().filter(|line| line.contains("/data/"));
    of_data.map(|line| line.starts_with("sync ")).collect()
}

/// JSON that hardly packs, and does not fit into the store's buffer.
fn large() -> String {
    format!("\"{}\"", noise(7, 40_000))
}

#[test]
fn a_turn_with_an_input_syncs_once_before_its_answer_and_writes_rows_behind_it_without_a_sync() {
    for runtime in ["io_uring", "epoll"] {
        let home = home();
        let (library, notes) = (preload::library("common/sync.c"), home.path().join("notes"));
        let variables = [("LD_PRELOAD", library.as_str()), ("SYNC_NOTES", notes.to_str().unwrap())];
        let flags = ["--shards", "1", "--executors", "0", "--runtime", runtime];
        let server = Keyway::start_with(home.path(), &flags, &variables);
        let listed = || server.get("/api/work_orders?page_size=100").1["data"].as_array().unwrap().len();
        // Whoever lists what a turn made sees its last rows.
        let post = |orders: usize, body: &str| {
            let before = noted(home.path()).len();
            assert_eq!(server.post(AT_ONCE, body).0, 200);
            let answered = noted(home.path())[before..].to_vec();
            eventually("the turn's rows are written", || listed() == orders);
            (answered, noted(home.path())[before..].to_vec())
        };
        // What the start leaves to be done.
        post(1, "{}");
        for orders in 2..=TURNS {
            // A block that does not fit into the store's buffer passes it by: its head, itself, its end.
            let (body, block) = if orders % 2 == 0 { ("{}".to_owned(), 1) } else { (large(), 3) };
            let (answered, turn) = post(orders, &body);
            let synced = [vec![false; block], vec![true]].concat();
            assert!(answered.starts_with(&synced), "{runtime}: answered before its sync: {answered:?}");
            assert_eq!(turn, [&synced[..], &[false, false]].concat(), "{runtime}, work order {orders}");
        }
        assert_eq!(server.stop().code(), Some(0));
    }
}

/// Whoever was told of a work order finds it once, and it ends well; what was refused may be there.
fn is_all_there(home: &Path, acknowledged: &[String]) {
    let server = Keyway::start(home, &[]);
    eventually("every run has ended", || {
        let runs = server.get("/api/status").1["data"]["runs"].clone();
        ["available", "claimed", "started"].iter().all(|state| runs[*state] == 0)
    });
    let (_, orders) = server.get("/api/work_orders?page_size=100");
    let orders = orders["data"].as_array().unwrap();
    let states: BTreeMap<_, _> =
        orders.iter().map(|it| (it["id"].as_str().unwrap(), &it["attributes"]["state"])).collect();
    assert!(states.len() <= acknowledged.len() + REFUSED, "{states:?}");
    assert!(states.values().all(|state| **state == "success"), "{states:?}");
    for id in acknowledged {
        assert!(states.contains_key(id.as_str()), "{id} is not among {states:?}");
    }
    assert_eq!(server.stop().code(), Some(0));
}

/// A server that is being started, of which nobody knows yet where it listens.
struct Starting(Child);

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What stands behind this name in the trace.
fn traced(trace: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(trace).unwrap();
    let rest = text.split_once(&format!(" {name}="))?.1;
    Some(rest.split_whitespace().next()?.to_owned())
}

#[test]
fn while_the_logs_are_being_opened_everyone_is_told_to_try_again() {
    let home = home();
    put(home.path(), "hold");
    let trace = home.path().join("trace");
    let mut server = Starting(
        tool()
            .args(["serve", "--shards", "1", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"])
            .arg("--project")
            .arg(home.path().join("project.yaml"))
            .arg("--data-dir")
            .arg(home.path().join("data"))
            .env("LD_PRELOAD", preload::library("common/sync.c"))
            .env("SYNC_DIR", home.path())
            .stdout(Stdio::piped())
            .stderr(File::create(&trace).unwrap())
            .spawn()
            .unwrap(),
    );
    eventually("the first sync is held", || home.path().join("held").exists());
    let (public, api) = (traced(&trace, "public").unwrap(), traced(&trace, "api").unwrap());
    let get = |address: &str, path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&wire::request("GET", path, "connection: close\r\n", b"")).unwrap();
        answer(&mut stream)
    };
    let (status, _, body) = get(&api, "/health/ready");
    assert_eq!(status, 503);
    assert!(body.contains("recovering"), "{body}");
    for (status, head, body) in [get(&api, "/api/status"), answer(&mut send(&public, AT_ONCE))] {
        assert_eq!(status, 503, "{body}");
        assert!(head.contains("\r\nretry-after: "), "{head}");
    }
    for address in [&public, &api] {
        assert_eq!(get(address, "/health/live").0, 200);
    }
    take(home.path(), "hold");
    let mut ready = *b"......";
    server.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"keyway");
    assert_eq!(get(&api, "/health/ready").0, 200);
    assert_eq!(answer(&mut send(&public, AT_ONCE)).0, 200);
}
