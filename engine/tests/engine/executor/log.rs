//! Log lines: bounded whatever a job prints, and without the secrets that it knows.

use std::sync::Arc;

use keyway_engine::{executor::walk::no_watch, project::Secret};
use keyway_storage::{
    event::RunState,
    limits::{LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINE_OVERHEAD_BYTES},
};
use serde_json::json;

use super::rehearsal::{Run, project, run, walk};

/// The end of a line that was cut, and the line that says that there are no more.
const CUT: &str = " [line truncated]";
const FULL: &str = "Warn [log truncated: a run may write 1000000 bytes]";

#[test]
fn a_run_that_prints_a_gigabyte_is_cut_and_says_so() {
    let body = "fn(s => { for (let i = 0; i < 100_000; i++) console.log('y'.repeat(10_000)); return s; })";
    // It takes half a minute where others have the processor.
    let project = project(&[("job", body)], &[], "    run_timeout_ms: 600000\n");
    let run = walk(&project, &json!({}), no_watch());
    assert_eq!(run.end().state, RunState::Success);
    assert_eq!(run.lines().last().unwrap(), FULL);
    assert_eq!(run.lines().len(), LOG_BYTES_MAX / (10_000 + LOG_LINE_OVERHEAD_BYTES) + 1);
}

#[test]
fn one_line_of_as_much_as_a_job_may_hold_is_cut() {
    // A second copy of it would be more than the job's memory.
    let run =
        run("fn(s => { console.log('y'.repeat(200_000_000)); console.log('and on'); return s; })", json!({}));
    assert_eq!(run.end().state, RunState::Success, "{:?}", run.end().error);
    let expected = format!("Info {}{CUT}", "y".repeat(LOG_LINE_BYTES_MAX));
    assert_eq!(run.lines(), [expected.as_str(), "Info and on"]);
}

#[test]
fn a_long_line_is_cut_between_two_characters() {
    let run = run(
        "fn(s => { console.log('x' + 'é'.repeat(100_000), '🌍'.repeat(100_000)); return s; })",
        json!({}),
    );
    let text = format!("Info x{}{CUT}", "é".repeat((LOG_LINE_BYTES_MAX - 1) / 2));
    assert_eq!(run.lines(), [text]);
}

#[test]
fn empty_lines_have_a_bound_too() {
    let run = run("fn(s => { for (let i = 0; i < 100_000; i++) console.log(); return s; })", json!({}));
    assert_eq!(run.lines().last().unwrap(), FULL);
    assert_eq!(run.lines().len(), LOG_BYTES_MAX / LOG_LINE_OVERHEAD_BYTES + 1);
}

/// A run of a job that knows these secrets.
fn knowing(secrets: &str, body: &str) -> Run {
    let mut project = project(&[("job", body)], &[], "");
    project.workflows[0].jobs[0].credential = Some(Arc::new(Secret(secrets.into())));
    walk(&project, &json!({}), no_watch())
}

#[test]
fn a_secret_at_the_cut_of_a_line_is_taken_out_whole() {
    // At every place around the cut, with more behind it and without.
    for before in LOG_LINE_BYTES_MAX - 12..LOG_LINE_BYTES_MAX + 2 {
        for more in [0, 100_000] {
            let body = format!(
                "fn(s => {{ console.log('x'.repeat({before}) + s.configuration.key + 'x'.repeat({more})); return s; }})"
            );
            let run = knowing(r#"{"key": "hunter-0-42"}"#, &body);
            let line = &run.lines()[0];
            assert!(!line.contains('h'), "{before}, {more}: {}", &line[line.len() - 60..]);
            assert!(line.ends_with(CUT) || more == 0, "{before}, {more}");
        }
    }
}

#[test]
fn a_line_of_many_secrets_shows_no_part_of_one() {
    // What stands for them is shorter than they are, so that the cut lies far behind the line's own.
    let key = "hunter".repeat(100);
    let body = "fn(s => { console.log((s.configuration.key + ' ').repeat(1_000)); return s; })";
    let run = knowing(&json!({ "key": key }).to_string(), body);
    assert!(!run.lines()[0].contains("hunter"), "{}", run.lines()[0]);
    assert!(run.lines()[0].starts_with("Info [REDACTED] [REDACTED]"));
}

#[test]
fn secrets_that_overlap_leave_nothing_of_either() {
    let secrets = r#"{"a": "abcdefXY", "b": "XYghij", "c": "defX"}"#;
    let run = knowing(secrets, "fn(s => { console.log('-abcdefXYghij-defX-XYghijdefX'); return s; })");
    assert_eq!(run.lines(), ["Info -[REDACTED]-[REDACTED]-[REDACTED][REDACTED]"]);
}
