//! Notices: warnings from the log, told to people by e-mail and by a URL that takes JSON.
//!
//! Invariant: a warning stays open until a `Noticed` in the log says that it was delivered or given up; every start
//! takes up those that are open. A crash may let one be delivered twice, never lose it in silence.

mod mail;
mod post;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use keyway_engine::{
    admin::AdminPort,
    catalog::Catalog,
    command::Command,
    project::{Notifications, Project},
    shard::ShardReader,
    state::timestamp_from,
};
use keyway_storage::{
    error::ReadError,
    event::{Concern, EventKind, Noticed, Warned},
    id::Ids,
    key::{Key, Tag},
    limits::{NOTICE_ATTEMPTS_MAX, NOTICE_LOOK_MS, NOTICES_MAX},
    place::{Offset, Place, ShardId, Timestamp},
    table::{ProjectRow, Subject, Table},
};
use serde_json::{Value, json};

use crate::time::{self, rfc3339};

/// What became of warnings since the start.
#[derive(Default)]
pub struct NoticeCounts {
    /// Delivered everywhere.
    pub delivered: AtomicU64,
    /// Given up after the last attempt, or with nobody to tell.
    pub given_up: AtomicU64,
    /// Attempts that failed.
    pub failed_attempts: AtomicU64,
}

/// The name of a concern that users see.
pub fn concern_name(concern: Concern) -> &'static str {
    match concern {
        Concern::RunLost => "run_lost",
        Concern::CursorLarge => "cursor_large",
        Concern::CursorTooLarge => "cursor_too_large",
        Concern::TriggerFailing => "trigger_failing",
        Concern::Gap => "gap",
        Concern::DeadLetter => "dead_letter",
    }
}

/// A warning as it is told.
pub struct Notice {
    /// One line.
    pub title: String,
    /// The same with all that is known.
    pub text: String,
    /// The same for programs.
    pub json: Value,
}

/// How far the delivery of a warning is.
struct Attempts {
    subject: Option<Subject>,
    count: u32,
    next: Instant,
    mailed: bool,
    posted: bool,
}

/// How long whoever delivers warnings waits.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// Before the second attempt; doubles for each one after it.
    pub backoff: Duration,
    /// For a mail server or a URL, in one attempt.
    pub timeout: Duration,
}

/// Delivers warnings.
pub struct Notices {
    readers: Vec<ShardReader>,
    ports: Vec<AdminPort>,
    catalog: Arc<Catalog>,
    ids: Ids,
    counts: Arc<NoticeCounts>,
    pauses: Pauses,
    attempts: HashMap<(ShardId, Offset), Attempts>,
}

impl Notices {
    /// Delivers what these shards warn of.
    pub fn new(
        readers: Vec<ShardReader>,
        ports: Vec<AdminPort>,
        catalog: Arc<Catalog>,
        ids: Ids,
        counts: Arc<NoticeCounts>,
        pauses: Pauses,
    ) -> Self {
        Self { readers, ports, catalog, ids, counts, pauses, attempts: HashMap::new() }
    }

    /// Delivers on a thread of its own until the other end of `stop` is gone.
    pub fn start(mut self, stop: Receiver<()>) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("notice".to_owned()).spawn(move || {
            let pause = Duration::from_millis(NOTICE_LOOK_MS);
            while matches!(stop.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                if let Err(error) = self.look() {
                    tracing::error!(%error, "warnings cannot be read");
                }
            }
        })
    }

    /// Tries what is due.
    fn look(&mut self) -> Result<(), ReadError> {
        for reader in self.readers.clone() {
            let prefix = Key::new(Tag::Notice);
            let open = reader.state.scan(prefix, prefix.prefix_end()).take(NOTICES_MAX);
            for row in open.collect::<Vec<_>>() {
                let (key, _) = row?;
                let offset = key[1..9].try_into().map(u64::from_be_bytes);
                self.deliver(&reader, Offset(offset.expect("the key of a notice has nine bytes")))?;
            }
        }
        Ok(())
    }

    fn deliver(&mut self, reader: &ShardReader, offset: Offset) -> Result<(), ReadError> {
        let id = (reader.shard, offset);
        let now = Instant::now();
        let fresh = || Attempts { subject: None, count: 0, next: now, mailed: false, posted: false };
        if self.attempts.entry(id).or_insert_with(fresh).next > now {
            return Ok(());
        }
        let Some(event) = reader.log.event(offset)? else { return Ok(()) };
        let EventKind::Warned(warned) = event.kind else { return Ok(()) };
        let project = self.project(reader)?;
        let notifications = &project.notifications;
        let nobody = notifications.email.is_none() && notifications.webhook.is_none();
        if nobody || self.is_told(&Subject::of(&warned), event.at, notifications)? {
            self.close(id, false);
            return Ok(());
        }
        let subject = Some(Subject::of(&warned));
        // Another shard warns of the same, and some have been told already: how that ends decides about this one.
        if self.attempts.iter().any(|(other, it)| *other != id && it.count > 0 && it.subject == subject) {
            return Ok(());
        }
        let notice = self.word(reader, &project, &warned, event.at)?;
        let attempts = self.attempts.get_mut(&id).expect("it was put there above");
        attempts.subject = subject;
        attempts.count += 1;
        let failures = attempts.attempt(notifications, &notice, self.pauses.timeout);
        for failure in &failures {
            self.counts.failed_attempts.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(attempt = attempts.count, "a warning was not delivered: {failure}");
        }
        if failures.is_empty() || attempts.count >= NOTICE_ATTEMPTS_MAX {
            self.close(id, failures.is_empty());
        } else {
            attempts.next = now + self.pauses.backoff * (1 << (attempts.count - 1));
        }
        Ok(())
    }

    /// Whether people were told of the same lately, also by another shard.
    fn is_told(
        &self,
        subject: &Subject,
        at: Timestamp,
        notifications: &Notifications,
    ) -> Result<bool, ReadError> {
        for reader in &self.readers {
            // Settled: what was closed a moment ago counts already.
            let Some(told) = reader.settled().state.get(&subject.key(Tag::Told))? else { continue };
            let until = timestamp_from(&told)?.plus_millis(u64::from(notifications.embargo_seconds) * 1_000);
            if at < until {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn close(&mut self, (shard, offset): (ShardId, Offset), delivered: bool) {
        let noticed = Noticed { of: offset, delivered, sent: time::now() };
        let Some(port) = self.ports.get(usize::from(shard.0)) else { return };
        // Without an answer it stays open, and is looked at again.
        if port.ask(Command::Noticed(noticed)).is_ok() {
            let count = if delivered { &self.counts.delivered } else { &self.counts.given_up };
            count.fetch_add(1, Ordering::Relaxed);
            self.attempts.remove(&(shard, offset));
        }
    }

    fn project(&self, reader: &ShardReader) -> Result<Arc<Project>, ReadError> {
        let Some(row) = reader.state.get(&Key::new(Tag::Project))? else { return Ok(Arc::default()) };
        let offset = ProjectRow::from_value(&row)?.offset;
        Ok(self.catalog.get(reader.shard, offset).unwrap_or_default())
    }

    fn word(
        &self,
        reader: &ShardReader,
        project: &Project,
        warned: &Warned,
        at: Timestamp,
    ) -> Result<Notice, ReadError> {
        let workflow = project.workflow(warned.workflow).map(|workflow| workflow.key.as_str());
        let trigger = warned.trigger.and_then(|id| project.trigger(id)).map(|(_, trigger)| trigger);
        let work_order = match warned.work_order {
            None => None,
            Some(offset) => reader.log.block(offset)?.map(|block| {
                let place = Place { shard: reader.shard, offset };
                self.ids.work_order(place, block.at()).to_string()
            }),
        };
        let concern = concern_name(warned.concern);
        let title = format!("keyway, {}: {}", project.name, concern.replace('_', " "));
        let mut text = format!("{}\n\nproject: {}\n", warned.message, project.name);
        let facts = [
            ("workflow", workflow),
            ("trigger", trigger.map(|it| it.key.as_str())),
            ("work order", work_order.as_deref()),
        ];
        for (name, value) in facts.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push_str(&format!("at: {}\n", rfc3339(at)));
        let json = json!({
            "kind": concern,
            "message": &*warned.message,
            "project": project.name,
            "workflow": workflow,
            "trigger": trigger.map(|it| &it.key),
            "trigger_id": trigger.map(|it| uuid::Uuid::from_bytes(it.id.0).to_string()),
            "work_order_id": work_order,
            "at": rfc3339(at),
        });
        Ok(Notice { title, text, json })
    }
}

impl Attempts {
    /// Tries whoever was not told yet. What failed, in words without secrets.
    fn attempt(&mut self, notifications: &Notifications, notice: &Notice, timeout: Duration) -> Vec<String> {
        let mut failures = Vec::new();
        if let Some(url) = notifications.webhook.as_ref().filter(|_| !self.posted) {
            match post::send(url, notice, timeout) {
                Ok(()) => self.posted = true,
                Err(failure) => failures.push(failure),
            }
        }
        if let Some(email) = notifications.email.as_ref().filter(|_| !self.mailed) {
            match mail::send(email, notice, timeout) {
                Ok(()) => self.mailed = true,
                Err(failure) => failures.push(failure),
            }
        }
        failures
    }
}
