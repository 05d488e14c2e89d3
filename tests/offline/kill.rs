//! Commands that are killed (-9) in the middle: whatever was begun ends with the next start or the next try, once.

use std::{fs, path::Path, process::Child};

use serde_json::{Value, json};

use crate::{
    common::{
        keyway::{Keyway, eventually},
        tool,
    },
    furnish::{INPUTS, PROJECT, TRIGGER, answers, furnished, offline},
};

const MANY: u64 = 400;

fn post(server: &Keyway, path: &str, body: &Value) -> Value {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(format!("{}{path}", server.api)).send_json(body).unwrap();
    assert_eq!(answer.status(), 202);
    answer.body_mut().read_json().unwrap()
}

fn runs(server: &Keyway, state: &str) -> u64 {
    server.get("/api/status").1["data"]["runs"][state].as_u64().unwrap()
}

fn spawn(home: &Path, line: &[&str]) -> Child {
    tool().args(line).arg("--data-dir").arg(home.join("data")).spawn().unwrap()
}

#[test]
fn what_was_asked_of_many_is_asked_of_each_once_whatever_kills_there_are() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let server = Keyway::start(home.path(), &["--shards", "2"]);
    (0..MANY).for_each(|n| assert_eq!(server.post(TRIGGER, &format!("{{\"n\":{n}}}")).0, 200));
    eventually("all runs end", || runs(&server, "success") == MANY);
    assert_eq!(server.stop().code(), Some(0));
    let mut server = Keyway::start(home.path(), &["--executors", "0"]);
    assert_eq!(post(&server, "/api/reruns", &json!({}))["data"]["matched"], MANY);
    for _ in 0..3 {
        server.kill();
        server = Keyway::start(home.path(), &["--executors", "0"]);
    }
    eventually("each has another run", || runs(&server, "available") == MANY);
    assert_eq!(post(&server, "/api/cancels", &json!({}))["data"]["matched"], MANY);
    server.kill();
    server = Keyway::start(home.path(), &["--executors", "0"]);
    eventually("each is cancelled", || runs(&server, "cancelled") == MANY && runs(&server, "available") == 0);
    let orders = server.get("/api/work_orders?page_size=1000").1["data"].take();
    let runs_of = |order: &Value| order["attributes"]["runs"].as_array().unwrap().len();
    assert!(orders.as_array().unwrap().iter().all(|order| runs_of(order) == 2));
    let ends = |shard: u8| server.get(&format!("/api/export?shard={shard}&kind=BulkEnded")).1["data"].take();
    // Of both requests on both shards.
    eventually("their ends are noted", || {
        (0..2).map(|shard| ends(shard).as_array().unwrap().len()).sum::<usize>() == 4
    });
    assert_eq!(server.stop().code(), Some(0));
    let (code, text, _) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}");
    let (_, began, _) = offline(home.path(), &["events", "export", "--kind", "BulkStarted"]);
    let (_, ended, _) = offline(home.path(), &["events", "export", "--kind", "BulkEnded"]);
    assert_eq!(began.lines().count(), ended.lines().count(), "something was begun and never ended");
}

#[test]
fn commands_on_a_data_dir_that_are_killed_lose_nothing() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    for line in [&["rebuild", "all"][..], &["verify", "--repair"], &["verify"], &["reshard", "--shards", "2"]]
    {
        for _ in 0..3 {
            let mut child = spawn(home.path(), line);
            // At some moment after it has the data dir: each round kills it elsewhere.
            let pid = child.id().to_string();
            eventually("it has the data dir, or is done", || {
                let holder = fs::read_to_string(home.path().join("data/lock")).unwrap_or_default();
                holder.trim() == pid || child.try_wait().unwrap().is_some()
            });
            drop(child.kill());
            child.wait().unwrap();
        }
        let (code, text, errors) = offline(home.path(), &["verify"]);
        assert_eq!(code, 0, "{line:?}: {text}{errors}");
        assert_eq!(answers(home.path(), &run), before, "{line:?}");
    }
}

#[test]
fn an_export_that_is_killed_goes_on_where_it_ended() {
    let (home, _) = furnished();
    let (file, whole) = (home.path().join("killed.jsonl"), home.path().join("whole.jsonl"));
    let name = file.to_str().unwrap();
    let mut child = spawn(home.path(), &["events", "export", name]);
    eventually("the file is there", || file.exists());
    drop(child.kill());
    child.wait().unwrap();
    let (code, _, errors) = offline(home.path(), &["events", "export", "--continue", name]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(offline(home.path(), &["events", "export", whole.to_str().unwrap()]).0, 0);
    let lines = |path: &Path| {
        fs::read_to_string(path).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(lines(&file) == lines(&whole));
    assert!(lines(&file).len() > INPUTS);
}
