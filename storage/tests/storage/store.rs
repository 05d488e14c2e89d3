//! The store through its public surface: what was appended is there after a reopen, and nothing else ever is.

use bytes::Bytes;
use keyway_storage::{
    block::PackedBlock,
    directory::{DataDir, Durability},
    error::OpenError,
    event::{EventKind, LaneId, Opened, Position, Received, TriggerId, WorkflowId},
    id::{Ids, What},
    key::{Key, Tag},
    log::Log,
    place::{Offset, Place, RunId, ShardId, Span, Timestamp},
    rows::Rows,
};
use proptest::prelude::*;

use crate::block::block_of;
use crate::packed::{ENTRY_BYTES, TABLE, is_never_served, sealed};

const SHARD: ShardId = ShardId(0);

fn received(body: &[u8]) -> EventKind {
    Received {
        trigger: TriggerId([7; 16]),
        workflow: WorkflowId(1),
        project: Offset(0),
        position: Position::Next { stream: "orders/3".into(), number: 9 },
        lane: LaneId { owner: 1, number: 0, key: 0 },
        key: Some(5),
        request: Bytes::from_static(b"{\"method\":\"POST\"}"),
        body: Bytes::copy_from_slice(body),
        replays: None,
    }
    .into()
}

#[test]
fn what_was_appended_is_there_after_a_reopen() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    for round in 0..3u64 {
        let data = DataDir::open(&path, 1).unwrap();
        let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
        assert_eq!(store.log.live(), Span { first: Offset(0), end: Offset(round * 2) });
        let mut block = block_of(round * 2, &[Opened { boot: round }.into(), received(b"{\"n\":1}")]);
        store.log.append(&mut block).unwrap();
        let reader = store.log.reader();
        assert_eq!(reader.event(Offset(round * 2 + 1)).unwrap().unwrap().kind, received(b"{\"n\":1}"));
        assert_eq!(reader.event(Offset(round * 2 + 2)).unwrap(), None);
        assert_eq!(reader.blocks(Offset(0)).count() as u64, round + 1);
        let live = store.log.live();
        assert_eq!(reader.at_or_after(Timestamp(0), live).unwrap(), Offset(0));
        assert_eq!(reader.at_or_after(Timestamp(2_000 * round), live).unwrap(), Offset(2 * round));
        assert_eq!(reader.at_or_after(Timestamp(2_000 * round + 1), live).unwrap(), live.end);
    }
}

#[test]
fn a_database_whose_making_was_cut_short_is_made_again_and_one_that_lost_its_marker_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let data = DataDir::open(&home.path().join("data"), 1).unwrap();
    let shard = home.path().join("data/shard-000");
    std::fs::create_dir_all(shard.join("keyspaces")).unwrap();
    for name in ["lock", "0.jnl"] {
        std::fs::write(shard.join(name), b"").unwrap();
    }
    let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    store.log.append(&mut block_of(0, &[received(b"{}")])).unwrap();
    drop(store);
    std::fs::remove_file(shard.join("version")).unwrap();
    let refused = data.open_shard(SHARD, Durability::Fsync, None).map(drop).unwrap_err();
    assert!(refused.to_string().contains("no version marker"), "{refused}");
    assert!(shard.join("0.jnl").exists());
}

#[test]
fn a_second_open_of_a_data_dir_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let _first = DataDir::open(&path, 1).unwrap();
    let second = DataDir::open(&path, 1).err().unwrap();
    assert!(
        matches!(second, OpenError::InUse { holder: Some(pid), .. } if pid == std::process::id()),
        "{second}"
    );
}

#[test]
fn a_newer_format_and_a_damaged_manifest_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    drop(DataDir::open(&path, 1).unwrap());
    let manifest = path.join("manifest");
    let bytes = std::fs::read(&manifest).unwrap();
    for index in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1;
        std::fs::write(&manifest, &flipped).unwrap();
        let error = DataDir::open(&path, 1).err().unwrap();
        assert!(
            matches!(error, OpenError::Damaged { .. } | OpenError::TooNew { .. }),
            "byte {index}: {error}"
        );
    }
    let mut newer = bytes.clone();
    newer[4] = 5;
    std::fs::write(&manifest, &newer).unwrap();
    let error = DataDir::open(&path, 1).err().unwrap();
    assert!(matches!(error, OpenError::TooNew { found: 5, known: 4 }), "{error}");
}

#[test]
fn a_crash_while_a_data_dir_is_made_leaves_nothing_in_the_way() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    std::fs::create_dir(home.path().join("data.new")).unwrap();
    std::fs::write(home.path().join("data.new/manifest"), b"half").unwrap();
    let data = DataDir::open(&path, 2).unwrap();
    assert_eq!(data.manifest().shards, 2);
    assert!(!home.path().join("data.new").exists());
}

#[test]
fn a_directory_with_other_things_in_it_is_not_taken_for_a_data_dir() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("holiday.jpg"), b"x").unwrap();
    let error = DataDir::open(home.path(), 1).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_torn_journal_tail_loses_nothing_that_append_returned_for() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let data = DataDir::open(&path, 1).unwrap();
    let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    for n in 0..4 {
        store.log.append(&mut block_of(n, &[received(&[b'x'; 3_000])])).unwrap();
    }
    let shard = path.join("shard-000");
    let copies = home.path().join("copies");
    std::fs::create_dir(&copies).unwrap();
    // What the disk holds at this moment, with half of another write behind it.
    for torn in [1usize, 5, 100, 4_000] {
        let copy = copies.join(format!("{torn}"));
        crate::folder::copy(&path, &copy);
        let journal = newest_journal(&copy.join("shard-000"));
        let bytes = std::fs::read(&journal).unwrap();
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let mut damaged = bytes[..used].to_vec();
        let again: Vec<u8> = bytes[..used].iter().copied().take(torn).collect();
        damaged.extend_from_slice(&again);
        std::fs::write(&journal, &damaged).unwrap();
        std::fs::remove_file(copy.join("lock")).unwrap();
        let data = DataDir::open(&copy, 1).unwrap();
        let store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
        assert_eq!(store.log.live().end, Offset(4), "with {torn} bytes of a torn write");
    }
    drop(store);
    assert!(shard.exists());
}

fn newest_journal(shard: &std::path::Path) -> std::path::PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(shard)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    found.sort();
    found.pop().expect("a journal")
}

#[test]
fn rows_and_watermark_are_committed_together_and_scans_see_the_buffer() {
    let mut rows = Rows::memory(Tag::Watermark);
    let key = |n: u64| Key::new(Tag::WorkOrder).u64(n);
    for n in [1, 2, 3, 5] {
        rows.put(key(n), Bytes::from(vec![n as u8]));
    }
    rows.commit(Offset(4)).unwrap();
    rows.delete(key(2));
    rows.put(key(3), Bytes::from_static(b"new"));
    rows.put(key(4), Bytes::from_static(b"four"));
    let seen: Vec<_> = rows.scan(key(0), key(9), 9).unwrap().into_iter().map(|(_, value)| value).collect();
    assert_eq!(seen, [&b"\x01"[..], b"new", b"four", b"\x05"]);
    assert_eq!(rows.scan(key(0), key(9), 2).unwrap().len(), 2);
    rows.discard();
    assert_eq!(rows.get(&key(2)).unwrap().unwrap(), &b"\x02"[..]);
    assert_eq!(rows.watermark(), Offset(4));
}

/// A change of a block, what of it reads as before, and what the event that was changed is refused with.
type Wrong = (fn(&mut [u8]), &'static str);

#[test]
fn what_a_good_checksum_covers_is_looked_at_all_the_same_before_it_is_used() {
    let second = TABLE + ENTRY_BYTES;
    let wrongs: [Wrong; 5] = [
        (|packed| packed[TABLE + ENTRY_BYTES] = 250, "its kind is unknown to this version"),
        (|packed| packed[TABLE + ENTRY_BYTES + 1] = 2, "its schema version is unknown to this version"),
        (|packed| packed[TABLE + ENTRY_BYTES + 6] = 1, "its table points outside"),
        (|packed| packed[TABLE + ENTRY_BYTES + 4..][..4].fill(255), "its table points outside"),
        // It ends before it begins.
        (|packed| packed[TABLE + ENTRY_BYTES + 4..][..4].fill(0), "its table points outside"),
    ];
    let good = block_of(7, &[received(b"{}"), received(b"{}")]).pack().to_vec();
    assert_eq!(good[second + 1], 1, "today's schema version");
    for (change, message) in wrongs {
        let mut changed = good.clone();
        change(&mut changed);
        let parsed = PackedBlock::parse(SHARD, sealed(changed)).unwrap();
        assert_eq!(parsed.event(Offset(7)).unwrap().kind, received(b"{}"), "{message}");
        let damage = parsed.event(Offset(8)).unwrap_err().to_string();
        assert!(damage.contains(message), "{damage}");
    }
}

proptest! {
    #[test]
    fn a_changed_or_shortened_block_is_never_served(body in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut block = block_of(40, &[received(&body), Opened { boot: 3 }.into()]);
        let packed = block.pack().to_vec();
        let parsed = PackedBlock::parse(SHARD, Bytes::from(packed.clone())).unwrap();
        prop_assert_eq!(parsed.event(Offset(40)).unwrap().kind, received(&body));
        prop_assert!(is_never_served(&packed, at.index(packed.len()), bit));
    }

    #[test]
    fn ids_sort_by_the_millisecond_of_their_event_whatever_and_wherever_it_is(
        first in (any::<u8>(), 0u64..(1 << 48), 0usize..5, 0u64..(1 << 47)),
        second in (any::<u8>(), 0u64..(1 << 48), 0usize..5, 1u64..1_000_000),
    ) {
        let ids = Ids::new([9; 16]);
        let whats = [What::WorkOrder, What::Run(3), What::Step, What::LogLine, What::DeadLetter];
        let id = |(shard, offset, what, _): (u8, u64, usize, u64), millis: u64| {
            let place = Place { shard: ShardId(shard), offset: Offset(offset) };
            ids.encode(whats[what], place, Timestamp(millis * 1_000 + 999))
        };
        let (early, late) = (first.3, first.3 + second.3);
        prop_assert!(id(first, early) < id(second, late));
        prop_assert!(id(first, early).to_string() < id(second, late).to_string());
        prop_assert!(id(second, early) < id(first, early + 1));
    }

    #[test]
    fn an_id_gives_back_its_place_and_a_changed_one_does_not(shard: u8, offset in 0u64..(1 << 48), millis in 0u64..(1 << 47), n in 1u8..=200, bit in 0u32..128) {
        let ids = Ids::new([9; 16]);
        let work_order = Place { shard: ShardId(shard), offset: Offset(offset) };
        let at = Timestamp(millis * 1_000 + 7);
        let id = ids.run(RunId { work_order, n }, at);
        let decoded = ids.decode(id).unwrap();
        prop_assert_eq!((decoded.what, decoded.place, decoded.millis), (What::Run(n), work_order, millis));
        let tampered = uuid::Uuid::from_u128(id.as_u128() ^ (1 << bit));
        let same = ids.decode(tampered).is_some_and(|other| other.place == work_order && other.millis == millis && other.what == decoded.what);
        prop_assert!(!same);
    }
}
