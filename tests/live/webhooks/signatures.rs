//! Signed webhooks as their senders sign them: the official clients, a published example, and requests that come again.

use std::{fs, path::Path, process::Command};

use super::auth::{
    BILLING, GITHUB, PARTNER, furnish, now, of_github, of_standard, of_stripe, on_both_runtimes,
};
use crate::common::{
    clients,
    keyway::Keyway,
    wire::{JSON, ask, on_both_runtimes_in, request},
};
use serde_json::Value;

/// What senders of webhooks sign with Python's packages `standardwebhooks` and `stripe`.
#[test]
fn the_official_clients_are_let_in() {
    let home = tempfile::tempdir().unwrap();
    furnish(home.path());
    let server = Keyway::start(home.path(), &["--shards", "1"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/tests/ingest/signatures/official.py");
    let output =
        Command::new("python3").env("PYTHONPATH", clients()).arg(script).arg("now").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let vectors: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(vectors.len(), 8);
    for vector in &vectors {
        let path = if vector["scheme"] == "stripe" { BILLING } else { PARTNER };
        let headers: String = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap()))
            .collect();
        let body = vector["body"].as_str().unwrap().as_bytes();
        let (status, _, text) = ask(&server, &request("POST", path, &format!("{JSON}{headers}"), body));
        assert_eq!(status, 200, "{text}");
        assert_eq!(ask(&server, &request("POST", path, &format!("{JSON}{headers}"), b"{\"a\":0}")).0, 404);
    }
}

/// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, "Testing the webhook payload validation".
#[test]
fn the_example_in_githubs_documentation_is_let_in() {
    let project = r#"
name: documented
webhook_auth_methods: {github: {type: hmac, scheme: github, secret: {file: secret}}}
workflows:
  w:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, accept: [text], webhook_auth_methods: [github]}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
"#;
    let path = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let furnish = |home: &Path| {
        fs::write(home.join("project.yaml"), project).unwrap();
        fs::write(home.join("secret"), "It's a Secret to Everybody").unwrap();
    };
    on_both_runtimes_in(furnish, &["--shards", "1"], |server| {
        let headers = format!("content-type: text/plain\r\nX-Hub-Signature-256: {signature}\r\n");
        assert_eq!(ask(server, &request("POST", path, &headers, b"Hello, World!")).0, 200);
        assert_eq!(ask(server, &request("POST", path, &headers, b"Hello, World?")).0, 404);
        let other = headers.replace("sha256=75", "sha256=76");
        assert_eq!(ask(server, &request("POST", path, &other, b"Hello, World!")).0, 404);
    });
}

#[test]
fn a_signed_request_that_comes_again_is_taken_once_where_its_scheme_has_an_id() {
    let body = b"{\"n\":1}";
    on_both_runtimes(|server| {
        let twice = |path: &str, headers: String| {
            let asked = request("POST", path, &headers, body);
            let told = [(); 2].map(|()| ask(server, &asked));
            assert_eq!((told[0].0, told[1].0), (200, 200), "{path}");
            let is_replayed = told.each_ref().map(|(_, head, _)| head.contains("x-keyway-replayed: true"));
            (told[0].2 == told[1].2, is_replayed)
        };
        // The id is signed with the body, so that nobody can change it.
        assert_eq!(twice(PARTNER, of_standard("msg-7", now(), body)), (true, [false, true]));
        // Nothing in the signatures of these two tells a repeat from another delivery of the same.
        assert_eq!(twice(BILLING, of_stripe(now(), body)), (false, [false, false]));
        assert_eq!(twice(GITHUB, of_github("github", body)), (false, [false, false]));
    });
}
