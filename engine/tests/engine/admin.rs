//! Requests of people wait for what a shard owes, and not for ever.

use std::sync::Arc;

use bytes::Bytes;
use keyway_engine::{
    admin::{AdminSource, AskError, admin},
    command::{Answer, Apply, Command, Receipt, Refusal},
    mailbox::Bell,
    source::{Batch, Source},
};
use keyway_storage::{
    limits::{ADMIN_REQUESTS_MAX, APPLY_WAIT_MS},
    place::{Offset, RunKey, Timestamp},
};

const NOW: Timestamp = Timestamp(1_780_000_000_000_000);

fn apply() -> Command {
    Command::Apply(Apply { file: Bytes::from_static(b"name: a"), made: Vec::new(), project: Arc::default() })
}

fn cancel() -> Command {
    Command::Cancel(RunKey { work_order: Offset(7), n: 1 })
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
    let second = port.send(cancel()).expect("there is room");
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

#[test]
fn one_request_too_many_is_told_so_and_a_turn_makes_room_for_all() {
    let (port, mut source) = admin(&Arc::<Bell>::default());
    for _ in 0..2 {
        let answers: Vec<_> =
            (0..ADMIN_REQUESTS_MAX).map(|_| port.send(cancel()).expect("there is room")).collect();
        assert_eq!(port.send(cancel()).expect_err("there is none left"), AskError::Full);
        assert!(answers.iter().all(|answer| answer.try_recv().is_err()));
        assert_eq!(offered(&mut source, NOW, false).len(), ADMIN_REQUESTS_MAX);
        assert!(answers.iter().all(|answer| matches!(answer.try_recv(), Ok(Answer::Done))));
    }
}
