//! Content that leaves the log: the event stays where it was, and the disk gets its bytes back.

use bytes::Bytes;
use keyway_storage::{
    directory::{DataDir, Durability},
    event::{Content, EventKind, LaneId, Opened, Position, Received, TriggerId, WorkflowId, wiped_at},
    log::Log,
    place::{Offset, ShardId, Span, Timestamp},
};

use crate::block::block_of;

const SHARD: ShardId = ShardId(0);
const WIPED: Timestamp = Timestamp(5_000_000);
const BODY_BYTES: usize = 256 << 10;

/// A body that does not get smaller by packing it.
fn body(seed: u64) -> Bytes {
    let mut state = seed + 1;
    let letter = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + (*state >> 33) as u8 % 26
    };
    let text: Vec<u8> = (0..BODY_BYTES).map(|_| letter(&mut state)).collect();
    [&b"\""[..], &text[..], &b"\""[..]].concat().into()
}

fn received(body: Bytes) -> EventKind {
    Received {
        trigger: TriggerId([7; 16]),
        workflow: WorkflowId(1),
        project: Offset(0),
        position: Position::Once { key: 3, body: 4, window_seconds: 60 },
        lane: LaneId { owner: 1, number: 0, key: 0 },
        key: Some(5),
        request: Bytes::from_static(b"{\"method\":\"POST\"}"),
        body,
        replays: None,
    }
    .into()
}

fn wiped(mut kind: EventKind) -> EventKind {
    assert!(kind.wipe(Content::Dataclips, WIPED) > 0);
    assert_eq!(kind.wipe(Content::Dataclips, WIPED), 0, "what is gone does not go again");
    kind
}

#[test]
fn a_wiped_input_keeps_everything_but_its_content_over_a_reopen() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let events = [Opened { boot: 1 }.into(), received(body(0)), received(Bytes::from_static(b"{}"))];
    {
        let data = DataDir::open(&path, 1).unwrap();
        let mut store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
        store.log.append(&mut block_of(0, &events)).unwrap();
        let mut left = block_of(0, &[events[0].clone(), wiped(events[1].clone()), events[2].clone()]);
        store.log.rewrite(&mut left).unwrap();
        assert_eq!(store.log.live(), Span { first: Offset(0), end: Offset(3) });
        store.log.append(&mut block_of(3, &[Opened { boot: 2 }.into()])).unwrap();
    }
    let data = DataDir::open(&path, 1).unwrap();
    let store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    let reader = store.log.reader();
    let read = |offset| reader.event(Offset(offset)).unwrap().unwrap();
    assert_eq!(read(0).kind, events[0]);
    assert_eq!(read(2).kind, events[2]);
    assert_eq!(read(3).kind, Opened { boot: 2 }.into());
    let EventKind::Received(input) = read(1).kind else { panic!("it is an input still") };
    let EventKind::Received(before) = events[1].clone() else { panic!("it was one") };
    assert_eq!((wiped_at(&input.body), wiped_at(&input.request)), (Some(WIPED), Some(WIPED)));
    let (request, body) = (before.request.clone(), before.body.clone());
    assert_eq!(Received { request, body, ..input }, before);
}

#[test]
fn the_disk_gets_back_what_was_wiped() {
    let home = tempfile::tempdir().unwrap();
    let data = DataDir::open(&home.path().join("data"), 1).unwrap();
    let open = || data.open_shard(SHARD, Durability::Os, None).unwrap();
    let blocks = 96;
    let mut store = open();
    for first in 0..blocks {
        store.log.append(&mut block_of(first, &[received(body(first))])).unwrap();
    }
    assert!(store.log.shrink());
    // A log that is dropped waits until it is shrunk.
    drop(store);
    let mut store = open();
    let reader = store.log.reader();
    let whole = reader.disk_bytes();
    assert!(whole > blocks * BODY_BYTES as u64 / 2, "{whole}");
    assert_eq!(files_with(home.path(), &body(3)[..4_096]), 1);
    // The last one stays: what is shrunk away is only what nobody needs.
    for first in 0..blocks - 1 {
        store.log.rewrite(&mut block_of(first, &[wiped(received(body(first)))])).unwrap();
    }
    assert!(store.log.shrink());
    drop(store);
    let left = reader.disk_bytes();
    assert!(left < whole / 20, "{left} of {whole}");
    assert_eq!(files_with(home.path(), &body(3)[..4_096]), 0, "no file but the journal has it");
    assert_eq!(files_with(home.path(), &body(blocks - 1)[..4_096]), 1);
    assert_eq!(reader.event(Offset(blocks - 1)).unwrap().unwrap().kind, received(body(blocks - 1)));
    assert_eq!(reader.event(Offset(3)).unwrap().unwrap().kind, wiped(received(body(3))));
}

/// How many files of the trees hold these bytes.
fn files_with(folder: &std::path::Path, wanted: &[u8]) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files_with(&entry.path(), wanted),
        false if entry.path().extension().is_some_and(|it| it == "jnl") => 0,
        false => {
            let bytes = std::fs::read(entry.path()).unwrap();
            usize::from(bytes.windows(wanted.len()).any(|window| window == wanted))
        }
    };
    entries.map(count).sum()
}
