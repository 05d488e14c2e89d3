//! The edge: all doors of a process, on one runtime.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use hyper::header::HeaderValue;
use keyway_engine::mailbox::{Bell, Mailbox};
use keyway_storage::{id::Ids, routes::Routes};

use crate::{
    api::Gauges,
    certificate::Certificate,
    count::AnswerCounts,
    door::{Door, Tell, room::Room, watch::Patience},
    http::ApiHandler,
    parked::{Inbox, Parked},
    reader::Readers,
    runtime::{Choice, Epoll, IoUring, Runtime, reserve, signal::Signal, wheel::Wheel},
    trigger::{
        Sources,
        webhook::{
            directory::Published,
            intake::{Intake, Spawn},
            serve::Webhooks,
            source::{Sent, WebhookSource, WebhookSources},
        },
    },
};

/// How the doors are opened.
pub struct EdgeSettings {
    /// The public address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The API's address.
    pub api_listen: SocketAddr,
    /// The runtime.
    pub runtime: Choice,
    /// What TLS is spoken with on the public address; without it plain HTTP is spoken.
    pub certificate: Option<Arc<Certificate>>,
    /// Whether HTTP/2 may be spoken without TLS, by clients that know that it is.
    pub http2_prior_knowledge: bool,
    /// Origins that browsers may call from; empty allows all.
    pub cors_origins: Vec<HeaderValue>,
    /// Largest webhook body.
    pub body_bytes_max: usize,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// Most connections of one door.
    pub connections_max: usize,
    /// How long a connection may take.
    pub patience: Patience,
    /// How long a door waits for what is in flight when it ends.
    pub drain_timeout: Duration,
    /// Whether `/hello` is served.
    pub hello: bool,
}

/// What doors and shards share: where inputs go and where receipts come back.
pub struct Passage {
    /// The way to each shard.
    pub shards: Arc<[Arc<Mailbox<Sent>>]>,
    /// What wakes each shard.
    pub bells: Vec<Arc<Bell>>,
    /// Which of them owns what.
    pub routes: Routes,
    inboxes: Arc<[Arc<Inbox>]>,
    published: Arc<Published>,
    answers: Vec<Arc<AnswerCounts>>,
}

impl Passage {
    /// A passage to the shards that these bells wake, with one door for each.
    pub fn new(bells: &[Arc<Bell>]) -> Self {
        Self::with_routes(bells, Routes::plain(bells.len() as u16))
    }

    /// The same, where the number of shards may have been changed.
    pub fn with_routes(bells: &[Arc<Bell>], routes: Routes) -> Self {
        assert_eq!(bells.len(), usize::from(routes.logs()));
        let mailboxes: Vec<_> = bells.iter().map(WebhookSource::mailbox).collect();
        let inboxes = mailboxes.iter().map(|_| Arc::default()).collect();
        let answers = mailboxes.iter().map(|_| Arc::default()).collect();
        let published = Arc::new(Published::new(mailboxes.len()));
        Self { shards: mailboxes.into(), bells: bells.to_vec(), routes, inboxes, published, answers }
    }

    /// Where the metrics read what passes.
    pub fn gauges(&self) -> Gauges {
        let (mailboxes, answers) = (self.shards.to_vec(), self.answers.clone());
        Gauges { mailboxes, answers, webhooks: Arc::clone(&self.published) }
    }

    /// The webhook sources at the other end.
    pub fn sources(&self) -> Arc<dyn Sources> {
        let (shards, inboxes) = (Arc::clone(&self.shards), Arc::clone(&self.inboxes));
        Arc::new(WebhookSources::new(shards, inboxes, Arc::clone(&self.published)))
    }
}

/// What a door tells through these channels.
fn tell(opened: mpsc::Sender<io::Result<()>>, drained: mpsc::Sender<()>) -> Tell {
    Tell {
        ready: Box::new(move |listens| drop(opened.send(listens))),
        // Whoever closes at once does not wait to be told.
        drained: Box::new(move || drained.send(()).unwrap_or_default()),
    }
}

/// The open doors.
pub struct Edge {
    /// The public address.
    pub address: SocketAddr,
    /// The API's address.
    pub api_address: SocketAddr,
    drain: Arc<Signal>,
    end: Arc<Signal>,
    drained: mpsc::Receiver<()>,
    doors: Vec<JoinHandle<io::Result<()>>>,
}

impl Edge {
    /// Opens one door per shard, and returns when all of them listen.
    pub fn open(
        settings: EdgeSettings,
        passage: &Passage,
        ids: Ids,
        api: Arc<dyn ApiHandler>,
    ) -> io::Result<Self> {
        let settings = Arc::new(settings);
        let (_public, address) = reserve(settings.listen)?;
        let same = settings.listen == settings.api_listen && settings.listen.port() != 0;
        let api_reserved = if same { None } else { Some(reserve(settings.api_listen)?) };
        let api_address = api_reserved.as_ref().map_or(address, |(_, address)| *address);
        let [drain, end] = [(); 2].map(|()| Arc::<Signal>::default());
        let readers = Readers::start(api)?;
        let ((sender, opened), (drained_sender, drained)) = (mpsc::channel(), mpsc::channel());
        let mut doors = Vec::new();
        for (index, (inbox, answers)) in passage.inboxes.iter().zip(&passage.answers).enumerate() {
            let (sender, runtime) = (sender.clone(), settings.runtime);
            let make = {
                let (passage_shards, published) =
                    (Arc::clone(&passage.shards), Arc::clone(&passage.published));
                let routes = passage.routes.clone();
                let (inbox, readers) = (Arc::clone(inbox), Arc::clone(&readers));
                let (drain, end) = (Arc::clone(&drain), Arc::clone(&end));
                let (answers, settings) = (Arc::clone(answers), Arc::clone(&settings));
                let (bytes_max, body_timeout, wheel) =
                    (settings.body_bytes_max, settings.body_timeout, Wheel::default());
                // Built on its own thread: a door's parked requests never leave it.
                move |spawn: Spawn| Door {
                    api_projects: Cell::default(),
                    index,
                    listen: address,
                    api_listen: (index == 0 || same).then_some(api_address),
                    core: None,
                    webhooks: Webhooks {
                        home: routes.home(index as u16),
                        shards: passage_shards,
                        routes,
                        parked: Parked::new(index as u8),
                        published,
                        hooks: Default::default(),
                        ids,
                        wheel: wheel.clone(),
                        intake: Intake::new(bytes_max, body_timeout, wheel, spawn),
                        room: Room::default(),
                    },
                    settings,
                    inbox,
                    answers,
                    readers,
                    drain,
                    end,
                }
            };
            let tell = tell(sender, drained_sender.clone());
            let door = thread::Builder::new().name(format!("door-{index}"));
            doors.push(door.spawn(move || match runtime.resolve() {
                Choice::Epoll => make(Epoll::spawn).run::<Epoll>(tell),
                Choice::Auto | Choice::IoUring => make(IoUring::spawn).run::<IoUring>(tell),
            })?);
        }
        drop((sender, drained_sender));
        for _ in 0..doors.len() {
            match opened.recv() {
                Ok(opened) => opened?,
                Err(_) => return Err(why_closed(doors)),
            }
        }
        Ok(Self { address, api_address, drain, end, drained, doors })
    }

    /// Takes in nothing more at the public address, and returns when what was in flight there is finished, or has taken as
    /// long as it may. The API goes on at an address of its own.
    pub fn drain(&self) {
        self.drain.set();
        for _ in &self.doors {
            // A door that panicked tells nothing, and no other is waited for in vain: each has its end of the channel.
            if self.drained.recv().is_err() {
                return;
            }
        }
    }

    /// Closes the API as well, and returns when all doors are closed.
    pub fn close(self) {
        self.drain.set();
        self.end.set();
        for door in self.doors {
            match door.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a door ended with an error"),
                Err(_) => tracing::error!("a door panicked"),
            }
        }
    }
}

/// Why a door ended before it opened: one of these did, or is about to.
fn why_closed(mut doors: Vec<JoinHandle<io::Result<()>>>) -> io::Error {
    loop {
        let ended = doors.iter().position(JoinHandle::is_finished);
        match ended.map(|ended| doors.swap_remove(ended).join()) {
            Some(Ok(Err(error))) => return error,
            Some(_) => return io::Error::other("a door did not open"),
            None => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}
