//! What commands print of what is there: for people, to the letter, and as JSON, one object a line.

use serde_json::{Value, json};

use crate::common::{code, fake::Fake, stderr, stdout, tool};

const ORDER: &str = "0190aaaa-0000-7000-8000-000000000001";
const RUN: &str = "0190aaaa-0000-8000-8000-000000000001";

/// A command with what the server answers, and what is printed.
struct Row {
    line: &'static [&'static str],
    answers: Vec<(&'static str, Value)>,
    text: &'static str,
    json: Vec<Value>,
}

/// Items as a server lists them, and as `--json` prints them: the id first, then their attributes.
fn items(items: &[(&str, Value)]) -> (Value, Vec<Value>) {
    let data = items.iter().map(|(id, attributes)| json!({"type": "it", "id": id, "attributes": attributes}));
    let flat = items.iter().map(|(id, attributes)| {
        let mut flat = json!({ "id": id });
        flat.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        flat
    });
    (json!({"data": data.collect::<Vec<_>>(), "meta": {}, "links": {"next": null}}), flat.collect())
}

fn event(shard: u64, offset: u64, kind: &str, own: Value) -> (String, Value) {
    let mut attributes =
        json!({"shard": shard, "offset": offset, "kind": kind, "at": "2026-11-24T10:00:00.000123Z"});
    attributes.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    (format!("{shard}-{offset}"), attributes)
}

fn status() -> Value {
    json!({"data": {
        "version": "0.1.0", "uptime_seconds": 61,
        "shards": [{"shard": 0, "tail": 9, "watermark": 9}, {"shard": 1, "tail": 4, "watermark": 4}], "events": 13,
        "work_orders": {"rejected": 0, "pending": 2, "success": 1}, "runs": {"available": 0}, "dead_letters": 0}})
}

fn events() -> Vec<Row> {
    let first = event(0, 7, "Received", json!({"trigger_id": "t", "key": null, "body": {"n": 1}}));
    let second = event(0, 8, "RunsClaimed", json!({"runs": ["a", "b"], "note": "x".repeat(90)}));
    let third = event(1, 0, "Opened", json!({"boot": 1}));
    let list = |events: &[&(String, Value)]| {
        items(&events.iter().map(|(id, attributes)| (id.as_str(), attributes.clone())).collect::<Vec<_>>())
    };
    let (both, other, all) =
        (list(&[&first, &second]).0, list(&[&third]).0, list(&[&first, &second, &third]).1);
    let one = json!({"data": {"type": "event", "id": first.0, "attributes": first.1}});
    vec![
        Row {
            line: &["events", "list"],
            answers: vec![
                ("/api/status", status()),
                ("/api/events?shard=0&from=0&limit=50", both.clone()),
                ("/api/events?shard=1&from=0&limit=48", other),
            ],
            text: "\
ID   AT                       KIND         WHAT
0-7  2026-11-24 10:00:00.000  Received     trigger_id=t body={\"n\":1}
0-8  2026-11-24 10:00:00.000  RunsClaimed  runs=a b note=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
1-0  2026-11-24 10:00:00.000  Opened       boot=1
",
            json: all.clone(),
        },
        Row {
            line: &["events", "show", "0-7"],
            answers: vec![("/api/events/0-7", one)],
            text: "\
id          0-7
shard       0
offset      7
kind        Received
at          2026-11-24 10:00:00.000
trigger_id  t
key         -

body
{
  \"n\": 1
}
",
            json: all[..1].to_vec(),
        },
        Row {
            line: &["events", "tail", "--shard", "0", "--from", "7", "--limit", "2"],
            answers: vec![("/api/status", status()), ("/api/events?shard=0&from=7&limit=2", both)],
            text: "\
0-7  2026-11-24 10:00:00.000  Received  trigger_id=t body={\"n\":1}
0-8  2026-11-24 10:00:00.000  RunsClaimed  runs=a b note=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
",
            json: all[..2].to_vec(),
        },
    ]
}

fn work_orders() -> Vec<Row> {
    let order = json!({"state": "running", "workflow": "intake", "trigger_id": "t", "trigger_type": "webhook",
        "inserted_at": "2026-11-24T10:00:00.000001Z", "last_activity": "2026-11-24T10:00:01.500000Z", "runs": [RUN]});
    let (orders, flat_orders) = items(&[(ORDER, order.clone())]);
    let mut with_input = order.clone();
    with_input["input"] = json!({"data": {"name": "Am\u{1b}ina"}});
    let shown = json!({"data": {"type": "work_order", "id": ORDER, "attributes": with_input}});
    let mut flat_shown = flat_orders[0].clone();
    flat_shown["input"] = with_input["input"].clone();
    vec![
        Row {
            line: &["work-orders", "list", "--state", "running"],
            answers: vec![("/api/work_orders?state=running&page_size=50", orders)],
            text: "\
ID                                    STATE    WORKFLOW  TRIGGER TYPE  INSERTED AT              LAST ACTIVITY            RUNS
0190aaaa-0000-7000-8000-000000000001  running  intake    webhook       2026-11-24 10:00:00.000  2026-11-24 10:00:01.500  1
",
            json: flat_orders,
        },
        Row {
            line: &["work-orders", "show", ORDER, "--input"],
            answers: vec![("/api/work_orders/0190aaaa-0000-7000-8000-000000000001?include=input", shown)],
            text: "\
id             0190aaaa-0000-7000-8000-000000000001
state          running
workflow       intake
trigger_id     t
trigger_type   webhook
inserted_at    2026-11-24 10:00:00.000
last_activity  2026-11-24 10:00:01.500
runs           0190aaaa-0000-8000-8000-000000000001

input
{
  \"data\": {
    \"name\": \"Am\\u001bina\"
  }
}
",
            json: vec![flat_shown],
        },
    ]
}

fn lists() -> Vec<Row> {
    let letter = |resolved: Value| {
        json!({"trigger_id": "t", "reason": "invalid_json", "detail": "at line 1\u{7}", "source": null,
            "inserted_at": "2026-11-24T10:00:00.000001Z", "resolved": resolved})
    };
    let replayed = json!({"how": "replayed", "at": "2026-11-24T11:00:00Z", "work_order_id": ORDER});
    let (letters, flat_letters) = items(&[(ORDER, letter(Value::Null)), (RUN, letter(replayed))]);
    let hook = json!({"name": "hook", "workflow": "intake", "type": "webhook", "enabled": true, "urls": ["/i/a", "/b"],
        "last_event_at": "2026-11-24T10:00:00.000001Z", "refused": {"rate_limited": 2, "too_large": 1}});
    let nightly = json!({"name": "nightly", "workflow": "report", "type": "cron", "enabled": false, "urls": [],
        "state": "off", "next_at": "2026-11-25T00:00:00.000000Z"});
    let (triggers, flat_triggers) = items(&[(ORDER, hook), (RUN, nightly)]);
    vec![
        Row {
            line: &["dead-letters", "list"],
            answers: vec![("/api/dead_letters?page_size=50", letters)],
            text: "\
ID                                    TRIGGER ID  REASON        INSERTED AT              RESOLVED  DETAIL
0190aaaa-0000-7000-8000-000000000001  t           invalid_json  2026-11-24 10:00:00.000  -         at line 1\\u{7}
0190aaaa-0000-8000-8000-000000000001  t           invalid_json  2026-11-24 10:00:00.000  replayed  at line 1\\u{7}
",
            json: flat_letters,
        },
        Row {
            line: &["triggers", "list"],
            answers: vec![("/api/triggers?page_size=50", triggers)],
            text: "\
ID                                    NAME     WORKFLOW  TYPE     ENABLED  STATE  NEXT AT                  LAST EVENT AT            REFUSED                      URLS
0190aaaa-0000-7000-8000-000000000001  hook     intake    webhook  true     -      -                        2026-11-24 10:00:00.000  rate_limited 2, too_large 1  /i/a /b
0190aaaa-0000-8000-8000-000000000001  nightly  report    cron     false    off    2026-11-25 00:00:00.000  -                        -                            -
",
            json: flat_triggers,
        },
    ]
}

fn others() -> Vec<Row> {
    let line = |message: Value| {
        json!({"run_id": RUN, "step_id": "s", "job": "load", "level": "info", "source": "JOB", "message": message,
            "timestamp": "2026-11-24T10:00:00.123456Z"})
    };
    let (lines, flat_lines) = items(&[("l1", line(json!("hello"))), ("l2", line(json!({"b": 1})))]);
    vec![
        Row {
            line: &["runs", "logs", RUN],
            answers: vec![
                (
                    "/api/runs/0190aaaa-0000-8000-8000-000000000001",
                    json!({"data": {"id": RUN, "attributes": {}}}),
                ),
                ("/api/log_lines?run_id=0190aaaa-0000-8000-8000-000000000001&page_size=1000", lines),
            ],
            text: "\
2026-11-24 10:00:00.123  info   load  hello
2026-11-24 10:00:00.123  info   load  {\"b\":1}
",
            json: flat_lines,
        },
        Row {
            line: &["status"],
            answers: vec![("/api/status", status())],
            text: "\
version         0.1.0
uptime seconds  61
shards          0 to 9, 1 to 4
events          13
work orders     2 pending, 1 success
runs            none
dead letters    0
",
            json: vec![status()["data"].clone()],
        },
    ]
}

#[test]
fn each_command_prints_its_table_for_people_and_whole_objects_for_scripts() {
    for row in events().into_iter().chain(work_orders()).chain(lists()).chain(others()) {
        let lines: Vec<String> = row.answers.iter().map(|(path, _)| format!("GET {path}")).collect();
        let answers = lines
            .iter()
            .zip(&row.answers)
            .map(|(line, (_, answer))| (line.as_str(), 200, answer.to_string()));
        let fake = Fake::new(&answers.collect::<Vec<_>>());
        let print = |more: &[&str]| {
            let output = tool().args(["--server", &fake.url]).args(row.line).args(more).output().unwrap();
            assert_eq!((code(&output), stderr(&output)), (0, String::new()), "{:?}", row.line);
            stdout(&output)
        };
        let (text, objects) = (print(&[]), print(&["--json"]));
        let objects: Vec<Value> = objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects, row.json, "{:?}", row.line);
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert!(
            objects.iter().zip(&row.json).all(|(found, row)| keys(found) == keys(row)),
            "{:?}: the order of keys",
            row.line
        );
        assert_eq!(text, row.text, "{:?}", row.line);
    }
}
