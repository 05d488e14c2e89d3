//! TLS and HTTP/2 on the public listener, through real sockets, on both runtimes.
//!
//! The clients are rustls and h2, which is what half of the senders in the world are made of.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use crate::common::{
    http2,
    keyway::{Keyway, eventually},
    tls::{self, FIRST, Pair, SECOND},
    wire::{JSON, answer, ask, connect, on_both_runtimes, request},
};
use bytes::Bytes;
use serde_json::{Value, json};

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: tls
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      open: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, custom_path: clinic}
    edges: {e: {source_trigger: open, target_job: job, condition_type: always, enabled: true}}
  echo:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      echo: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: true, webhook_reply: after_completion}
    edges: {e: {source_trigger: echo, target_job: job, condition_type: always, enabled: true}}
"#;
const OPEN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const ECHO: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const TYPED: [(&str, &str); 1] = [("content-type", "application/json")];
const TOO_LARGE: &str = "{\"error\":\"Request Entity Too Large\"}";
const TIMED_OUT: &str = "{\"error\":\"Request Timeout\"}";
/// What HTTP/2 begins with, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn furnish(home: &Path) {
    fs::write(home.join("project.yaml"), PROJECT).unwrap();
    tls::write(home, FIRST);
}

/// Runs a test against a keyway that speaks TLS, once on each runtime; its home folder comes along.
fn with_tls(test: impl Fn(&Keyway, &Path)) {
    with_tls_and(&[], test);
}

/// The same, with more flags.
fn with_tls_and(more: &[&str], test: impl Fn(&Keyway, &Path)) {
    for runtime in ["io_uring", "epoll"] {
        let home = tempfile::tempdir().unwrap();
        furnish(home.path());
        let mut flags = tls::flags(home.path());
        flags.extend(
            ["--runtime", runtime, "--shards", "2"].iter().chain(more).map(|flag| (*flag).to_owned()),
        );
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let server = Keyway::start(home.path(), &flags);
        test(&server, home.path());
        assert_eq!(server.stop().code(), Some(0));
    }
}

/// Whether a client that trusts only this pair is served.
fn is_shown(server: &Keyway, pair: Pair) -> bool {
    let Ok(mut stream) = tls::connect(server, tls::client(pair, &["http/1.1"])) else { return false };
    stream.write_all(&request("POST", OPEN, JSON, b"{}")).unwrap();
    answer(&mut stream).0 == 200
}

#[test]
fn requests_over_tls_are_answered_as_without() {
    with_tls(|server, _| {
        assert!(server.url.starts_with("https://"), "{}", server.url);
        assert!(server.api.starts_with("http://"), "{}", server.api);
        for protocols in [&["http/1.1"][..], &[]] {
            let mut stream = tls::connect(server, tls::client(FIRST, protocols)).unwrap();
            for n in 0..3 {
                let body = format!("{{\"n\":{n}}}");
                stream.write_all(&request("POST", OPEN, JSON, body.as_bytes())).unwrap();
                let (status, _, text) = answer(&mut stream);
                assert_eq!(status, 200, "{text}");
                let ids: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(server.ended_run(ids["run_id"].as_str().unwrap())["state"], "success");
            }
            let large = json!({"text": "x".repeat(3_000_000)}).to_string();
            stream.write_all(&request("POST", ECHO, JSON, large.as_bytes())).unwrap();
            let (status, _, text) = answer(&mut stream);
            assert_eq!(status, 201);
            let echo: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(echo["data"]["data"]["text"].as_str().unwrap().len(), 3_000_000);
        }
    });
}

#[test]
fn many_requests_share_one_connection_of_http2() {
    with_tls(|server, _| {
        let (ids, echo, look, unknown) = http2::run(async {
            let client = http2::connect(server, Some(tls::client(FIRST, &["h2", "http/1.1"]))).await;
            let asked: Vec<_> = (0..200)
                .map(|n| {
                    let client = client.clone();
                    tokio::task::spawn_local(async move {
                        http2::ask(&client, "POST", OPEN, &TYPED, format!("{{\"n\":{n}}}")).await.unwrap()
                    })
                })
                .collect();
            let mut ids = HashSet::new();
            for answer in asked {
                let answer = answer.await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.body);
                let body: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(answer.headers["x-meta-run-id"], body["run_id"].as_str().unwrap());
                ids.insert(body["work_order_id"].as_str().unwrap().to_owned());
            }
            let large = json!({"text": "x".repeat(3_000_000)}).to_string();
            let echo = http2::ask(&client, "POST", ECHO, &TYPED, large).await.unwrap();
            let look = http2::ask(&client, "GET", OPEN, &[], "").await.unwrap();
            let unknown = http2::ask(&client, "POST", "/i/nowhere", &TYPED, "{}").await.unwrap();
            (ids, echo, look, unknown)
        });
        assert_eq!(ids.len(), 200);
        assert_eq!(echo.status, 201);
        let echo: Value = serde_json::from_str(&echo.body).unwrap();
        assert_eq!(echo["data"]["data"]["text"].as_str().unwrap().len(), 3_000_000);
        // HTTP/2 has no `host` header; jobs find it all the same.
        assert_eq!(echo["data"]["request"]["headers"]["host"], "localhost");
        assert_eq!(look.status, 200);
        assert_eq!(unknown.status, 404);
    });
}

#[test]
fn custom_paths_and_pages_in_browsers_are_served_over_http2_too() {
    with_tls(|server, _| {
        let clinic = "/i/3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11/clinic";
        let (sent, preflight) = http2::run(async {
            let client = http2::connect(server, Some(tls::client(FIRST, &["h2"]))).await;
            let typed = [TYPED[0], ("origin", "https://a.org")];
            let sent = http2::ask(&client, "POST", clinic, &typed, "{}").await.unwrap();
            let asks = [("origin", "https://a.org"), ("access-control-request-method", "POST")];
            (sent, http2::ask(&client, "OPTIONS", clinic, &asks, "").await.unwrap())
        });
        assert_eq!(sent.status, 200, "{}", sent.body);
        assert_eq!(sent.headers["access-control-allow-origin"], "*");
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.headers["access-control-allow-origin"], "*");
    });
}

#[test]
fn a_head_over_the_limit_is_refused_in_both_versions() {
    with_tls(|server, _| {
        let long = "x".repeat(70_000);
        let refused = http2::run(async {
            let client = http2::connect(server, Some(tls::client(FIRST, &["h2"]))).await;
            http2::ask(&client, "POST", OPEN, &[("x-long", &long)], "{}").await.unwrap()
        });
        assert_eq!(refused.status, 431);
        let mut stream = tls::connect(server, tls::client(FIRST, &["http/1.1"])).unwrap();
        stream.write_all(&request("POST", OPEN, &format!("x-long: {long}\r\n"), b"{}")).unwrap();
        assert_eq!(answer(&mut stream).0, 431);
    });
}

#[test]
fn a_body_over_the_limit_is_refused_over_http2_while_it_is_still_sent() {
    with_tls_and(&["--body-bytes-max", "2000"], |server, _| {
        http2::run(async {
            let client = http2::connect(server, Some(tls::client(FIRST, &["h2"]))).await;
            let large = Bytes::from(vec![b' '; 2_001]);
            let refused = http2::ask(&client, "POST", OPEN, &TYPED, large.clone()).await.unwrap();
            assert_eq!((refused.status.as_u16(), refused.body.as_str()), (413, TOO_LARGE));
            // Of these the end never comes: one has sent too much, one says that it will, and one is not wanted at all.
            let announced = [TYPED[0], ("content-length", "2001")];
            for (path, headers, sent, status) in [
                (OPEN, &TYPED[..], large.clone(), 413),
                (OPEN, &TYPED, Bytes::from(vec![b' '; 60_000]), 413),
                (OPEN, &announced, Bytes::new(), 413),
                ("/i/nowhere", &TYPED, large, 404),
            ] {
                let (answer, mut stream) = http2::begin(&client, "POST", path, headers, false).await.unwrap();
                stream.send_data(sent, false).unwrap();
                let refused = http2::whole(answer).await.unwrap();
                assert_eq!(refused.status, status, "{}", refused.body);
            }
            let fits = http2::ask(&client, "POST", OPEN, &TYPED, vec![b'1'; 2_000]).await.unwrap();
            assert_eq!(fits.status, 200, "the connection goes on: {}", fits.body);
        });
    });
}

#[test]
fn a_body_that_stalls_over_http2_is_refused_in_time_and_holds_up_no_other() {
    with_tls_and(&["--body-timeout-ms", "300"], |server, _| {
        http2::run(async {
            let client = http2::connect(server, Some(tls::client(FIRST, &["h2"]))).await;
            let since = Instant::now();
            let (stalled, mut stream) = http2::begin(&client, "POST", OPEN, &TYPED, false).await.unwrap();
            stream.send_data(Bytes::from_static(b"{\"a\":"), false).unwrap();
            let other = http2::ask(&client, "POST", OPEN, &TYPED, "{}").await.unwrap();
            assert_eq!(other.status, 200, "{}", other.body);
            let stalled = http2::whole(stalled).await.unwrap();
            assert_eq!((stalled.status.as_u16(), stalled.body.as_str()), (408, TIMED_OUT));
            assert!(since.elapsed() >= Duration::from_millis(300), "{:?}", since.elapsed());
            let next = http2::ask(&client, "POST", OPEN, &TYPED, "{}").await.unwrap();
            assert_eq!(next.status, 200, "the connection goes on: {}", next.body);
        });
    });
}

#[test]
fn a_flood_of_resets_ends_its_connection_and_no_other() {
    with_tls(|server, _| {
        let other = tls::connect(server, tls::client(FIRST, &["http/1.1"]));
        let error = http2::run(async {
            let client = http2::connect(server, Some(tls::client(FIRST, &["h2"]))).await;
            loop {
                let ready = match client.clone().ready().await {
                    Ok(ready) => ready,
                    Err(error) => return error,
                };
                let mut ready = ready;
                let request = hyper::Request::post(format!("https://localhost{OPEN}")).body(()).unwrap();
                match ready.send_request(request, false) {
                    Ok((_, mut stream)) => stream.send_reset(h2::Reason::CANCEL),
                    Err(error) => return error,
                }
                tokio::task::yield_now().await;
            }
        });
        assert!(error.is_go_away() || error.is_io() || error.is_remote(), "{error}");
        let mut other = other.unwrap();
        other.write_all(&request("POST", OPEN, JSON, b"{}")).unwrap();
        assert_eq!(answer(&mut other).0, 200);
    });
}

#[test]
fn whoever_does_not_speak_tls_is_told_or_let_go() {
    with_tls(|server, _| {
        let (status, head, text) = ask(server, &request("POST", OPEN, JSON, b"{}"));
        assert_eq!(status, 400);
        assert!(head.contains("connection: close"), "{head}");
        assert!(text.contains("https_required"), "{text}");
        // No common protocol, a client that trusts someone else, and a broken record after a good beginning.
        assert!(tls::connect(server, tls::client(FIRST, &["spdy/3"])).is_err());
        assert!(tls::connect(server, tls::client(SECOND, &["http/1.1"])).is_err());
        let mut stream = connect(server);
        stream.write_all(b"\x16\x03\x01\x00\x05nonsense").unwrap();
        tls::rest(&mut stream);
        assert!(is_shown(server, FIRST));
    });
}

#[test]
fn a_handshake_that_stalls_is_ended_in_time() {
    with_tls_and(&["--header-timeout-ms", "300"], |server, _| {
        // Nothing, the beginning of a record, and a record that promises more than comes.
        for beginning in [&b""[..], b"\x16\x03", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
            let since = Instant::now();
            let mut stream = connect(server);
            stream.write_all(beginning).unwrap();
            tls::rest(&mut stream);
            assert!(since.elapsed() >= Duration::from_millis(300), "{beginning:?}: {:?}", since.elapsed());
        }
        // The first head has the same time, counted from the connection's beginning.
        let mut silent = tls::connect(server, tls::client(FIRST, &["http/1.1"])).unwrap();
        assert!(tls::rest(&mut silent).is_empty());
        assert!(is_shown(server, FIRST));
    });
}

#[test]
fn hang_up_shows_the_new_certificate_and_keeps_the_old_one_when_it_is_bad() {
    with_tls(|server, home| {
        let mut before = tls::connect(server, tls::client(FIRST, &["http/1.1"])).unwrap();
        fs::write(home.join("server.pem"), SECOND.chain).unwrap();
        server.signal("HUP");
        eventually("the half new pair is refused", || server.trace().contains("the old one stays"));
        assert!(is_shown(server, FIRST));
        fs::write(home.join("server.key"), SECOND.key).unwrap();
        server.signal("HUP");
        eventually("the new certificate is shown", || is_shown(server, SECOND));
        assert!(!is_shown(server, FIRST));
        // Connections go on with what they began with.
        before.write_all(&request("POST", OPEN, JSON, b"{}")).unwrap();
        assert_eq!(answer(&mut before).0, 200);
        fs::remove_file(home.join("server.key")).unwrap();
        server.signal("HUP");
        eventually("the missing key is named", || server.trace().contains("server.key: cannot be opened"));
        assert!(is_shown(server, SECOND));
    });
}

#[test]
fn a_pair_that_cannot_be_used_is_named_at_the_start() {
    let cases: [(&str, &str, &str); 4] = [
        (FIRST.chain, SECOND.key, "cannot be used together"),
        ("nonsense", FIRST.key, "no certificate can be read: the file has none"),
        (FIRST.chain, FIRST.chain, "no private key can be read: the file has none"),
        (
            FIRST.chain,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "cannot be used together",
        ),
    ];
    for (chain, key, reason) in cases {
        let home = tempfile::tempdir().unwrap();
        furnish(home.path());
        fs::write(home.path().join("server.pem"), chain).unwrap();
        fs::write(home.path().join("server.key"), key).unwrap();
        let flags = tls::flags(home.path());
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let Err((status, trace)) = Keyway::try_start(home.path(), &flags) else { panic!("served: {reason}") };
        assert_eq!(status.code(), Some(1), "{trace}");
        assert!(trace.contains(reason), "{reason}: {trace}");
        assert!(trace.contains("server.pem"), "{trace}");
    }
}

#[test]
fn http2_without_tls_is_spoken_only_where_it_was_asked_for() {
    on_both_runtimes(PROJECT, &[], |server| {
        let mut stream = connect(server);
        stream.write_all(PREFACE).unwrap();
        let bytes = tls::rest(&mut stream);
        // Settings are the first thing that a server of HTTP/2 says: type 4, on stream 0.
        assert_ne!(bytes.get(3), Some(&4), "{bytes:?}");
    });
    on_both_runtimes(PROJECT, &["--http2-prior-knowledge"], |server| {
        let mut stream = connect(server);
        // In pieces, so that its beginning is looked at more than once.
        stream.write_all(&PREFACE[..10]).unwrap();
        stream.write_all(&PREFACE[10..]).unwrap();
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame[3], 4, "{frame:?}");
        let answered = http2::run(async {
            let client = http2::connect(server, None).await;
            http2::ask(&client, "POST", OPEN, &TYPED, "{}").await.unwrap()
        });
        assert_eq!(answered.status, 200, "{}", answered.body);
        let (status, _, text) = ask(server, &request("POST", OPEN, JSON, b"{}"));
        assert_eq!(status, 200, "{text}");
        // `POST` begins as the preface does.
        let (status, _, text) = ask(server, &request("PUT", OPEN, JSON, b"{}"));
        assert_eq!(status, 404, "{text}");
    });
}
