//! Bodies of every kind through real sockets, on both runtimes: what is kept of them, and what is said before they are
//! sent.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::common::{
    keyway::Keyway,
    wire::{self, JSON, answer, ask, connect, request},
};
use flate2::{Compression, write::GzEncoder};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const PROJECT: &str = r#"
name: bodies
webhook_auth_methods: {github: {type: hmac, scheme: github, secret: {file: secret}}}
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(({data}) => ({data: {first: Object.keys(data)[0], a: data.a, big: String(data.big)}}))"}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  open:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      hook:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02
        type: webhook
        enabled: true
        accept: [json, form, multipart, text, xml, any]
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  signed:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      hook:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03
        type: webhook
        enabled: true
        webhook_auth_methods: [github]
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
  asked:
    jobs: {job: {name: Job, body: "fn(({request}) => ({data: request.query_params}))"}}
    triggers:
      hook:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04
        type: webhook
        enabled: true
        webhook_reply: after_completion
        allow_get: true
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
"#;
const INTAKE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const OPEN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const SIGNED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const ASKED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
const NOWHERE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff";
const BODY_BYTES_MAX: usize = 20_000;

fn on_both_runtimes(test: impl Fn(&Keyway)) {
    let furnish = |home: &std::path::Path| {
        std::fs::write(home.join("project.yaml"), PROJECT).unwrap();
        std::fs::write(home.join("secret"), "sesame").unwrap();
    };
    let max = BODY_BYTES_MAX.to_string();
    wire::on_both_runtimes_in(furnish, &["--shards", "2", "--body-bytes-max", &max], test);
}

/// The input of the work order that a request made.
fn input_of(server: &Keyway, request: &[u8]) -> Value {
    let (status, _, text) = ask(server, request);
    assert_eq!(status, 200, "{text}");
    let ids: Value = serde_json::from_str(&text).unwrap();
    let order = ids["work_order_id"].as_str().unwrap();
    let (_, mut shown) = server.get(&format!("/api/work_orders/{order}?include=input"));
    shown["data"]["attributes"]["input"].take()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn each_kind_of_body_is_kept_as_documented() {
    let part = "--X\r\ncontent-disposition: form-data; name=\"doc\"; filename=\"a.txt\"\r\ncontent-type: text/plain\r\n\r\nhi\r\n--X--";
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let zipped = format!("{JSON}content-encoding: gzip\r\n");
    let cases: Vec<(&str, &str, Vec<u8>, Value)> = vec![
        ("an array", JSON, b"[1, 2]".to_vec(), json!([1, 2])),
        ("no type", "", b"{\"a\": 1}".to_vec(), json!({"a": 1})),
        ("a form", form, b"a[b]=1&a[c][]=2&a[c][]=3".to_vec(), json!({"a": {"b": "1", "c": ["2", "3"]}})),
        (
            "a file",
            "content-type: multipart/form-data; boundary=X\r\n",
            part.into(),
            json!({"doc": {"name": "a.txt", "type": "text/plain", "base64": "aGk="}}),
        ),
        ("text", "content-type: text/plain; charset=latin1\r\n", b"Jos\xe9".to_vec(), json!("José")),
        ("XML", "content-type: application/xml\r\n", b"<a/>".to_vec(), json!("<a/>")),
        ("bytes", "content-type: image/png\r\n", b"\x89PNG".to_vec(), json!("iVBORw==")),
        ("a gzip body", &zipped, gzip(b"{\"a\": 1}"), json!({"a": 1})),
        ("nothing", "content-type: text/plain\r\n", Vec::new(), json!({})),
    ];
    on_both_runtimes(|server| {
        for (what, headers, body, expected) in &cases {
            let input = input_of(server, &request("POST", OPEN, headers, body));
            assert_eq!(&input["data"], expected, "{what}");
        }
        // In chunks it is the same body.
        let chunked = format!("POST {OPEN} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{form}\r\n");
        let chunked =
            [chunked.as_bytes(), b"3;x=y\r\na[b\r\n4\r\n]=%6\r\n1\r\n1\r\n0\r\ntrailer: t\r\n\r\n"].concat();
        assert_eq!(input_of(server, &chunked)["data"], json!({"a": {"b": "a"}}));
        let query = format!("{OPEN}/%F0/x?a[]=1&a[]=2&q=%C3%A9+%00");
        let input = input_of(server, &request("POST", &query, "", b""));
        assert_eq!(input["request"]["path"], json!(["i", &OPEN[3..], "%F0", "x"]));
        assert_eq!(input["request"]["query_params"], json!({"a": ["1", "2"], "q": "é \0"}));
    });
}

#[test]
fn json_is_stored_byte_for_byte_and_a_job_sees_what_json_parse_makes_of_it() {
    let body = br#"{"z": 1,  "a": 1, "big": 12345678901234567890, "a": "last"}"#;
    on_both_runtimes(|server| {
        let (status, _, text) = ask(server, &request("POST", INTAKE, JSON, body));
        assert_eq!(status, 200, "{text}");
        let ids: Value = serde_json::from_str(&text).unwrap();
        let run = ids["run_id"].as_str().unwrap();
        assert_eq!(server.ended_run(run)["state"], "success");
        let (_, shown) = server.get(&format!("/api/runs/{run}?include=final_state"));
        assert_eq!(
            shown["data"]["attributes"]["final_state"]["data"],
            json!({"first": "z", "a": "last", "big": "12345678901234567000"})
        );
        let order = ids["work_order_id"].as_str().unwrap();
        let shown = raw(server, &format!("/api/work_orders/{order}?include=input"));
        assert!(shown.contains(std::str::from_utf8(body).unwrap()), "{shown}");
    });
}

/// A document of the API as it is on the wire.
fn raw(server: &Keyway, path: &str) -> String {
    let mut stream = TcpStream::connect(server.api.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_query_alone_makes_a_run_where_that_is_allowed() {
    on_both_runtimes(|server| {
        let (status, _, text) = ask(server, &request("GET", &format!("{ASKED}?a[b]=1"), "", b""));
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["data"]["data"]), (201, &json!({"a": {"b": "1"}})));
        for query in ["a=%", "a=%ff", "a=100%&b=1"] {
            let (status, _, text) = ask(server, &request("GET", &format!("{ASKED}?{query}"), "", b""));
            assert_eq!(status, 400, "{query}: {text}");
            assert!(text.contains("invalid_query"), "{query}: {text}");
        }
    });
}

#[test]
fn a_signature_is_that_of_the_bytes_on_the_wire() {
    let sign = |body: &[u8]| {
        let mac = Hmac::<Sha256>::new_from_slice(b"sesame").unwrap().chain_update(body).finalize();
        let hex: String = mac.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{JSON}content-encoding: gzip\r\nx-hub-signature-256: sha256={hex}\r\n")
    };
    let (plain, wire) = (b"{\"a\": 1}", gzip(b"{\"a\": 1}"));
    // Larger than a body may be, but nobody finds out who cannot sign.
    let bomb = gzip(&vec![b' '; BODY_BYTES_MAX * 40]);
    on_both_runtimes(|server| {
        let input = input_of(server, &request("POST", SIGNED, &sign(&wire), &wire));
        assert_eq!(input["data"], json!({"a": 1}));
        for (headers, body, expected) in
            [(sign(plain), &wire, 404), (sign(&wire), &bomb, 404), (sign(&bomb), &bomb, 413)]
        {
            let (status, _, text) = ask(server, &request("POST", SIGNED, &headers, body));
            assert_eq!(status, expected, "{text}");
        }
    });
}

#[test]
fn a_coding_that_is_not_known_is_refused_with_those_that_are() {
    on_both_runtimes(|server| {
        for coding in ["br", "zstd", "gzip, gzip"] {
            let headers = format!("{JSON}content-encoding: {coding}\r\n");
            let (status, head, _) = ask(server, &request("POST", OPEN, &headers, b"{}"));
            assert_eq!(status, 415, "{coding}");
            assert!(head.contains("\r\naccept-encoding: gzip, deflate\r\n"), "{head}");
        }
    });
}

/// What comes after the head of a request that asks whether it may send its body.
fn expecting(server: &Keyway, path: &str, headers: &str) -> (TcpStream, u16, String) {
    let mut stream = connect(server);
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (status, head, _) = answer(&mut stream);
    (stream, status, head)
}

#[test]
fn only_a_body_that_is_wanted_is_asked_for() {
    let limit = BODY_BYTES_MAX;
    on_both_runtimes(|server| {
        let (mut stream, status, _) = expecting(server, OPEN, &format!("{JSON}content-length: 2\r\n"));
        assert_eq!(status, 100);
        stream.write_all(b"{}").unwrap();
        assert_eq!(answer(&mut stream).0, 200);
        stream.write_all(&request("POST", OPEN, JSON, b"{}")).unwrap();
        assert_eq!(answer(&mut stream).0, 200, "the connection goes on");
        for (what, path, headers, expected) in [
            ("an unknown trigger", NOWHERE, format!("{JSON}content-length: 2\r\n"), 404),
            ("no credential", SIGNED, format!("{JSON}content-length: 2\r\n"), 401),
            (
                "a type that is not taken",
                INTAKE,
                "content-type: text/xml\r\ncontent-length: 4\r\n".into(),
                415,
            ),
            ("too much", OPEN, format!("{JSON}content-length: {}\r\n", limit + 1), 413),
            ("far too much", OPEN, format!("{JSON}content-length: {}\r\n", limit * 100), 413),
        ] {
            let (mut stream, status, head) = expecting(server, path, &headers);
            assert_eq!(status, expected, "{what}");
            assert!(head.contains("connection: close"), "{what}: {head}");
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{what}: the connection ends");
        }
    });
}

#[test]
fn a_refusal_reaches_whoever_is_still_sending_and_the_connection_goes_on() {
    let much = vec![b' '; BODY_BYTES_MAX * 9];
    let chunks = |count: usize| {
        let chunk =
            [format!("{:x}\r\n", BODY_BYTES_MAX).as_bytes(), &much[..BODY_BYTES_MAX], b"\r\n"].concat();
        let head = format!("POST {OPEN} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{JSON}\r\n");
        [head.as_bytes(), &chunk.repeat(count), b"0\r\n\r\n"].concat()
    };
    on_both_runtimes(|server| {
        let mut stream = connect(server);
        for (what, request, expected) in [
            ("an unknown trigger", request("POST", NOWHERE, JSON, &much), 404),
            ("a type that is not taken", request("POST", INTAKE, "content-type: text/xml\r\n", &much), 415),
            ("no credential", request("POST", SIGNED, JSON, &much), 401),
            ("too much", request("POST", OPEN, JSON, &much), 413),
            ("too many chunks", chunks(9), 413),
            ("a good one", request("POST", OPEN, JSON, b"{}"), 200),
        ] {
            stream.write_all(&request).unwrap();
            let (status, head, _) = answer(&mut stream);
            assert_eq!(status, expected, "{what}");
            assert!(!head.contains("connection: close"), "{what}: {head}");
        }
        // Ten times the limit is where patience ends; the answer is there before.
        for endless in [request("POST", OPEN, JSON, &vec![b' '; BODY_BYTES_MAX * 11]), chunks(200)] {
            let mut stream = connect(server);
            // The connection may be closed before all of it is sent.
            let _ = stream.write_all(&endless);
            assert_eq!(answer(&mut stream).0, 413);
            assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "the connection ends");
        }
    });
}
