//! Verify finds what is wrong with a data dir, and rebuild makes its rows anew.
//!
//! The log is the truth: rows that say something else are found and derived anew; a log that is damaged is named, and
//! nothing is done to it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use keyway_storage::{
    block::{Block, PackedBlock},
    directory::{DataDir, Durability},
    key::{Key, Tag},
    log::Log,
    place::{Offset, ShardId},
};
use serde_json::Value;

use super::{
    folder::copy,
    furnish::{PROJECT, TRIGGER, answers, furnished, offline},
};
use crate::common::{code, keyway::Keyway, stderr, stdout, tool};

#[test]
fn a_data_dir_that_was_closed_or_killed_is_well() {
    let (home, _) = furnished();
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
    assert_eq!(text.lines().filter(|line| line.ends_with("events, all is well")).count(), 2, "{text}");
    let server = Keyway::start(home.path(), &[]);
    for n in 0..20 {
        server.post(TRIGGER, &format!("{{\"n\":{n}}}"));
    }
    server.kill();
    let (code, text, errors) = offline(home.path(), &["verify", "--json"]);
    assert_eq!(code, 0, "{text}{errors}");
    let sheet: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sheet["findings"], serde_json::json!([]));
    assert_eq!(sheet["shards"].as_array().unwrap().len(), 2);
}

#[test]
fn a_data_dir_in_use_is_left_alone_and_one_that_is_not_there_is_not_made() {
    let home = tempfile::tempdir().unwrap();
    for line in ["verify", "rebuild"] {
        let (code, _, errors) = offline(home.path(), &[line]);
        assert_eq!(code, 1, "{errors}");
        assert!(errors.contains("there is no data dir at"), "{errors}");
    }
    assert!(!home.path().join("data").exists());
    fs::write(home.path().join("project.yaml"), PROJECT).unwrap();
    let _server = Keyway::start(home.path(), &[]);
    for line in ["verify", "rebuild"] {
        let (code, _, errors) = offline(home.path(), &[line]);
        assert_eq!(code, 5, "{errors}");
    }
}

#[test]
fn rebuilt_rows_are_those_that_were_there() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    for what in ["state", "views", "all"] {
        let (code, text, errors) = offline(home.path(), &["rebuild", what]);
        assert_eq!(code, 0, "{errors}");
        assert!(text.starts_with(&format!("shard 0: {what} derived from ")), "{text}");
        let (code, text, _) = offline(home.path(), &["verify"]);
        assert_eq!(code, 0, "{text}");
    }
    assert_eq!(answers(home.path(), &run), before);
}

#[test]
fn rows_that_the_log_contradicts_are_found_and_derived_anew() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    {
        let data = DataDir::open_existing(&home.path().join("data")).unwrap();
        for shard in data.shards() {
            let mut store = data.open_shard(shard, Durability::Fsync, None).unwrap();
            let end = store.log.live().end;
            store.state.put(Key::new(Tag::DeadLetter).u64(3), Bytes::new());
            store.state.commit(end).unwrap();
        }
    }
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 6, "{text}");
    assert_eq!(text.matches("rows: state: on disk").count(), 2, "{text}");
    assert!(errors.contains("--repair"), "{errors}");
    let (code, text, errors) = offline(home.path(), &["verify", "--repair"]);
    assert_eq!(code, 0, "{text}{errors}");
    assert_eq!(text.matches("state derived anew").count(), 2, "{text}");
    assert_eq!(offline(home.path(), &["verify"]).0, 0);
    assert_eq!(answers(home.path(), &run), before);
}

/// A table of the rows of a shard, grown until the store has written one out.
fn table_of_state(home: &Path) -> PathBuf {
    let data = DataDir::open_existing(&home.join("data")).unwrap();
    let mut store = data.open_shard(ShardId(0), Durability::Fsync, None).unwrap();
    let (end, tables) = (store.log.live().end, store.state.folder().unwrap().join("tables"));
    // Rows that the log does not have, deleted again: what is left is what was there, in a table.
    for round in 0..60u64 {
        for key in 0..40 {
            let noise: Vec<u8> = (0..16_000u64).map(|n| ((n * n * (key + round + 1)) >> 7) as u8).collect();
            store.state.put(Key::new(Tag::Gone).u64(1_000_000 + key), noise.into());
        }
        store.state.commit(end).unwrap();
    }
    for key in 0..40 {
        store.state.delete(Key::new(Tag::Gone).u64(1_000_000 + key));
    }
    store.state.commit(end).unwrap();
    drop((store, data));
    let mut found: Vec<PathBuf> = fs::read_dir(tables).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.pop().expect("the rows were written out")
}

#[test]
fn a_table_of_rows_that_lost_a_bit_is_named_and_its_rows_are_derived_anew() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    let table = table_of_state(home.path());
    let mut bytes = fs::read(&table).unwrap();
    bytes[20] ^= 4;
    fs::write(&table, bytes).unwrap();
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("file: shard-000/keyspaces/"), "{text}");
    assert!(errors.contains("--repair"), "{errors}");
    let (code, text, errors) = offline(home.path(), &["verify", "--repair"]);
    assert_eq!(code, 0, "{text}{errors}");
    assert!(text.contains("state derived anew"), "{text}");
    let (code, text, _) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(answers(home.path(), &run), before);
}

#[test]
fn a_rebuild_that_is_killed_is_made_good_by_the_next_start() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    for _ in 0..5 {
        let mut child = tool().args(["rebuild", "--data-dir"]).arg(home.path().join("data")).spawn().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(offline(home.path(), &["verify"]).0, 0);
    }
    assert_eq!(answers(home.path(), &run), before);
}

#[test]
fn a_flipped_bit_in_the_log_is_named_and_neither_served_nor_mended() {
    let (home, _) = furnished();
    let journal = home.path().join("data/shard-000/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&journal, &bytes).unwrap();
    for line in [&["verify"][..], &["verify", "--repair"], &["verify", "--json"]] {
        let (code, text, errors) = offline(home.path(), line);
        assert_eq!(code, 6, "{text}");
        assert!(text.contains("shard-000/0.jnl"), "{text}");
        assert!(errors.contains("damage found"), "{errors}");
    }
    let (status, trace) = Keyway::try_start(home.path(), &[]).err().expect("it does not start");
    assert_eq!(status.code(), Some(6), "{trace}");
    assert_eq!(fs::read(&journal).unwrap(), bytes);
}

/// Blocks of a log as one finds them under their offsets.
type Blocks = Vec<(Offset, Bytes)>;

/// Changes the keys of the log of shard 0 behind everyone's back; its checksums are good before and after.
fn change_keys(data: &Path, change: impl Fn(&mut Blocks)) {
    let database = Database::builder(data.join("shard-000")).open().unwrap();
    let log = database.keyspace("log", KeyspaceCreateOptions::default).unwrap();
    let key = |offset: Offset| Key::new(Tag::Block).u64(offset.0).to_vec();
    let mut blocks = Blocks::new();
    for guard in log.prefix([Tag::Block as u8]) {
        let (key, value) = guard.into_inner().unwrap();
        blocks.push((Offset(u64::from_be_bytes(key[1..].try_into().unwrap())), value.into()));
    }
    blocks.iter().for_each(|(offset, _)| log.remove(key(*offset)).unwrap());
    change(&mut blocks);
    blocks.into_iter().for_each(|(offset, value)| log.insert(key(offset), value).unwrap());
    database.persist(PersistMode::SyncAll).unwrap();
}

/// The first of the blocks in the middle that has two events and more.
fn in_the_middle(blocks: &Blocks) -> usize {
    let events = |index: usize| blocks[index + 1].0.since(blocks[index].0);
    (blocks.len() / 2..blocks.len() - 2).find(|index| events(*index) > 1).unwrap()
}

/// Lets a block have the events of the next one, which stays.
fn swallow(blocks: &mut Blocks) {
    let index = in_the_middle(blocks);
    let mut long = Block::new(ShardId(0));
    for (_, value) in &blocks[index..index + 2] {
        let block = PackedBlock::parse(ShardId(0), value.clone()).unwrap();
        if long.is_empty() {
            long.begin(block.span().first, block.at());
        }
        block.events(Offset(0)).for_each(|event| {
            long.push(&event.unwrap().kind);
        });
    }
    blocks[index].1 = long.pack();
}

/// A change of the keys, and what verify says of it.
type Change = (fn(&mut Blocks), &'static str);

#[test]
fn a_log_whose_offsets_are_not_dense_is_named_though_each_checksum_is_good() {
    let (home, _) = furnished();
    let changes: [Change; 5] = [
        (|blocks| drop(blocks.remove(0)), "its log begins at offset "),
        (|blocks| drop(blocks.remove(in_the_middle(blocks))), "an offset is missing"),
        (|blocks| drop(blocks.pop()), "but was closed at offset "),
        (
            |blocks| {
                let (offset, value) = blocks[in_the_middle(blocks)].clone();
                blocks.push((offset.advance(1), value));
            },
            "two blocks overlap",
        ),
        (swallow, "two blocks overlap"),
    ];
    let intact = tempfile::tempdir().unwrap();
    copy(&home.path().join("data"), &intact.path().join("data"));
    change_keys(&intact.path().join("data"), |_| {});
    assert_eq!(offline(intact.path(), &["verify"]).0, 0, "the keys are as they were");
    for (change, expected) in changes {
        let changed = tempfile::tempdir().unwrap();
        let data = changed.path().join("data");
        copy(&home.path().join("data"), &data);
        change_keys(&data, change);
        for line in [&["verify"][..], &["verify", "--repair"], &["verify"]] {
            let (code, text, errors) = offline(changed.path(), line);
            assert_eq!(code, 6, "{expected}: {text}{errors}");
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}

#[test]
fn rows_of_which_a_killed_rebuild_left_only_the_beginning_are_well() {
    let (home, run) = furnished();
    let before = answers(home.path(), &run);
    {
        let data = DataDir::open(&home.path().join("data"), 2).unwrap();
        let mut store = data.open_shard(ShardId(0), Durability::Fsync, None).unwrap();
        store.views.clear().unwrap();
        // A watermark of nothing, and nothing else.
        store.views.delete(Key::new(Tag::Letters));
        store.views.commit(Offset(0)).unwrap();
    }
    let (code, text, errors) = offline(home.path(), &["verify"]);
    assert_eq!(code, 0, "{text}{errors}");
    assert_eq!(answers(home.path(), &run), before);
}

#[test]
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = tool().args(["completions", shell]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        // That they know each command and flag is tested where they are made.
        assert!(stdout(&output).contains("dead-letters"), "{shell}");
    }
    let page = tool().arg("man").output().unwrap();
    assert!(stdout(&page).starts_with(".ie") || stdout(&page).contains(".TH keyway 1"));
    let folder = tempfile::tempdir().unwrap();
    let output = tool().arg("man").arg(folder.path().join("man1")).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(folder.path().join("man1/keyway-events-list.1").exists());
}
