//! A copy of a shard: every event goes out as a line and comes back, and the rows of the copy are those of the original.

use keyway_engine::{
    audit::Audit,
    refold::{Ends, Refold, compare},
    shard::ShardReader,
};
use keyway_storage::{
    block::Block,
    id::Ids,
    key::Tag,
    line,
    log::{Log, LogReader, MemoryLog},
    place::Offset,
    rows::Rows,
};

/// Copies a shard through lines, and holds the copy against it; `logs` are those of all shards.
pub fn check(original: &ShardReader, logs: &[LogReader]) {
    let mut log = MemoryLog::new(original.shard);
    let mut block = Block::new(original.shard);
    for events in original.log.blocks(Offset(0)).map(Result::unwrap) {
        block.begin(events.span().first, events.at());
        for event in events.events(Offset(0)).map(Result::unwrap) {
            let copied = line::read(&line::write(&event)).unwrap();
            assert_eq!(copied, event);
            block.push(&copied.kind);
        }
        log.append(&mut block).unwrap();
    }
    let (state, views) = (Rows::memory(Tag::Watermark), Rows::memory(Tag::ViewsWatermark));
    let (copy, end) = (log.reader(), log.live().end);
    let mut refold = Refold::open(&copy, Some(state), Some(views)).unwrap();
    let pass = &mut |_| true;
    let mut audit = Audit::new(Ids::new([7; 16]), logs, pass);
    refold.run(&copy, Ends::both(end), &mut audit).unwrap();
    assert_eq!(audit.into_findings(), []);
    assert_eq!(compare(&original.state, &refold.state().unwrap()).unwrap(), None);
    assert_eq!(compare(&original.views, &refold.views().unwrap()).unwrap(), None);
}
