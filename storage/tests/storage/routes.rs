//! Routes: a hash keeps its owner unless it must go, each shard gets its share, and no changed bit is taken for another route.

use keyway_storage::{place::ShardId, routes::Routes};
use proptest::prelude::*;

fn owned(routes: &Routes, shard: u16) -> usize {
    (0..routes.len()).filter(|slot| u16::from(routes.owner_of(*slot).0) == shard).count()
}

proptest! {
    #[test]
    fn more_slots_leave_every_hash_where_it_was(shards in 1..=256_u16, hash: u64) {
        let plain = Routes::plain(shards);
        let wide = plain.widened();
        prop_assert_eq!(plain.owner(hash), wide.owner(hash));
        prop_assert_eq!(wide.widened(), wide);
    }

    #[test]
    fn each_shard_gets_its_share_and_no_slot_moves_for_nothing(from in 1..=40_u16, to in 1..=40_u16) {
        let wide = Routes::plain(from).widened();
        let spread = wide.spread(to, &vec![None; wide.len()]);
        prop_assert_eq!((spread.logs(), spread.taking()), (from.max(to), to));
        let least = wide.len() / usize::from(to);
        for shard in 0..spread.logs() {
            let share = owned(&spread, shard);
            let fits = if shard < to { share == least || share == least + 1 } else { share == 0 };
            prop_assert!(fits, "shard {} has {} slots", shard, share);
        }
        let moved = (0..wide.len()).filter(|slot| wide.owner_of(*slot) != spread.owner_of(*slot)).count();
        let away: usize = (0..from).map(|shard| owned(&wide, shard).saturating_sub(owned(&spread, shard))).sum();
        prop_assert_eq!(moved, away);
    }

    #[test]
    fn what_is_bound_goes_where_it_is_bound_to(to in 1..=8_u16, bound in prop::collection::vec(0..4096_usize, 0..600)) {
        let wide = Routes::plain(4).widened();
        let mut wanted = vec![None; wide.len()];
        for slot in bound {
            wanted[slot] = Some(ShardId((slot % 4) as u8));
        }
        let spread = wide.spread(to, &wanted);
        for (slot, wanted) in wanted.iter().enumerate() {
            match wanted {
                Some(shard) => prop_assert_eq!(spread.owner_of(slot), *shard),
                None => prop_assert!(u16::from(spread.owner_of(slot).0) < to),
            }
        }
        // The way back is open: with nothing bound any more, all goes to those that take.
        let again = spread.spread(4, &vec![None; spread.len()]);
        prop_assert_eq!((0..again.logs()).filter(|shard| owned(&again, *shard) > 0).count(), 4);
    }

    #[test]
    fn bytes_come_back_and_a_flipped_bit_is_noticed(from in 1..=9_u16, to in 1..=9_u16, at: prop::sample::Index, bit in 0..8) {
        let wide = Routes::plain(from).widened();
        let routes = wide.spread(to, &vec![None; wide.len()]);
        prop_assert_eq!(Routes::from_text(&routes.to_text()).unwrap(), routes.clone());
        let mut bytes = routes.to_bytes();
        let index = at.index(bytes.len());
        bytes[index] ^= 1_u8 << bit;
        prop_assert!(Routes::from_bytes(&bytes).is_err());
        bytes.truncate(index);
        prop_assert!(Routes::from_bytes(&bytes).is_err());
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let bytes = Routes::plain(2).to_bytes();
    assert_eq!(bytes[..14], *b"KWR1\x02\0\x02\0\x02\0\0\0\x00\x01");
    assert_eq!(bytes.len(), 22);
    assert!(Routes::plain(2).is_plain());
    assert!(!Routes::plain(2).widened().is_plain());
}
