//! Names, bounded. A name may be anything a workflow's author or an attacker
//! likes; what is kept of it has a size, and stays different from other names.

use std::borrow::Cow;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::limits::NAME_BYTES_MAX;

/// The name itself, or its beginning and a hash of the whole.
pub(super) fn bounded(name: &str) -> Cow<'_, str> {
    if name.len() <= NAME_BYTES_MAX {
        return Cow::Borrowed(name);
    }
    let end = name.floor_char_boundary(NAME_BYTES_MAX - MARK_BYTES);
    Cow::Owned(format!(
        "{}…{:016x}",
        &name[..end],
        xxh3_64(name.as_bytes())
    ))
}

/// The name, bounded, to be kept.
pub(super) fn kept(name: &str) -> Arc<str> {
    Arc::from(bounded(name))
}

/// The ellipsis and sixteen digits.
const MARK_BYTES: usize = 3 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_stays_as_it_is() {
        assert_eq!(bounded("summarise"), "summarise");
        assert_eq!(bounded(""), "");
    }

    #[test]
    fn a_long_name_is_cut_and_stays_different_from_its_like() {
        let one = "ü".repeat(1 << 19);
        let other = format!("{one}!");
        assert!(bounded(&one).len() <= NAME_BYTES_MAX);
        assert!(bounded(&one).starts_with("üü"));
        assert_ne!(bounded(&one), bounded(&other));
    }
}
