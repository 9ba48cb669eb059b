//! How a simulated server misbehaves: what is asked of it, and how it is now.

use std::collections::VecDeque;

use serde::Deserialize;

/// Something that goes wrong. As JSON: `{"kind": "cut_after", "bytes": 4000}`.
///
/// What has an `every` ends with `0`, what has an `on` with `false`, and all of
/// it with [`Misbehaviour::Behave`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Misbehaviour {
    /// All open feeds are cut now, in the middle of whatever they say.
    Cut,
    /// The next feed that is opened is cut after so many bytes. Asked for more
    /// than once, it is done to one feed after the other.
    CutAfter {
        /// Bytes of the body.
        bytes: u64,
    },
    /// Each feed that is opened from now on is cut after so many bytes.
    CutEvery {
        /// Bytes of the body.
        bytes: u64,
    },
    /// Open feeds come to a clean end.
    End,
    /// Nothing comes any more, keep-alives included; connections stay open.
    Stall {
        /// Whether.
        on: bool,
    },
    /// Open feeds miss the next so many events, and are told.
    Lag {
        /// How many.
        events: u64,
        /// How it is told.
        #[serde(default)]
        spelling: LagSpelling,
    },
    /// Open feeds miss the next so many events, and are not told.
    Skip {
        /// How many.
        events: u64,
    },
    /// How lines end.
    LineEnds {
        /// With what.
        ends: LineEnds,
    },
    /// Each feed that is opened from now on begins with a byte order mark.
    Bom {
        /// Whether.
        on: bool,
    },
    /// Feeds are written in pieces of at most so many bytes, each on its own, so
    /// that characters are split; 0 is whole.
    Split {
        /// Bytes of a piece.
        bytes: usize,
    },
    /// After every so many events comes an element that is none.
    Malformed {
        /// Events from one to the next.
        every: u64,
        /// What is wrong with it.
        #[serde(default)]
        shape: Malformation,
    },
    /// After every so many events comes one of an unknown type.
    Unknown {
        /// Events from one to the next.
        every: u64,
    },
    /// Frames have no `id`.
    NoFrameIds {
        /// Whether.
        on: bool,
    },
    /// Events have no `seq`.
    NoSeq {
        /// Whether.
        on: bool,
    },
    /// Events have no `at`.
    NoAt {
        /// Whether.
        on: bool,
    },
    /// REST answers take longer.
    SlowRest {
        /// By how much.
        ms: u64,
    },
    /// Requests are answered with this status: 401 from now on, 429, 500.
    Answer {
        /// The status.
        status: u16,
        /// The seconds of `Retry-After`.
        #[serde(default)]
        retry_after: Option<u64>,
        /// How many requests; without it all.
        #[serde(default)]
        requests: Option<u64>,
        /// Which.
        #[serde(default)]
        to: Requests,
    },
    /// Connections are refused, and open ones cut.
    Down {
        /// For how long; without it until it is up again.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Connections are taken again.
    Up,
    /// The process is lost and comes back: connections break, and open runs begin
    /// again from their logs.
    Restart {
        /// How long it takes.
        #[serde(default)]
        ms: u64,
    },
    /// All is well from now on.
    Behave,
}

/// How a loss is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LagSpelling {
    /// `event: error`, `{"lagged":5}`.
    #[default]
    Lagged,
    /// `event: lagged`, `{"dropped":5}`.
    Dropped,
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineEnds {
    /// `\n`.
    #[default]
    Lf,
    /// `\r\n`.
    Crlf,
    /// `\r`.
    Cr,
    /// One after the other.
    Mixed,
}

/// What is wrong with an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformation {
    /// It is JSON, but of another shape.
    #[default]
    WrongShape,
    /// It is not even JSON.
    BrokenJson,
}

/// Some requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requests {
    /// All.
    #[default]
    All,
    /// Those for the feed.
    Feed,
    /// All others.
    Rest,
}

/// A misbehaviour is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MisbehaviourError {
    /// No progress would be possible.
    #[error("to cut every 0 bytes would let nothing through")]
    CutsAll,
    /// Nothing would be missed.
    #[error("to miss 0 events is no misbehaviour")]
    MissesNone,
    /// There is no such status.
    #[error("a server cannot refuse with status {0}: give one from 400 to 599")]
    NoRefusal(u16),
}

impl Misbehaviour {
    /// Whether it can be.
    pub const fn validate(&self) -> Result<(), MisbehaviourError> {
        match self {
            Self::CutEvery { bytes: 0 } => Err(MisbehaviourError::CutsAll),
            Self::Skip { events: 0 } | Self::Lag { events: 0, .. } => {
                Err(MisbehaviourError::MissesNone)
            }
            Self::Answer { status, .. } if *status < 400 || *status > 599 => {
                Err(MisbehaviourError::NoRefusal(*status))
            }
            _ => Ok(()),
        }
    }
}

/// How the server is now, as far as it lasts.
#[derive(Debug, Clone, Default)]
pub(super) struct Manners {
    pub(super) feed: FeedManners,
    /// The bytes after which the next feeds are cut, one each.
    cuts: VecDeque<u64>,
    cut_every: Option<u64>,
    pub(super) rest_delay_ms: u64,
    answer: Option<Refusal>,
}

/// How feeds are written now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FeedManners {
    pub(super) stall: bool,
    pub(super) ends: LineEnds,
    pub(super) bom: bool,
    pub(super) split_bytes: usize,
    pub(super) malformed_every: u64,
    pub(super) malformation: Malformation,
    pub(super) unknown_every: u64,
    pub(super) no_frame_ids: bool,
    pub(super) no_seq: bool,
    pub(super) no_at: bool,
}

/// What requests are answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    left: Option<u64>,
    to: Requests,
}

impl Manners {
    /// Takes on a manner that lasts. False for what happens once, to what is
    /// open: that is somebody else's business.
    pub(super) fn adopt(&mut self, misbehaviour: &Misbehaviour) -> bool {
        let feed = &mut self.feed;
        match *misbehaviour {
            Misbehaviour::CutAfter { bytes } => self.cuts.push_back(bytes),
            Misbehaviour::CutEvery { bytes } => self.cut_every = Some(bytes),
            Misbehaviour::Stall { on } => feed.stall = on,
            Misbehaviour::LineEnds { ends } => feed.ends = ends,
            Misbehaviour::Bom { on } => feed.bom = on,
            Misbehaviour::Split { bytes } => feed.split_bytes = bytes,
            Misbehaviour::Malformed { every, shape } => {
                feed.malformed_every = every;
                feed.malformation = shape;
            }
            Misbehaviour::Unknown { every } => feed.unknown_every = every,
            Misbehaviour::NoFrameIds { on } => feed.no_frame_ids = on,
            Misbehaviour::NoSeq { on } => feed.no_seq = on,
            Misbehaviour::NoAt { on } => feed.no_at = on,
            Misbehaviour::SlowRest { ms } => self.rest_delay_ms = ms,
            Misbehaviour::Answer {
                status,
                retry_after,
                requests,
                to,
            } => {
                self.answer = Some(Refusal {
                    status,
                    retry_after,
                    left: requests,
                    to,
                });
            }
            Misbehaviour::Behave => *self = Self::default(),
            Misbehaviour::Cut
            | Misbehaviour::End
            | Misbehaviour::Lag { .. }
            | Misbehaviour::Skip { .. }
            | Misbehaviour::Down { .. }
            | Misbehaviour::Up
            | Misbehaviour::Restart { .. } => return false,
        }
        true
    }

    /// After how many bytes a feed that is opened now is cut.
    pub(super) fn next_cut(&mut self) -> Option<u64> {
        self.cuts.pop_front().or(self.cut_every)
    }

    /// What this request is answered with, if it is refused.
    pub(super) fn refusal(&mut self, of_feed: bool) -> Option<Refusal> {
        let refusal = self.answer.as_mut()?;
        let meant = match refusal.to {
            Requests::All => true,
            Requests::Feed => of_feed,
            Requests::Rest => !of_feed,
        };
        if !meant || refusal.left == Some(0) {
            return None;
        }
        if let Some(left) = &mut refusal.left {
            *left -= 1;
        }
        Some(*refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Misbehaviour {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn misbehaviours_are_asked_for_in_json() {
        assert_eq!(read(r#"{"kind":"cut"}"#), Misbehaviour::Cut);
        assert_eq!(
            read(r#"{"kind":"lag","events":5,"spelling":"dropped"}"#),
            Misbehaviour::Lag {
                events: 5,
                spelling: LagSpelling::Dropped
            }
        );
        assert_eq!(
            read(r#"{"kind":"answer","status":429,"retry_after":2,"to":"rest"}"#),
            Misbehaviour::Answer {
                status: 429,
                retry_after: Some(2),
                requests: None,
                to: Requests::Rest
            }
        );
        for wrong in [
            r#"{"kind":"dance"}"#,
            r#"{"kind":"skip"}"#,
            r#"{"kind":"skip","events":1,"now":true}"#,
        ] {
            assert!(
                serde_json::from_str::<Misbehaviour>(wrong).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn cuts_are_done_to_one_feed_after_the_other_and_then_to_every_one() {
        let mut manners = Manners::default();
        assert_eq!(manners.next_cut(), None);
        for bytes in [10, 20] {
            manners.adopt(&Misbehaviour::CutAfter { bytes });
        }
        manners.adopt(&Misbehaviour::CutEvery { bytes: 30 });
        let cuts: Vec<_> = (0..4).map(|_| manners.next_cut().unwrap()).collect();
        assert_eq!(cuts, [10, 20, 30, 30]);
    }

    #[test]
    fn a_refusal_is_for_the_requests_that_were_meant_and_as_many_as_were_meant() {
        let mut manners = Manners::default();
        manners.adopt(&read(
            r#"{"kind":"answer","status":500,"requests":2,"to":"feed"}"#,
        ));
        let of_feed = [true, false, true, true];
        let refused = of_feed.map(|of_feed| manners.refusal(of_feed).is_some());
        assert_eq!(refused, [true, false, true, false]);
        manners.adopt(&read(r#"{"kind":"answer","status":401}"#));
        assert_eq!(
            manners.refusal(false).map(|refusal| refusal.status),
            Some(401)
        );
        manners.adopt(&Misbehaviour::Behave);
        assert_eq!(manners.refusal(false), None);
    }

    #[test]
    fn what_would_let_nothing_through_is_no_misbehaviour() {
        assert!(Misbehaviour::CutEvery { bytes: 0 }.validate().is_err());
        assert!(
            read(r#"{"kind":"answer","status":200}"#)
                .validate()
                .is_err()
        );
        assert!(Misbehaviour::Skip { events: 0 }.validate().is_err());
        assert!(Misbehaviour::CutAfter { bytes: 0 }.validate().is_ok());
    }
}
