//! What goes through again, made of what is stored of it.
//!
//! Invariant: an input goes to the shard where those are that it keeps its order with. A dead letter stays where it is,
//! so that its closing and its work order are in one block.

use bytes::Bytes;
use keyway_engine::{
    command::{ReplayItem, Unusable},
    project::{Project, Trigger},
    route::Route,
    source::{Order, Stored},
    state::Part,
};
use keyway_storage::{
    event::{DeadLettered, Position, Received, wiped_at},
    place::{Place, ShardId},
    routes::Routes,
};

use crate::{
    time::rfc3339,
    trigger::{Adapter, adapter},
};

/// Why a dead letter cannot go through.
pub enum Hindrance {
    /// Its trigger is no longer there.
    NoTrigger,
    /// Its payload is still not what its trigger takes.
    Unusable(Unusable),
}

impl Hindrance {
    /// The same for people.
    pub fn detail(&self) -> &str {
        match self {
            Self::NoTrigger => "The project no longer has the trigger that it came through.",
            Self::Unusable(unusable) => &unusable.detail,
        }
    }
}

/// The item of a dead letter, with this payload.
pub fn of_letter(
    project: &Project,
    of: Place,
    letter: &DeadLettered,
    raw: Option<&[u8]>,
) -> Result<ReplayItem, Hindrance> {
    let (trigger, adapter) = find(project, letter.trigger).ok_or(Hindrance::NoTrigger)?;
    let body = adapter.read(trigger, raw).map_err(Hindrance::Unusable)?;
    let request = letter.letter.request.clone();
    let stored = Stored { position: &letter.position, request: &request, body: &body };
    let Order { key, stream, .. } = adapter.order(trigger, &stored);
    Ok(ReplayItem { of, is_letter: true, trigger: letter.trigger, key, stream, request, body: Ok(body) })
}

/// The item of a dead letter that cannot go through.
pub fn of_hindered(of: Place, letter: &DeadLettered, hindrance: &Hindrance) -> ReplayItem {
    let body = Err(hindrance.detail().into());
    let request = Bytes::new();
    ReplayItem { of, is_letter: true, trigger: letter.trigger, key: None, stream: 0, request, body }
}

/// The item of a past event, and the shard that it goes to.
pub fn of_event(project: &Project, of: Place, input: &Received, routes: &Routes) -> (ReplayItem, ShardId) {
    let wiped = wiped_at(&input.body).or_else(|| wiped_at(&input.request));
    let stored = Stored { position: &input.position, request: &input.request, body: &input.body };
    let found = find(project, input.trigger);
    let order = found.map(|(trigger, adapter)| adapter.order(trigger, &stored)).unwrap_or_default();
    let item = ReplayItem {
        of,
        is_letter: false,
        trigger: input.trigger,
        key: order.key,
        stream: order.stream,
        request: input.request.clone(),
        body: match wiped {
            Some(at) => Err(format!("The input was wiped at {}.", rfc3339(at)).into()),
            None => Ok(input.body.clone()),
        },
    };
    let serial = project.trigger(input.trigger).filter(|(workflow, _)| workflow.concurrency == Some(1));
    // A stream may have gone to another shard since; what has none stays where it is.
    let position = match &input.position {
        stream @ Position::Next { .. } if order.stream != 0 && Part::of(stream).is_none() => stream,
        _ => &Position::None,
    };
    let route = Route {
        trigger: input.trigger,
        serial: serial.map(|(workflow, _)| workflow.id),
        key: order.key.filter(|_| order.by_key),
        position,
    };
    (item, route.owner(routes).unwrap_or(of.shard))
}

fn find(project: &Project, id: keyway_storage::event::TriggerId) -> Option<(&Trigger, &'static dyn Adapter)> {
    let (_, trigger) = project.trigger(id)?;
    Some((trigger, adapter(trigger.kind)?.1))
}
