//! What collections hold, by what is in them alone: the same for one that grew and
//! shrank as for one that was read from disk, so that a process that goes on from
//! its journal gives up what the one before it gave up.

/// What a map or a set of so many entries of this size holds, if none were removed.
pub(super) const fn table_bytes(entries: usize, entry_bytes: usize) -> usize {
    let places = match entries {
        0 => 0,
        1..4 => 4,
        4..8 => 8,
        _ => (entries * 8 / 7).next_power_of_two(),
    };
    // A byte each says which are taken.
    places * (entry_bytes + 1)
}

#[cfg(test)]
mod tests {
    use rustc_hash::FxHashSet;

    use super::*;

    #[test]
    fn a_table_is_said_to_hold_what_it_has_room_for() {
        let mut grown = FxHashSet::default();
        for entries in 1..5_000usize {
            grown.insert(entries as u64);
            let read = FxHashSet::<u64>::with_capacity_and_hasher(entries, Default::default());
            assert_eq!(grown.capacity(), read.capacity());
            // An eighth of the places stays free, or one of few.
            let places = table_bytes(entries, 8) / 9;
            let room = if places < 8 {
                places - 1
            } else {
                places / 8 * 7
            };
            assert_eq!(grown.capacity(), room, "{entries}");
        }
    }
}
