//! What has been: work orders, runs, log lines, triggers, dead letters.
//!
//! Invariant: the columns of a list keep their order and their names; scripts read `--json`.

use serde_json::Value;

use crate::{
    args::{ById, Cut, ListDeadLetters, ListHistory, ShowRun, ShowWorkOrder},
    client::Client,
    failure::Failure,
    item::Item,
    print::Printer,
    table,
};

const WORK_ORDERS: &[&str] =
    &["id", "state", "workflow", "trigger_type", "inserted_at", "last_activity", "runs"];
const RUNS: &[&str] =
    &["id", "state", "work_order_id", "attempt", "inserted_at", "finished_at", "error_type"];
const TRIGGERS: &[&str] =
    &["id", "name", "workflow", "type", "enabled", "state", "next_at", "last_event_at", "refused", "urls"];
const REPLAYS: &[&str] =
    &["id", "state", "from", "matched", "replayed", "failed", "inserted_at", "finished_at"];
const DEAD_LETTERS: &[&str] = &["id", "trigger_id", "reason", "inserted_at", "resolved", "detail"];

/// Lists work orders.
pub fn work_orders(client: &Client, which: &ListHistory, out: &mut Printer) -> Result<(), Failure> {
    list(client, "/api/work_orders", &which.filters.query(), &which.cut, WORK_ORDERS, out)
}

/// Shows one work order.
pub fn work_order(client: &Client, which: &ShowWorkOrder, out: &mut Printer) -> Result<(), Failure> {
    let include = match which.input {
        true => vec![("include", "input".to_owned())],
        false => Vec::new(),
    };
    let item = client.item(&format!("/api/work_orders/{}", which.id), &include)?;
    out.show(&item)?;
    out.flush()
}

/// Lists runs.
pub fn runs(client: &Client, which: &ListHistory, out: &mut Printer) -> Result<(), Failure> {
    list(client, "/api/runs", &which.filters.query(), &which.cut, RUNS, out)
}

/// Shows one run with its steps.
pub fn run(client: &Client, which: &ShowRun, out: &mut Printer) -> Result<(), Failure> {
    let wanted = [(which.final_state, "final_state"), (which.states, "states")];
    let wanted: Vec<_> = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name).collect();
    let include = match wanted.is_empty() {
        true => Vec::new(),
        false => vec![("include", wanted.join(","))],
    };
    let item = client.item(&format!("/api/runs/{}", which.id), &include)?;
    out.show(&item)?;
    out.flush()
}

/// Prints what a run's jobs logged, all of it.
pub fn logs(client: &Client, which: &ById, out: &mut Printer) -> Result<(), Failure> {
    // A run without log lines and a run that is not there look the same in the list.
    client.item(&format!("/api/runs/{}", which.id), &[])?;
    client.each(
        "/api/log_lines",
        &[("run_id", which.id.clone())],
        None,
        &mut |line| match out.is_json() {
            true => out.document(&line.flat()),
            false => out.line(&log_line(&line)),
        },
    )?;
    out.flush()
}

fn log_line(line: &Item) -> String {
    let time = table::time(line.text("timestamp")).unwrap_or_else(|| line.text("timestamp").to_owned());
    let message = match line.attribute("message") {
        Value::String(message) => message.clone(),
        message => message.to_string(),
    };
    match line.text("job") {
        "" => format!("{time}  {:5}  {message}", line.text("level")),
        job => format!("{time}  {:5}  {job}  {message}", line.text("level")),
    }
}

/// Lists triggers.
pub fn triggers(client: &Client, cut: &Cut, out: &mut Printer) -> Result<(), Failure> {
    list(client, "/api/triggers", &[], cut, TRIGGERS, out)
}

/// Shows one trigger.
pub fn trigger(client: &Client, id: &str, out: &mut Printer) -> Result<(), Failure> {
    out.show(&client.item(&format!("/api/triggers/{id}"), &[])?)?;
    out.flush()
}

/// Lists dead letters.
pub fn dead_letters(client: &Client, which: &ListDeadLetters, out: &mut Printer) -> Result<(), Failure> {
    list(client, "/api/dead_letters", &which.query(), &which.cut, DEAD_LETTERS, out)
}

/// Lists replays.
pub fn replays(client: &Client, cut: &Cut, out: &mut Printer) -> Result<(), Failure> {
    list(client, "/api/replays", &[], cut, REPLAYS, out)
}

fn list(
    client: &Client,
    path: &str,
    query: &[(&str, String)],
    cut: &Cut,
    columns: &[&str],
    out: &mut Printer,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut found = |item: Item| {
        match out.is_json() {
            true => out.document(&item.flat())?,
            false => rows.push(columns.iter().map(|column| cell(&item, column)).collect()),
        }
        Ok(())
    };
    client.each(path, query, cut.count_max(), &mut found)?;
    if !out.is_json() {
        out.rows(columns, rows)?;
    }
    out.flush()
}

fn cell(item: &Item, column: &str) -> String {
    match (column, item.attribute(column)) {
        ("id", _) => item.id.clone(),
        // A list shows how many there are; the whole ids are in `show`.
        ("runs", Value::Array(runs)) => runs.len().to_string(),
        ("refused", Value::Object(refused)) if refused.is_empty() => "-".to_owned(),
        ("refused", Value::Object(refused)) => {
            let counts = refused.iter().map(|(reason, count)| format!("{reason} {count}"));
            counts.collect::<Vec<_>>().join(", ")
        }
        ("resolved", Value::Object(resolved)) => table::text(&resolved["how"]),
        (_, value) => table::text(value),
    }
}
