//! How the server is.
//!
//! Invariant: the counts are the server's own, and exact.

use serde_json::Value;

use crate::{client::Client, failure::Failure, print::Printer, table};

/// Shows how the server is.
pub fn status(client: &Client, out: &mut Printer) -> Result<(), Failure> {
    let mut answer = client.read("/api/status", &[])?;
    let status = answer["data"].take();
    let Value::Object(status) = status else {
        return Err(Failure::Failed("the server does not say how it is".to_owned()));
    };
    if out.is_json() {
        out.document(&Value::Object(status))?;
        return out.flush();
    }
    let mut rows = Vec::new();
    for (name, value) in &status {
        let text = match value {
            Value::Object(counts) => {
                let some = counts.iter().filter(|(_, count)| **count != 0);
                let texts: Vec<_> = some.map(|(state, count)| format!("{count} {state}")).collect();
                if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
            }
            Value::Array(shards) => {
                let shards = shards.iter().map(|it| format!("{} to {}", it["shard"], it["tail"]));
                shards.collect::<Vec<_>>().join(", ")
            }
            value => table::text(value),
        };
        rows.push(vec![name.replace('_', " "), text]);
    }
    out.rows(&[], rows)?;
    out.flush()
}
