//! What a door does for a request, and what it reads for a list: each a part of its own.

mod common;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{Flood, NOW, PROJECT, apply, body, catalog, data, home, open, project, trigger};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use hyper::{HeaderMap, header::HeaderValue};
use keyway_engine::{
    project::{Origin, Project, Reference, SecretSource, read},
    source::Positions,
    view::{
        list::{Filter, work_orders},
        walk::Range,
    },
};
use keyway_ingest::{
    json, time,
    trigger::{
        types,
        webhook::{
            auth::{Verdict, fits},
            directory::{Hook, Published},
        },
    },
};
use keyway_storage::{
    directory::Durability,
    event::TriggerId,
    id::Ids,
    place::{Offset, Place, ShardId},
};
use sha2::Sha256;

const SECRET: &str = "a-secret-of-32-characters-for-us";
/// Work orders of which a page is read.
const ORDERS: u64 = 100_000;

/// Knows one secret, and no positions.
struct Known;

impl SecretSource for Known {
    fn resolve(&self, _: &Reference) -> Result<String, String> {
        Ok(SECRET.to_owned())
    }
}

impl Positions for Known {
    fn last(&self, _: TriggerId, _: &str) -> Option<u64> {
        None
    }
}

fn read_project(text: &str) -> Project {
    let origin = Origin { file: "bench".into(), folder: "/".into() };
    let reading = read(text, &origin, &types(), &Known, &[], &mut || [1; 16]);
    reading.expect("the project is valid").project
}

/// The project of all benches, with this many more workflows like its own.
fn many(more: usize) -> Project {
    let mut text = PROJECT.to_owned();
    for number in 0..more {
        text += &format!(
            "  w{number}:
    jobs: {{job: {{name: Job, body: 'fn(s => s)'}}}}
    triggers: {{hook: {{id: 1c9f1f9e-60a4-4f0c-8a4a-{number:012x}, type: webhook, enabled: true}}}}
    edges: {{e: {{source_trigger: hook, target_job: job, condition_type: always, enabled: true}}}}
"
        );
    }
    read_project(&text)
}

fn checks(bench: &mut Criterion) {
    let body = body();
    let mut group = bench.benchmark_group("door");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("check 300 bytes of JSON", |bencher| {
        bencher.iter(|| json::check(black_box(&body)).is_ok());
    });
}

fn ids(bench: &mut Criterion) {
    let ids = Ids::new([7; 16]);
    let place = Place { shard: ShardId(1), offset: Offset(1_234_567) };
    let id = ids.work_order(place, NOW);
    let mut group = bench.benchmark_group("door");
    group.bench_function("make an id", |bencher| bencher.iter(|| ids.work_order(black_box(place), NOW)));
    group.bench_function("read an id", |bencher| {
        bencher.iter(|| ids.decode(black_box(id)).expect("it is ours").place);
    });
}

fn signatures(bench: &mut Criterion) {
    let text =
        PROJECT.replace("type: webhook,", "type: webhook, webhook_auth_methods: [signature],").replace(
            "workflows:",
            "webhook_auth_methods: {signature: {type: hmac, scheme: github, secret: {env: S}}}\nworkflows:",
        );
    let hook = hook(&read_project(&text));
    let body = body();
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    let mac = mac.chain_update(&body).finalize().into_bytes();
    let mut digits = [0; 64];
    let signature = base16ct::lower::encode_str(&mac, &mut digits).expect("there is room for the digits");
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("sha256={signature}")).expect("it is text");
    headers.insert("x-hub-signature-256", value);
    bench.benchmark_group("door").bench_function("check a signature of 300 bytes", |bencher| {
        bencher.iter(|| match hook.gate.judge(black_box(&headers), NOW) {
            Verdict::Signed(signed) => assert!(fits(&signed, &body)),
            _ => unreachable!("it is signed"),
        });
    });
}

/// The webhook of the benches' project.
fn hook(project: &Project) -> Arc<Hook> {
    let published = Published::new(1);
    published.put(project, &Known);
    published.of(trigger()).expect("it is there")
}

fn directories(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("door, find a webhook");
    for more in [0, 10_000] {
        let published = Published::new(1);
        published.put(&many(more), &Known);
        let mut copy = Default::default();
        published.refresh(&mut copy);
        let path = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
        group.bench_with_input(BenchmarkId::from_parameter(more + 1), &path, |bencher, path| {
            bencher.iter(|| {
                published.refresh(&mut copy);
                copy.1.find(black_box(path).split('/')).expect("it is there").id
            });
        });
    }
}

fn pages(bench: &mut Criterion) {
    let (home, catalog, bell) = (home(), catalog(), Arc::default());
    let dir = data(home.path());
    let mut shard = open(&dir, Durability::Os, &catalog, &bell);
    apply(&mut shard);
    let left = Arc::new(AtomicU64::new(ORDERS));
    shard.connect(vec![Box::new(Flood::new(&left))]);
    while left.load(Ordering::Relaxed) > 0 {
        shard.turn(time::now()).expect("the turn succeeds");
    }
    let (readers, workflow) = ([shard.reader()], project().workflows[0].id);
    let mut group = bench.benchmark_group("a page of a list");
    for most in [10, 100] {
        group.throughput(Throughput::Elements(most as u64));
        let range = Range { most, ..Range::default() };
        for (name, filter) in [
            ("all", Filter::default()),
            ("of a workflow", Filter { workflow: Some(workflow), ..Filter::default() }),
        ] {
            group.bench_with_input(BenchmarkId::new(name, most), &range, |bencher, range| {
                bencher.iter(|| {
                    let page = work_orders(&readers, &filter, range).expect("it can be read");
                    assert_eq!(page.items.len(), most);
                });
            });
        }
    }
}

criterion_group!(benches, checks, ids, signatures, directories, pages);
criterion_main!(benches);
