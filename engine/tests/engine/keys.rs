//! Idempotency keys are forgotten when their window ends, and when there are too many of them.

use keyway_engine::state::keys::Keys;
use keyway_storage::{
    event::TriggerId,
    key::{Key, Tag},
    limits::{ONCE_FORGOTTEN_PER_EVENT_MAX, ONCE_FRONT_ENTRIES_MAX},
    place::{Offset, Timestamp},
    rows::Rows,
    table::{OnceEnd, OnceRow},
};

const TRIGGER: TriggerId = TriggerId([3; 16]);

struct World {
    rows: Rows,
    keys: Keys,
    watermark: u64,
}

impl World {
    fn new(most: u64) -> Self {
        let rows = Rows::memory(Tag::Watermark);
        let keys = Keys::open(&rows, most).unwrap();
        Self { rows, keys, watermark: 0 }
    }

    /// An event at this time that holds a key whose window ends then.
    fn remember(&mut self, at: u64, key: u128, until: u64) {
        let until = Timestamp(until);
        let row = OnceRow { offset: Offset(0), at: Timestamp(at), body: 0, until };
        self.keys.remember(OnceEnd { until, trigger: TRIGGER, key }, row, &mut self.rows);
        self.pass(at);
    }

    /// Some other event.
    fn pass(&mut self, at: u64) {
        self.keys.forget(Timestamp(at), &mut self.rows).unwrap();
    }

    fn knows(&self, key: u128) -> bool {
        self.rows.get(&OnceRow::key(TRIGGER, key)).unwrap().is_some()
    }

    fn ends(&self) -> usize {
        let prefix = Key::new(Tag::OnceUntil);
        self.rows.scan(prefix, prefix.prefix_end(), usize::MAX).unwrap().len()
    }

    /// What a crash or a restart leaves: the committed rows.
    fn reopen(&mut self, most: u64) {
        self.keys.flush(&mut self.rows);
        self.watermark += 1;
        self.rows.commit(Offset(self.watermark)).unwrap();
        self.keys = Keys::open(&self.rows, most).unwrap();
    }
}

#[test]
fn a_key_is_forgotten_by_the_first_event_after_its_window() {
    let mut world = World::new(100);
    for key in 0..5 {
        world.remember(10, key, 20 + key as u64);
    }
    world.pass(19);
    assert_eq!(world.keys.count(), 5);
    world.pass(20);
    assert_eq!((0..5).map(|key| world.knows(key)).collect::<Vec<_>>(), [false, true, true, true, true]);
    // A few at a time: no event pays for a flood.
    world.pass(100);
    assert_eq!(world.keys.count(), 4 - ONCE_FORGOTTEN_PER_EVENT_MAX as u64);
    world.pass(100);
    assert_eq!((world.keys.count(), world.ends()), (0, 0));
}

#[test]
fn beyond_the_bound_the_key_whose_window_ends_first_makes_room() {
    let mut world = World::new(3);
    for (key, until) in [(1, 500), (2, 300), (3, 400), (4, 600)] {
        world.remember(10, key, until);
    }
    assert_eq!(world.keys.count(), 3);
    assert_eq!((1..5).map(|key| world.knows(key)).collect::<Vec<_>>(), [true, false, true, true]);
    world.reopen(3);
    world.remember(11, 5, 700);
    assert_eq!((1..6).map(|key| world.knows(key)).collect::<Vec<_>>(), [true, false, false, true, true]);
}

#[test]
fn a_key_that_came_again_after_its_window_is_not_forgotten_with_the_old_one() {
    let mut world = World::new(100);
    for key in 0..9 {
        world.remember(10, key, 20);
    }
    // The events so far forgot none of them; this one comes before most are gone.
    world.remember(30, 8, 90);
    for _ in 0..9 {
        world.pass(31);
    }
    assert_eq!((world.keys.count(), world.ends()), (1, 1));
    assert!(world.knows(8));
}

#[test]
fn more_keys_than_memory_holds_are_forgotten_in_the_order_of_their_ends() {
    let keys = 3 * ONCE_FRONT_ENTRIES_MAX as u64 + 7;
    let mut world = World::new(u64::MAX);
    let end = |key: u64| 1_000 + key * 7_919 % keys;
    for key in 0..keys {
        world.remember(10, u128::from(key), end(key));
        if key == keys / 2 {
            world.reopen(u64::MAX);
        }
    }
    for now in 1_000..1_000 + keys {
        world.pass(now);
        assert_eq!(world.keys.count(), keys - (now - 999));
        if now % 500 == 0 {
            world.reopen(u64::MAX);
            // One whose window is shorter than those of all before it goes before them.
            world.remember(now, u128::MAX, now + 1);
            world.pass(now + 1);
            assert!(!world.knows(u128::MAX));
            world.remember(now, u128::from(keys), u64::MAX - now);
            world.keys.forget(Timestamp(now), &mut world.rows).unwrap();
            let forgotten = (0..keys).filter(|key| end(*key) <= now);
            assert!(forgotten.into_iter().all(|key| !world.knows(u128::from(key))));
            return;
        }
    }
}
