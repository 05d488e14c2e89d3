//! Where webhooks are, and what each method does there, through real sockets, on both runtimes.

use std::{fs, io::Write, path::Path};

use crate::common::{
    code,
    keyway::Keyway,
    stderr, stdout,
    tls::rest,
    tool,
    wire::{JSON, ask, connect, on_both_runtimes_in, request},
};
use serde_json::{Value, json};

const PROJECT: &str = r#"
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: paths
webhook_auth_methods:
  key: {type: api, api_key: {file: key}}
workflows:
  intake:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, custom_path: clinic_intake-1}}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  off:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: false, custom_path: off}}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  nightly:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: cron, enabled: true, cron_expression: "0 2 * * *"}}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  lookup:
    jobs: {job: {name: Job, body: "fn(s => ({...s, webhookResponse: {body: {query: s.request.query_params, method: s.request.method, data: s.data}}}))"}}
    triggers:
      t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04, type: webhook, enabled: true, webhook_reply: after_completion, allow_get: true}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
  guarded:
    jobs: {job: {name: Job, body: "fn(s => s)"}}
    triggers: {t: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05, type: webhook, enabled: true, webhook_auth_methods: [key]}}
    edges: {e: {source_trigger: t, target_job: job, condition_type: always, enabled: true}}
"#;
const INTAKE: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const OFF: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
const CRON: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
const LOOKUP: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
const GUARDED: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f05";
const OF_PROJECT: &str = "/i/3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11";
const FOUND: &str = "OpenFn webhook trigger found. Make a POST request to execute this workflow.";

fn furnish(home: &Path) {
    fs::write(home.join("project.yaml"), PROJECT).unwrap();
    fs::write(home.join("key"), "k-58e1aa0c77d94ad1\n").unwrap();
}

fn with_project(test: impl Fn(&Keyway)) {
    on_both_runtimes_in(furnish, &["--shards", "2"], test);
}

fn work_orders(server: &Keyway) -> usize {
    let (_, list) = server.get("/api/work_orders?limit=1000");
    list["data"].as_array().unwrap().len()
}

#[test]
fn each_path_leads_to_its_trigger_or_nowhere() {
    let cases = [
        (INTAKE.to_owned(), 200),
        (format!("{INTAKE}/"), 200),
        (format!("{INTAKE}/Patient/7?x=1"), 200),
        (INTAKE.replace("0c9f1f9e", "0C9F1F9E"), 200),
        (format!("{OF_PROJECT}/clinic_intake-1"), 200),
        (format!("{OF_PROJECT}/clinic_intake-1/Patient"), 200),
        (OFF.to_owned(), 403),
        (format!("{OF_PROJECT}/off"), 403),
        (CRON.to_owned(), 404),
        (INTAKE.replace('-', ""), 404),
        (format!("{OF_PROJECT}/Clinic_Intake-1"), 404),
        (format!("{OF_PROJECT}/nowhere"), 404),
        (OF_PROJECT.to_owned(), 404),
        ("/i/clinic_intake-1".to_owned(), 404),
        ("/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff".to_owned(), 404),
        ("/i/".to_owned(), 404),
        ("/i".to_owned(), 404),
        (INTAKE.replace("/i/", "/I/"), 404),
        ("/".to_owned(), 404),
    ];
    with_project(|server| {
        for (path, status) in &cases {
            let (found, _, text) = ask(server, &request("POST", path, JSON, b"{}"));
            assert_eq!(found, *status, "{path}: {text}");
        }
        assert_eq!(work_orders(server), 6);
    });
}

#[test]
fn a_look_says_that_the_trigger_is_there_and_starts_nothing() {
    with_project(|server| {
        for path in [INTAKE, OFF, &format!("{OF_PROJECT}/clinic_intake-1"), &format!("{OF_PROJECT}/off")] {
            let (status, _, text) = ask(server, &request("GET", path, "", b""));
            assert_eq!((status, serde_json::from_str(&text).unwrap()), (200, json!({"message": FOUND})));
        }
        // A look asks for credentials as a POST does.
        assert_eq!(ask(server, &request("GET", GUARDED, "", b"")).0, 401);
        assert_eq!(ask(server, &request("GET", GUARDED, "x-api-key: other\r\n", b"")).0, 404);
        assert_eq!(ask(server, &request("GET", GUARDED, "x-api-key: k-58e1aa0c77d94ad1\r\n", b"")).0, 200);
        for path in [INTAKE, LOOKUP] {
            let mut stream = connect(server);
            // The head tells the length of what a GET would be sent; nothing follows it.
            let asked = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(asked.as_bytes()).unwrap();
            let answer = String::from_utf8(rest(&mut stream)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        }
        for path in [CRON, "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9fff"] {
            let (status, _, text) = ask(server, &request("GET", path, "", b""));
            assert_eq!((status, text.as_str()), (404, "{\"error\":\"Webhook not found\"}"));
        }
        for method in ["PUT", "PATCH", "DELETE"] {
            assert_eq!(ask(server, &request(method, INTAKE, JSON, b"{}")).0, 404);
            assert_eq!(ask(server, &request(method, GUARDED, JSON, b"{}")).0, 401);
        }
        assert_eq!(work_orders(server), 0);
    });
}

#[test]
fn where_the_file_allows_it_a_get_starts_a_run_and_gets_its_result() {
    with_project(|server| {
        let (status, _, text) = ask(server, &request("GET", &format!("{LOOKUP}?a[b]=1&c=2"), "", b""));
        let answer: Value = serde_json::from_str(&text).unwrap();
        let data = json!({"query": {"a": {"b": "1"}, "c": "2"}, "method": "GET", "data": {}});
        assert_eq!((status, &answer["data"]), (201, &data));
        assert_eq!(work_orders(server), 1);
    });
}

#[test]
fn a_custom_path_that_breaks_the_rules_is_named_with_its_reason() {
    let long = "a".repeat(256);
    let cases = [
        ("Clinic", "custom path"),
        ("a b", "custom path"),
        ("a/b", "custom path"),
        ("0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f09", "a custom path cannot be a UUID"),
        (long.as_str(), "255"),
        ("off", "already used by another trigger in this project"),
    ];
    let home = tempfile::tempdir().unwrap();
    furnish(home.path());
    let file = home.path().join("project.yaml");
    for (path, reason) in cases {
        let project = PROJECT.replace("custom_path: clinic_intake-1", &format!("custom_path: \"{path}\""));
        fs::write(&file, project).unwrap();
        let output = tool().arg("validate").arg(&file).output().unwrap();
        assert_eq!(code(&output), 3, "{path}: {}", stderr(&output));
        let said = stdout(&output);
        assert!(said.contains(reason), "{path}: {said}");
    }
    // Trimmed, and nothing at all is no path.
    for path in ["  clinic  ", "   "] {
        let project = PROJECT.replace("custom_path: clinic_intake-1", &format!("custom_path: \"{path}\""));
        fs::write(&file, project).unwrap();
        let output = tool().arg("validate").arg(&file).output().unwrap();
        assert_eq!(code(&output), 0, "{path}: {}{}", stdout(&output), stderr(&output));
    }
}
