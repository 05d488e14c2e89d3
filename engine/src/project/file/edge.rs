//! Edges of a project file.
//!
//! Invariant: the graph that is made has no cycle, and no two edges from one place to the same job.

use std::collections::{HashMap, HashSet};

use keyway_storage::event::JobId;

use crate::project::{Condition, Edge, Field, Graph, script, trigger_section::JobKeys};

/// Most jobs of a cycle that are named.
const CYCLE_SHOWN_MAX: usize = 10;

/// Where an edge starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Start {
    Trigger(usize),
    Job(JobId),
}

#[derive(Clone, Copy)]
enum Word {
    Always,
    Never,
    Success,
    Failure,
    Expression,
}

/// Reads all edges of a workflow; those that are disabled are checked and left out.
pub(super) fn read_all(
    entries: &[(&str, Field<'_>)],
    triggers: &HashMap<&str, usize>,
    jobs: &JobKeys<'_>,
) -> Graph {
    let mut graph =
        Graph { from_trigger: vec![Vec::new(); triggers.len()], from_job: vec![Vec::new(); jobs.here.len()] };
    let mut seen = HashSet::new();
    let mut places = HashMap::new();
    for (_, field) in entries {
        let Some((start, edge)) = read(field, triggers, jobs) else { continue };
        if !seen.insert((start, edge.target)) {
            let hint = "one edge with `always` or a `js_expression` can stand for both";
            field.mistake_at_key("another edge joins the same two already", hint);
            continue;
        }
        match start {
            Start::Trigger(index) => graph.from_trigger[index].push(edge),
            Start::Job(job) => {
                places.insert((job, edge.target), field);
                graph.from_job[usize::from(job.0)].push(edge);
            }
        }
    }
    refuse_cycles(&graph, &places, jobs);
    graph
}

fn read(field: &Field<'_>, triggers: &HashMap<&str, usize>, jobs: &JobKeys<'_>) -> Option<(Start, Edge)> {
    let section = field.section()?;
    let (from_trigger, from_job) = (section.field("source_trigger"), section.field("source_job"));
    let start = match (from_trigger, from_job) {
        (Some(trigger), None) => find_trigger(&trigger, triggers).map(Start::Trigger),
        (None, Some(job)) => jobs.find(&job).map(Start::Job),
        (Some(_), Some(job)) => {
            job.mistake_at_key("an edge starts at a trigger or at a job, not at both", "");
            None
        }
        (None, None) => {
            section.mistake("an edge needs `source_trigger` or `source_job`", "");
            None
        }
    };
    let target = section.required("target_job").and_then(|field| jobs.find(&field));
    let word = section.choice(
        "condition_type",
        &[
            ("always", Word::Always),
            ("on_job_success", Word::Success),
            ("on_job_failure", Word::Failure),
            ("js_expression", Word::Expression),
            ("never", Word::Never),
        ],
    );
    let word = word.unwrap_or(Word::Always);
    let expression = match word {
        Word::Expression => {
            section.required("condition_expression").and_then(|field| read_expression(&field))
        }
        _ => section.field("condition_expression").and(None),
    };
    let enabled = section.flag("enabled", true);
    section.ignore(&["id", "condition_label", "description", "positions", "openfn"]);
    section.finish();
    let condition = match word {
        Word::Always => Condition::Always,
        Word::Success => Condition::OnJobSuccess,
        Word::Failure => Condition::OnJobFailure,
        Word::Expression => Condition::Expression(expression?.to_owned()),
        Word::Never => return None,
    };
    if matches!((start, word), (Some(Start::Trigger(_)), Word::Success | Word::Failure)) {
        let hint = "use `always` or `js_expression`";
        field.mistake_at_key("no job comes before this edge, so none succeeds or fails", hint);
    }
    let edge = Edge { target: target?, condition };
    enabled.then_some((start?, edge))
}

fn find_trigger(field: &Field<'_>, triggers: &HashMap<&str, usize>) -> Option<usize> {
    let key = field.text()?;
    let found = triggers.get(key).copied();
    if found.is_none() {
        let hint = field.context.nearest(key, triggers.keys().copied());
        field.mistake(format!("there is no trigger `{key}` in this workflow"), hint);
    }
    found
}

fn read_expression<'a>(field: &Field<'a>) -> Option<&'a str> {
    let source = field.text()?;
    script::note_faults(field, script::check_expression(source));
    Some(source)
}

/// Names each cycle once, at the edge that closes it.
fn refuse_cycles(graph: &Graph, places: &HashMap<(JobId, JobId), &Field<'_>>, jobs: &JobKeys<'_>) {
    let keys: HashMap<JobId, &str> = jobs.here.iter().map(|(key, job)| (*job, *key)).collect();
    for cycle in graph.cycles() {
        let (last, first) = (cycle[cycle.len() - 1], cycle[0]);
        let path: Vec<_> = cycle.iter().take(CYCLE_SHOWN_MAX).map(|job| keys[job]).collect();
        let more = if cycle.len() > CYCLE_SHOWN_MAX { " -> ..." } else { "" };
        let path = path.join(" -> ");
        let message = format!("jobs must not form a cycle: {path}{more} -> {}", keys[&first]);
        places[&(last, first)].mistake_at_key(message, "take one of these edges out");
    }
}
