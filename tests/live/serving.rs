//! A server as its operator meets it: what it says, where it can be asked, which project it serves, what a crash leaves.

mod addresses;
mod crash;
mod file;
mod traces;

const HOOK: &str = "/i/0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
const PROJECT: &str = "
name: serving
workflows:
  intake:
    jobs: {job: {name: Job, body: 'fn(s => s)'}}
    triggers: {hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true}}
    edges: {e: {source_trigger: hook, target_job: job, condition_type: always, enabled: true}}
";

/// A home folder with the project.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    home
}
