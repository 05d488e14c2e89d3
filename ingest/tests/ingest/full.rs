//! A shard or an API that cannot keep up: what waits for it is bounded, and the door says so instead of growing.
//!
//! Real doors on real sockets; shard and API are played by the test, which takes nothing until it wants to.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use keyway_engine::{
    command::{Answer, Receipt},
    mailbox::Bell,
    source::{Batch, Positions, Source},
};
use keyway_ingest::{
    door::watch::Patience,
    edge::{Edge, EdgeSettings, Passage},
    http::{ApiHandler, ApiRequest, ApiResponse},
    runtime::Choice,
};
use keyway_storage::{
    directory::DataDir,
    event::TriggerId,
    limits::{API_REQUESTS_MAX, API_THREADS, INPUTS_BYTES_MAX, PAYLOAD_BYTES_MAX, RETRY_AFTER_SECONDS},
    place::{Offset, Place, ShardId, Timestamp},
};

const PROJECT: &str = "
name: full
workflows:
  intake:
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";

struct NoApi;

impl ApiHandler for NoApi {
    fn handle(&self, _: ApiRequest) -> ApiResponse {
        panic!("nobody asks the API here")
    }
}

/// Answers nothing before it may.
#[derive(Default)]
struct Slow {
    asked: AtomicUsize,
    may_answer: (Mutex<bool>, Condvar),
}

impl Slow {
    fn let_go(&self) {
        *self.may_answer.0.lock().unwrap() = true;
        self.may_answer.1.notify_all();
    }
}

impl ApiHandler for Slow {
    fn handle(&self, _: ApiRequest) -> ApiResponse {
        self.asked.fetch_add(1, Ordering::AcqRel);
        let (may_answer, told) = &self.may_answer;
        drop(told.wait_while(may_answer.lock().unwrap(), |may_answer| !*may_answer).unwrap());
        let status = hyper::StatusCode::OK;
        ApiResponse { status, content_type: "application/json", headers: Vec::new(), body: b"{}".to_vec() }
    }
}

struct NoPositions;

impl Positions for NoPositions {
    fn last(&self, _: TriggerId, _: &str) -> Option<u64> {
        None
    }
}

fn settings(runtime: Choice) -> EdgeSettings {
    EdgeSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        api_listen: "127.0.0.1:0".parse().unwrap(),
        runtime,
        cors_origins: Vec::new(),
        body_bytes_max: PAYLOAD_BYTES_MAX,
        body_timeout: Duration::from_secs(30),
        connections_max: 100,
        patience: Patience { head: Duration::from_secs(30), idle: Duration::from_secs(30) },
        certificate: None,
        http2_prior_knowledge: false,
        drain_timeout: Duration::from_secs(30),
        hello: false,
    }
}

fn post(address: SocketAddr, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let head = "POST /i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01 HTTP/1.1\r\nhost: x\r\nconnection: close";
    stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

fn get(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    stream
}

/// Whether an answer has come.
fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_ok()
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// What a shard does in a turn, but for the log: takes what is offered and gives the receipts.
fn turn(source: &mut dyn Source, next: &mut u64) -> usize {
    let mut batch = Batch::default();
    source.offer(Timestamp(1), &mut batch);
    let mut receipts: Vec<_> = batch
        .drain()
        .map(|(_, ticket, _)| {
            *next += 1;
            let place = Place { shard: ShardId(0), offset: Offset(*next) };
            Receipt { ticket, at: Timestamp(1_000_000), answer: Answer::Accepted(place) }
        })
        .collect();
    let count = receipts.len();
    source.release(&mut receipts);
    count
}

#[test]
fn a_request_for_a_shard_that_is_full_is_told_when_to_come_again_and_all_others_get_in() {
    let home = tempfile::tempdir().unwrap();
    let ids = DataDir::open(&home.path().join("data"), 1).unwrap().ids();
    let body = [b"\"", &vec![b'x'; PAYLOAD_BYTES_MAX - 2][..], b"\""].concat();
    for runtime in [Choice::IoUring, Choice::Epoll] {
        let passage = Passage::new(&[Arc::<Bell>::default()]);
        let mut source = passage.sources().source(ShardId(0));
        source.tune(&Arc::new(crate::reading::read(PROJECT).unwrap().project), &NoPositions);
        let edge = Edge::open(settings(runtime), &passage, ids, Arc::new(NoApi)).unwrap();
        let mut parked = Vec::new();
        for n in 1..=INPUTS_BYTES_MAX / PAYLOAD_BYTES_MAX {
            parked.push(post(edge.address, &body));
            // One after the other, so that it is known which one finds no room.
            while passage.shards[0].len() < n {
                thread::yield_now();
            }
        }
        let refused = answer(post(edge.address, &body));
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains(&format!("\r\nretry-after: {RETRY_AFTER_SECONDS}\r\n")), "{refused}");
        assert!(refused.contains("{\"error\":\"service_unavailable\",\"message\":\""), "{refused}");
        // A small one still fits between.
        parked.push(post(edge.address, b"{}"));
        let (mut taken, mut next) = (0, 0);
        while taken < parked.len() {
            taken += turn(&mut *source, &mut next);
            thread::yield_now();
        }
        for stream in parked {
            let accepted = answer(stream);
            assert!(accepted.starts_with("HTTP/1.1 200 "), "{accepted}");
        }
        edge.close();
    }
}

/// Requests to the API for which there is no room.
const TOO_MANY: usize = 10;

#[test]
fn requests_to_the_api_that_find_too_many_before_them_are_told_so_and_the_others_are_answered() {
    let home = tempfile::tempdir().unwrap();
    let ids = DataDir::open(&home.path().join("data"), 1).unwrap().ids();
    for runtime in [Choice::IoUring, Choice::Epoll] {
        let (passage, api) = (Passage::new(&[Arc::<Bell>::default()]), Arc::<Slow>::default());
        let handler: Arc<dyn ApiHandler> = api.clone();
        let edge = Edge::open(settings(runtime), &passage, ids, handler).unwrap();
        let mut asked: Vec<_> = (0..API_THREADS).map(|_| get(edge.api_address, "/api/status")).collect();
        while api.asked.load(Ordering::Acquire) < API_THREADS {
            thread::yield_now();
        }
        asked.extend((0..API_REQUESTS_MAX + TOO_MANY).map(|_| get(edge.api_address, "/api/status")));
        while asked.iter().filter(|stream| is_answered(stream)).count() < TOO_MANY {
            thread::yield_now();
        }
        let lives = answer(get(edge.api_address, "/health/live"));
        assert!(lives.starts_with("HTTP/1.1 200 "), "that it lives needs no reader: {lives}");
        let (refused, waiting): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_answered);
        assert_eq!((refused.len(), waiting.len()), (TOO_MANY, API_THREADS + API_REQUESTS_MAX));
        for stream in refused {
            let refused = answer(stream);
            assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
            assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
            assert!(refused.contains("The API has too many requests at the moment."), "{refused}");
        }
        api.let_go();
        for stream in waiting {
            let answered = answer(stream);
            assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
        }
        edge.close();
    }
}
