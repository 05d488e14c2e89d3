//! Replays: dead letters and past events go through again, and one can watch.
//!
//! Invariant: a replay goes on in the server, whatever becomes of the command that began it.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    args::{BeginReplay, ReplayDeadLetters, ReplayDeed},
    client::{Client, item},
    failure::Failure,
    history,
    item::Item,
    print::Printer,
    progress::Progress,
    signals::Interrupt,
    table,
};

/// How often a replay is looked at while it is followed.
const LOOK_MS: u64 = 250;
/// The columns of the sample of a dry run.
const SAMPLE: &[&str] = &["id", "trigger_id", "inserted_at", "reason"];

/// Begins a replay, and follows it.
pub fn begin(client: &Client, which: &BeginReplay, out: &mut Printer) -> Result<(), Failure> {
    start(client, &which.document(), which.going.detach, out)
}

/// Lets one dead letter go through again, or all that fit.
pub fn dead_letters(client: &Client, which: &ReplayDeadLetters, out: &mut Printer) -> Result<(), Failure> {
    let Some(id) = &which.id else {
        let hint =
            "name a dead letter, or say which ones: --all, --trigger-id, --reason, a time, a range of Kafka";
        let document = which.document().ok_or_else(|| Failure::Usage(hint.to_owned()))?;
        return start(client, &document, which.going.detach, out);
    };
    let document = match &which.body {
        Some(file) => json!({ "body_base64": STANDARD.encode(read(file)?) }),
        None => json!({}),
    };
    out.show(&item(client.post(&format!("/api/dead_letters/{id}/replay"), &document)?)?)?;
    out.flush()
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        false => fs::read(file),
    };
    read.map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))
}

/// Moves a replay, or looks at it.
pub fn deed(client: &Client, deed: &ReplayDeed, out: &mut Printer) -> Result<(), Failure> {
    match deed {
        ReplayDeed::List(cut) => history::replays(client, cut, out),
        ReplayDeed::Show(which) => {
            out.show(&client.item(&format!("/api/replays/{}", which.id), &[])?)?;
            out.flush()
        }
        ReplayDeed::Follow(which) => follow(client, &which.id, out),
        ReplayDeed::Pause(which) => post(client, &which.id, "pause", out),
        ReplayDeed::Resume(which) => post(client, &which.id, "resume", out),
        ReplayDeed::Cancel(which) => post(client, &which.id, "cancel", out),
    }
}

fn post(client: &Client, id: &str, verb: &str, out: &mut Printer) -> Result<(), Failure> {
    out.show(&item(client.post(&format!("/api/replays/{id}/{verb}"), &Value::Null)?)?)?;
    out.flush()
}

fn start(client: &Client, document: &Value, detach: bool, out: &mut Printer) -> Result<(), Failure> {
    let mut answer = client.post("/api/replays", document)?;
    if document["dry_run"] == true {
        return rehearsed(answer["data"]["attributes"].take(), out);
    }
    let begun = item(answer)?;
    match detach {
        true => {
            out.show(&begun)?;
            out.flush()
        }
        false => follow(client, &begun.id, out),
    }
}

/// Prints what a dry run found.
fn rehearsed(found: Value, out: &mut Printer) -> Result<(), Failure> {
    if out.is_json() {
        out.document(&found)?;
        return out.flush();
    }
    out.line(&format!("{} would go through again", found["matched"]))?;
    let sample = found["sample"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !sample.is_empty() {
        out.line(&format!("\nthe oldest {}", sample.len()))?;
        let id = |one: &Value| table::text(one.get("dead_letter_id").unwrap_or(&one["work_order_id"]));
        let row = |one: &Value| {
            let rest = SAMPLE[1..].iter().map(|column| table::text(&one[*column]));
            std::iter::once(id(one)).chain(rest).collect()
        };
        out.rows(SAMPLE, sample.iter().map(row).collect())?;
    }
    out.flush()
}

/// Watches a replay until it ends or is paused; ctrl-c ends the watching alone.
fn follow(client: &Client, id: &str, out: &mut Printer) -> Result<(), Failure> {
    let interrupt = Interrupt::new()?;
    let mut progress = None;
    let seen = loop {
        let seen = client.item(&format!("/api/replays/{id}"), &[])?;
        let count = |name: &str| seen.attribute(name).as_u64().unwrap_or_default();
        let word = match count("failed") {
            0 => seen.text("state").to_owned(),
            failed => format!("{}, {failed} failed", seen.text("state")),
        };
        let bar = progress.get_or_insert_with(|| Progress::new(count("matched")));
        bar.set(count("replayed") + count("failed"), &word);
        if seen.text("state") != "running" {
            break seen;
        }
        if interrupt.wait(Duration::from_millis(LOOK_MS)) {
            drop(progress);
            eprintln!("keyway: the replay goes on: `keyway replay follow {id}`, or `pause`, or `cancel`");
            break seen;
        }
    };
    out.show(&seen)?;
    out.flush()?;
    ended_well(&seen)
}

/// A replay that could not go on is a failure of the command that waited for it.
fn ended_well(seen: &Item) -> Result<(), Failure> {
    match seen.text("state") {
        "failed" => Err(Failure::Failed(format!("the replay failed: {}", seen.text("error_message")))),
        _ => Ok(()),
    }
}
