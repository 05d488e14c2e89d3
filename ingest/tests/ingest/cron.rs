//! Cron triggers: every tick once, whatever happens to the process, the disk and the clock.

mod catch_up;
mod change;
mod cursor;
mod disk;
mod many;
mod overlap;
mod wipe;
mod world;
mod year;

use keyway_storage::{event::TriggerId, place::Timestamp};

/// The trigger of most projects here.
pub const TRIGGER: TriggerId = TriggerId([7; 16]);

/// A time, which may lack its date.
pub fn at(text: &str) -> Timestamp {
    let text = if text.contains('T') { text.to_owned() } else { format!("2026-05-21T{text}Z") };
    keyway_ingest::time::parse(&text).unwrap()
}

/// A project file whose only trigger has these settings beside its id and type.
pub fn project(settings: &str) -> String {
    project_with(settings, "fn(state => state)", "")
}

/// The same, with a job and more settings of the workflow.
pub fn project_with(settings: &str, job: &str, workflow: &str) -> String {
    format!(
        "name: clock\nworkflows:\n  nightly:\n    name: Nightly\n{workflow}    jobs:\n      pull: {{name: Pull, \
         adaptor: '@openfn/language-common@latest', body: '{job}'}}\n    triggers:\n      cron: {{id: \
         07070707-0707-0707-0707-070707070707, type: cron, {settings}}}\n    edges: {{e: {{source_trigger: cron, \
         target_job: pull, condition_type: always, enabled: true}}}}\n"
    )
}
