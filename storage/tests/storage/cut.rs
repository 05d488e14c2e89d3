//! A data dir whose history was cut: its manifest says so before anything goes, and its base and what is left come back.
//!
//! `KEYWAY_WRITE_FIXTURE=DIR cargo test -p keyway-storage --test cut` writes the fixture of format 3 anew, for a newer
//! format beside it; an old fixture is never changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use keyway_storage::{
    directory::{DataDir, Durability, Store},
    event::{CutAway, EventKind, Opened},
    key::{Key, Tag},
    log::Log,
    place::{Offset, ShardId, Span},
    rows::Rows,
};

use crate::block::block_of;
use crate::folder::copy;

const SHARD: ShardId = ShardId(0);
const DENSE: Offset = Offset(4);

fn opened(boot: u64) -> EventKind {
    Opened { boot }.into()
}

fn open(path: &Path) -> (DataDir, Store) {
    let data = DataDir::open(path, 1).unwrap();
    let store = data.open_shard(SHARD, Durability::Fsync, None).unwrap();
    (data, store)
}

/// The format that the manifest names on the disk.
fn format(path: &Path) -> u8 {
    fs::read(path.join("manifest")).unwrap()[4]
}

fn key() -> Key {
    Key::new(Tag::WorkOrder).u64(1)
}

/// Three blocks of two events each.
fn fill(store: &mut Store) {
    for first in [0, 2, 4] {
        store.log.append(&mut block_of(first, &[opened(first), opened(first + 1)])).unwrap();
    }
}

/// A base, then a log that begins behind it, of which one old block is gone and one keeps an event.
fn cut(store: &mut Store) {
    for (rows, value) in [(&store.state, "state"), (&store.views, "views")] {
        let mut base: Rows = rows.make_base().unwrap();
        base.put(key(), Bytes::copy_from_slice(value.as_bytes()));
        base.commit(DENSE).unwrap();
    }
    store.log.sync().unwrap();
    store.log.retire(DENSE, &[Offset(0)]).unwrap();
    let away = CutAway { kind: opened(2).kind() as u8 };
    store.log.rewrite(&mut block_of(2, &[away.into(), opened(3)])).unwrap();
    store.log.append(&mut block_of(6, &[opened(6)])).unwrap();
}

fn check(path: &Path) {
    let (data, store) = open(path);
    assert_eq!((data.manifest().format, data.manifest().shards, data.manifest().is_cut), (3, 1, true));
    assert_eq!(store.log.live(), Span { first: DENSE, end: Offset(7) });
    let reader = store.log.reader();
    let found: Vec<_> = (0..7).map(|offset| reader.event(Offset(offset)).unwrap()).collect();
    let boots: Vec<_> = found.into_iter().map(|event| event.map(|event| event.kind)).collect();
    let left = [3, 4, 5, 6].map(|boot| Some(opened(boot)));
    assert_eq!(boots, [&[None, None, None][..], &left].concat());
    for (rows, value) in [(&store.state, "state"), (&store.views, "views")] {
        let base = rows.base().unwrap().unwrap();
        assert_eq!((base.watermark(), base.get(&key()).unwrap().unwrap()), (DENSE, value.into()));
    }
}

#[test]
fn a_manifest_names_the_newer_format_before_the_first_block_goes_and_never_without_need() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let (data, mut store) = open(&path);
    fill(&mut store);
    assert_eq!(format(&path), 1, "versions from before go on with it");
    // The manifest cannot be written: nothing goes.
    fs::create_dir(path.join("manifest.new")).unwrap();
    store.log.retire(DENSE, &[Offset(0)]).unwrap_err();
    assert_eq!(format(&path), 1);
    drop((store, data));
    fs::remove_dir(path.join("manifest.new")).unwrap();
    let (data, mut store) = open(&path);
    assert_eq!(store.log.live(), Span { first: Offset(0), end: Offset(6) });
    assert!(store.log.reader().event(Offset(0)).unwrap().is_some());
    cut(&mut store);
    assert_eq!(format(&path), 3);
    drop((store, data));
    check(&path);
}

#[test]
fn routes_and_cuts_come_in_either_order() {
    for routes_first in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data");
        let (mut data, mut store) = open(&path);
        let routes = data.routes().widened();
        fill(&mut store);
        if routes_first {
            data.set_routes(&routes).unwrap();
            assert_eq!(format(&path), 2);
        }
        cut(&mut store);
        if !routes_first {
            // Written before they count: a crash in between leaves the old ones in force.
            assert_eq!(fs::read(path.join("manifest")).unwrap()[10], 0);
            data.set_routes(&routes).unwrap();
        }
        drop((store, data));
        check(&path);
        assert_eq!(DataDir::open(&path, 1).unwrap().routes(), &routes);
    }
}

/// A copy of a fixture in `home`.
pub fn fixture(home: &Path, name: &str) -> PathBuf {
    let path = home.join("data");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), &path);
    // Folders that are empty in the fixture: git keeps none.
    for keyspace in fs::read_dir(path.join("shard-000/keyspaces")).unwrap() {
        let keyspace = keyspace.unwrap().path();
        ["tables", "blobs"].iter().for_each(|folder| fs::create_dir_all(keyspace.join(folder)).unwrap());
    }
    path
}

#[test]
fn a_data_dir_of_the_third_format_opens_with_its_base_and_what_is_left() {
    if let Some(path) = std::env::var_os("KEYWAY_WRITE_FIXTURE") {
        let (_data, mut store) = open(Path::new(&path));
        fill(&mut store);
        return cut(&mut store);
    }
    let home = tempfile::tempdir().unwrap();
    check(&fixture(home.path(), "format-3"));
}
