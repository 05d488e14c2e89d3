//! Parked requests: those that wait for the receipt of their input.
//!
//! Invariant: a ticket names a slot of one door and the request that holds it; a receipt for a request that is gone
//! finds another generation and is dropped. A door's receipts of a turn come in one delivery, with one wake-up.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use keyway_engine::command::{Receipt, Ticket};

/// Where shards put the receipts for one door.
#[derive(Default)]
pub struct Inbox {
    // Taken once per turn by a shard and once per wake-up by the door; the vectors are swapped, not copied.
    inner: Mutex<InboxInner>,
}

#[derive(Default)]
struct InboxInner {
    receipts: Vec<Receipt>,
    waker: Option<Waker>,
}

impl Inbox {
    /// Delivers receipts, and leaves `receipts` empty.
    pub fn deliver(&self, receipts: &mut Vec<Receipt>) {
        let waker = {
            let mut inner = self.inner.lock().expect("no holder panics");
            inner.receipts.append(receipts);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<Receipt>) -> Poll<()> {
        let mut inner = self.inner.lock().expect("no holder panics");
        if inner.receipts.is_empty() {
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut inner.receipts, out);
        Poll::Ready(())
    }
}

/// The parked requests of one door.
#[derive(Clone)]
pub struct Parked {
    door: u8,
    slots: Rc<RefCell<Slots>>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    waker: Option<Waker>,
    receipts: Vec<Receipt>,
}

/// Bits of a ticket: door (8), generation (24), slot (32).
const GENERATION_MASK: u32 = 0xff_ffff;

impl Parked {
    /// No parked requests.
    pub fn new(door: u8) -> Self {
        Self { door, slots: Rc::default() }
    }

    /// Takes a slot for a request that is about to be sent.
    pub fn park(&self) -> Waiting {
        let mut slots = self.slots.borrow_mut();
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push(Slot::default());
            slots.slots.len() as u32 - 1
        });
        let generation = slots.slots[index as usize].generation;
        let ticket = u64::from(self.door) << 56 | u64::from(generation) << 32 | u64::from(index);
        Waiting { parked: self.clone(), index, ticket: Ticket(ticket) }
    }

    /// Hands out receipts as they come, until the door ends.
    pub async fn settle(self, inbox: std::sync::Arc<Inbox>) {
        let mut receipts = Vec::new();
        loop {
            std::future::poll_fn(|cx| inbox.poll_take(cx, &mut receipts)).await;
            for receipt in receipts.drain(..) {
                self.hand_out(receipt);
            }
        }
    }

    fn hand_out(&self, receipt: Receipt) {
        let (index, generation) =
            (receipt.ticket.0 as u32, (receipt.ticket.0 >> 32) as u32 & GENERATION_MASK);
        let mut slots = self.slots.borrow_mut();
        let slot = slots.slots.get_mut(index as usize).filter(|slot| slot.generation == generation);
        let Some(slot) = slot else { return };
        slot.receipts.push(receipt);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

/// The door that a ticket belongs to.
pub fn door_of(ticket: Ticket) -> usize {
    (ticket.0 >> 56) as usize
}

/// A parked request. Dropping it gives its slot to the next one.
pub struct Waiting {
    parked: Parked,
    index: u32,
    ticket: Ticket,
}

impl Waiting {
    /// Names this request to the shard.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The next receipt for this request.
    pub fn receipt(&mut self) -> impl Future<Output = Receipt> + '_ {
        struct Next<'a>(&'a mut Waiting);
        impl Future for Next<'_> {
            type Output = Receipt;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Receipt> {
                let mut slots = self.0.parked.slots.borrow_mut();
                let slot = &mut slots.slots[self.0.index as usize];
                if slot.receipts.is_empty() {
                    slot.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(slot.receipts.remove(0))
            }
        }
        Next(self)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut slots = self.parked.slots.borrow_mut();
        let slot = &mut slots.slots[self.index as usize];
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.waker = None;
        slot.receipts.clear();
        slots.free.push(self.index);
    }
}
