//! What stands in the log of the outbox, as [`encoded`](crate::store::encoded)
//! says: a kind, a head, and bodies as they are sent.
//!
//! | kind | head | behind it | means |
//! |---|---|---|---|
//! | 1 | [`BodyHead`] | a body | it was pushed |
//! | 2 | [`BodyHead`] | a body | a complete one, copied forward: this is where it stands now |
//! | 3 | id, two [`BodyHead`]s | two bodies | the halves of a body, which is gone |
//! | 4 | ids | | these bodies are settled |
//! | 5 | [`Mark`] | | how far the outbox was |
//!
//! A record of another kind is one of a later version, which this one does not
//! read: the store as a whole says of which version it is.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{BodyId, Compression, Packed};
use crate::store::encoded::{decode, encode};
use crate::wire::time::Time;

/// What is known of a body without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BodyHead {
    pub(super) id: BodyId,
    /// How much of what was pushed it is, as [`BodyId`] counts.
    pub(super) width: u64,
    pub(super) pushed: Time,
    /// What it completes, if it is the last of its group.
    pub(super) through: u64,
    /// The number of the first body of its group.
    pub(super) group: u64,
    pub(super) is_last: bool,
    pub(super) spans: u32,
    pub(super) plain_bytes: u64,
    pub(super) compression: Compression,
    /// How long the body behind the head is.
    pub(super) body_bytes: u64,
}

/// How far the outbox was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// What the newest complete body completes.
    pub(super) through: u64,
    /// The number of the next body.
    pub(super) next_number: u64,
    /// The group that ends here, without a further body.
    pub(super) completes: Option<u64>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Body(BodyHead, Range<usize>),
    Moved(BodyHead, Range<usize>),
    Replaced(BodyId, [(BodyHead, Range<usize>); 2]),
    Settled(Vec<BodyId>),
    Mark(Mark),
}

const BODY: u8 = 1;
const MOVED: u8 = 2;
const REPLACED: u8 = 3;
const SETTLED: u8 = 4;
const MARK: u8 = 5;

/// More than any head is long: ten bytes for each number, and as much again.
pub(super) const HEAD_BYTES_MAX: usize = 160;

pub(super) fn body(head: &BodyHead, body: &[u8]) -> Vec<u8> {
    encode(BODY, head, &[body])
}

pub(super) fn moved(head: &BodyHead, body: &[u8]) -> Vec<u8> {
    encode(MOVED, head, &[body])
}

pub(super) fn replaced(id: BodyId, heads: &[BodyHead; 2], halves: &[Packed; 2]) -> Vec<u8> {
    let bodies = halves.each_ref().map(|half| &half.body[..]);
    encode(REPLACED, &(id, heads), &bodies)
}

pub(super) fn settled(ids: &[BodyId]) -> Vec<u8> {
    encode(SETTLED, &ids, &[])
}

pub(super) fn mark(mark: Mark) -> Vec<u8> {
    encode(MARK, &mark, &[])
}

/// Reads a record. `None` is one that this version does not know.
pub(super) fn read(record: &[u8]) -> Option<Record> {
    match *record.first()? {
        kind @ (BODY | MOVED) => {
            let (head, begin): (BodyHead, _) = decode(record)?;
            let [place] = places(begin, [&head], record.len())?;
            Some(match kind {
                BODY => Record::Body(head, place),
                _ => Record::Moved(head, place),
            })
        }
        REPLACED => {
            let ((id, heads), begin): ((BodyId, [BodyHead; 2]), _) = decode(record)?;
            let [first, second] = places(begin, heads.each_ref(), record.len())?;
            let [a, b] = heads;
            Some(Record::Replaced(id, [(a, first), (b, second)]))
        }
        SETTLED => decode(record).map(|(ids, _)| Record::Settled(ids)),
        MARK => decode(record).map(|(mark, _)| Record::Mark(mark)),
        _ => None,
    }
}

/// Where bodies stand one behind the other, if they end where the record does.
fn places<const N: usize>(
    begin: usize,
    heads: [&BodyHead; N],
    end: usize,
) -> Option<[Range<usize>; N]> {
    let mut at = Some(begin);
    let places = heads.map(|head| {
        let from = at.unwrap_or(end);
        at = usize::try_from(head.body_bytes)
            .ok()
            .and_then(|bytes| from.checked_add(bytes));
        from..at.unwrap_or(end)
    });
    (at == Some(end)).then_some(places)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn head(number: u64, body: &[u8]) -> BodyHead {
        BodyHead {
            id: BodyId { number, place: 7 },
            width: 1 << 32,
            pushed: Time(u64::MAX),
            through: u64::MAX,
            group: u64::MAX,
            is_last: true,
            spans: u32::MAX,
            plain_bytes: u64::MAX,
            compression: Compression::None,
            body_bytes: body.len() as u64,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let one = head(1, b"one");
        let record = body(&one, b"one");
        let Some(Record::Body(read_head, place)) = read(&record) else {
            panic!("it is a body");
        };
        assert_eq!((read_head, &record[place]), (one, &b"one"[..]));
        let record = moved(&one, b"one");
        assert!(matches!(read(&record), Some(Record::Moved(head, _)) if head == one));

        let halves = [&b"first"[..], b"last"].map(|body| Packed {
            body: Bytes::from_static(body),
            compression: Compression::Gzip,
            spans: 1,
            plain_bytes: 9,
        });
        let heads = [head(u64::MAX, b"first"), head(u64::MAX, b"last")];
        let record = replaced(heads[0].id, &heads, &halves);
        assert!(record.len() <= 2 * HEAD_BYTES_MAX);
        let Some(Record::Replaced(id, [(a, first), (b, last)])) = read(&record) else {
            panic!("they are halves");
        };
        assert_eq!((id, [a, b]), (heads[0].id, heads));
        assert_eq!(
            (&record[first], &record[last]),
            (&b"first"[..], &b"last"[..])
        );

        let ids = vec![heads[0].id, one.id];
        assert_eq!(read(&settled(&ids)), Some(Record::Settled(ids)));
        let far = Mark {
            through: u64::MAX,
            next_number: u64::MAX,
            completes: Some(u64::MAX),
        };
        assert!(mark(far).len() <= HEAD_BYTES_MAX);
        assert_eq!(read(&mark(far)), Some(Record::Mark(far)));
    }

    /// What is on disks is read by later versions: a change of these bytes is a
    /// new kind of record.
    #[test]
    fn the_bytes_of_a_record_do_not_change() {
        let id = BodyId {
            number: 300,
            place: 2,
        };
        let head = BodyHead {
            id,
            width: 3,
            pushed: Time(4),
            through: 5,
            group: 6,
            is_last: true,
            spans: 7,
            plain_bytes: 8,
            compression: Compression::Gzip,
            body_bytes: 1,
        };
        let same = [0xac, 2, 2, 3, 4, 5, 6, 1, 7, 8, 0, 1];
        let whole = [&[BODY][..], &same, b"b"].concat();
        assert_eq!(body(&head, b"b"), whole);
        assert_eq!(moved(&head, b"b"), [&[MOVED][..], &same, b"b"].concat());
        let half = |body| Packed {
            body: Bytes::from_static(body),
            compression: Compression::None,
            spans: 1,
            plain_bytes: 1,
        };
        assert_eq!(
            replaced(id, &[head, head], &[half(b"x"), half(b"y")]),
            [&[REPLACED, 0xac, 2, 2][..], &same, &same, b"xy"].concat()
        );
        assert_eq!(settled(&[id, id]), [SETTLED, 2, 0xac, 2, 2, 0xac, 2, 2]);
        let far = Mark {
            through: 1,
            next_number: 2,
            completes: Some(3),
        };
        assert_eq!(mark(far), [MARK, 1, 2, 1, 3]);
        assert_eq!([BODY, MOVED, REPLACED, SETTLED, MARK], [1, 2, 3, 4, 5]);
    }

    #[test]
    fn no_head_is_longer_than_said() {
        let largest = head(u64::MAX, b"");
        assert!(body(&largest, b"").len() <= HEAD_BYTES_MAX / 2);
    }

    #[test]
    fn a_body_that_is_longer_or_shorter_than_its_head_says_is_none() {
        let record = body(&head(1, b"one"), b"one");
        assert_eq!(read(&record[..record.len() - 1]), None);
        assert_eq!(read(&[&record[..], b"more"].concat()), None);
        let mut huge = head(1, b"");
        huge.body_bytes = u64::MAX;
        assert_eq!(read(&body(&huge, b"")), None);
    }

    #[test]
    fn the_kinds_of_later_versions_are_not_known() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[6, 1, 2, 3]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..7) {
            let mut bytes = bytes;
            bytes.insert(0, kind);
            read(&bytes);
        }
    }
}
