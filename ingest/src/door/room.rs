//! The room of a door for results that their callers have yet to take.
//!
//! Invariant: what is held of them is bounded, and given back when the last of it is written or its connection is gone.

use std::{cell::Cell, rc::Rc};

use keyway_storage::limits::ANSWERS_BYTES_MAX;

use crate::http::Answer;

/// The room of one door.
#[derive(Debug, Default)]
pub struct Room {
    held_bytes: Rc<Cell<usize>>,
}

/// Counts the bytes of one answer among those of its door, until it is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: usize,
    of_door: Rc<Cell<usize>>,
}

impl Room {
    /// The answer, counted; `None` if there is no room for it.
    pub fn hold(&self, mut answer: Answer) -> Option<Answer> {
        let bytes = answer.body().bytes.len();
        let held_bytes = self.held_bytes.get();
        // An answer takes no more than half of what is left: small ones find room beside large ones that nobody takes.
        if bytes > (ANSWERS_BYTES_MAX - held_bytes) / 2 {
            return None;
        }
        self.held_bytes.set(held_bytes + bytes);
        answer.body_mut().held = Some(Rc::new(Held { bytes, of_door: Rc::clone(&self.held_bytes) }));
        Some(answer)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of_door.set(self.of_door.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Room;
    use crate::http;
    use hyper::StatusCode;
    use keyway_storage::limits::ANSWERS_BYTES_MAX;

    #[test]
    fn large_answers_leave_room_for_small_ones_and_give_back_what_they_took() {
        let room = Room::default();
        let answer = |bytes: usize| http::json(StatusCode::CREATED, vec![b'x'; bytes]);
        let large = ANSWERS_BYTES_MAX / 8;
        let held: Vec<_> = (0..8).map_while(|_| room.hold(answer(large))).collect();
        assert_eq!(held.len(), 7, "the eighth would take all that is left");
        assert!(room.hold(answer(large / 2)).is_some(), "a smaller one has room");
        drop(held);
        assert_eq!(room.held_bytes.get(), 0);
        assert!(room.hold(answer(ANSWERS_BYTES_MAX / 2 + 1)).is_none());
        assert!(room.hold(answer(ANSWERS_BYTES_MAX / 2)).is_some());
    }
}
