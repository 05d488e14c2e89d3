//! Requests that mean harm, or come from programs that are broken: each gets its precise answer on both runtimes, none
//! of them a 500, and harms no other.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

use crate::common::{
    keyway::{Keyway, eventually},
    wire::{self, JSON, answer, ask, connect, request},
};
use keyway_storage::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use serde_json::{Value, json};

const PROJECT: &str = r#"
name: hostile
webhook_auth_methods: {key: {type: api, api_key: {file: secret}}}
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  guarded:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      hook:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02
        type: webhook
        enabled: true
        webhook_auth_methods: [key]
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
"#;
const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const GUARDED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";

fn on_both_runtimes(flags: &[&str], test: impl Fn(&Keyway)) {
    let furnish = |home: &std::path::Path| {
        std::fs::write(home.join("project.yaml"), PROJECT).unwrap();
        std::fs::write(home.join("secret"), "sesame").unwrap();
    };
    let flags = [&["--shards", "2", "--executors", "0"], flags].concat();
    wire::on_both_runtimes_in(furnish, &flags, |server| {
        test(server);
        assert_eq!(ask(server, &request("POST", HOOK, JSON, b"{}")).0, 200, "it goes on");
    });
}

/// How many work orders there are.
fn work_orders(server: &Keyway) -> u64 {
    let (_, status) = server.get("/api/status");
    status["data"]["work_orders"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

/// Everything that comes until the connection ends.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends it too; what came before counts.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The statuses of all answers until the connection ends.
fn statuses(server: &Keyway, bytes: &[u8]) -> Vec<u16> {
    let mut stream = connect(server);
    // The connection may end before all of it is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let text = rest(&mut stream);
    text.split("HTTP/1.").skip(1).map(|answer| answer[2..5].parse().unwrap()).collect()
}

fn head(lines: &str) -> Vec<u8> {
    format!("POST {HOOK} HTTP/1.1\r\nhost: x\r\n{JSON}{lines}\r\n\r\n").into_bytes()
}

#[test]
fn a_body_whose_end_two_servers_could_see_in_two_places_ends_the_connection() {
    let smuggled = request("POST", HOOK, JSON, b"{\"smuggled\": 1}");
    let with = |lines: &str, body: &[u8]| [&head(lines), body, &smuggled].concat();
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        // RFC 9112, 6.1: read as chunked, answered, closed.
        ("CL.TE", with("content-length: 4\r\ntransfer-encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"), &[200]),
        ("TE.CL", with("transfer-encoding: chunked\r\ncontent-length: 4", b"2\r\n{}\r\n0\r\n\r\n"), &[200]),
        ("two lengths", with("content-length: 2\r\ncontent-length: 3", b"{}"), &[400]),
        ("a list of lengths", with("content-length: 2, 3", b"{}"), &[400]),
        ("a length with a sign", with("content-length: +2", b"{}"), &[400]),
        ("a length that is none", with("content-length: 0x2", b"{}"), &[400]),
        ("a length beyond all", with("content-length: 99999999999999999999", b"{}"), &[400]),
        ("a coding behind chunked", with("transfer-encoding: chunked, identity", b"{}"), &[400]),
        (
            "a coding before chunked",
            with("transfer-encoding: gzip, chunked", b"2\r\n{}\r\n0\r\n\r\n"),
            &[400],
        ),
        (
            "chunked twice",
            with("transfer-encoding: chunked\r\ntransfer-encoding: chunked", b"0\r\n\r\n"),
            &[400],
        ),
        ("another word", with("transfer-encoding: xchunked", b"0\r\n\r\n"), &[400]),
        ("a space before the colon", with("transfer-encoding : chunked", b"0\r\n\r\n"), &[400]),
        ("a folded header", with("x-a: b\r\n transfer-encoding: chunked", b""), &[400]),
        ("a bare carriage return in a value", with("x-a: b\rtransfer-encoding: chunked", b""), &[400]),
        // RFC 9112, 2.2: it ends the line, which not every server believes: nothing that follows is a request.
        (
            "a bare line feed in a value, and a length",
            with("content-length: 4\r\nx-a: b\ntransfer-encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
            &[200],
        ),
        ("a bare line feed in a value", with("x-a: b\ntransfer-encoding: chunked", b""), &[400]),
        ("a NUL in a value", with("x-a: b\0c", b""), &[400]),
        ("two hosts", with("host: y\r\ncontent-length: 2", b"{}"), &[400]),
        ("a chunk size that is none", with("transfer-encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("a chunk size below zero", with("transfer-encoding: chunked", b"-2\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("a chunk size beyond all", with("transfer-encoding: chunked", b"fffffffffffffffff\r\n{}"), &[400]),
        ("a chunk longer than it says", with("transfer-encoding: chunked", b"1\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("no end of a chunk's line", with("transfer-encoding: chunked", b"2\n{}\n0\n\n"), &[400]),
    ];
    on_both_runtimes(&[], |server| {
        for (what, bytes, expected) in &cases {
            assert_eq!(&statuses(server, bytes), expected, "{what}");
        }
        assert_eq!(work_orders(server), 3, "nothing was smuggled in");
    });
}

#[test]
fn chunk_extensions_and_trailers_mean_nothing_and_are_bounded() {
    let chunked = head("transfer-encoding: chunked");
    let flood = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let extensions = "1;a=b\r\n1\r\n".repeat(100_000) + "0\r\n\r\n";
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "x-t: y\r\n".repeat(10_000));
    on_both_runtimes(&[], |server| {
        let good = [&chunked[..], b"2;name=\"va;lue\"\r\n{}\r\n0;last\r\nx-trailer: t\r\n\r\n"].concat();
        assert_eq!(ask(server, &good).0, 200);
        for body in [&flood, &extensions, &trailers] {
            assert_eq!(statuses(server, &[&chunked[..], body.as_bytes()].concat()), [400]);
        }
        assert_eq!(work_orders(server), 1);
    });
}

#[test]
fn floods_of_headers_are_refused() {
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let long = |bytes: usize| format!("x-long: {}\r\n", "y".repeat(bytes));
    let path = |bytes: usize| request("POST", &format!("{HOOK}?{}", "q".repeat(bytes)), JSON, b"{}");
    on_both_runtimes(&[], |server| {
        // Host, length and type are three of them.
        for (headers, expected) in [
            (many(HEADERS_MAX - 3), 200),
            (many(HEADERS_MAX - 2), 431),
            (many(100_000), 431),
            (long(HEAD_BYTES_MAX - 1_000), 200),
            (long(HEAD_BYTES_MAX), 431),
            (long(10 << 20), 431),
        ] {
            let bytes = request("POST", HOOK, &format!("{JSON}{headers}"), b"{}");
            assert_eq!(statuses(server, &bytes), [expected], "{} bytes", headers.len());
        }
        assert_eq!(statuses(server, &path(HEAD_BYTES_MAX - 1_000)), [200]);
        assert_eq!(statuses(server, &path(1 << 20)), [431]);
    });
}

#[test]
fn whoever_takes_too_long_is_let_go() {
    let flags = ["--header-timeout-ms", "300", "--body-timeout-ms", "300", "--idle-timeout-seconds", "1"];
    on_both_runtimes(&flags, |server| {
        // Nothing at all, half a head, and an idle connection after an answer: they end without a word.
        let mut silent = connect(server);
        let mut half = connect(server);
        half.write_all(b"POST /i/x HTTP/1.1\r\nhost: x\r\nx-").unwrap();
        let mut idle = connect(server);
        idle.write_all(&request("POST", HOOK, JSON, b"{}")).unwrap();
        assert_eq!(answer(&mut idle).0, 200);
        for stream in [&mut silent, &mut half, &mut idle] {
            assert_eq!(rest(stream), "");
        }
        // Half a body gets an answer.
        for start in
            [head("content-length: 100"), [&head("transfer-encoding: chunked")[..], b"5\r\n{"].concat()]
        {
            let mut stream = connect(server);
            stream.write_all(&start).unwrap();
            let (status, head, text) = answer(&mut stream);
            assert_eq!((status, text.as_str()), (408, "{\"error\":\"Request Timeout\"}"));
            assert!(head.contains("connection: close"), "{head}");
            assert_eq!(rest(&mut stream), "");
        }
        // One who was refused and goes on sending slowly is cut off too.
        let mut refused = connect(server);
        refused.write_all(&request("POST", "/i/nowhere", "", &[b' '; 1_000])[..500]).unwrap();
        assert_eq!(answer(&mut refused).0, 404);
        assert_eq!(rest(&mut refused), "");
    });
}

#[test]
fn connections_that_break_off_cost_nothing() {
    let whole = request("POST", HOOK, JSON, b"{\"n\": 1}");
    on_both_runtimes(&[], |server| {
        for end in 1..whole.len() {
            // Aborted, while half of them are still to be read.
            connect(server).write_all(&whole[..end]).unwrap();
        }
        for end in [whole.len() - 1, whole.len() - 8] {
            // Half-closed: the body is not whole, and its sender may be told so.
            assert_eq!(statuses(server, &whole[..end]), [400], "{end}");
        }
        assert_eq!(statuses(server, &whole), [200], "a client may close its half when it has said all");
        assert_eq!(statuses(server, b""), [] as [u16; 0]);
        assert_eq!(work_orders(server), 1);
        // Sent whole and left at once: taken, and nobody is there to hear it.
        connect(server).write_all(&whole).unwrap();
        eventually("it is taken", || work_orders(server) == 2);
    });
}

#[test]
fn unusual_requests_get_what_their_meaning_is() {
    let from = |line: &str| format!("{line}\r\nhost: x\r\ncontent-length: 2\r\n{JSON}\r\n{{}}").into_bytes();
    let raw = |path: &[u8]| [b"POST ", path, b" HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"].concat();
    let hook = HOOK.as_bytes();
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("a whole URL", from(&format!("POST http://other.example{HOOK} HTTP/1.1")), &[200]),
        ("HTTP/1.0", from(&format!("POST {HOOK} HTTP/1.0")), &[200]),
        (
            "HTTP/1.0 without a host",
            format!("POST {HOOK} HTTP/1.0\r\ncontent-length: 2\r\n{JSON}\r\n{{}}").into(),
            &[200],
        ),
        ("no host", format!("POST {HOOK} HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}").into(), &[400]),
        (
            "chunks in HTTP/1.0",
            format!("POST {HOOK} HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n").into(),
            &[400],
        ),
        ("HTTP/2 in plain words", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[]),
        ("HTTP/3.7", from(&format!("POST {HOOK} HTTP/3.7")), &[400]),
        ("a method in small letters", from(&format!("post {HOOK} HTTP/1.1")), &[404]),
        ("a method that nobody knows", from(&format!("BREW {HOOK} HTTP/1.1")), &[404]),
        ("a tunnel", from("CONNECT x:80 HTTP/1.1"), &[404]),
        ("the server itself", b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[404]),
        ("a path out of the house", raw(b"/i/../../etc/passwd"), &[404]),
        ("bytes that are no UTF-8", raw(&[hook, b"/\xff\xfe"].concat()), &[400]),
        ("UTF-8 in a path", raw(&[hook, "/é".as_bytes()].concat()), &[200]),
        ("a NUL in a path", raw(&[hook, b"/\0"].concat()), &[400]),
        ("a NUL in a query", raw(&[hook, b"?a=\0"].concat()), &[400]),
        ("an encoded NUL", raw(&[hook, b"/%00?a=%00"].concat()), &[200]),
        ("a bad percent sign in a path", raw(&[hook, b"/%zz"].concat()), &[200]),
        ("a bad percent sign in a query", raw(&[hook, b"?a=%zz"].concat()), &[400]),
        ("bad UTF-8 in a query", raw(&[hook, b"?a=%ff"].concat()), &[400]),
        ("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        ("nothing that is one", b"\0\0\0\0\r\n\r\n".to_vec(), &[400]),
    ];
    on_both_runtimes(&[], |server| {
        for (what, bytes, expected) in &cases {
            assert_eq!(&statuses(server, bytes), expected, "{what}");
        }
        let headers = b"x-latin: caf\xe9\r\nx-empty:\r\n";
        let bytes =
            [b"POST ", hook, b" HTTP/1.1\r\nhost: x\r\n", headers, b"content-length: 0\r\n\r\n"].concat();
        let (status, _, text) = ask(server, &bytes);
        assert_eq!(status, 200);
        let ids: Value = serde_json::from_str(&text).unwrap();
        let path = format!("/api/work_orders/{}?include=input", ids["work_order_id"].as_str().unwrap());
        let kept = &server.get(&path).1["data"]["attributes"]["input"]["request"]["headers"];
        assert_eq!(kept["x-latin"], json!("caf\u{fffd}"));
        assert_eq!(kept["x-empty"], json!(""));
    });
}

#[test]
fn a_wrong_answer_to_one_request_in_a_row_leaves_the_others_right() {
    let bodies: [(&[u8], u16); 5] =
        [(b"{}", 200), (b"{", 400), (b"[[]", 400), (b"{\"a\": \"\\ud800\"}", 200), (b"nul", 400)];
    let deep = [b"[".repeat(129), b"]".repeat(129)].concat();
    on_both_runtimes(&[], |server| {
        let mut stream = connect(server);
        let row = bodies.iter().map(|(body, status)| (request("POST", HOOK, JSON, body), *status));
        let row: Vec<_> = row
            .chain([
                (request("POST", HOOK, JSON, &deep), 400),
                (request("POST", GUARDED, JSON, &deep), 401),
                (request("POST", GUARDED, "x-api-key: wrong\r\n", &deep), 404),
                (request("GET", HOOK, "", b""), 200),
                (request("POST", HOOK, JSON, b"[]"), 200),
            ])
            .collect();
        stream.write_all(&row.iter().flat_map(|(request, _)| request.clone()).collect::<Vec<_>>()).unwrap();
        for (index, (_, expected)) in row.iter().enumerate() {
            assert_eq!(answer(&mut stream).0, *expected, "{index}");
        }
    });
}
