//! Checks a project file without a server.
//!
//! Invariant: it is the check that `serve` and `apply` make, with the same words.

use std::{fs, path::Path};

use keyway_engine::project::{Mistake, Origin, Reading, Trigger, read, text};
use keyway_ingest::{
    secret::EnvAndFiles,
    trigger::{types, webhook::settings::WebhookSettings},
};
use keyway_storage::limits::PROJECT_BYTES_MAX;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{failure::Failure, print::Printer, table};

/// Prints every mistake of a project file, or what is in it.
pub fn validate(file: &Path, out: &mut Printer) -> Result<(), Failure> {
    let bytes = load(file)?;
    let origin = Origin::of(file);
    let reading = text(&bytes, &origin).and_then(|text| {
        // Ids that this check makes are thrown away: the server keeps its own.
        let mut made = 0_u128;
        let mut make = || {
            made += 1;
            made.to_be_bytes()
        };
        read(text, &origin, &types(), &EnvAndFiles, &[], &mut make)
    });
    match reading {
        Ok(reading) => print_summary(&reading, out),
        Err(mistakes) => {
            print_mistakes(&mistakes, out)?;
            Err(Failure::InvalidProject)
        }
    }
}

/// The bytes of a project file.
pub fn load(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::Failed(format!("{}: {error}", file.display()));
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > PROJECT_BYTES_MAX as u64 {
        let most = format!("{}: {size} bytes, at most {PROJECT_BYTES_MAX} are read", file.display());
        return Err(Failure::Failed(most));
    }
    fs::read(file).map_err(failed)
}

fn print_mistakes(mistakes: &[Mistake], out: &mut Printer) -> Result<(), Failure> {
    match out.is_json() {
        true => out.document(&json!({ "valid": false, "mistakes": mistakes }))?,
        false => mistakes.iter().try_for_each(|mistake| out.line(&mistake.to_string()))?,
    }
    out.flush()
}

fn print_summary(reading: &Reading, out: &mut Printer) -> Result<(), Failure> {
    let triggers: Vec<_> = reading
        .project
        .triggers()
        .map(|(workflow, trigger)| {
            json!({
                "workflow": workflow.key,
                "trigger": trigger.key,
                "type": trigger.kind,
                "enabled": trigger.enabled,
                "urls": urls(reading, trigger),
            })
        })
        .collect();
    let workflows = &reading.project.workflows;
    if out.is_json() {
        let workflows: Vec<_> = workflows.iter().map(|it| it.key.as_str()).collect();
        let warnings = &reading.warnings;
        let document =
            json!({ "valid": true, "workflows": workflows, "triggers": triggers, "warnings": warnings });
        out.document(&document)?;
        return out.flush();
    }
    for warning in &reading.warnings {
        out.line(&format!("warning: {warning}"))?;
    }
    let count = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    out.line(&format!("ok: {}, {}", count(workflows.len(), "workflow"), count(triggers.len(), "trigger")))?;
    let columns = ["workflow", "trigger", "type", "enabled", "urls"];
    let row = |trigger: &Value| columns.iter().map(|column| table::text(&trigger[column])).collect();
    out.rows(&columns, triggers.iter().map(row).collect())?;
    out.flush()
}

/// Where a webhook will listen, as far as the file says: an id that is not in the file is made by the server.
fn urls(reading: &Reading, trigger: &Trigger) -> Vec<String> {
    let Some(settings) = trigger.settings::<WebhookSettings>() else { return Vec::new() };
    let id = |bytes: [u8; 16]| match reading.made.iter().any(|made| made.id == bytes) {
        true => "<made by serve>".to_owned(),
        false => Uuid::from_bytes(bytes).to_string(),
    };
    let own = format!("/i/{}", id(trigger.id.0));
    let custom = settings.custom_path.as_ref().map(|path| format!("/i/{}/{path}", id(reading.project.id)));
    [Some(own), custom].into_iter().flatten().collect()
}
