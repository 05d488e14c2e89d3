//! What callers of a webhook are told, through real sockets, on both runtimes.
//!
//! The statuses, their bodies and their order are those of OpenFn; `GET` of a disabled trigger is 200, for one.

use std::io::Write;

use crate::common::{
    code,
    keyway::{Keyway, eventually},
    stderr, stdout, tool,
    wire::{self, JSON, answer, ask, connect, request},
};
use serde_json::{Value, json};

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: webhooks
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers:
      open: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, custom_path: clinic-intake}
    edges: {e: {source_trigger: open, target_job: job, condition_type: always, enabled: true}}
  off:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {off: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: false}}
    edges: {e: {source_trigger: off, target_job: job, condition_type: always, enabled: true}}
  nightly:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {cron: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: cron, enabled: true, cron_expression: "0 2 * * *"}}
    edges: {e: {source_trigger: cron, target_job: job, condition_type: always, enabled: true}}
"#;
const OPEN: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const OFF: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const CRON: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const CUSTOM: &str = "/i/3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11/clinic-intake";
const BODY_BYTES_MAX: usize = 2_000;

fn on_both_runtimes(test: impl Fn(&Keyway)) {
    let max = BODY_BYTES_MAX.to_string();
    wire::on_both_runtimes(PROJECT, &["--shards", "2", "--body-bytes-max", &max], test);
}

/// What is asked, and the status and body of the answer.
fn refusals() -> Vec<(&'static str, Vec<u8>, u16, Value)> {
    let found = "OpenFn webhook trigger found. Make a POST request to execute this workflow.";
    let unknown = json!({"error": "Webhook not found"});
    let disabled = "Unable to process request, trigger is disabled. Enable it on OpenFn to allow requests to this endpoint.";
    vec![
        (
            "an unknown trigger",
            request("POST", "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff", JSON, b"{}"),
            404,
            unknown.clone(),
        ),
        ("no trigger at all", request("POST", "/i/", JSON, b"{}"), 404, unknown.clone()),
        ("a cron trigger", request("POST", CRON, JSON, b"{}"), 404, unknown.clone()),
        ("a bare custom path", request("POST", "/i/clinic-intake", JSON, b"{}"), 404, unknown.clone()),
        (
            "a bad body for an unknown trigger",
            request("POST", "/i/nowhere", JSON, b"{"),
            404,
            unknown.clone(),
        ),
        ("a method without a meaning", request("DELETE", OPEN, JSON, b"{}"), 404, unknown),
        ("a look", request("GET", OPEN, "", b""), 200, json!({"message": found})),
        ("a look at a disabled one", request("GET", OFF, "", b""), 200, json!({"message": found})),
        (
            "a disabled trigger",
            request("POST", OFF, JSON, b"{}"),
            403,
            json!({"error": "trigger_disabled", "message": disabled}),
        ),
        (
            "a type that is not taken",
            request("POST", OPEN, "content-type: text/xml\r\n", b"<a/>"),
            415,
            json!({"error": "Unsupported Media Type"}),
        ),
        (
            "a body over the limit",
            request("POST", OPEN, JSON, &[b' '; BODY_BYTES_MAX + 1]),
            413,
            json!({"error": "Request Entity Too Large"}),
        ),
        (
            "a body far over the limit",
            request("POST", OPEN, JSON, &[b' '; BODY_BYTES_MAX * 10 + 1]),
            413,
            json!({"error": "Request Entity Too Large"}),
        ),
        ("something else", request("GET", "/admin", "", b""), 404, json!({"error": "Not Found"})),
    ]
}

#[test]
fn each_request_gets_its_precise_answer() {
    let deep = [b"[".repeat(129), b"]".repeat(129)].concat();
    let table = refusals();
    on_both_runtimes(|server| {
        for (what, request, status, body) in &table {
            let (found, head, text) = ask(server, request);
            assert_eq!(
                (found, serde_json::from_str::<Value>(&text).unwrap()),
                (*status, body.clone()),
                "{what}"
            );
            assert!(head.contains("\r\ncontent-type: application/json; charset=utf-8\r\n"), "{what}: {head}");
        }
        for body in [&b"{\"a\":"[..], b"nonsense", b"{\"a\":1} x", b"\"\xff\"", &deep] {
            let (status, _, text) = ask(server, &request("POST", OPEN, JSON, body));
            let error: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((status, &error["error"]), (400, &json!("invalid_body")), "{body:?}");
            assert!(error["message"].is_string());
        }
        let (status, head, _) =
            ask(server, &request("OPTIONS", OPEN, "origin: https://example.org\r\n", b""));
        assert_eq!(status, 204);
        assert!(head.contains("access-control-allow-origin: *"), "{head}");
    });
}

#[test]
fn what_is_wrong_with_a_body_is_told_before_that_the_trigger_is_disabled() {
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    on_both_runtimes(|server| {
        let ask = |headers, body| {
            let (status, _, text) = ask(server, &request("POST", OFF, headers, body));
            (status, serde_json::from_str::<Value>(&text).unwrap()["error"].clone())
        };
        assert_eq!(ask(JSON, b"{"), (400, json!("invalid_body")));
        assert_eq!(ask(JSON, &large), (413, json!("Request Entity Too Large")));
        assert_eq!(ask("content-type: text/xml\r\n", b"<a/>"), (415, json!("Unsupported Media Type")));
        assert_eq!(ask(JSON, b"{}"), (403, json!("trigger_disabled")));
        assert_eq!(server.get("/api/work_orders").1["data"], json!([]));
    });
}

#[test]
fn what_a_caller_wants_to_read_and_a_field_named_method_change_nothing() {
    on_both_runtimes(|server| {
        for accept in ["text/html", "text/html;q=1, application/json;q=0", "image/*"] {
            let headers = format!("{JSON}accept: {accept}\r\n");
            let (status, head, text) = ask(server, &request("POST", OPEN, &headers, b"{}"));
            assert_eq!(status, 200, "{accept}: {text}");
            assert!(head.contains("\r\ncontent-type: application/json; charset=utf-8\r\n"), "{head}");
            assert!(!head.contains("x-request-id"), "{head}");
            let (status, _, text) = ask(server, &request("POST", OPEN, &headers, b"{"));
            assert_eq!(status, 400);
            assert!(text.starts_with("{\"error\":\"invalid_body\""), "{text}");
        }
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        for (headers, body) in [(form, &b"_method=PUT&a=1"[..]), (JSON, b"{\"_method\":\"PUT\",\"a\":\"1\"}")]
        {
            let (status, _, text) = ask(server, &request("POST", OPEN, headers, body));
            assert_eq!(status, 200, "{text}");
            let ids: Value = serde_json::from_str(&text).unwrap();
            let path = format!("/api/work_orders/{}?include=input", ids["work_order_id"].as_str().unwrap());
            let input = &server.get(&path).1["data"]["attributes"]["input"];
            assert_eq!(input["data"], json!({"_method": "PUT", "a": "1"}));
            assert_eq!(input["request"]["method"], "POST");
        }
    });
}

#[test]
fn what_the_command_line_shows_of_a_webhook_is_where_it_is_and_what_became_of_its_requests() {
    on_both_runtimes(|server| {
        let show = |flag: &[&str]| {
            let arguments =
                [&["--server", server.api.as_str()][..], flag, &["triggers", "show", &OPEN[3..]]].concat();
            let output = tool().args(arguments).output().unwrap();
            assert_eq!(code(&output), 0, "{}", stderr(&output));
            stdout(&output)
        };
        assert_eq!(ask(server, &request("POST", OPEN, JSON, b"{}")).0, 200);
        assert_eq!(ask(server, &request("POST", OPEN, JSON, b"{")).0, 400);
        let shown: Value = serde_json::from_str(&show(&["--json"])).unwrap();
        let urls = shown["urls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap());
        let urls: Vec<_> = urls.collect();
        assert_eq!(urls.len(), 2);
        assert!(urls[0].ends_with(OPEN), "{urls:?}");
        assert!(urls[1].ends_with(CUSTOM), "{urls:?}");
        assert_eq!((&shown["accepted"], &shown["refused"]), (&json!(1), &json!({"invalid": 1})));
        assert_eq!(shown["last_refusal"]["reason"], "invalid");
        let text = show(&[]);
        for part in [OPEN, CUSTOM, "\"invalid\": 1", shown["last_refusal"]["at"].as_str().unwrap()] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // To the millisecond, as people read it.
        let last = &shown["last_event_at"].as_str().unwrap()[11..23];
        assert!(
            text.lines().any(|line| line.starts_with("last_event_at ") && line.ends_with(last)),
            "{text}"
        );
    });
}

#[test]
fn an_accepted_request_is_answered_with_both_ids_and_kept_as_it_came() {
    on_both_runtimes(|server| {
        let body = b"{\"big\": 12345678901234567890, \"a\": 1, \"a\": 2}";
        for path in [OPEN, CUSTOM, &format!("{OPEN}/Patient?x[y]=1&z[]=2")] {
            let headers = format!("{JSON}cookie: secret\r\nX-Twice: one\r\nx-twice: two\r\n");
            let (status, head, text) = ask(server, &request("POST", path, &headers, body));
            assert_eq!(status, 200, "{text}");
            let ids: Value = serde_json::from_str(&text).unwrap();
            let (order, run) = (ids["work_order_id"].as_str().unwrap(), ids["run_id"].as_str().unwrap());
            assert!(head.contains(&format!("x-meta-work-order-id: {order}")), "{head}");
            assert!(head.contains(&format!("x-meta-run-id: {run}")), "{head}");
            let (_, shown) = server.get(&format!("/api/work_orders/{order}?include=input"));
            let input = &shown["data"]["attributes"]["input"];
            assert_eq!(input["data"]["big"].to_string(), "12345678901234567890");
            assert_eq!(input["request"]["headers"]["cookie"], "[REDACTED]");
            assert_eq!(input["request"]["headers"]["x-twice"], "two");
            if path.ends_with("=2") {
                assert_eq!(input["request"]["path"], json!(["i", &OPEN[3..], "Patient"]));
                assert_eq!(input["request"]["query_params"], json!({"x": {"y": "1"}, "z": ["2"]}));
            }
            assert_eq!(server.ended_run(run)["state"], "success");
        }
        // Nothing is of every type, also of one that is not taken.
        for headers in ["", JSON, "content-type: text/xml\r\n"] {
            let (status, _, text) = ask(server, &request("POST", OPEN, headers, b""));
            assert_eq!(status, 200, "{headers}: {text}");
            let ids: Value = serde_json::from_str(&text).unwrap();
            let path = format!("/api/work_orders/{}?include=input", ids["work_order_id"].as_str().unwrap());
            assert_eq!(server.get(&path).1["data"]["attributes"]["input"]["data"], json!({}), "{headers}");
        }
    });
}

#[test]
fn requests_in_one_write_are_answered_in_order_and_a_broken_one_harms_no_other() {
    on_both_runtimes(|server| {
        let mut stream = connect(server);
        let many: Vec<u8> =
            (0..50).flat_map(|n| request("POST", OPEN, JSON, format!("{{\"n\":{n}}}").as_bytes())).collect();
        stream.write_all(&many).unwrap();
        for n in 0..50 {
            let (status, _, text) = answer(&mut stream);
            assert_eq!(status, 200);
            let ids: Value = serde_json::from_str(&text).unwrap();
            let path = format!("/api/work_orders/{}?include=input", ids["work_order_id"].as_str().unwrap());
            assert_eq!(server.get(&path).1["data"]["attributes"]["input"]["data"]["n"], n);
        }
        // A client that leaves in the middle of its body, one that leaves before its answer, one that talks nonsense.
        connect(server).write_all(&request("POST", OPEN, JSON, b"{\"n\":1}")[..60]).unwrap();
        connect(server).write_all(&request("POST", OPEN, JSON, b"{\"left\":1}")).unwrap();
        let (status, _, _) = ask(server, b"NONSENSE\r\n\r\n");
        assert_eq!(status, 400);
        let (status, _, _) = ask(server, &request("POST", OPEN, JSON, b"{}"));
        assert_eq!(status, 200);
        eventually("every run has ended", || {
            let (_, status) = server.get("/api/status");
            let runs = &status["data"]["runs"];
            ["available", "claimed", "started"].iter().all(|state| runs[*state] == 0)
        });
    });
}
