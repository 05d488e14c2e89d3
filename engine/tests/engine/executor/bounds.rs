//! Bounds of a run: its steps, and the states that it leaves.

use keyway_engine::executor::walk::no_watch;
use keyway_storage::{
    event::RunState,
    limits::{RUN_OUTPUT_BYTES_MAX, STEPS_PER_RUN_MAX},
};
use serde_json::json;

use super::rehearsal::{project, walk};

/// How often two paths part and meet: the jobs behind the last meeting run once for each path.
const FORKS: usize = 9;
/// Steps that each leave this much are more than a run may leave.
const LARGE: &str = "fn(s => ({ large: 'x'.repeat(10_000_000) }))";

#[test]
fn a_run_whose_paths_meet_again_and_again_is_killed_after_its_thousandth_step() {
    let keys: Vec<String> =
        (0..FORKS).flat_map(|fork| ["a", "b", "c"].map(|job| format!("{job}{fork}"))).collect();
    let jobs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "fn(s => s)")).collect();
    let mut edges = Vec::new();
    for fork in keys.chunks(3).zip(keys.chunks(3).skip(1).map(Some).chain([None])) {
        let (jobs, next) = fork;
        for side in &jobs[1..] {
            edges.push((jobs[0].as_str(), side.as_str(), "always"));
            edges.extend(next.map(|next| (side.as_str(), next[0].as_str(), "always")));
        }
    }
    let run = walk(&project(&jobs, &edges, ""), &json!({}), no_watch());
    let message = format!("A run may have {STEPS_PER_RUN_MAX} steps.");
    assert_eq!(run.error(), (RunState::Killed, "TooManyStepsError", message.as_str()));
    assert_eq!(run.steps().len(), usize::from(STEPS_PER_RUN_MAX));
}

#[test]
fn a_run_whose_states_together_are_too_large_is_killed_at_the_step_that_is_over() {
    let jobs = [("a", LARGE), ("b", LARGE), ("c", LARGE), ("d", LARGE), ("e", "fn(s => s)")];
    let edges = [("a", "b", "always"), ("b", "c", "always"), ("c", "d", "always"), ("d", "e", "always")];
    let run = walk(&project(&jobs, &edges, ""), &json!({}), no_watch());
    let message = format!("The states of all steps are more than {RUN_OUTPUT_BYTES_MAX} bytes.");
    assert_eq!(run.error(), (RunState::Killed, "StateTooLargeError", message.as_str()));
    let sizes: Vec<usize> = run.steps().iter().map(|step| step.output.len()).collect();
    assert_eq!(sizes, [10_000_012, 10_000_012, 10_000_012, 0]);
}
