//! A year of ticks of 50 triggers, from each minute to twice a month, with restarts, crashes on either side of an append, full disks and jumping clocks.

use std::collections::{BTreeMap, BTreeSet};

use keyway_ingest::trigger::cron::{expression::Expression, schedule::Schedule};
use keyway_storage::{
    event::{EventKind, Position, TriggerId},
    place::Timestamp,
};

use super::{at, disk::Fault, world::World};

const TRIGGERS: u8 = 50;
const BEGIN: &str = "2026-01-01T00:00:30Z";
const END: &str = "2027-01-01T00:00:30Z";
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];

/// The smallest generator that is good enough (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn id(n: u8) -> TriggerId {
    TriggerId([n + 1; 16])
}

/// A project file with all triggers, and the schedules that it means.
fn triggers(random: &mut Random) -> (String, Vec<Schedule>) {
    let mut file = "name: year\nworkflows:\n".to_owned();
    let mut schedules = Vec::new();
    for n in 0..TRIGGERS {
        let (minute, hour) = (random.below(60), random.below(24));
        let expression = match n {
            0 => "* * * * *".to_owned(),
            1..5 => "*/15 * * * *".to_owned(),
            5..10 => format!("{minute} * * * *"),
            _ => match random.below(5) {
                0 => format!("{minute} */6 * * *"),
                1 => format!("{minute} */{} * * *", 3 + random.below(5)),
                2 => format!("{minute} {hour} * * mon-fri"),
                3 => format!("{minute} {} 1,15 * *", random.below(4)),
                _ => format!("{minute} {} * * *", random.below(4)),
            },
        };
        let zone = ZONES[random.below(4) as usize];
        let uuid = uuid::Uuid::from_bytes(id(n).0);
        file.push_str(&format!(
            "  w{n}:\n    jobs: {{pull: {{name: Pull, body: \"fn(s => s)\"}}}}\n    triggers: {{cron: {{id: {uuid}, type: \
             cron, cron_expression: '{expression}', timezone: {zone}, catch_up: all}}}}\n    edges: {{e: \
             {{source_trigger: cron, target_job: pull, condition_type: always, enabled: true}}}}\n"
        ));
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        schedules.push(Schedule::new(Expression::parse(&expression).unwrap(), zone));
    }
    (file, schedules)
}

/// One thing happens to the machine, now and then.
fn trouble(world: &mut World, random: &mut Random) {
    match random.below(40_000) {
        0..2 => world.disk.fail(Fault::Before),
        2..4 => world.disk.fail(Fault::After),
        4..8 => world.disk.fail(Fault::Full),
        8 => {
            world.kill();
            world.set_clock(world.time().plus_millis(random.below(8 * 3_600_000)));
            world.start();
        }
        // The clock is set, or the machine slept.
        9..12 => world.set_clock(world.time().plus_millis(random.below(3 * 3_600_000))),
        12..15 => world.set_clock(Timestamp(world.time().0 - random.below(3 * 3_600_000_000))),
        15 => {
            let time = world.time();
            world.set_clock(Timestamp(10_000_000));
            if !world.turn() {
                world.start();
            }
            world.set_clock(time.plus_millis(30_000));
        }
        _ => {}
    }
}

#[test]
fn each_tick_of_a_year_is_made_exactly_once() {
    let mut random = Random(2026);
    let (file, schedules) = triggers(&mut random);
    let mut world = World::new(BEGIN, &file);
    let mut crashes = 0;
    while world.time() < at(END) {
        trouble(&mut world, &mut random);
        let seconds = 40 + random.below(40);
        world.set_clock(world.time().plus_millis(seconds * 1_000));
        if !world.turn() {
            crashes += 1;
            world.set_clock(world.time().plus_millis(random.below(3_600_000)));
            world.start();
        }
    }
    // What was to fail next may still do so.
    while !world.turn() {
        world.start();
    }
    world.set_clock(world.time().plus_millis(5_000));
    assert!(world.turn());
    assert!(crashes > 20, "{crashes}");
    check(&world, &schedules);
}

fn check(world: &World, schedules: &[Schedule]) {
    let mut made: BTreeMap<TriggerId, Vec<Timestamp>> = BTreeMap::new();
    for event in world.events() {
        match event.kind {
            EventKind::Received(it) => {
                let Position::Next { number, .. } = it.position else { panic!("not a tick") };
                made.entry(it.trigger).or_default().push(Timestamp(number * 1_000_000));
            }
            EventKind::TickSkipped(skipped) => panic!("{skipped:?}"),
            _ => {}
        }
    }
    let mut all = 0;
    for (n, schedule) in (0..).zip(schedules) {
        let made = made.remove(&id(n)).unwrap_or_default();
        let once: BTreeSet<_> = made.iter().copied().collect();
        assert_eq!(once.len(), made.len(), "trigger {n}: no tick is made twice");
        let ticks = std::iter::successors(schedule.next(at(BEGIN)), |tick| schedule.next(*tick));
        let expected: BTreeSet<_> = ticks.take_while(|tick| *tick <= at(END)).collect();
        let made: BTreeSet<_> = once.into_iter().filter(|tick| *tick <= at(END)).collect();
        assert_eq!(made, expected, "trigger {n}");
        all += made.len();
    }
    assert!(all > 700_000, "{all}");
}
