//! The command line of replays, dead letters and of what many at once are asked: what is sent and what is printed.

use std::{
    fs,
    io::{Read, Write},
    process::{Output, Stdio},
};

use crate::common::{code, fake::Fake, stderr, stdout, tool};
use serde_json::{Value, json};

const ID: &str = "0190aaaa-0000-7000-8000-000000000001";

fn ask(fake: &Fake, line: &[&str]) -> Output {
    tool().args(["--server", &fake.url]).args(line).output().unwrap()
}

fn replay(state: &str, replayed: u64) -> String {
    let attributes = json!({"state": state, "from": "dead_letters", "matched": 3, "replayed": replayed, "failed": 1,
        "rate_per_second": null, "inserted_at": "2026-11-24T10:00:00.000000Z", "finished_at": null,
        "error_message": "the disk is gone", "filters": {}});
    json!({"data": {"type": "replays", "id": ID, "attributes": attributes}}).to_string()
}

/// The document in the request with this number.
fn sent(fake: &Fake, index: usize) -> Value {
    serde_json::from_str(&fake.asked()[index].body).unwrap()
}

#[test]
fn a_replay_is_begun_with_all_its_filters_and_followed_to_its_end() {
    let fake = Fake::new(&[
        ("POST /api/replays", 202, replay("running", 0)),
        (&format!("GET /api/replays/{ID}"), 200, replay("done", 2)),
    ]);
    let output = ask(
        &fake,
        &[
            "replay",
            "--from",
            "dead-letters",
            "--trigger-id",
            "t",
            "--reason",
            "invalid_json",
            "--workflow",
            "orders",
            "--inserted-after",
            "2026-11-24T10:00:00Z",
            "--inserted-before",
            "2026-11-25T10:00:00Z",
            "--topic",
            "orders",
            "--partition",
            "3",
            "--from-offset",
            "5",
            "--to-offset",
            "9",
            "--rate",
            "100",
        ],
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let expected = json!({
        "from": "dead_letters", "trigger_id": "t", "reason": "invalid_json", "workflow": "orders",
        "inserted_after": "2026-11-24T10:00:00Z", "inserted_before": "2026-11-25T10:00:00Z",
        "kafka": {"topic": "orders", "partition": 3, "from_offset": 5, "to_offset": 9}, "rate_per_second": 100,
    });
    assert_eq!(sent(&fake, 0), expected);
    assert!(stdout(&output).contains("state            done\n"), "{}", stdout(&output));
    assert_eq!(stderr(&output), "", "no bar where there is no terminal");
}

#[test]
fn a_dry_run_shows_how_many_and_the_oldest() {
    let sample =
        json!([{"work_order_id": ID, "trigger_id": "t", "inserted_at": "2026-11-24T10:00:00.000000Z"}]);
    let attributes =
        json!({"state": "done", "matched": 7, "replayed": 0, "failed": 0, "dry_run": true, "sample": sample});
    let answer = json!({"data": {"type": "replays", "id": null, "attributes": attributes}}).to_string();
    let fake = Fake::new(&[("POST /api/replays", 202, answer)]);
    let line = ["replay", "--from", "events", "--state", "failed", "--dry-run"];
    let output = ask(&fake, &line);
    assert_eq!(sent(&fake, 0), json!({"from": "events", "state": "failed", "dry_run": true}));
    let expected = format!(
        "7 would go through again\n\nthe oldest 1\n\
         ID                                    TRIGGER ID  INSERTED AT              REASON\n\
         {ID}  t           2026-11-24 10:00:00.000  -\n"
    );
    assert_eq!(stdout(&output), expected);
    let output = ask(&fake, &[&line[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&stdout(&output)).unwrap()["matched"], 7);
}

#[test]
fn a_replay_that_fails_fails_the_command_that_waits_for_it() {
    let fake = Fake::new(&[
        ("POST /api/replays", 202, replay("running", 0)),
        (&format!("GET /api/replays/{ID}"), 200, replay("failed", 1)),
        (&format!("POST /api/replays/{ID}/pause"), 200, replay("paused", 1)),
    ]);
    let output = ask(&fake, &["replay", "follow", ID]);
    assert_eq!(
        (code(&output), stderr(&output)),
        (1, "keyway: the replay failed: the disk is gone\n".to_owned())
    );
    let output = ask(&fake, &["replay", "--detach"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("running"));
    let output = ask(&fake, &["replay", "pause", ID, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&stdout(&output)).unwrap()["state"], "paused");
    assert_eq!(code(&ask(&fake, &["replay", "cancel", ID])), 1, "there is no such thing");
}

#[test]
fn replays_are_listed() {
    let data: Value = serde_json::from_str(&replay("paused", 1)).unwrap();
    let list = json!({"data": [data["data"]], "links": {"next": null}}).to_string();
    let fake = Fake::new(&[("GET /api/replays?page_size=50", 200, list)]);
    let output = ask(&fake, &["replay", "list"]);
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("ID "), "{text}");
    let line = format!("{ID}  paused  dead_letters  3        1         1       2026-11-24 10:00:00.000  -");
    assert_eq!(lines[1], line);
}

fn letter(body: &Value) -> String {
    let source = json!({"topic": "orders", "partition": 3, "kafka_offset": 42, "timestamp": 1, "key_base64": "azE=",
        "headers": [["a", "b"]]});
    let attributes = json!({"trigger_id": "t", "reason": "invalid_json", "detail": "at line 1", "source": source,
        "inserted_at": "2026-11-24T10:00:00.000000Z", "body_base64": body, "resolved": null});
    json!({"data": {"type": "dead_letters", "id": ID, "attributes": attributes}}).to_string()
}

#[test]
fn a_dead_letter_is_shown_as_text_in_hexadecimal_or_raw() {
    let path = format!("GET /api/dead_letters/{ID}");
    let fake = Fake::new(&[(&path, 200, letter(&json!("e29vcHMb")))]);
    let text = stdout(&ask(&fake, &["dead-letters", "show", ID]));
    assert!(text.contains("reason       invalid_json\n"), "{text}");
    assert!(text.contains("\"kafka_offset\": 42"), "{text}");
    assert!(text.contains("payload: 6 bytes\n00000000  7b 6f 6f 70 73 1b"), "{text}");
    assert_eq!(ask(&fake, &["dead-letters", "show", ID, "--raw"]).stdout, b"{oops\x1b");
    let document: Value =
        serde_json::from_str(&stdout(&ask(&fake, &["dead-letters", "show", ID, "--json"]))).unwrap();
    assert_eq!(document["body_base64"], "e29vcHMb");
    let fake = Fake::new(&[(&path, 200, letter(&json!("e29vcHM=")))]);
    assert!(stdout(&ask(&fake, &["dead-letters", "show", ID])).ends_with("\npayload: 5 bytes\n{oops\n"));
    let fake = Fake::new(&[(&path, 200, letter(&Value::Null))]);
    assert!(stdout(&ask(&fake, &["dead-letters", "show", ID])).ends_with("\npayload: null\n"));
}

#[test]
fn a_dead_letter_goes_through_with_the_payload_from_a_file_or_from_stdin() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("good.json");
    fs::write(&file, "{\"a\":1}").unwrap();
    let fake = Fake::new(&[(&format!("POST /api/dead_letters/{ID}/replay"), 200, letter(&json!("")))]);
    let output = ask(&fake, &["dead-letters", "replay", ID, "--body", file.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(sent(&fake, 0), json!({"body_base64": "eyJhIjoxfQ=="}));
    let mut child = tool()
        .args(["--server", &fake.url, "dead-letters", "replay", ID, "--body", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{}").unwrap();
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sent(&fake, 1), json!({"body_base64": "e30="}));
    assert_eq!(ask(&fake, &["dead-letters", "replay", ID]).status.code(), Some(0));
    assert_eq!(sent(&fake, 2), json!({}));
    let output = ask(&fake, &["dead-letters", "replay", ID, "--body", "/nowhere/good.json"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("/nowhere/good.json"));
}

#[test]
fn dead_letters_are_chosen_by_their_filters() {
    let list = json!({"data": [], "links": {"next": null}}).to_string();
    let path = "GET /api/dead_letters?state=open&reason=too_large&topic=orders&from_offset=7&page_size=50";
    let fake = Fake::new(&[(path, 200, list), ("POST /api/replays", 202, replay("done", 3))]);
    let filters = ["--reason", "too_large", "--topic", "orders", "--from-offset", "7"];
    let output = ask(&fake, &[&["dead-letters", "list", "--state", "open"], &filters[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = ask(&fake, &[&["dead-letters", "replay", "--detach"], &filters[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let expected = json!({"from": "dead_letters", "reason": "too_large", "kafka": {"topic": "orders", "from_offset": 7}});
    assert_eq!(sent(&fake, 1), expected);
    let output = ask(&fake, &["dead-letters", "replay"]);
    assert_eq!(code(&output), 2, "all of them only when someone says so");
    assert!(stderr(&output).contains("--all"));
}

#[test]
fn dead_letters_are_given_up_one_by_its_id_or_all_that_fit_with_the_reason_why() {
    let counted = json!({"data": {"matched": 12, "dry_run": false}}).to_string();
    let path = format!("POST /api/dead_letters/{ID}/discard");
    let fake = Fake::new(&[(&path, 200, letter(&json!(""))), ("POST /api/discards", 202, counted)]);
    let output = ask(&fake, &["dead-letters", "discard", ID, "--reason", "a test message"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).starts_with(&format!("id           {ID}\n")), "{}", stdout(&output));
    assert_eq!(sent(&fake, 0), json!({"reason": "a test message"}));
    let line = "dead-letters discard --why too_large --reason pictures --trigger-id t --topic orders --partition 3 \
        --from-offset 5 --to-offset 9 --inserted-after 2026-11-24T10:00:00Z --inserted-before 2026-11-25T10:00:00Z";
    let output = ask(&fake, &line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(stdout(&output), "12 are given up\n", "{}", stderr(&output));
    let filters = json!({
        "trigger_id": "t", "reason": "too_large", "inserted_after": "2026-11-24T10:00:00Z",
        "inserted_before": "2026-11-25T10:00:00Z",
        "kafka": {"topic": "orders", "partition": 3, "from_offset": 5, "to_offset": 9},
    });
    assert_eq!(sent(&fake, 1), json!({"filters": filters, "reason": "pictures", "dry_run": false}));
    let output = ask(&fake, &["dead-letters", "discard", "--all", "--dry-run"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(sent(&fake, 2), json!({"filters": {}, "reason": null, "dry_run": true}));
    let output = ask(&fake, &["dead-letters", "discard", "--reason", "why not"]);
    assert_eq!(code(&output), 2, "all of them only when someone says so");
    assert!(stderr(&output).contains("--all"), "{}", stderr(&output));
    assert_eq!(fake.asked().len(), 3);
}

#[test]
fn many_are_asked_for_at_once_only_when_it_is_said_which() {
    let counted = json!({"data": {"matched": 12, "dry_run": false}}).to_string();
    let fake = Fake::new(&[("POST /api/reruns", 202, counted.clone()), ("POST /api/cancels", 202, counted)]);
    let output =
        ask(&fake, &["work-orders", "rerun", "--state", "failed", "--workflow", "intake", "--original"]);
    assert_eq!(stdout(&output), "12 run again, in the order in which they came\n");
    let expected = json!({"filters": {"state": "failed", "workflow": "intake"}, "dry_run": false, "version": "original"});
    assert_eq!(sent(&fake, 0), expected);
    let output = ask(&fake, &["runs", "cancel", "--all", "--dry-run"]);
    assert_eq!(stdout(&output), "12 match\n");
    assert_eq!(sent(&fake, 1), json!({"filters": {}, "dry_run": true}));
    let output = ask(&fake, &["runs", "cancel", "--all", "--json"]);
    assert_eq!(stdout(&output), "{\"matched\":12,\"dry_run\":false}\n");
    for line in [["work-orders", "rerun"], ["runs", "cancel"]] {
        let output = ask(&fake, &line);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains("--all"), "{}", stderr(&output));
    }
}
