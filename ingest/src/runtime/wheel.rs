//! A door's timers: coarse, and the same on every runtime.
//!
//! hyper wants timers that could move between threads; the runtimes' own cannot. A door ticks this wheel a few times
//! a second, which is fine enough for time-outs of seconds and costs nothing while a request is answered in time.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::Runtime;

/// How often the wheel is ticked.
const TICK: Duration = Duration::from_millis(50);

/// The timers of one door.
#[derive(Clone, Default)]
pub struct Wheel {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    sleeping: Mutex<BTreeMap<(Instant, u64), Waker>>,
}

impl Wheel {
    /// Ticks until the door ends.
    pub async fn turn<R: Runtime>(self) {
        loop {
            R::sleep(TICK).await;
            self.tick(Instant::now());
        }
    }

    fn tick(&self, now: Instant) {
        let mut sleeping = self.inner.sleeping.lock().expect("no holder panics");
        while let Some(first) = sleeping.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }

    /// Waits for so long, up to a tick longer.
    pub fn wait(&self, duration: Duration) -> Nap {
        self.wait_until(Instant::now() + duration)
    }

    /// What the future gives, if it does so within this time.
    pub async fn within<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        // Most futures here are ready at once, and need no timer.
        let mut nap = None;
        let mut future = pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Pin::new(nap.get_or_insert_with(|| self.wait(duration))).poll(cx).map(|()| None),
        })
        .await
    }

    fn wait_until(&self, deadline: Instant) -> Nap {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        Nap { wheel: self.clone(), key: (deadline, id), sleeping: false }
    }
}

/// Waits for a time.
pub struct Nap {
    wheel: Wheel,
    key: (Instant, u64),
    sleeping: bool,
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.key.0 {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        self.wheel.inner.sleeping.lock().expect("no holder panics").insert(self.key, waker);
        self.sleeping = true;
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if self.sleeping {
            self.wheel.inner.sleeping.lock().expect("no holder panics").remove(&self.key);
        }
    }
}

impl hyper::rt::Sleep for Nap {}

impl hyper::rt::Timer for Wheel {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.wait(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.wait_until(deadline))
    }
}
