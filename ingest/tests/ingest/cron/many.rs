//! Many triggers on one shard: idle, and all due in the same minute.

use std::{collections::HashSet, sync::Arc};

use keyway_engine::{
    command::{Answer, Command, Receipt, Refusal},
    project::{OnFailure, Ordering, Project, Trigger, Workflow},
    source::{Batch, Positions, Source},
};
use keyway_ingest::trigger::cron::{
    expression::Expression,
    schedule::Schedule,
    settings::{CatchUp, CronSettings, Overlap},
    source::CronSource,
};
use keyway_storage::{
    event::{TriggerId, WorkflowId},
    limits::{CLOCK_LOOK_MS, TICK_LOOKUPS_PER_TURN},
    place::{Offset, Place, ShardId, Timestamp},
};

use super::at;

const TRIGGERS: u128 = 100_000;

/// A log in which every trigger follows its schedule since ten.
struct SinceTen;

impl Positions for SinceTen {
    fn last(&self, _: TriggerId, _: &str) -> Option<u64> {
        None
    }

    fn since(&self, _: TriggerId) -> Option<Timestamp> {
        Some(at("10:00:00"))
    }
}

fn trigger(n: u128, settings: &Arc<CronSettings>) -> Trigger {
    Trigger {
        id: TriggerId(n.to_be_bytes()),
        key: format!("cron-{n}"),
        kind: "cron",
        enabled: true,
        ordering: Ordering::None,
        on_failure: OnFailure::Continue,
        in_flight_max: None,
        cursor: None,
        schedule: Some(1),
        settings: Arc::clone(settings) as Arc<dyn std::any::Any + Send + Sync>,
    }
}

/// A project of so many triggers that tick at each full hour.
fn project() -> Arc<Project> {
    let schedule = Schedule::new(Expression::parse("0 * * * *").unwrap(), jiff::tz::TimeZone::UTC);
    let settings = Arc::new(CronSettings {
        text: "0 * * * *".to_owned(),
        schedule,
        catch_up: CatchUp::Latest,
        overlap: Overlap::Allow,
    });
    let workflow = Workflow {
        id: WorkflowId(1),
        key: "many".to_owned(),
        name: "Many".to_owned(),
        concurrency: None,
        retry: Default::default(),
        at_most_once: false,
        run_timeout_ms: 60_000,
        retention: Default::default(),
        jobs: Vec::new(),
        triggers: (0..TRIGGERS).map(|n| trigger(n, &settings)).collect(),
        graph: Default::default(),
    };
    Arc::new(Project { workflows: vec![workflow], ..Project::default() })
}

fn source(shard: u8, shards: u16, project: &Arc<Project>) -> CronSource {
    let mut source = CronSource::new(ShardId(shard), shards);
    source.tune(project, &SinceTen);
    source
}

/// What a turn takes in.
fn turn(source: &mut CronSource, now: Timestamp, answer: &dyn Fn(u64) -> Answer) -> Vec<TriggerId> {
    let mut batch = Batch::default();
    source.offer(now, &mut batch);
    let mut triggers = Vec::new();
    let mut receipts = Vec::new();
    for (n, (_, ticket, command)) in batch.drain().enumerate() {
        let Command::Receive(input) = command else { panic!("a tick is an input") };
        triggers.push(input.trigger);
        receipts.push(Receipt { ticket, at: now, answer: answer(n as u64) });
    }
    source.release(&mut receipts);
    triggers
}

fn accepted(n: u64) -> Answer {
    Answer::Accepted(Place { shard: ShardId(0), offset: Offset(n) })
}

#[test]
fn a_hundred_thousand_triggers_that_are_due_at_once_tick_once_each_in_bounded_turns() {
    let mut source = source(0, 1, &project());
    let now = at("11:00:00");
    let mut seen = HashSet::new();
    let mut turns = 0;
    loop {
        let ticks = turn(&mut source, now, &accepted);
        assert!(ticks.len() <= TICK_LOOKUPS_PER_TURN, "others get their part of the turn");
        if ticks.is_empty() {
            break;
        }
        turns += 1;
        assert!(ticks.into_iter().all(|trigger| seen.insert(trigger)), "once each");
    }
    assert_eq!(seen.len(), TRIGGERS as usize);
    assert_eq!(turns, (TRIGGERS as usize).div_ceil(TICK_LOOKUPS_PER_TURN));
}

#[test]
fn idle_triggers_cost_a_look_at_the_clock_now_and_then() {
    let mut source = source(0, 1, &project());
    let now = at("10:20:00");
    assert_eq!(turn(&mut source, now, &accepted), []);
    assert_eq!(source.due(), now.plus_millis(CLOCK_LOOK_MS));
    let now = at("10:59:58");
    assert_eq!(turn(&mut source, now, &accepted), []);
    assert_eq!(source.due(), at("11:00:00"));
    let mut none = CronSource::new(ShardId(0), 1);
    none.tune(&Arc::default(), &SinceTen);
    assert_eq!(none.due(), Timestamp::NEVER);
}

#[test]
fn each_trigger_ticks_on_one_shard() {
    let project = project();
    let mut seen = HashSet::new();
    for shard in 0..4 {
        let mut source = source(shard, 4, &project);
        let mut own = 0;
        loop {
            let ticks = turn(&mut source, at("11:00:00"), &accepted);
            if ticks.is_empty() {
                break;
            }
            own += ticks.len();
            assert!(ticks.into_iter().all(|trigger| seen.insert(trigger)));
        }
        assert!((20_000..30_000).contains(&own), "shard {shard} has its share: {own}");
    }
    assert_eq!(seen.len(), TRIGGERS as usize);
}

#[test]
fn ticks_that_find_no_room_are_offered_again_after_a_pause_and_none_twice() {
    let mut source = source(0, 1, &project());
    let now = at("11:00:00");
    let refused = turn(&mut source, now, &|_| Answer::Refused(Refusal::Full));
    assert_eq!(refused.len(), TICK_LOOKUPS_PER_TURN);
    assert_eq!(turn(&mut source, now, &accepted), [], "it waits");
    assert!(source.due() > now);
    let mut seen = HashSet::new();
    let later = now.plus_millis(1_000);
    loop {
        let ticks = turn(&mut source, later, &accepted);
        if ticks.is_empty() {
            break;
        }
        assert!(ticks.into_iter().all(|trigger| seen.insert(trigger)));
    }
    assert_eq!(seen.len(), TRIGGERS as usize);
}
