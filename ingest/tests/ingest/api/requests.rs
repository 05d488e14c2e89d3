//! What the metrics say of webhooks, however many there are.

use hyper::StatusCode;
use keyway_engine::{
    project::{self, Origin},
    source::Positions,
};
use keyway_ingest::{
    http,
    trigger::{
        types,
        webhook::{directory::Published, tally::Outcome},
    },
};
use keyway_storage::{event::TriggerId, limits::METRICS_TRIGGERS_MAX, place::Timestamp};

use super::world::{Files, World};

struct Known;

impl Positions for Known {
    fn last(&self, _: TriggerId, _: &str) -> Option<u64> {
        None
    }
}

#[test]
fn triggers_over_the_bound_share_a_series() {
    let (more, mut text) = (3, "name: many\nworkflows:\n".to_owned());
    for n in 0..METRICS_TRIGGERS_MAX + more {
        text += &format!(
            "  w{n}:\n    jobs: {{j: {{name: J, body: 'fn(s => s)'}}}}\n    triggers: {{t: {{type: webhook}}}}\n    \
             edges: {{e: {{source_trigger: t, target_job: j, condition_type: always}}}}\n"
        );
    }
    let (origin, mut made) = (Origin { file: "f.yaml".into(), folder: "/".into() }, 0_u128);
    let mut make = || {
        made += 1;
        made.to_be_bytes()
    };
    let project = project::read(&text, &origin, &types(), &Files, &[], &mut make).unwrap().project;
    let mut world = World::bare(1);
    world.api.gauges.webhooks = std::sync::Arc::new(Published::new(2));
    let published = &world.api.gauges.webhooks;
    published.put(&project, &Known);
    for hook in published.all() {
        for door in [0, 1] {
            let answer = http::refusal(StatusCode::UNAUTHORIZED, "Unauthorized");
            hook.tally.note(door, &answer, Timestamp(7));
            // No door of ours: it is not counted, and breaks nothing.
            hook.tally.note(2 + door, &answer, Timestamp(9));
        }
        assert_eq!(hook.tally.read().refused, Some((Timestamp(7), Outcome::Unauthorized)));
    }
    let metrics = world.call(hyper::Method::GET, "/metrics", "").text;
    let series: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("keyway_webhook_requests_total{")).collect();
    assert_eq!(series.len(), METRICS_TRIGGERS_MAX + 1);
    assert_eq!(series.iter().filter(|line| line.ends_with(" 2")).count(), METRICS_TRIGGERS_MAX);
    let others = "keyway_webhook_requests_total{trigger=\"others\",outcome=\"unauthorized\"} 6";
    assert!(series.contains(&others), "{:?}", series.last());
}
