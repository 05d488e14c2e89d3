//! How many connections there are, and how long they last, through real sockets, on both runtimes.
//!
//! Nothing here waits by the clock: each test reads until the server says something or closes.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{
    http2,
    keyway::{Keyway, eventually},
    tls::rest,
    wire::{JSON, answer, ask, connect, on_both_runtimes, request},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PROJECT: &str = r#"
name: connections
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {open: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: open, target_job: job, condition_type: always, enabled: true}}
  slow:
    jobs:
      job:
        name: Job
        body: "fn(s => new Promise(done => setTimeout(() => done(s), 2000)))"
    triggers:
      slow: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: true, webhook_reply: after_completion}
    edges: {e: {source_trigger: slow, target_job: job, condition_type: always, enabled: true}}
"#;
const OPEN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const SLOW: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
/// Connections that do nothing; fewer where fewer files may be open.
const IDLE_CONNECTIONS: u64 = 10_000;
/// Resident memory of a server with that many connections: half of what one machine is asked for.
const RESIDENT_KB_MAX: u64 = 256 << 10;

/// Asks on a connection that goes on.
fn ask_on(stream: &mut TcpStream) -> u16 {
    stream.write_all(&request("POST", OPEN, JSON, b"{}")).unwrap();
    answer(stream).0
}

#[test]
fn one_connection_too_many_is_told_so_and_harms_no_other() {
    on_both_runtimes(PROJECT, &["--shards", "1", "--connections-max", "2"], |server| {
        let (mut first, mut second) = (connect(server), connect(server));
        assert_eq!((ask_on(&mut first), ask_on(&mut second)), (200, 200));
        let mut third = connect(server);
        third.write_all(&request("POST", OPEN, JSON, b"{}")).unwrap();
        let (status, head, text) = answer(&mut third);
        assert_eq!(status, 503);
        assert!(head.contains("retry-after: 1"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert!(text.contains("service_unavailable"), "{text}");
        assert!(rest(&mut third).is_empty());
        // Of those that ask nothing only a few are listened to, and not for long.
        let silent: Vec<_> = (0..200).map(|_| connect(server)).collect();
        for mut stream in silent {
            rest(&mut stream);
        }
        assert_eq!((ask_on(&mut first), ask_on(&mut second)), (200, 200));
        assert_eq!(server.get("/api/status").0, 200, "people have a listener of their own");
        drop(first);
        eventually("there is room again", || ask(server, &request("POST", OPEN, JSON, b"{}")).0 == 200);
    });
}

#[test]
fn an_idle_connection_is_closed_and_one_that_waits_is_not() {
    let flags = ["--shards", "1", "--idle-timeout-seconds", "1", "--http2-prior-knowledge"];
    on_both_runtimes(PROJECT, &flags, |server| {
        let mut stream = connect(server);
        assert_eq!(ask_on(&mut stream), 200);
        let since = Instant::now();
        assert!(rest(&mut stream).is_empty());
        assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
        // Two seconds without a byte, and then an answer.
        let mut stream = connect(server);
        stream.write_all(&request("POST", SLOW, JSON, b"{}")).unwrap();
        assert_eq!(answer(&mut stream).0, 201);
        assert!(rest(&mut stream).is_empty());
        let waited = http2::run(async {
            let client = http2::connect(server, None).await;
            let waited =
                http2::ask(&client, "POST", SLOW, &[("content-type", "application/json")], "{}").await;
            // The next one finds it closed, sooner or later, and is told so in order.
            let closed = loop {
                let mut client = client.clone();
                if let Err(error) = std::future::poll_fn(|cx| client.poll_ready(cx)).await {
                    break error;
                }
                tokio::task::yield_now().await;
            };
            (waited.unwrap().status, closed)
        });
        assert_eq!(waited.0, 201);
        assert_eq!(waited.1.reason(), Some(h2::Reason::NO_ERROR), "{:?}", waited.1);
    });
}

#[test]
fn a_head_that_comes_too_slowly_ends_its_connection_and_no_other() {
    on_both_runtimes(PROJECT, &["--shards", "1", "--header-timeout-ms", "300"], |server| {
        let mut kept = connect(server);
        assert_eq!(ask_on(&mut kept), 200);
        for beginning in ["", "P", "POST /i/x HTTP/1.1\r\nhost: x\r\ncontent-le"] {
            let since = Instant::now();
            let mut stream = connect(server);
            stream.write_all(beginning.as_bytes()).unwrap();
            assert!(rest(&mut stream).is_empty(), "{beginning:?}");
            assert!(since.elapsed() >= Duration::from_millis(300), "{beginning:?}: {:?}", since.elapsed());
        }
        // Silence between requests is not a head; a second head that stalls is one.
        assert_eq!(ask_on(&mut kept), 200);
        kept.write_all(b"POST /i/x HTTP/1.1\r\n").unwrap();
        assert!(rest(&mut kept).is_empty());
    });
}

/// Raises the limit of open files of this process, and gives it.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(IDLE_CONNECTIONS * 2);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).unwrap();
    most
}

/// Resident memory of a process, in kB.
fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_slow_nobody() {
    let files = open_files();
    assert!(
        files >= IDLE_CONNECTIONS + 2_048,
        "the hard limit of open files, {files}, is too low for this test"
    );
    let flags = ["--shards", "1", "--connections-max", "11000"];
    on_both_runtimes(PROJECT, &flags, |server| {
        let mut idle: Vec<TcpStream> = Vec::new();
        for _ in 0..IDLE_CONNECTIONS {
            let mut stream = connect(server);
            stream.write_all(&request("GET", OPEN, "", b"")).unwrap();
            assert_eq!(answer(&mut stream).0, 200);
            idle.push(stream);
        }
        let resident = resident_kb(server.pid());
        assert!(resident < RESIDENT_KB_MAX, "{resident} kB for {IDLE_CONNECTIONS} connections");
        for _ in 0..100 {
            assert_eq!(ask(server, &request("POST", OPEN, JSON, b"{}")).0, 200);
        }
        for stream in idle.iter_mut().step_by(100) {
            assert_eq!(ask_on(stream), 200);
        }
    });
}

#[test]
fn too_few_files_for_the_connections_are_said_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "1", "--connections-max", "1000000"]);
    assert!(server.trace().contains("the limit of open files leaves"), "{}", server.trace());
    assert_eq!(ask(&server, &request("POST", OPEN, JSON, b"{}")).0, 200);
}
