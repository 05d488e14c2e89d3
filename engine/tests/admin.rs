//! Requests of people wait for what a shard owes, and not for ever.

use std::sync::Arc;

use bytes::Bytes;
use keyway_engine::{
    admin::{AdminSource, admin},
    command::{Answer, Apply, Command, Receipt, Refusal},
    mailbox::Bell,
    source::{Batch, Source},
};
use keyway_storage::{
    limits::APPLY_WAIT_MS,
    place::{RunKey, Timestamp},
};

const NOW: Timestamp = Timestamp(1_780_000_000_000_000);

fn apply() -> Command {
    Command::Apply(Apply { file: Bytes::from_static(b"name: a"), made: Vec::new(), project: Arc::default() })
}

/// What is offered in a turn in which ticks are owed, or none.
fn offered(source: &mut AdminSource, now: Timestamp, owed: bool) -> Vec<Command> {
    let mut batch = Batch::default();
    if owed {
        batch.note_owed();
    }
    source.offer(now, &mut batch);
    let commands: Vec<_> = batch.drain().map(|(_, ticket, command)| (ticket, command)).collect();
    let receipt = |ticket| Receipt { ticket, at: now, answer: Answer::Done };
    source.release(&mut commands.iter().map(|(ticket, _)| receipt(*ticket)).collect());
    commands.into_iter().map(|(_, command)| command).collect()
}

#[test]
fn a_project_file_waits_until_nothing_is_owed_and_what_was_asked_after_it_stays_behind_it() {
    let (port, mut source) = admin(&Arc::<Bell>::default());
    let first = port.send(apply()).expect("there is room");
    let work_order = keyway_storage::place::Offset(7);
    let second = port.send(Command::Cancel(RunKey { work_order, n: 1 })).expect("there is room");
    assert_eq!(offered(&mut source, NOW, true).len(), 0);
    assert!(source.due() > NOW);
    assert_eq!(offered(&mut source, NOW.plus_millis(1), true).len(), 0);
    assert!(first.try_recv().is_err());

    let commands = offered(&mut source, NOW.plus_millis(2), false);
    assert!(matches!(commands[..], [Command::Apply(_)]), "a block has room for one project file");
    assert!(matches!(first.try_recv(), Ok(Answer::Done)));
    assert!(matches!(offered(&mut source, NOW.plus_millis(2), true)[..], [Command::Cancel(_)]));
    assert!(matches!(second.try_recv(), Ok(Answer::Done)));
    assert_eq!(source.due(), Timestamp::NEVER);
}

#[test]
fn a_project_file_that_waits_in_vain_is_refused_while_its_sender_still_listens() {
    let (port, mut source) = admin(&Arc::<Bell>::default());
    let answer = port.send(apply()).expect("there is room");
    assert_eq!(offered(&mut source, NOW, true).len(), 0);
    let until = NOW.plus_millis(APPLY_WAIT_MS);
    assert_eq!(source.due(), until);
    assert_eq!(offered(&mut source, until, true).len(), 0);
    assert!(matches!(answer.try_recv(), Ok(Answer::Refused(Refusal::Full))));
    assert_eq!(source.due(), Timestamp::NEVER);
}
