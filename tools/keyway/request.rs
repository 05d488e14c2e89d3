//! Requests: what a person asks the engine to do.
//!
//! Invariant: each is one call; what it answers about one thing is shown as `show` would show it.

use serde_json::{Value, json};

use crate::{
    args::{BlockedKey, Cancel, Many, Rerun},
    client::{Client, item},
    failure::Failure,
    print::Printer,
};

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

/// Closes a dead letter without replaying it.
pub fn discard(client: &Client, id: &str, reason: &str, out: &mut Printer) -> Result<(), Failure> {
    show(client.post(&format!("/api/dead_letters/{id}/discard"), &json!({ "reason": reason }))?, out)
}

fn show(answer: Value, out: &mut Printer) -> Result<(), Failure> {
    out.show(&item(answer)?)?;
    out.flush()
}
