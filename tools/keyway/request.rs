//! Requests: what a person asks the engine to do.
//!
//! Invariant: each is one call; what it answers about one thing is shown as `show` would show it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    args::{BlockedKey, Cancel, DiscardDeadLetters, Many, Rebuild, Rerun},
    client::{Client, item},
    failure::Failure,
    offline::progress::Progress,
    print::Printer,
    signals::Interrupt,
};

/// Pause between two looks at how far the server is.
const POLL_MS: u64 = 100;

/// Gives a work order another run, or all that fit.
pub fn rerun(client: &Client, which: &Rerun, out: &mut Printer) -> Result<(), Failure> {
    let version = if which.original { "original" } else { "current" };
    let Some(id) = &which.id else {
        let mut document = which_of(&which.many, "a work order")?;
        document["version"] = version.into();
        return many(client, "/api/reruns", &document, "run again, in the order in which they came", out);
    };
    let mut document = json!({ "version": version });
    if let Some(job) = &which.job {
        document["job"] = job.as_str().into();
    }
    show(client.post(&format!("/api/work_orders/{id}/reruns"), &document)?, out)
}

/// Cancels a run, or all that fit.
pub fn cancel(client: &Client, which: &Cancel, out: &mut Printer) -> Result<(), Failure> {
    match &which.id {
        Some(id) => show(client.post(&format!("/api/runs/{id}/cancel"), &Value::Null)?, out),
        None => {
            let document = which_of(&which.many, "a run")?;
            many(client, "/api/cancels", &document, "are cancelled", out)
        }
    }
}

fn which_of(many: &Many, what: &str) -> Result<Value, Failure> {
    let hint = format!("name {what}, or say which ones with filters, or --all");
    many.document().ok_or(Failure::Usage(hint))
}

/// Asks something of many at once, and says how many they are.
fn many(client: &Client, path: &str, document: &Value, what: &str, out: &mut Printer) -> Result<(), Failure> {
    let answer = client.post(path, document)?;
    let matched = &answer["data"]["matched"];
    match (out.is_json(), document["dry_run"] == true) {
        (true, _) => out.document(&answer["data"])?,
        (false, true) => out.line(&format!("{matched} match"))?,
        (false, false) => out.line(&format!("{matched} {what}"))?,
    }
    let hindrances = [
        ("wiped", "their input was wiped"),
        ("without_workflow", "the project no longer has their workflow"),
    ];
    for (name, why) in hindrances {
        if let Some(count) = answer["data"][name].as_u64().filter(|_| !out.is_json()) {
            out.line(&format!("{count} are left out: {why}"))?;
        }
    }
    out.flush()
}

/// Enables or disables a trigger.
pub fn switch(client: &Client, id: &str, verb: &str, out: &mut Printer) -> Result<(), Failure> {
    show(client.post(&format!("/api/triggers/{id}/{verb}"), &Value::Null)?, out)
}

/// Lets a blocked key go on.
pub fn release(client: &Client, which: &BlockedKey, verb: &str, out: &mut Printer) -> Result<(), Failure> {
    let path = format!("/api/triggers/{}/blocked_keys/{}/{verb}", which.id, which.key);
    show(client.post(&path, &Value::Null)?, out)
}

/// Closes a dead letter, or all that fit, without replaying it.
pub fn discard(client: &Client, which: &DiscardDeadLetters, out: &mut Printer) -> Result<(), Failure> {
    let Some(id) = &which.id else {
        let hint =
            "name a dead letter, or say which ones: --all, --trigger-id, --why, a time, a range of Kafka";
        let document = which.document().ok_or_else(|| Failure::Usage(hint.to_owned()))?;
        return many(client, "/api/discards", &document, "are given up", out);
    };
    show(client.post(&format!("/api/dead_letters/{id}/discard"), &json!({ "reason": which.reason }))?, out)
}

/// Lets the server derive its views anew, and waits until it has.
pub fn rebuild(client: &Client, flags: &Rebuild, out: &mut Printer) -> Result<(), Failure> {
    let interrupt = Interrupt::new()?;
    client.post("/api/rebuild", &json!({ "what": flags.what.name() }))?;
    let goal: u64 = shards(client, "tail")?.iter().sum();
    let progress = Progress::new(goal, "events")?;
    loop {
        let (tails, watermarks) = (shards(client, "tail")?, shards(client, "watermark")?);
        let behind = tails.iter().zip(&watermarks).map(|(tail, watermark)| tail.saturating_sub(*watermark));
        let behind: u64 = behind.sum();
        progress.reach(goal.saturating_sub(behind));
        if behind == 0 {
            break;
        }
        if interrupt.wait(Duration::from_millis(POLL_MS)) {
            return Err(Failure::Failed("stopped waiting; the server goes on by itself".to_owned()));
        }
    }
    progress.finish();
    match out.is_json() {
        true => out.document(&json!({ "rebuilt": flags.what.name(), "events": goal }))?,
        false => out.line(&format!("{} derived from {goal} events", flags.what.name()))?,
    }
    out.flush()
}

/// A number of each shard in the status.
fn shards(client: &Client, name: &str) -> Result<Vec<u64>, Failure> {
    let status = client.read("/api/status", &[])?;
    let numbers = status["data"]["shards"].as_array().map(|shards| {
        shards.iter().map(|shard| shard[name].as_u64().unwrap_or_default()).collect::<Vec<_>>()
    });
    numbers.ok_or_else(|| Failure::Failed("the server does not say which shards it has".to_owned()))
}

fn show(answer: Value, out: &mut Printer) -> Result<(), Failure> {
    out.show(&item(answer)?)?;
    out.flush()
}
