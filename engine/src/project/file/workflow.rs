//! Workflows of a project file.

use std::collections::{HashMap, HashSet};

use keyway_storage::{
    event::JobId,
    limits::{JOBS_PER_WORKFLOW_MAX, RETRY_BACKOFF_MS_MAX, RUN_TIMEOUT_MS_MAX, RUNS_PER_WORK_ORDER_MAX},
};

use super::{Credentials, Reader, SharedSettings, check_key, edge, job};
use crate::project::{
    Field, OnFailure, Ordering, Retention, Retry, Section, Trigger, Workflow, trigger_section::JobKeys,
    workflow_id,
};

/// How long a run may take when the file does not say, as in OpenFn.
const RUN_TIMEOUT_MS_DEFAULT: u64 = 60_000;

impl Reader<'_> {
    pub(super) fn workflows<'a>(
        &mut self,
        entries: &[(&'a str, Field<'a>)],
        credentials: &Credentials<'_>,
        shared: &SharedSettings,
        retention: Retention,
    ) -> Vec<Workflow> {
        let mut anywhere = HashMap::new();
        for (key, field) in entries {
            for job in field.job_keys() {
                anywhere.entry(job).or_insert(*key);
            }
        }
        let mut ids = HashSet::new();
        let mut workflows = Vec::new();
        for (key, field) in entries {
            check_key(field, key, "workflow");
            let jobs = JobKeys { here: here(field), anywhere: &anywhere };
            let Some(section) = field.section() else { continue };
            let workflow = self.workflow(key, &section, &jobs, credentials, shared);
            let workflow = Workflow { retention: retention.of_workflow(&section), ..workflow };
            section.finish();
            if !ids.insert(workflow.id) {
                field.mistake_at_key("this key has the same hash as another workflow's", "change the key");
            }
            workflows.push(workflow);
        }
        workflows
    }

    fn workflow(
        &mut self,
        key: &str,
        section: &Section<'_>,
        keys: &JobKeys<'_>,
        credentials: &Credentials<'_>,
        shared: &SharedSettings,
    ) -> Workflow {
        let name = section.field("name").and_then(|field| field.name()).unwrap_or(key).to_owned();
        let concurrency = section.number("concurrency", 1..=u64::from(u32::MAX));
        let retry = section.field("retry").and_then(|field| read_retry(&field)).unwrap_or_default();
        let at_most_once = section.flag("at_most_once", false);
        let run_timeout_ms = section.number("run_timeout_ms", 1..=RUN_TIMEOUT_MS_MAX);
        let entries = |key| section.field(key).and_then(|field| field.entries()).unwrap_or_default();
        let jobs = entries("jobs");
        if let Some((_, field)) = jobs.get(JOBS_PER_WORKFLOW_MAX) {
            field.mistake_at_key(format!("a workflow has at most {JOBS_PER_WORKFLOW_MAX} jobs"), "");
        }
        let jobs: Vec<_> = jobs.iter().map(|(key, field)| job::read(key, field, credentials)).collect();
        let triggers = entries("triggers");
        let trigger_keys: HashMap<_, _> =
            triggers.iter().enumerate().map(|(index, (key, _))| (*key, index)).collect();
        let edges = entries("edges");
        let graph = edge::read_all(&edges, &trigger_keys, keys);
        for ((_, field), edges) in triggers.iter().zip(&graph.from_trigger) {
            if edges.is_empty() {
                field.warning("no enabled edge leads from this trigger, so its runs do nothing", "");
            }
        }
        let mut read = |(name, field): &(&str, Field<'_>)| {
            let trigger = self.trigger(key, name, field, keys, shared)?;
            warn_of_failure(field, &trigger, retry, concurrency == Some(1));
            Some(trigger)
        };
        let triggers: Vec<_> = triggers.iter().filter_map(&mut read).collect();
        section.ignore(&[
            "color",
            "deleted_at",
            "description",
            "enable_job_logs",
            "history",
            "id",
            "lock_version",
            "openfn",
            "options",
            "positions",
            "start",
            "version_history",
        ]);
        Workflow {
            id: workflow_id(key),
            key: key.to_owned(),
            name,
            concurrency: concurrency.map(|most| most as u32),
            retry,
            at_most_once,
            run_timeout_ms: run_timeout_ms.unwrap_or(RUN_TIMEOUT_MS_DEFAULT),
            retention: Retention::default(),
            jobs,
            triggers,
            graph,
        }
    }
}

fn here<'a>(workflow: &Field<'a>) -> HashMap<&'a str, JobId> {
    workflow.job_keys().enumerate().map(|(index, key)| (key, JobId(index as u16))).collect()
}

fn read_retry(field: &Field<'_>) -> Option<Retry> {
    let default = Retry::default();
    let section = field.section()?;
    let attempts_max = section.number("attempts_max", 1..=u64::from(RUNS_PER_WORK_ORDER_MAX));
    let initial = section.number("backoff_initial_ms", 0..=RETRY_BACKOFF_MS_MAX);
    let most = section.number("backoff_max_ms", 0..=RETRY_BACKOFF_MS_MAX);
    section.finish();
    let backoff_initial_ms = initial.unwrap_or(default.backoff_initial_ms);
    let backoff_max_ms = most.unwrap_or(default.backoff_max_ms.max(backoff_initial_ms));
    if backoff_initial_ms > backoff_max_ms {
        field.mistake("`backoff_initial_ms` is more than `backoff_max_ms`", "");
    }
    let attempts_max = attempts_max.map_or(default.attempts_max, |most| most as u8);
    Some(Retry { attempts_max, backoff_initial_ms, backoff_max_ms })
}

/// Warns of an `on_failure` that does nothing.
fn warn_of_failure(field: &Field<'_>, trigger: &Trigger, retry: Retry, serial: bool) {
    match trigger.on_failure {
        OnFailure::Retry if retry.attempts_max == 1 => field.warning(
            "`on_failure: retry` retries nothing",
            "set `retry: {attempts_max: ...}` of the workflow",
        ),
        OnFailure::BlockKey if trigger.ordering == Ordering::None && !serial => {
            field.warning("`on_failure: block_key` has nothing to block without an `ordering`", "");
        }
        _ => {}
    }
}
