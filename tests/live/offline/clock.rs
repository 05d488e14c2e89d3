//! A clock that was in the future: the log is dated ahead, and is looked into, copied and replayed like any other.

use keyway_ingest::time;
use serde_json::{Value, json};

use super::furnish::{INPUTS, PROJECT, TRIGGER, furnished, offline};
use crate::common::{
    keyway::{Keyway, eventually},
    preload, tool,
};

/// Half a year: one that is further ahead is not believed at once.
const AHEAD_SECONDS: &str = "15778800";
const LATER: u64 = 5;

fn show(home: &std::path::Path) -> Vec<Value> {
    let server = Keyway::start(home, &["--executors", "0"]);
    let answers = ["work_orders", "runs"].map(|what| server.get(&format!("/api/{what}?page_size=100")).1);
    assert_eq!(server.stop().code(), Some(0));
    answers.into_iter().map(|mut answer| answer["data"].take()).collect()
}

#[test]
fn a_log_that_is_dated_ahead_is_verified_copied_and_replayed_by_its_own_times() {
    let (home, _) = furnished();
    let (library, now) = (preload::library("common/clock.c"), time::rfc3339(time::now()));
    let clock = [("LD_PRELOAD", library.as_str()), ("CLOCK_AHEAD_SECONDS", AHEAD_SECONDS)];
    let server = Keyway::start_with(home.path(), &[], &clock);
    for n in 0..LATER {
        let run = server.post(TRIGGER, &format!("{{\"n\":{n}}}")).1["run_id"].as_str().unwrap().to_owned();
        assert!(server.ended_run(&run)["finished_at"].as_str().unwrap() > now.as_str());
    }
    assert_eq!(server.stop().code(), Some(0));
    // From here on the clock is right, and behind the log.
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
    let answers = show(home.path());
    let order = |at: usize| answers[0][at]["attributes"]["inserted_at"].as_str().unwrap();
    let (newest, oldest) = (order(0), order(INPUTS + LATER as usize - 1));
    assert!(oldest < now.as_str(), "{oldest}");
    assert!(newest > now.as_str(), "{newest}");

    let copy = tempfile::tempdir().unwrap();
    std::fs::write(copy.path().join("project.yaml"), PROJECT).unwrap();
    let file = home.path().join("export.jsonl");
    let name = file.to_str().unwrap();
    for (home, line) in [(&home, ["events", "export", name]), (&copy, ["events", "import", name])] {
        let (code, _, errors) = offline(home.path(), &line);
        assert_eq!(code, 0, "{line:?}: {errors}");
    }
    assert_eq!(offline(copy.path(), &["verify"]).0, 0);
    assert_eq!(show(copy.path()), answers);

    let server = Keyway::start(home.path(), &[]);
    let matched = |bound: &str, time: &str| {
        let line = ["replay", "--from", "events", bound, time, "--dry-run", "--json"];
        let output = tool().args(["--server", &server.api]).args(line).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["matched"].as_u64().unwrap()
    };
    // What came in by the clock of then is not what came in before now.
    assert_eq!(matched("--inserted-before", &now), INPUTS as u64);
    assert_eq!(matched("--inserted-after", &now), LATER);
    let begun = server.ask("/api/replays", &json!({"from": "events", "inserted_after": now})).1;
    let id = begun["data"]["id"].as_str().unwrap();
    let replay = || server.get(&format!("/api/replays/{id}")).1["data"]["attributes"].take();
    eventually("all of those are replayed", || replay()["state"] == "done");
    assert_eq!(replay()["replayed"], LATER);
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(offline(home.path(), &["verify"]).0, 0);
}
