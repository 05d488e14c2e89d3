//! A connection under watch: whether something moves on it, and whether its caller is still there.
//!
//! Invariant: no clock is read and no timer set for a connection. Its door looks at all of them a few times a second
//! and counts the looks, so that ten thousand idle connections cost what ten thousand comparisons cost.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::room::Held;
use crate::runtime::Runtime;

/// Time from look to look.
const LOOK: Duration = Duration::from_millis(100);

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To send the head of a request, from its first byte, or from the connection's beginning.
    pub head: Duration,
    /// Without anything to do.
    pub idle: Duration,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Stay,
    /// It was idle for too long: it ends when nothing is under way.
    Leave,
    /// It was too slow, or did not leave when it should: it ends now.
    Drop,
}

/// What is known of one connection.
pub struct Watch {
    head_looks_max: u32,
    idle_looks_max: u32,
    moved: Cell<bool>,
    under_way: Cell<u32>,
    /// Whether several requests travel at once, so that bytes tell nothing: those of a ping are no request.
    streams: Cell<bool>,
    in_head: Cell<bool>,
    head_looks: Cell<u32>,
    idle_looks: Cell<u32>,
    waits: Cell<bool>,
    hung_up: Cell<bool>,
    /// What counts answers that were handed over whole and may still wait to be written.
    unwritten: RefCell<Vec<Rc<Held>>>,
    verdict: Cell<Verdict>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    fn new(patience: Patience) -> Self {
        Self {
            head_looks_max: looks(patience.head),
            idle_looks_max: looks(patience.idle),
            moved: Cell::new(true),
            under_way: Cell::new(0),
            streams: Cell::new(false),
            in_head: Cell::new(true),
            head_looks: Cell::new(0),
            idle_looks: Cell::new(0),
            waits: Cell::new(false),
            hung_up: Cell::new(false),
            unwritten: RefCell::default(),
            verdict: Cell::new(Verdict::Stay),
            waker: RefCell::new(None),
        }
    }

    /// Takes note that the connection carries many requests at once. From here on only they and their answers are moves.
    pub fn carries_streams(&self) {
        self.streams.set(true);
        self.in_head.set(false);
    }

    /// Takes note of a request; it is under way until what comes back is dropped.
    pub fn begin(self: &Rc<Self>) -> UnderWay {
        self.in_head.set(false);
        self.under_way.set(self.under_way.get() + 1);
        UnderWay(Rc::clone(self))
    }

    /// Takes note that the client has taken a piece of an answer.
    pub fn note_taken(&self) {
        self.moved.set(true);
    }

    /// Keeps what counts an answer until all that was handed over is written.
    pub fn keep(&self, held: Rc<Held>) {
        self.unwritten.borrow_mut().push(held);
    }

    /// From here on, until what comes back is dropped, the caller only waits: if it hangs up, nobody needs the answer.
    pub fn wait(self: &Rc<Self>) -> Waits {
        self.waits.set(true);
        Waits(Rc::clone(self))
    }

    /// Whether a caller only waits, and has not hung up.
    pub fn is_waiting(&self) -> bool {
        self.waits.get() && !self.hung_up.get()
    }

    /// Takes note that the caller hung up.
    pub fn hang_up(&self) {
        self.hung_up.set(true);
    }

    /// Whether the caller hung up.
    pub fn is_hung_up(&self) -> bool {
        self.hung_up.get()
    }

    /// What becomes of the connection; the task is woken when that changes.
    pub fn verdict(&self, cx: &mut Context<'_>) -> Verdict {
        // A task keeps its waker: all polls but the first cost one comparison.
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.verdict.get()
    }

    fn look(&self) {
        let head_looks = if self.in_head.get() { self.head_looks.get() + 1 } else { 0 };
        let is_idle = !self.moved.take() && self.under_way.get() == 0;
        let idle_looks = if is_idle { self.idle_looks.get() + 1 } else { 0 };
        self.head_looks.set(head_looks);
        self.idle_looks.set(idle_looks);
        let verdict = if head_looks > self.head_looks_max
            || idle_looks > self.idle_looks_max.saturating_add(self.head_looks_max)
        {
            Verdict::Drop
        } else if idle_looks > self.idle_looks_max {
            Verdict::Leave
        } else {
            Verdict::Stay
        };
        if self.verdict.replace(verdict) != verdict
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    fn note_read(&self) {
        if self.streams.get() {
            return;
        }
        self.moved.set(true);
        if self.under_way.get() == 0 {
            self.in_head.set(true);
        }
    }

    fn note_written(&self) {
        if !self.streams.get() {
            self.moved.set(true);
        }
    }
}

/// Looks that a time has, at least.
fn looks(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(LOOK.as_millis())).unwrap_or(u32::MAX)
}

/// A request under way.
pub struct UnderWay(Rc<Watch>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.moved.set(true);
    }
}

/// A caller that only waits.
pub struct Waits(Rc<Watch>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waits.set(false);
    }
}

/// All connections of one door.
#[derive(Default)]
pub struct Watches {
    connections: RefCell<Vec<Weak<Watch>>>,
}

impl Watches {
    /// Watches a new connection.
    pub fn add(&self, patience: Patience) -> Rc<Watch> {
        let watch = Rc::new(Watch::new(patience));
        self.connections.borrow_mut().push(Rc::downgrade(&watch));
        watch
    }

    /// Looks at all of them, again and again, until the door ends.
    pub async fn look<R: Runtime>(self: Rc<Self>) {
        loop {
            R::sleep(LOOK).await;
            self.connections.borrow_mut().retain(|connection| {
                let watch = connection.upgrade();
                watch.inspect(|watch| watch.look()).is_some()
            });
        }
    }
}

/// A connection's bytes, with a note of each move.
pub struct Watched<S> {
    stream: S,
    watch: Rc<Watch>,
}

impl<S> Watched<S> {
    /// Notes what moves on this stream.
    pub fn new(stream: S, watch: Rc<Watch>) -> Self {
        Self { stream, watch }
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, out));
        self.watch.note_read();
        Poll::Ready(result)
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.watch.note_written();
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It is asked for when all that was handed over is written.
        self.watch.unwritten.borrow_mut().clear();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
