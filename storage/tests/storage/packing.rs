//! Blocks that are packed: once, by the log itself, and unpacked before anyone reads them.
//!
//! `KEYWAY_WRITE_FIXTURE=DIR cargo test --workspace --test storage packing` writes the fixture of format 4 anew, for a newer
//! format beside it; an old fixture is never changed. `format-1-large` was written by the last version that left packing
//! to the store, which did it for each journal and each file.

use std::{fs, path::Path};

use bytes::Bytes;
use keyway_storage::{
    block::{Block, PackedBlock, is_packed},
    directory::{DataDir, Durability, Store},
    event::{EventKind, LaneId, Position, Received, TriggerId, WorkflowId},
    log::Log,
    place::{Offset, ShardId, Span, Timestamp},
};
use proptest::prelude::*;

use crate::block::block_of;
use crate::cut::fixture;
use crate::packed::{ENTRY_BYTES, TABLE, is_never_served, sealed};

const SHARD: ShardId = ShardId(0);
/// Where the archives of a block of two events begin.
const ARCHIVES: usize = TABLE + 2 * ENTRY_BYTES;

fn received(body: &[u8]) -> EventKind {
    Received {
        trigger: TriggerId([7; 16]),
        workflow: WorkflowId(1),
        project: Offset(0),
        position: Position::None,
        lane: LaneId { owner: 1, number: 0, key: 0 },
        key: None,
        request: Bytes::from_static(b"{\"method\":\"POST\"}"),
        body: Bytes::copy_from_slice(body),
        replays: None,
    }
    .into()
}

/// A body that packs, of about six thousand bytes, different for each number.
fn body(number: u64) -> Vec<u8> {
    format!(r#"{{"rows":[{}]}}"#, vec![format!(r#"{{"order":{number},"state":"sent"}}"#); 200].join(","))
        .into_bytes()
}

/// Two events that pack.
fn large(first: u64) -> Block {
    block_of(first, &[received(&body(first)), received(&body(first + 1))])
}

fn open(path: &Path) -> (DataDir, Store) {
    let data = DataDir::open(path, 1).unwrap();
    let store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    (data, store)
}

/// What the manifest says: format, and whether routes count and history was cut.
fn manifest(path: &Path) -> (u8, u8) {
    let bytes = fs::read(path.join("manifest")).unwrap();
    (bytes[4], bytes[10])
}

/// That a log is there whose blocks of two events each pack.
fn check(store: &Store, events: u64) {
    assert_eq!(store.log.live(), Span { first: Offset(0), end: Offset(events) });
    let reader = store.log.reader();
    for offset in 0..events {
        let event = reader.event(Offset(offset)).unwrap().unwrap();
        assert_eq!(event.kind, received(&body(offset)), "offset {offset}");
    }
}

#[test]
fn a_block_that_packs_is_packed_and_comes_back_as_it_was() {
    let value = large(0).pack();
    assert!(is_packed(&value));
    assert!(value.len() < body(0).len());
    let block = PackedBlock::parse(SHARD, value).unwrap();
    assert_eq!(block.whole().len(), block.bytes());
    assert!(block.bytes() > 2 * body(0).len());
    for offset in [0, 1] {
        assert_eq!(block.event(Offset(offset)).unwrap().kind, received(&body(offset)));
    }
}

#[test]
fn a_small_block_and_one_that_would_not_get_smaller_stay_as_they_are() {
    let noise: Vec<u8> =
        (0..50_000u64).flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).to_le_bytes()).collect();
    let noise: Vec<u8> = noise.chunks(8).flat_map(|word| word[..3].to_vec()).collect();
    for body in [b"{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\":1}".as_slice(), &noise] {
        let value = block_of(0, &[received(body)]).pack();
        assert!(!is_packed(&value), "{} bytes", body.len());
        let block = PackedBlock::parse(SHARD, value.clone()).unwrap();
        assert_eq!(block.whole(), value);
        assert_eq!(block.event(Offset(0)).unwrap().kind, received(body));
    }
}

#[test]
fn archives_that_a_good_checksum_covers_and_that_cannot_be_unpacked_are_damage() {
    let good = large(0).pack().to_vec();
    let wrongs: [fn(&mut Vec<u8>); 4] = [
        // More, fewer, and far more bytes than come out of it; nothing to unpack.
        |packed| packed[24] ^= 1,
        |packed| packed.truncate(ARCHIVES + 20),
        |packed| packed[24..28].fill(255),
        |packed| packed.truncate(ARCHIVES),
    ];
    for (index, change) in wrongs.into_iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        let damage = PackedBlock::parse(SHARD, sealed(changed)).unwrap_err().to_string();
        let how = if index < 2 {
            "its archives cannot be unpacked"
        } else {
            "its length is not what its header says"
        };
        assert!(damage.contains(how), "{index}: {damage}");
    }
}

#[test]
fn the_manifest_names_the_fourth_format_before_the_first_packed_block_and_never_without_need() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let (mut data, mut store) = open(&path);
    store.log.append(&mut block_of(0, &[received(b"{}")])).unwrap();
    assert_eq!(manifest(&path), (1, 0), "versions from before go on with it");
    // The manifest cannot be written: nothing is appended.
    fs::create_dir(path.join("manifest.new")).unwrap();
    store.log.append(&mut large(1)).unwrap_err();
    drop(store);
    fs::remove_dir(path.join("manifest.new")).unwrap();
    let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    assert_eq!(store.log.live().end, Offset(1));
    store.log.append(&mut large(1)).unwrap();
    assert_eq!(manifest(&path), (4, 0));
    // What comes later is told beside it.
    let routes = data.routes().widened();
    data.set_routes(&routes).unwrap();
    assert_eq!(manifest(&path), (4, 1));
    store.log.retire(Offset(1), &[Offset(0)]).unwrap();
    assert_eq!(manifest(&path), (4, 3));
    drop((store, data));
    let (data, _) = open(&path);
    assert_eq!(data.routes(), &routes);
    assert!(data.manifest().is_cut);
}

#[test]
fn routes_and_cuts_from_before_stay_when_blocks_are_packed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let (mut data, mut store) = open(&path);
    store.log.append(&mut block_of(0, &[received(b"{}")])).unwrap();
    store.log.append(&mut block_of(1, &[received(b"{}")])).unwrap();
    data.set_routes(&data.routes().widened()).unwrap();
    assert_eq!(manifest(&path), (2, 0));
    store.log.retire(Offset(1), &[Offset(0)]).unwrap();
    assert_eq!(manifest(&path), (3, 1));
    store.log.append(&mut large(2)).unwrap();
    assert_eq!(manifest(&path), (4, 3));
}

#[test]
fn a_data_dir_of_the_fourth_format_opens_with_every_event() {
    if let Some(path) = std::env::var_os("KEYWAY_WRITE_FIXTURE") {
        let (_data, mut store) = open(Path::new(&path));
        store.log.append(&mut large(0)).unwrap();
        store.log.append(&mut large(2)).unwrap();
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (data, store) = open(&fixture(home.path(), "format-4"));
    assert_eq!(data.manifest().format, 4);
    check(&store, 4);
}

#[test]
fn blocks_that_the_store_packed_are_read_and_packed_ones_come_behind_them() {
    let home = tempfile::tempdir().unwrap();
    let path = fixture(home.path(), "format-1-large");
    // Two in a file and two in the journal; both hold them packed, and neither holds them as they are.
    for (file, number) in [("0.jnl", 2), ("keyspaces/1/blobs/0", 0)] {
        let bytes = fs::read(path.join("shard-000").join(file)).unwrap();
        assert!(bytes.windows(4).any(|four| four == b"KWB1"), "{file}");
        let whole = &body(number)[900..960];
        assert!(!bytes.windows(whole.len()).any(|part| part == whole), "{file}");
    }
    let (data, mut store) = open(&path);
    assert_eq!(data.manifest().format, 1);
    check(&store, 4);
    store.log.append(&mut large(4)).unwrap();
    drop((store, data));
    let (data, store) = open(&path);
    assert_eq!(data.manifest().format, 4);
    check(&store, 6);
}

proptest! {
    #[test]
    fn a_changed_or_shortened_packed_block_is_never_served(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let packed = large(40).pack().to_vec();
        prop_assert!(is_never_served(&packed, at.index(packed.len()), bit));
    }

    #[test]
    fn any_events_come_back_from_a_packed_block(bodies in proptest::collection::vec((any::<u8>(), 0usize..9_000, any::<bool>()), 1..20)) {
        let body = |(seed, length, packs): (u8, usize, bool)| -> Vec<u8> {
            (0..length).map(|n| if packs { seed } else { (n.wrapping_mul(0x9e37_79b1) >> 7) as u8 ^ seed }).collect()
        };
        let kinds: Vec<_> = bodies.into_iter().map(|one| received(&body(one))).collect();
        let mut block = Block::new(SHARD);
        // Its memory is used again: what a larger one left there does not show.
        for kinds in [&kinds[..], &kinds[kinds.len() / 2..]] {
            block.begin(Offset(9), Timestamp(1));
            kinds.iter().for_each(|kind| _ = block.push(kind));
            let parsed = PackedBlock::parse(SHARD, block.pack()).unwrap();
            let events: Vec<_> = parsed.events(Offset(0)).map(|event| event.unwrap().kind).collect();
            prop_assert_eq!(&events[..], kinds);
        }
    }
}
