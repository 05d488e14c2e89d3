//! Requests: what a person asks the engine to do.
//!
//! Invariant: each is one call; what it answers is shown as `show` would show it.

use serde_json::{Value, json};

use crate::{
    args::{BlockedKey, Rerun},
    client::{Client, item},
    failure::Failure,
    print::Printer,
};

/// Gives a work order another run.
pub fn rerun(client: &Client, which: &Rerun, out: &mut Printer) -> Result<(), Failure> {
    let document = match &which.job {
        Some(job) => json!({ "job": job }),
        None => json!({}),
    };
    show(client.post(&format!("/api/work_orders/{}/reruns", which.id), &document)?, out)
}

/// Cancels a run.
pub fn cancel(client: &Client, id: &str, out: &mut Printer) -> Result<(), Failure> {
    show(client.post(&format!("/api/runs/{id}/cancel"), &Value::Null)?, out)
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
