//! Why something of a feed was not taken: the reasons, as a metric counts them.

use serde::{Deserialize, Serialize};

/// Why something of a feed was not taken, or not taken as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rejection {
    /// A line longer than its bound.
    LineTooLong,
    /// A frame longer than its bound.
    FrameTooLong,
    /// Bytes that are no UTF-8; they were replaced, and the rest was taken.
    InvalidUtf8,
    /// A frame, or an element of one, that is no JSON.
    MalformedJson,
    /// JSON of a known type with a field of the wrong type.
    WrongShape,
    /// JSON that nests too deep.
    TooDeep,
    /// A frame with a name that this version does not know.
    UnknownFrame,
    /// An `at` that is no time; the event was taken without it.
    InvalidTime,
    /// The same event once more.
    Duplicate,
    /// An event of a run that has ended.
    AfterEnd,
    /// An event without a run id that fits no one open run.
    NoRun,
    /// An end of a node that has no start and tells no name.
    UnmatchedEnd,
    /// More nodes, notes or facts than a run may hold.
    OverLimit,
    /// The input ended inside a frame.
    CutOff,
}

impl Rejection {
    /// All reasons.
    pub const ALL: [Self; 14] = [
        Self::LineTooLong,
        Self::FrameTooLong,
        Self::InvalidUtf8,
        Self::MalformedJson,
        Self::WrongShape,
        Self::TooDeep,
        Self::UnknownFrame,
        Self::InvalidTime,
        Self::Duplicate,
        Self::AfterEnd,
        Self::NoRun,
        Self::UnmatchedEnd,
        Self::OverLimit,
        Self::CutOff,
    ];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::FrameTooLong => "frame_too_long",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MalformedJson => "malformed_json",
            Self::WrongShape => "wrong_shape",
            Self::TooDeep => "too_deep",
            Self::UnknownFrame => "unknown_frame",
            Self::InvalidTime => "invalid_time",
            Self::Duplicate => "duplicate",
            Self::AfterEnd => "after_end",
            Self::NoRun => "no_run",
            Self::UnmatchedEnd => "unmatched_end",
            Self::OverLimit => "over_limit",
            Self::CutOff => "cut_off",
        }
    }
}
