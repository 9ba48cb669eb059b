//! What somebody may have meant.

/// The known name that is nearest to what was written, when it is near at all:
/// a slip or two in a long name, one in a short one.
pub(super) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let near = |name: &&str| {
        let slips_max = if name.len() < 6 { 1 } else { 2 };
        let slips = slips(written, name, slips_max)?;
        Some(slips)
    };
    known
        .filter_map(|name| Some((near(&name)?, name)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// How many characters were left out, added, mistaken, or swapped with their
/// neighbour; nothing when that is more than `most`.
fn slips(written: &str, meant: &str, most: usize) -> Option<usize> {
    // Cheap, and a bound on what follows.
    if written.len().abs_diff(meant.len()) > most * char::MAX.len_utf8() {
        return None;
    }
    let written: Vec<char> = written.chars().collect();
    let meant: Vec<char> = meant.chars().collect();
    // Three rows of the table of distances between beginnings.
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=meant.len()).collect();
    for (i, w) in written.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, m) in meant.iter().enumerate() {
            let mistaken = last[j] + usize::from(w != m);
            let mut least = mistaken.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *w == meant[j - 1] && written[i - 1] == *m {
                let two_ago: &Vec<usize> = &before_last;
                least = least.min(two_ago[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|slips| *slips <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slip_or_two_are_near() {
        let known = ["listen.metrics", "listen.local", "url", "log.level"];
        let meant = |written| nearest(written, known.iter().copied());
        assert_eq!(meant("listen.metric"), Some("listen.metrics"));
        assert_eq!(meant("lsiten.local"), Some("listen.local"));
        assert_eq!(meant("listen_locall"), Some("listen.local"));
        assert_eq!(meant("ur"), Some("url"));
        assert_eq!(meant("lru"), None);
        assert_eq!(meant("listen"), None);
        assert_eq!(meant(""), None);
    }

    #[test]
    fn of_two_that_are_near_the_nearer_was_meant() {
        let known = ["client_key", "client_key_f", "client_key_file"];
        assert_eq!(
            nearest("client_key_fil", known.into_iter()),
            Some("client_key_file")
        );
    }

    proptest! {
        #[test]
        fn slips_are_the_same_both_ways(a in "[abc]{0,6}", b in "[abc]{0,6}") {
            prop_assert_eq!(slips(&a, &b, 9), slips(&b, &a, 9));
            prop_assert_eq!(slips(&a, &b, 9) == Some(0), a == b);
        }

        #[test]
        fn nothing_is_too_strange(a in any::<String>(), b in any::<String>()) {
            let _ = slips(&a, &b, 2);
        }
    }
}
