//! Bodies that are meant to fill the memory: bombs, gigabytes, and many large ones at once. The process stays small, and
//! says precisely what it cannot take.

use std::{io::Write, net::TcpStream, thread};

use crate::common::{
    keyway::{Keyway, eventually},
    wire::{self, JSON, answer, ask, connect, request},
};
use flate2::{Compression, write::GzEncoder};
use keyway_storage::limits::{ANSWERS_BYTES_MAX, BODIES_BYTES_MAX, PAYLOAD_BYTES_MAX};
use serde_json::Value;

const PROJECT: &str = r#"
name: memory
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  large:
    jobs: {job: {name: Job, body: "fn(s => ({text: 'x'.repeat(10_000_000)}))"}}
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, webhook_reply: after_completion,
             response_timeout_seconds: 300}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  small:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, webhook_reply: after_completion}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
"#;
const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const LARGE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const SMALL: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
/// Callers of a large result, all of which would be held at once.
const CALLERS: usize = 24;
/// Memory of one shard and one door: the bodies that may be held, what is on its way to the shard, the turn and the
/// store; all of it at its bound at once.
const PEAK_BYTES_MAX: u64 = 640 << 20;

/// The statuses of `count` requests that are sent at the same time.
fn at_once(server: &Keyway, count: usize, bytes: &[u8]) -> Vec<u16> {
    thread::scope(|scope| {
        let senders: Vec<_> = (0..count).map(|_| scope.spawn(|| ask(server, bytes).0)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    })
}

/// A gigabyte of zeros in a megabyte.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1_024 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn bombs_and_gigabytes_are_refused_within_the_bounds_of_memory() {
    let zipped = request("POST", HOOK, &format!("{JSON}content-encoding: gzip\r\n"), &bomb());
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let fields = request("POST", HOOK, form, "a[b][c]&".repeat(PAYLOAD_BYTES_MAX / 8).as_bytes());
    let controls = request("POST", HOOK, form, &[b"a=", &vec![1; PAYLOAD_BYTES_MAX - 2][..]].concat());
    wire::on_both_runtimes(PROJECT, &["--shards", "1", "--executors", "0"], |server| {
        assert_eq!(at_once(server, 16, &zipped), [413; 16]);
        assert_eq!(at_once(server, 4, &fields), [400; 4]);
        assert_eq!(at_once(server, 4, &controls), [413; 4]);
        // A gigabyte that is announced is refused at once, one that is not is cut off.
        let head = |length: &str| format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n").into_bytes();
        assert_eq!(at_once(server, 16, &head("content-length: 1073741824")), [413; 16]);
        let mut endless = connect(server);
        endless.write_all(&head("transfer-encoding: chunked")).unwrap();
        let chunk = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
        let sent = (0..1_024).take_while(|_| endless.write_all(&chunk).is_ok()).count();
        assert!(sent < 150, "{sent} MiB were read");
        assert_eq!(ask(server, &request("POST", HOOK, JSON, b"{}")).0, 200);
        let peak = server.memory_bytes_max();
        assert!(peak < PEAK_BYTES_MAX, "{} MiB", peak >> 20);
    });
}

#[test]
fn a_door_holds_so_many_bytes_of_bodies_and_not_more() {
    let body = [b"\"", &vec![b'x'; PAYLOAD_BYTES_MAX - 2][..], b"\""].concat();
    let whole = request("POST", HOOK, JSON, &body);
    let (most, last) = whole.split_at(whole.len() - 1);
    wire::on_both_runtimes(PROJECT, &["--shards", "1", "--executors", "0"], |server| {
        let begin = || {
            let mut stream = connect(server);
            stream.write_all(most).unwrap();
            stream
        };
        // These fit, all but their last byte.
        let mut waiting: Vec<_> = (0..BODIES_BYTES_MAX / PAYLOAD_BYTES_MAX).map(|_| begin()).collect();
        eventually("the door has them", || wire::is_all_read(server));
        let mut refused = begin();
        let (status, head, text) = answer(&mut refused);
        assert_eq!(status, 503, "{text}");
        assert!(head.contains("retry-after: "), "{head}");
        // Those that wait lose nothing by it, and one that leaves makes room.
        waiting.pop();
        let finish = |mut stream: TcpStream| {
            stream.write_all(last).unwrap();
            answer(&mut stream).0
        };
        for stream in waiting {
            assert_eq!(finish(stream), 200);
        }
        assert_eq!(finish(begin()), 200);
        refused.write_all(last).unwrap();
        refused.write_all(&request("POST", HOOK, JSON, b"{}")).unwrap();
        assert_eq!(answer(&mut refused).0, 200, "the connection goes on");
        let peak = server.memory_bytes_max();
        assert!(peak < PEAK_BYTES_MAX, "{} MiB", peak >> 20);
    });
}

#[test]
fn a_door_holds_so_many_bytes_of_results_that_nobody_takes_and_not_more() {
    wire::on_both_runtimes(PROJECT, &["--shards", "1", "--executors", "1"], |server| {
        let begin = |n: usize| {
            let mut stream = connect(server);
            let headers = format!("{JSON}idempotency-key: {n}\r\n");
            stream.write_all(&request("POST", LARGE, &headers, b"{}")).unwrap();
            stream
        };
        let callers: Vec<_> = (0..CALLERS).map(begin).collect();
        eventually("every run has ended", || {
            server.get("/api/status").1["data"]["runs"]["success"] == CALLERS
        });
        // Beside them there is room for results of the usual size.
        assert_eq!(ask(server, &request("POST", SMALL, JSON, b"{}")).0, 201);
        let peak = server.memory_bytes_max();
        assert!(peak < PEAK_BYTES_MAX, "{} MiB", peak >> 20);
        let answers: Vec<_> = callers.into_iter().map(|mut stream| answer(&mut stream)).collect();
        let without: Vec<_> = (0..CALLERS).filter(|n| answers[*n].0 == 504).collect();
        for n in &without {
            let (_, head, text) = &answers[*n];
            let body: Value = serde_json::from_str(text).unwrap();
            assert_eq!(body["error"], "result_not_held");
            assert!(
                head.contains(&format!("x-meta-work-order-id: {}", body["work_order_id"].as_str().unwrap()))
            );
            assert!(head.contains("x-meta-run-id: "), "{head}");
        }
        let whole =
            answers.iter().filter(|(status, _, text)| *status == 201 && text.len() > 10_000_000).count();
        assert_eq!(whole + without.len(), CALLERS);
        assert!(whole >= ANSWERS_BYTES_MAX / 2 / 10_000_100, "{whole} had room");
        // All of them have taken theirs: there is room again, and the result of the same run.
        let (status, head, text) = answer(&mut begin(*without.first().unwrap()));
        assert_eq!((status, text.len() > 10_000_000), (201, true), "{}", &text[..200]);
        assert!(head.contains("x-keyway-replayed: true"), "{head}");
    });
}
