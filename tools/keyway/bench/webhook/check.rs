//! Looks whether every work order that was acknowledged exists, once.
//!
//! Invariant: what the API lists is held against what was acknowledged, one by one; nothing is taken from a count.

use keyway_ingest::time;
use keyway_storage::place::Timestamp;
use uuid::Uuid;

use crate::{
    bench::{load::worker::Tally, report::Check},
    client::Client,
    failure::Failure,
};

/// Most work orders that are named.
const EXAMPLES_MAX: usize = 5;
/// Bits of an id behind its milliseconds.
const ID_BITS_BELOW_MILLIS: u32 = 80;

/// Holds what was acknowledged against what the server lists.
pub fn check(client: &Client, tally: &Tally) -> Result<Check, Failure> {
    let mut acknowledged = tally.acknowledged.clone();
    acknowledged.sort_unstable();
    let mut check = Check {
        acknowledged: acknowledged.len() as u64,
        repeated_differently: tally.repeated_differently,
        ..Check::default()
    };
    let twice: Vec<u128> =
        acknowledged.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.iter().for_each(|id| note(&mut check.twice, &mut check.examples, *id));
    acknowledged.dedup();
    let Some(first) = acknowledged.first() else {
        let hint = "nothing can be checked: no answer named a work order in x-meta-work-order-id";
        return Err(Failure::Failed(hint.to_owned()));
    };
    // An id begins with its milliseconds: nothing older than the oldest one needs to be listed.
    let millis = (first >> ID_BITS_BELOW_MILLIS) as u64;
    let since = Timestamp(millis.saturating_sub(1).saturating_mul(1_000));
    let mut seen = vec![false; acknowledged.len()];
    client.each("/api/work_orders", &[("inserted_after", time::rfc3339(since))], None, &mut |item| {
        let id = Uuid::parse_str(&item.id).map(|id| id.as_u128());
        match id.ok().and_then(|id| acknowledged.binary_search(&id).ok()) {
            Some(index) if seen[index] => note(&mut check.twice, &mut check.examples, acknowledged[index]),
            Some(index) => seen[index] = true,
            None => check.unacknowledged += 1,
        }
        Ok(())
    })?;
    for (id, _) in acknowledged.iter().zip(&seen).filter(|(_, seen)| !**seen) {
        note(&mut check.lost, &mut check.examples, *id);
    }
    check.found = seen.iter().filter(|seen| **seen).count() as u64;
    Ok(check)
}

fn note(count: &mut u64, examples: &mut Vec<String>, id: u128) {
    *count += 1;
    if examples.len() < EXAMPLES_MAX {
        examples.push(Uuid::from_u128(id).to_string());
    }
}
