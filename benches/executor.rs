//! What a run costs the executor: from a claim's plan to its report, with nothing written and nothing synced.
//!
//! The target is 5,000 trivial runs per second and core: 200 us each.

mod common;

use bytes::Bytes;
use common::run;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keyway_engine::{
    executor::{
        sandbox::{Sandbox, Scripts},
        script::compile,
    },
    project::{Condition, Edge, Graph, Job, Retry, Workflow},
};
use keyway_storage::event::{JobId, WorkflowId};

fn workflow(bodies: &[&str]) -> Workflow {
    let jobs = bodies.iter().enumerate().map(|(index, body)| Job {
        key: format!("job-{index}"),
        name: format!("Job {index}"),
        adaptor: "@openfn/language-common@latest".to_owned(),
        body: (*body).to_owned(),
        ..Job::default()
    });
    let edge = |target| Edge { target: JobId(target as u16), condition: Condition::OnJobSuccess };
    let next = |index: usize| if index + 1 < bodies.len() { vec![edge(index + 1)] } else { Vec::new() };
    Workflow {
        id: WorkflowId(1),
        key: "bench".to_owned(),
        name: "Bench".to_owned(),
        concurrency: None,
        retry: Retry::default(),
        at_most_once: false,
        run_timeout_ms: 60_000,
        retention: Default::default(),
        jobs: jobs.collect(),
        triggers: Vec::new(),
        graph: Graph { from_trigger: Vec::new(), from_job: (0..bodies.len()).map(next).collect() },
    }
}

fn runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("executor");
    group.throughput(Throughput::Elements(1));
    let small = Bytes::from_static(
        br#"{"data":{"patient":{"id":"p-1","name":"Amina"},"visits":[1,2,3]},"request":{}}"#,
    );
    let items: Vec<String> =
        (0..200).map(|n| format!(r#"{{"id":{n},"name":"item {n}","tags":["a","b"]}}"#)).collect();
    let large = Bytes::from(format!(r#"{{"data":{{"items":[{}]}}}}"#, items.join(",")));
    let table: &[(&str, &[&str], &Bytes)] = &[
        ("trivial", &["fn(state => state)"], &small),
        ("three steps", &["fn(state => state)"; 3], &small),
        (
            "each over 200 items",
            &["each($.data.items, fn(state => ({ ...state, sum: (state.sum ?? 0) + state.data.id })))"],
            &large,
        ),
    ];
    for (name, bodies, state) in table {
        let (workflow, scripts) = (workflow(bodies), Scripts::default());
        let mut sandbox = Sandbox::new().expect("there is memory");
        group.bench_function(*name, |bencher| bencher.iter(|| run(&workflow, &scripts, &mut sandbox, state)));
    }
    group.bench_function("sandbox made", |bencher| {
        bencher.iter(|| Sandbox::new().map(drop));
    });
    let mut sandbox = Sandbox::new().expect("there is memory");
    group.bench_function("sandbox made fresh again", |bencher| bencher.iter(|| sandbox.reset()));
    group.bench_function("compile", |bencher| {
        bencher.iter(|| compile("each($.data.items, fn(state => state))"))
    });
    group.finish();
}

criterion_group!(benches, runs);
criterion_main!(benches);
