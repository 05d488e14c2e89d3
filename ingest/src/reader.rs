//! Reader threads: they answer API requests, and may wait for the disk.
//!
//! Invariant: doors hand over and are woken; at most `API_REQUESTS_MAX` requests wait, the next one is refused.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use keyway_storage::limits::{API_REQUESTS_MAX, API_THREADS};

use crate::http::{ApiHandler, ApiRequest, ApiResponse};

/// The way to the reader threads. They end when it is dropped.
pub struct Readers {
    requests: Sender<(ApiRequest, Arc<Pigeonhole>)>,
}

#[derive(Default)]
struct Pigeonhole(Mutex<(Option<ApiResponse>, Option<Waker>)>);

impl Readers {
    /// Starts the threads.
    pub fn start(handler: Arc<dyn ApiHandler>) -> io::Result<Arc<Self>> {
        let (requests, taken) = bounded(API_REQUESTS_MAX);
        for index in 0..API_THREADS {
            let (taken, handler) = (taken.clone(), Arc::clone(&handler));
            thread::Builder::new().name(format!("reader-{index}")).spawn(move || work(&taken, &*handler))?;
        }
        Ok(Arc::new(Self { requests }))
    }

    /// Hands a request over; `None` when too many wait.
    pub fn ask(&self, request: ApiRequest) -> Option<impl Future<Output = ApiResponse> + use<>> {
        let hole = Arc::new(Pigeonhole::default());
        self.requests.try_send((request, Arc::clone(&hole))).ok()?;
        Some(Response(hole))
    }
}

fn work(taken: &Receiver<(ApiRequest, Arc<Pigeonhole>)>, handler: &dyn ApiHandler) {
    while let Ok((request, hole)) = taken.recv() {
        let response = handler.handle(request);
        let waker = {
            let mut hole = hole.0.lock().expect("no holder panics");
            hole.0 = Some(response);
            hole.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Response(Arc<Pigeonhole>);

impl Future for Response {
    type Output = ApiResponse;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ApiResponse> {
        let mut hole = self.0.0.lock().expect("no holder panics");
        match hole.0.take() {
            Some(response) => Poll::Ready(response),
            None => {
                hole.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
