//! The last input of a trigger, as the log tells it.

use keyway_storage::{
    error::ReadError,
    event::TriggerId,
    place::{Place, Timestamp},
    table::{Bitmap, by_trigger_key},
};

use crate::shard::ShardReader;

/// Where and when a trigger's last work order was made, over all these shards.
pub fn last_input(
    readers: &[ShardReader],
    trigger: TriggerId,
) -> Result<Option<(Place, Timestamp)>, ReadError> {
    let mut last = None;
    for reader in readers {
        let newest =
            reader.views.scan_back(by_trigger_key(trigger, 0), by_trigger_key(trigger, u64::MAX)).next();
        let Some((key, value)) = newest.transpose()? else { continue };
        let bucket = key.last_u64();
        let Some(offset) = Bitmap::from_value(&value)?.offsets(bucket).next_back() else { continue };
        let at = reader.log.event(offset)?.map(|event| event.at);
        let place = Place { shard: reader.shard, offset };
        last = last.max(at.map(|at| (at, place)));
    }
    Ok(last.map(|(at, place)| (place, at)))
}
