//! First runs that wait: the order of each lane, and rows that do not depend on when they were committed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use keyway_engine::queue::{
    Queue, lane,
    old::{is_old, renew},
};
use keyway_storage::{
    event::LaneId,
    key::{Key, Tag},
    limits::LANE_FRONT_ENTRIES_MAX,
    place::Offset,
    rows::Rows,
    table::{WaitingEntry, lane_key},
};
use proptest::prelude::*;

/// More than one lane keeps in memory.
const DEEP: u64 = 3 * LANE_FRONT_ENTRIES_MAX as u64;

fn keyed(owner: u64, number: u16) -> LaneId {
    LaneId { owner, number: lane::KEYED + number, key: 0 }
}

fn entry(offset: u64) -> WaitingEntry {
    WaitingEntry { offset: Offset(offset), key: (!offset.is_multiple_of(3)).then_some(offset % 7) }
}

fn push(queue: &mut Queue, rows: &mut Rows, lane: LaneId, offset: u64) {
    queue.push(lane, entry(offset), rows).expect("memory does not fail");
}

/// Takes the next run of a lane and ends it.
fn serve(queue: &mut Queue, rows: &mut Rows, lane: LaneId) -> Option<Offset> {
    queue.refill(rows).expect("memory does not fail");
    let next = queue.waiting(lane).next()?.row;
    let offset = queue.waiting(lane).next()?.offset;
    assert_eq!(next.key, entry(offset.0).key);
    queue.take(lane, offset, rows).expect("memory does not fail");
    queue.give_back(lane, rows);
    Some(offset)
}

fn commit(queue: &mut Queue, rows: &mut Rows, watermark: u64) {
    queue.flush(rows);
    rows.commit(Offset(watermark)).expect("memory does not fail");
}

fn all(rows: &Rows) -> Vec<(Key, Bytes)> {
    let end = Key::from_slice(&[u8::MAX]);
    let rows = rows.reader().scan(Key::new(Tag::Project), end);
    rows.map(|row| row.expect("memory does not fail")).collect()
}

#[test]
fn a_backlog_that_is_larger_than_memory_holds_comes_out_in_the_order_in_which_it_went_in() {
    let (mut queue, mut rows) = (Queue::default(), Rows::memory(Tag::Watermark));
    let lanes = [keyed(1, 0), keyed(1, 1), LaneId { owner: 2, number: lane::NONE, key: 0 }];
    // The second lane's runs begin when the first one's are beyond what is in memory, and are far apart.
    let lane_of = |offset: u64| match offset {
        offset if offset > DEEP && offset.is_multiple_of(300) => lanes[1],
        offset if offset.is_multiple_of(5) => lanes[2],
        _ => lanes[0],
    };
    let mut expected: BTreeMap<LaneId, VecDeque<u64>> = BTreeMap::new();
    for offset in 0..3 * DEEP {
        push(&mut queue, &mut rows, lane_of(offset), offset);
        expected.entry(lane_of(offset)).or_default().push_back(offset);
    }
    commit(&mut queue, &mut rows, 3 * DEEP);
    let mut queue = Queue::open(&mut rows, std::iter::empty()).expect("memory does not fail");
    while !expected.is_empty() {
        expected.retain(|lane, offsets| {
            let offset = offsets.pop_front().expect("it is not empty");
            assert_eq!(serve(&mut queue, &mut rows, *lane), Some(Offset(offset)));
            !offsets.is_empty()
        });
    }
    commit(&mut queue, &mut rows, 3 * DEEP);
    assert!(!queue.is_ready());
    assert_eq!(all(&rows), Vec::new());
}

/// What happens to a queue.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u16, u16),
    Serve(u16, u16),
    Commit,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u16, 1..700u16).prop_map(|(lane, count)| Step::Push(lane, count)),
        4 => (0..3u16, 1..700u16).prop_map(|(lane, count)| Step::Serve(lane, count)),
        1 => Just(Step::Commit),
        1 => Just(Step::Restart),
    ]
}

/// What was served, by lane, and the rows at the end.
type Taken = (Vec<(u16, u64)>, Vec<(Key, Bytes)>);

/// Takes the steps, with commits and restarts or without, and returns what came of them.
fn take(steps: &[Step], interrupted: bool) -> Taken {
    let (mut queue, mut rows) = (Queue::default(), Rows::memory(Tag::Watermark));
    let (mut next, mut served) = (0, Vec::new());
    for step in steps {
        match *step {
            Step::Push(lane, count) => {
                for _ in 0..count {
                    push(&mut queue, &mut rows, keyed(u64::from(lane / 2), lane), next);
                    // Other events are in between.
                    next += 1 + next % 3;
                }
            }
            Step::Serve(number, count) => {
                let lane = keyed(u64::from(number / 2), number);
                for _ in 0..count {
                    served.extend(serve(&mut queue, &mut rows, lane).map(|offset| (number, offset.0)));
                }
            }
            Step::Commit if interrupted => commit(&mut queue, &mut rows, next),
            Step::Restart if interrupted => {
                commit(&mut queue, &mut rows, next);
                queue = Queue::open(&mut rows, std::iter::empty()).expect("memory does not fail");
            }
            Step::Commit | Step::Restart => {}
        }
    }
    commit(&mut queue, &mut rows, next);
    (served, all(&rows))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn commits_and_restarts_change_neither_what_is_served_nor_the_rows(steps in prop::collection::vec(step(), 1..40)) {
        let (served, rows) = take(&steps, false);
        let (served_too, rows_too) = take(&steps, true);
        prop_assert_eq!(&served, &served_too);
        prop_assert_eq!(rows, rows_too);
        for lane in 0..3 {
            let of_lane: Vec<u64> = served.iter().filter(|(it, _)| *it == lane).map(|(_, offset)| *offset).collect();
            prop_assert!(of_lane.is_sorted_by(|one, next| one < next));
        }
    }
}

/// A row as versions before wrote it.
fn put_old(rows: &mut Rows, lane: LaneId, offsets: &[u64]) {
    let mut value = Vec::new();
    for offset in offsets {
        value.push((offset % 256) as u8);
        match entry(*offset).key {
            None => value.push(0),
            Some(key) => {
                value.push(1);
                value.extend_from_slice(&key.to_le_bytes());
            }
        }
    }
    rows.put(lane_key(Tag::Waiting, lane).u64(offsets[0] / 256), value.into());
}

#[test]
fn what_waits_in_rows_of_a_version_before_waits_in_the_same_order_afterwards() {
    let mut rows = Rows::memory(Tag::Watermark);
    let (first, second) = (keyed(1, 0), keyed(1, 1));
    put_old(&mut rows, first, &[1, 4, 9]);
    put_old(&mut rows, first, &[300]);
    put_old(&mut rows, second, &[2, 6]);
    rows.put(lane_key(Tag::Head, first), Bytes::copy_from_slice(&4u64.to_le_bytes()));
    rows.put(lane_key(Tag::Head, second), Bytes::copy_from_slice(&0u64.to_le_bytes()));
    rows.commit(Offset(301)).expect("memory does not fail");
    assert!(is_old(&rows.reader()));
    renew(&mut rows).expect("memory does not fail");
    assert!(!is_old(&rows.reader()));
    let mut queue = Queue::open(&mut rows, std::iter::empty()).expect("memory does not fail");
    let mut served = |lane| std::iter::from_fn(|| serve(&mut queue, &mut rows, lane)).collect::<Vec<_>>();
    assert_eq!(served(first), [4, 9, 300].map(Offset));
    assert_eq!(served(second), [2, 6].map(Offset));
}
