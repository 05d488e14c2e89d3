//! A signal that is set once, from any thread, and that any task can wait for.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Set once.
#[derive(Default)]
pub struct Signal {
    set: AtomicBool,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waker>>,
}

impl Signal {
    /// Sets it, and wakes all who wait.
    pub fn set(&self) {
        self.set.store(true, Ordering::Release);
        for (_, waker) in self.waiting.lock().expect("no holder panics").drain() {
            waker.wake();
        }
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Waits until it is set.
    pub fn wait(self: &Arc<Self>) -> Wait {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Wait { signal: Arc::clone(self), id, waker: None }
    }
}

/// Waits for a signal.
pub struct Wait {
    signal: Arc<Signal>,
    id: u64,
    waker: Option<Waker>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.is_set() {
            return Poll::Ready(());
        }
        // A task keeps its waker: all polls but the first cost one comparison.
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.signal.waiting.lock().expect("no holder panics").insert(self.id, cx.waker().clone());
            if self.signal.is_set() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.waker.is_some() {
            self.signal.waiting.lock().expect("no holder panics").remove(&self.id);
        }
    }
}
