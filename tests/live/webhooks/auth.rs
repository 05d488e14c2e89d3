//! Who may call a webhook, through real sockets, on both runtimes: and where the secrets go, which is nowhere.
//!
//! 401 without a credential, 404 with a wrong one, whatever the body; only whoever is let in learns more.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::common::{
    code,
    keyway::{Keyway, eventually},
    stderr, stdout, tool,
    wire::{JSON, ask, on_both_runtimes_in, request},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: guarded
webhook_auth_methods:
  key: {type: api, api_key: {file: key}}
  login: {type: basic, username: ops, password: {file: password}}
  github: {type: hmac, scheme: github, secret: {file: github}}
  github-next: {type: hmac, scheme: github, secret: {file: github-next}}
  billing: {type: hmac, scheme: stripe, secret: {file: stripe}, tolerance_seconds: 60}
  partner: {type: hmac, scheme: standard_webhooks, secret: {file: standard}}
workflows:
  w:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      office: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, webhook_auth_methods: [key, login]}
      github: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: true, webhook_auth_methods: [github, github-next]}
      billing: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: webhook, enabled: true, webhook_auth_methods: [billing]}
      partner: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, enabled: true, webhook_auth_methods: [partner, key]}
    edges:
      a: {source_trigger: office, target_job: job, condition_type: always, enabled: true}
      b: {source_trigger: github, target_job: job, condition_type: always, enabled: true}
      c: {source_trigger: billing, target_job: job, condition_type: always, enabled: true}
      d: {source_trigger: partner, target_job: job, condition_type: always, enabled: true}
"#;
const OFFICE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
/// GitHub's signatures.
pub const GITHUB: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
/// Stripe's signatures.
pub const BILLING: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
/// Those of Standard Webhooks, and a key.
pub const PARTNER: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
const BODY_BYTES_MAX: usize = 2_000;

/// Each secret with the file it lies in.
const SECRETS: [(&str, &str); 6] = [
    ("key", "k-58e1aa0c77d94ad1"),
    ("password", "p-1f09e9b4:7a31c2"),
    ("github", "gh-b1c5a5b0f2d14e66"),
    ("github-next", "gh-next-04c81d7733aa"),
    ("stripe", "whsec_test_0123456789abcdefghij"),
    ("standard", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
];

fn secret(file: &str) -> &'static str {
    SECRETS.iter().find(|(name, _)| *name == file).unwrap().1
}

/// A home folder with the project and its secrets.
pub fn furnish(home: &Path) {
    fs::write(home.join("project.yaml"), PROJECT).unwrap();
    for (file, secret) in SECRETS {
        // Editors end the last line.
        fs::write(home.join(file), format!("{secret}\n")).unwrap();
    }
}

/// A test on both runtimes, in such a folder.
pub fn on_both_runtimes(test: impl Fn(&Keyway)) {
    let max = BODY_BYTES_MAX.to_string();
    on_both_runtimes_in(furnish, &["--shards", "2", "--body-bytes-max", &max], test);
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The headers of a body that GitHub sends.
pub fn of_github(file: &str, body: &[u8]) -> String {
    format!("{JSON}X-Hub-Signature-256: sha256={}\r\n", hex(&mac(secret(file).as_bytes(), &[body])))
}

/// The same of Stripe.
pub fn of_stripe(time: u64, body: &[u8]) -> String {
    let time = time.to_string();
    let signature = mac(secret("stripe").as_bytes(), &[time.as_bytes(), b".", body]);
    format!("{JSON}Stripe-Signature: t={time},v1={}\r\n", hex(&signature))
}

/// The same of a sender of Standard Webhooks.
pub fn of_standard(id: &str, time: u64, body: &[u8]) -> String {
    let time = time.to_string();
    let key = STANDARD.decode(&secret("standard")[6..]).unwrap();
    let signature = mac(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
    format!(
        "{JSON}webhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: v1,{}\r\n",
        STANDARD.encode(signature)
    )
}

fn of_key(key: &str) -> String {
    format!("{JSON}x-api-key: {key}\r\n")
}

fn of_login(user: &str, password: &str) -> String {
    format!("{JSON}Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

/// What is asked: path, headers, body; and the status and the body of the answer.
type Row = (&'static str, &'static str, String, Vec<u8>, u16, Value);

/// Keys and logins as clients write them in other ways.
fn spellings() -> Vec<Row> {
    let body = b"{\"n\":1}".to_vec();
    let (hidden, taken) = (json!({"error": "Webhook not found"}), Value::Null);
    vec![
        (
            "two keys, one of them right",
            OFFICE,
            format!("{}x-api-key: k\r\n", of_key(secret("key"))),
            body.clone(),
            200,
            taken.clone(),
        ),
        (
            "a scheme in other letters",
            OFFICE,
            of_login("ops", secret("password")).replace("Basic ", "bASIC "),
            body.clone(),
            200,
            taken.clone(),
        ),
        (
            "a login that is not base64",
            OFFICE,
            of_login("ops", secret("password")).replace("Basic ", "Basic !"),
            body.clone(),
            404,
            hidden.clone(),
        ),
        ("a wrong user", OFFICE, of_login("op", secret("password")), body.clone(), 404, hidden.clone()),
    ]
}

/// What callers show, and what they are told.
fn table() -> Vec<Row> {
    let body = b"{\"n\":1}".to_vec();
    let (unauthorized, hidden) = (json!({"error": "Unauthorized"}), json!({"error": "Webhook not found"}));
    let (large, taken) = (json!({"error": "Request Entity Too Large"}), Value::Null);
    let big = vec![b' '; BODY_BYTES_MAX + 1];
    let mut rows = vec![
        ("no credential", OFFICE, JSON.to_owned(), b"{".to_vec(), 401, unauthorized.clone()),
        ("a wrong key, and nonsense", OFFICE, of_key("k"), b"{".to_vec(), 404, hidden.clone()),
        ("a key that is a part", OFFICE, of_key(&secret("key")[..8]), body.clone(), 404, hidden.clone()),
        (
            "a bearer",
            OFFICE,
            format!("Authorization: Bearer {}\r\n", secret("key")),
            body.clone(),
            404,
            hidden.clone(),
        ),
        ("the key", OFFICE, of_key(secret("key")), body.clone(), 200, taken.clone()),
        ("a wrong password", OFFICE, of_login("ops", "p"), body.clone(), 404, hidden.clone()),
        ("the login", OFFICE, of_login("ops", secret("password")), body.clone(), 200, taken.clone()),
        (
            "a signature where none is known",
            OFFICE,
            of_github("github", &body),
            body.clone(),
            401,
            unauthorized.clone(),
        ),
        ("no signature", GITHUB, JSON.to_owned(), big.clone(), 401, unauthorized.clone()),
        ("another body", GITHUB, of_github("github", b"{\"n\":2}"), body.clone(), 404, hidden.clone()),
        (
            "another body, and nonsense",
            GITHUB,
            of_github("github", b"{}"),
            b"{".to_vec(),
            404,
            hidden.clone(),
        ),
        (
            "a key where only signatures count",
            GITHUB,
            of_key(secret("key")),
            body.clone(),
            404,
            hidden.clone(),
        ),
        ("the old secret", GITHUB, of_github("github", &body), body.clone(), 200, taken.clone()),
        ("the new secret", GITHUB, of_github("github-next", &body), body.clone(), 200, taken.clone()),
        ("signed, and too large", GITHUB, of_github("github", &big), big.clone(), 413, large),
        ("a skewed clock", BILLING, of_stripe(now() - 50, &body), body.clone(), 200, taken.clone()),
        ("an old signature", BILLING, of_stripe(now() - 70, &body), body.clone(), 404, hidden.clone()),
        (
            "a signature of the future",
            BILLING,
            of_stripe(now() + 120, &body),
            body.clone(),
            404,
            hidden.clone(),
        ),
        ("a standard webhook", PARTNER, of_standard("m1", now(), &body), body.clone(), 200, taken.clone()),
        ("an old one", PARTNER, of_standard("m2", now() - 400, &body), body.clone(), 404, hidden.clone()),
        ("a key instead", PARTNER, of_key(secret("key")), body.clone(), 200, taken),
    ];
    let encoded = of_github("github", &body).replace("sha256=", "sha256=%");
    rows.push(("a wrong encoding", GITHUB, encoded, body, 404, hidden));
    rows
}

#[test]
fn each_caller_gets_its_precise_answer() {
    on_both_runtimes(|server| {
        for (what, path, headers, body, status, expected) in table().into_iter().chain(spellings()) {
            let (found, head, text) = ask(server, &request("POST", path, &headers, &body));
            assert_eq!(found, status, "{what}: {text}");
            assert!(head.contains("\r\ncontent-type: application/json; charset=utf-8\r\n"), "{what}: {head}");
            // A browser would ask its user for a password.
            assert!(!head.contains("www-authenticate"), "{what}: {head}");
            if !expected.is_null() {
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected, "{what}");
            }
        }
        // Whoever is let in learns what is wrong with the body.
        let (status, _, text) = ask(server, &request("POST", GITHUB, &of_github("github", b"{"), b"{"));
        assert_eq!(status, 400, "{text}");
        // A look is judged like a call, and nothing is behind it.
        for (headers, expected) in [
            (String::new(), 401),
            (of_github("github", b"x"), 404),
            (of_github("github", b""), 200),
            (of_github("github-next", b""), 200),
        ] {
            assert_eq!(ask(server, &request("GET", GITHUB, &headers, b"")).0, expected, "{headers}");
        }
        assert_eq!(ask(server, &request("DELETE", GITHUB, "", b"")).0, 401);
        assert_eq!(ask(server, &request("DELETE", GITHUB, &of_github("github", b""), b"")).0, 404);
    });
}

/// The headers that are kept of an accepted request.
fn stored_headers(server: &Keyway, headers: &str) -> Value {
    let (_, _, text) = ask(server, &request("POST", OFFICE, headers, b"{}"));
    let ids: Value = serde_json::from_str(&text).unwrap();
    server.ended_run(ids["run_id"].as_str().unwrap());
    let path = format!("/api/work_orders/{}?include=input", ids["work_order_id"].as_str().unwrap());
    server.get(&path).1["data"]["attributes"]["input"]["request"]["headers"].clone()
}

#[test]
fn the_secrets_are_found_nowhere() {
    ["io_uring", "epoll"].into_iter().for_each(are_nowhere);
}

fn are_nowhere(runtime: &str) {
    let home = tempfile::tempdir().unwrap();
    furnish(home.path());
    let flags = ["--shards", "2", "--runtime", runtime];
    let server = Keyway::start_with(home.path(), &flags, &[("RUST_LOG", "trace")]);
    for (_, path, headers, body, _, _) in table() {
        // Its own secrets in a header of the caller's choice; those of other triggers mean nothing here.
        let own = match path {
            OFFICE => ["key", "password"],
            GITHUB => ["github", "github-next"],
            BILLING => ["stripe", "stripe"],
            _ => ["standard", "key"],
        };
        let more = format!("{headers}x-copy: Token {}; {}\r\n", secret(own[0]), secret(own[1]));
        ask(&server, &request("POST", path, &more, &body));
    }
    let login = of_login("ops", secret("password"));
    let more = format!("x-own: {}\r\ncookie: a=b\r\nproxy-authorization: Basic YTpi\r\n", secret("key"));
    let stored = stored_headers(&server, &format!("{login}{more}"));
    assert_eq!(stored["authorization"], "Basic [REDACTED]");
    for name in ["x-own", "cookie", "proxy-authorization"] {
        assert_eq!(stored[name], "[REDACTED]", "{name}");
    }
    // A caller's own credential that is none of ours stays.
    let stored =
        stored_headers(&server, &format!("{}authorization: Bearer theirs\r\n", of_key(secret("key"))));
    assert_eq!(
        (&stored["authorization"], &stored["x-api-key"]),
        (&json!("Bearer theirs"), &json!("[REDACTED]"))
    );

    let mut seen = vec![("the traces".to_owned(), server.trace())];
    for path in [
        "/api/work_orders?include=input&page_size=1000",
        "/api/runs?page_size=1000",
        "/api/events?shard=0&limit=1000",
        "/api/events?shard=1&limit=1000",
        "/api/triggers",
        "/api/project",
        "/api/status",
        "/metrics",
    ] {
        let (status, document) = server.get(path);
        assert_eq!(status, 200, "{path}: {document}");
        seen.push((path.to_owned(), document.to_string()));
    }
    assert_eq!(server.stop().code(), Some(0));
    for file in files(&home.path().join("data")) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        seen.push((file.display().to_string(), text));
    }
    for (file, secret) in SECRETS {
        let login = STANDARD.encode(format!("ops:{secret}"));
        for form in [secret, &STANDARD.encode(secret), &login, secret.trim_start_matches("whsec_")] {
            for (place, text) in &seen {
                assert!(!text.contains(form), "{file} is in {place} as {form}");
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_secret_that_changes_counts_from_the_next_reload_on() {
    let home = tempfile::tempdir().unwrap();
    furnish(home.path());
    let server = Keyway::start(home.path(), &["--shards", "1"]);
    let new = format!("{JSON}X-Hub-Signature-256: sha256={}\r\n", hex(&mac(b"changed", &[b"{}"])));
    let told = |headers: &str| ask(&server, &request("POST", GITHUB, headers, b"{}")).0;
    assert_eq!((told(&of_github("github", b"{}")), told(&new)), (200, 404));
    fs::write(home.path().join("github"), "changed").unwrap();
    server.signal("HUP");
    eventually("the new secret counts", || told(&new) == 200);
    assert_eq!((told(&of_github("github", b"{}")), told(&of_github("github-next", b"{}"))), (404, 200));
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_webhook_that_loses_its_methods_is_refused_or_said_to_be_open() {
    let home = tempfile::tempdir().unwrap();
    furnish(home.path());
    let methods = ", webhook_auth_methods: [key, login]";
    let file = home.path().join("other.yaml");
    let server = Keyway::start(home.path(), &["--shards", "2"]);
    let told = |arguments: &[&str]| {
        let output = tool().args(arguments).arg(&file).output().unwrap();
        (code(&output), stdout(&output), stderr(&output))
    };
    let apply = ["--server", &server.api, "apply"];
    let is_open = || ask(&server, &request("POST", OFFICE, JSON, b"{}")).0 == 200;
    // By the last of a list, by a list of nothing, by the method's own end.
    for (from, to) in [
        (methods, ", webhook_auth_methods: []"),
        (methods, ", webhook_auth_methods:"),
        (methods, ", webhook_auth_methods: [gone]"),
        ("  key: {type: api, api_key: {file: key}}\n", ""),
    ] {
        fs::write(&file, PROJECT.replace(from, to)).unwrap();
        for arguments in [&["validate"][..], &apply] {
            let (code, said, _) = told(arguments);
            assert_eq!(code, 3, "{to}: {said}");
            assert!(said.contains("other.yaml:"), "{said}");
        }
        assert!(!is_open(), "nothing of a refused file counts");
    }
    // Whoever takes the key out of the file wants everyone to come, and reads what that means.
    fs::write(&file, PROJECT.replace(methods, "")).unwrap();
    let warning =
        "trigger `office` of workflow `w` no longer has a `webhook_auth_methods`: everyone may call it now";
    let (code, _, said) = told(&apply);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(warning), "{said}");
    assert!(is_open());
    assert!(!told(&apply).2.contains(warning), "it is open already");
    assert_eq!(server.stop().code(), Some(0));

    // The file of the start closes it again; a start and a SIGHUP with the other file say so in the trace.
    let server = Keyway::start(home.path(), &["--shards", "2"]);
    assert_eq!(ask(&server, &request("POST", OFFICE, JSON, b"{}")).0, 401);
    assert!(!server.trace().contains(warning));
    fs::copy(&file, home.path().join("project.yaml")).unwrap();
    server.signal("HUP");
    eventually("the file is in force", || server.trace().contains("the project file is in force"));
    assert!(server.trace().contains(warning), "{}", server.trace());
    furnish(home.path());
    server.signal("HUP");
    eventually("it is closed again", || ask(&server, &request("POST", OFFICE, JSON, b"{}")).0 == 401);
    assert_eq!(server.stop().code(), Some(0));
    fs::copy(&file, home.path().join("project.yaml")).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "2"]);
    assert!(server.trace().contains(warning), "{}", server.trace());
    assert_eq!(server.stop().code(), Some(0));
}
