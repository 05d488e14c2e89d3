//! How many connections there are, and how long they last, through real sockets, on both runtimes.
//!
//! Nothing here waits by the clock: each test reads until the server says something or closes.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::common::{
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
  echo:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      echo: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, enabled: true, webhook_reply: after_completion}
    edges: {e: {source_trigger: echo, target_job: job, condition_type: always, enabled: true}}
"#;
const OPEN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const SLOW: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const ECHO: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
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

/// What HTTP/2 begins with, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The types of frames that are sent or looked for here, and the flags that end what they are of.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// How long a test waits for what must come, where otherwise it would wait for ever.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two pieces of a client that drips.
const DRIP: Duration = Duration::from_millis(100);

/// A body of which the echo is more than a client of HTTP/2 takes unasked.
fn large() -> Vec<u8> {
    [b"\"", &vec![b'x'; 150_000][..], b"\""].concat()
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The first request of a connection of HTTP/2: a JSON body for a path.
fn first_request(path: &str, body: &[u8]) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` by their numbers; path, authority and type by the numbers of their names.
    let text = |name: &[u8], value: &str| [name, &[value.len() as u8], value.as_bytes()].concat();
    let head =
        [&[0x83, 0x86][..], &text(&[4], path), &text(&[1], "x"), &text(&[0x0f, 16], "application/json")];
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &head.concat());
    for piece in body.chunks(16_384) {
        bytes.extend(frame(DATA, 0, 1, piece));
    }
    bytes.extend(frame(DATA, END_STREAM, 1, b""));
    bytes
}

/// A connection of HTTP/2 whose reads wait no longer than for the next drip.
fn connect_http2(server: &Keyway) -> TcpStream {
    let mut stream = connect(server);
    stream.write_all(PREFACE).unwrap();
    // What a server takes unasked holds from the moment that its settings are acknowledged.
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], SETTINGS, "{head:?}");
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).unwrap();
    stream.write_all(&frame(SETTINGS, ACK, 0, b"")).unwrap();
    stream.set_read_timeout(Some(DRIP)).unwrap();
    stream
}

/// Sends these pieces one by one, and again and again, until the connection ends, which it must; gives the time that it took.
fn send_until_closed(mut stream: TcpStream, what: &str, drips: &[&[u8]]) -> Duration {
    let since = Instant::now();
    let mut buffer = [0; 65_536];
    for drip in drips.iter().cycle() {
        assert!(since.elapsed() < PATIENCE, "{what}: it goes on for ever");
        // Reads until the server has nothing more to say for the moment.
        let ended = stream.write_all(drip).is_err()
            || match stream.read(&mut buffer) {
                Ok(count) => count == 0,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
        if ended {
            break;
        }
    }
    since.elapsed()
}

#[test]
fn what_is_no_request_keeps_no_connection_of_http2_open() {
    let flags = ["--shards", "1", "--idle-timeout-seconds", "1", "--header-timeout-ms", "300"];
    on_both_runtimes(PROJECT, &[&flags[..], &["--http2-prior-knowledge"]].concat(), |server| {
        let ping = frame(PING, 0, 0, b"12345678");
        let head = &frame(HEADERS, END_HEADERS, 1, &[0; 10_000])[..9];
        thread::scope(|scope| {
            for (what, start, bytes) in [
                ("pings", &b""[..], &ping[..]),
                ("pings after a request", &first_request(OPEN, b"{}"), &ping),
                ("a head that drips", head, b"\x83"),
                // Its answer is larger than what a client takes that never says how much more it takes.
                ("pings, and an answer that is not taken", &first_request(ECHO, &large()), &ping),
            ] {
                let mut stream = connect_http2(server);
                stream.write_all(start).unwrap();
                scope.spawn(move || {
                    let took = send_until_closed(stream, what, &[bytes]);
                    assert!(took >= Duration::from_secs(1), "{what}: {took:?}");
                });
            }
            // A preface has the time of a head.
            let preface = connect(server);
            let bytes: Vec<_> = PREFACE.chunks(1).collect();
            preface.set_read_timeout(Some(DRIP)).unwrap();
            assert!(send_until_closed(preface, "a preface", &bytes) >= Duration::from_millis(300));
        });
    });
}

/// Takes the whole frames out of what was read: their types, flags and lengths.
fn take_frames(read: &mut Vec<u8>) -> Vec<(u8, u8, usize)> {
    let mut taken = Vec::new();
    while let [a, b, c, kind, flags, ..] = read[..] {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if read.len() < 9 + length {
            break;
        }
        read.drain(..9 + length);
        taken.push((kind, flags, length));
    }
    taken
}

#[test]
fn an_answer_that_is_taken_slowly_keeps_its_connection_of_http2_open() {
    let flags = ["--shards", "1", "--idle-timeout-seconds", "2", "--header-timeout-ms", "300"];
    on_both_runtimes(PROJECT, &[&flags[..], &["--http2-prior-knowledge"]].concat(), |server| {
        let mut stream = connect_http2(server);
        stream.write_all(&first_request(ECHO, &large())).unwrap();
        let since = Instant::now();
        let (mut read, mut buffer, mut taken, mut rests) = (Vec::new(), [0; 65_536], 0, 0);
        loop {
            assert!(since.elapsed() < PATIENCE);
            match stream.read(&mut buffer) {
                Ok(0) => panic!("closed after {:?} and {taken} bytes", since.elapsed()),
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(_) => rests += 1,
            }
            let data: Vec<_> =
                take_frames(&mut read).into_iter().filter(|(kind, ..)| *kind == DATA).collect();
            taken += data.iter().map(|(.., length)| length).sum::<usize>();
            if data.iter().any(|(_, flags, _)| flags & END_STREAM != 0) {
                break;
            }
            // For a while nothing comes, and then it takes a little more.
            if rests == 6 {
                rests = 0;
                for of in [0, 1] {
                    stream.write_all(&frame(WINDOW_UPDATE, 0, of, &20_000_u32.to_be_bytes())).unwrap();
                }
            }
        }
        assert!(taken > large().len(), "{taken}");
        assert!(since.elapsed() > Duration::from_millis(2_500), "it was taken slowly: {:?}", since.elapsed());
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
