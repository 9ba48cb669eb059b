//! The values of one free label: a bounded set of texts with small numbers for
//! names. A value stays as long as something uses it; then its place is free.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::NAME_BYTES_MAX;

/// What stands in the place of a value that found no room.
pub const OTHER: &str = "__other__";

/// A value of a free label, or the place of one among a closed label's values.
pub(super) type ValueId = u32;

/// [`OTHER`], in every space.
pub(super) const OTHER_ID: ValueId = 0;

/// The values of one label.
pub(super) struct Space {
    max: usize,
    ids: FxHashMap<Arc<str>, ValueId>,
    slots: Vec<Slot>,
    free: Vec<ValueId>,
}

struct Slot {
    text: Arc<str>,
    uses: u32,
}

impl Space {
    /// A space of at most `max` values beside [`OTHER`].
    pub(super) fn new(max: usize) -> Self {
        let other = Slot {
            text: Arc::from(OTHER),
            uses: 0,
        };
        Self {
            max,
            ids: FxHashMap::default(),
            slots: vec![other],
            free: Vec::new(),
        }
    }

    /// The value's number, a new one if there is room, else that of [`OTHER`].
    /// A new one is to be used or put back with [`Self::drop_unused`].
    pub(super) fn admit(&mut self, text: &str) -> ValueId {
        let text = cut(text);
        if let Some(id) = self.ids.get(&*text) {
            return *id;
        }
        if self.ids.len() >= self.max || text == OTHER {
            return OTHER_ID;
        }
        let text: Arc<str> = Arc::from(text);
        let slot = Slot {
            text: text.clone(),
            uses: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                // No more than `max` slots are ever in use, and `max` counts series.
                let id = self.slots.len() as ValueId;
                self.slots.push(slot);
                id
            }
        };
        self.ids.insert(text, id);
        id
    }

    /// Something uses the value.
    pub(super) fn hold(&mut self, id: ValueId) {
        self.slots[id as usize].uses += 1;
    }

    /// Something that held the value uses it no more.
    pub(super) fn let_go(&mut self, id: ValueId) {
        let slot = &mut self.slots[id as usize];
        slot.uses = slot.uses.saturating_sub(1);
        self.drop_unused(id);
    }

    /// Frees the value's place if nothing uses it.
    pub(super) fn drop_unused(&mut self, id: ValueId) {
        let slot = &self.slots[id as usize];
        if id == OTHER_ID || slot.uses > 0 {
            return;
        }
        // The number may have been put back already: then its text is no key, or another's.
        if self.ids.get(&slot.text) == Some(&id) {
            self.ids.remove(&slot.text);
            self.free.push(id);
        }
    }

    /// The value's text.
    pub(super) fn text(&self, id: ValueId) -> &Arc<str> {
        &self.slots[id as usize].text
    }

    /// How many values there are beside [`OTHER`].
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many things use the value.
    pub(super) fn uses(&self, id: ValueId) -> u32 {
        self.slots[id as usize].uses
    }
}

/// Names are cut where they come in; this only makes sure. The hash of the
/// whole keeps two long names that begin alike apart.
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= NAME_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let mark = format!("~{:016x}", xxh3_64(text.as_bytes()));
    let mut end = NAME_BYTES_MAX - mark.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}{mark}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_beyond_the_bound_is_other_until_one_is_let_go() {
        let mut space = Space::new(2);
        let a = space.admit("a");
        let b = space.admit("b");
        space.hold(a);
        space.hold(b);
        assert_eq!(space.admit("c"), OTHER_ID);
        assert_eq!(space.admit("a"), a);
        space.let_go(a);
        let c = space.admit("c");
        assert_ne!(c, OTHER_ID);
        assert_eq!((&**space.text(b), &**space.text(c)), ("b", "c"));
        assert_eq!(space.admit("a"), OTHER_ID);
    }

    #[test]
    fn a_value_that_nothing_uses_takes_no_place() {
        let mut space = Space::new(1);
        let a = space.admit("a");
        space.drop_unused(a);
        space.drop_unused(a);
        let b = space.admit("b");
        space.hold(b);
        assert_eq!(space.admit("c"), OTHER_ID);
        assert_eq!(space.slots.len(), 2);
    }

    #[test]
    fn a_name_that_spells_other_is_other() {
        assert_eq!(Space::new(5).admit(OTHER), OTHER_ID);
    }

    #[test]
    fn long_names_are_cut_between_characters_and_stay_two_names() {
        let mut space = Space::new(5);
        let long = "é".repeat(300);
        let a = space.admit(&format!("{long}a"));
        let b = space.admit(&format!("{long}b"));
        assert_ne!(a, b);
        assert!(space.text(a).len() <= NAME_BYTES_MAX);
        assert_eq!(space.admit(&format!("{long}a")), a);
    }
}
