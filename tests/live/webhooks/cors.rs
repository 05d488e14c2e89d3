//! Webhooks called by pages in browsers, through real sockets, on both runtimes.
//!
//! The rules are those of the Fetch standard; what a page may do is what these headers say.

use crate::common::{
    keyway::Keyway,
    wire::{JSON, ask, on_both_runtimes, request},
};

const PROJECT: &str = r#"
name: browsers
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {open: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: open, target_job: job, condition_type: always, enabled: true}}
"#;
const OPEN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const UNKNOWN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff";

/// Status and headers of an answer, the headers as `name: value`.
fn headers(server: &Keyway, method: &str, path: &str, headers: &str) -> (u16, Vec<String>) {
    let (status, head, _) = ask(server, &request(method, path, headers, b"{}"));
    (status, head.lines().map(str::to_owned).collect())
}

fn has(headers: &[String], header: &str) -> bool {
    headers.iter().any(|line| line == header)
}

fn names(headers: &[String], name: &str) -> bool {
    headers.iter().any(|line| line.starts_with(&format!("{name}:")))
}

#[test]
fn every_page_may_call_unless_origins_are_listed() {
    on_both_runtimes(PROJECT, &["--shards", "1"], |server| {
        let asked = "origin: https://a.org\r\naccess-control-request-method: POST\r\n\
                     access-control-request-headers: authorization,content-type\r\n";
        // A preflight is answered before anything is looked up.
        for path in [OPEN, UNKNOWN] {
            let (status, head) = headers(server, "OPTIONS", path, asked);
            assert_eq!(status, 204);
            assert!(has(&head, "access-control-allow-origin: *"), "{head:?}");
            assert!(
                has(&head, "access-control-allow-methods: get,post,put,patch,delete,options"),
                "{head:?}"
            );
            assert!(has(&head, "access-control-allow-headers: authorization,content-type"), "{head:?}");
            assert!(has(&head, "access-control-max-age: 1728000"), "{head:?}");
            assert!(!names(&head, "access-control-allow-credentials"), "{head:?}");
        }
        let (status, head) = headers(server, "POST", OPEN, &format!("{JSON}origin: https://a.org\r\n"));
        assert_eq!(status, 200);
        assert!(has(&head, "access-control-allow-origin: *"), "{head:?}");
        let exposed =
            "access-control-expose-headers: x-meta-work-order-id,x-meta-run-id,x-keyway-replayed,retry-after";
        assert!(has(&head, exposed), "{head:?}");
        // A page may read why it was refused.
        let (status, head) = headers(server, "POST", UNKNOWN, &format!("{JSON}origin: https://a.org\r\n"));
        assert_eq!(status, 404);
        assert!(has(&head, "access-control-allow-origin: *"), "{head:?}");
    });
}

#[test]
fn listed_origins_may_call_with_credentials_and_no_other_may() {
    let flags = ["--shards", "1", "--cors-origins", "https://a.org,http://localhost:3000"];
    on_both_runtimes(PROJECT, &flags, |server| {
        for origin in ["https://a.org", "http://localhost:3000"] {
            for (method, status) in [("OPTIONS", 204), ("POST", 200), ("GET", 200)] {
                let (found, head) = headers(server, method, OPEN, &format!("{JSON}origin: {origin}\r\n"));
                assert_eq!(found, status);
                assert!(has(&head, &format!("access-control-allow-origin: {origin}")), "{head:?}");
                assert!(has(&head, "access-control-allow-credentials: true"), "{head:?}");
                assert!(has(&head, "vary: origin"), "{head:?}");
            }
        }
        for origin in
            ["https://b.org", "https://a.org:8443", "http://a.org", "https://a.org.evil.org", "null"]
        {
            // The request is taken: who may read its answer is what a browser decides by the header.
            for (method, status) in [("OPTIONS", 204), ("POST", 200)] {
                let (found, head) = headers(server, method, OPEN, &format!("{JSON}origin: {origin}\r\n"));
                assert_eq!(found, status);
                assert!(!names(&head, "access-control-allow-origin"), "{head:?}");
                assert!(!names(&head, "access-control-allow-methods"), "{head:?}");
                assert!(has(&head, "vary: origin"), "{head:?}");
            }
        }
        let (_, head) = headers(server, "POST", OPEN, JSON);
        assert!(!names(&head, "access-control-allow-origin"), "{head:?}");
    });
    on_both_runtimes(PROJECT, &["--shards", "1", "--cors-origins", "https://a.org,*"], |server| {
        let (_, head) = headers(server, "POST", OPEN, &format!("{JSON}origin: https://b.org\r\n"));
        assert!(has(&head, "access-control-allow-origin: *"), "{head:?}");
    });
}
