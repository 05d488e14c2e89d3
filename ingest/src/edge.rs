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
    door::{Door, watch::Patience},
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
        Self { shards: mailboxes.into(), routes, inboxes, published, answers }
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

/// The open doors.
pub struct Edge {
    /// The public address.
    pub address: SocketAddr,
    /// The API's address.
    pub api_address: SocketAddr,
    drain: Arc<Signal>,
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
        let (drain, readers) = (Arc::<Signal>::default(), Readers::start(api)?);
        let (sender, opened) = mpsc::channel();
        let mut doors = Vec::new();
        for (index, (inbox, answers)) in passage.inboxes.iter().zip(&passage.answers).enumerate() {
            let (sender, runtime) = (sender.clone(), settings.runtime);
            let make = {
                let (passage_shards, published) =
                    (Arc::clone(&passage.shards), Arc::clone(&passage.published));
                let routes = passage.routes.clone();
                let (inbox, readers, drain) = (Arc::clone(inbox), Arc::clone(&readers), Arc::clone(&drain));
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
                    },
                    settings,
                    inbox,
                    answers,
                    readers,
                    drain,
                }
            };
            let door = thread::Builder::new().name(format!("door-{index}"));
            doors.push(door.spawn(move || {
                let ready = move |opened| drop(sender.send(opened));
                match runtime.resolve() {
                    Choice::Epoll => make(Epoll::spawn).run::<Epoll>(ready),
                    Choice::Auto | Choice::IoUring => make(IoUring::spawn).run::<IoUring>(ready),
                }
            })?);
        }
        drop(sender);
        for _ in &doors {
            opened.recv().map_err(|_| io::Error::other("a door did not open"))??;
        }
        Ok(Self { address, api_address, drain, doors })
    }

    /// Stops accepting, finishes what is in flight, and returns when all doors are closed.
    pub fn close(self) {
        self.drain.set();
        for door in self.doors {
            match door.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a door ended with an error"),
                Err(_) => tracing::error!("a door panicked"),
            }
        }
    }
}
