//! A batch `[{…},{…}]` cut into its elements, so that a malformed one costs
//! itself only.
//!
//! An element is parsed straight from the rest of the text: a sound batch is
//! read once, and copied never. Only when an element cannot be parsed is it
//! scanned for where it ends. Stray and missing commas, and a missing bracket
//! around the whole, are forgiven, since nothing is lost by them; so a single
//! value is a batch of one.
//!
//! What holds for a batch of elements that each begin `{"type"`, read as a `T`
//! that takes objects only, if one of them is damaged in any way that leaves its
//! first byte, or by one byte that was changed, added or taken out (a derived
//! struct takes a list too, unless its first field takes none of what is in it):
//!
//! - Every other element comes out as it would have, in order.
//! - The damaged one gives at least one [`Malformed`], unless it is still a `T`
//!   (or several). What it holds may come out too, in pieces: when its nesting is
//!   broken, the next `,{"type"` begins the next element, though it may be one of
//!   a list within the damaged one.
//!
//! A comma between elements that became something else costs at most the element
//! after it. What comes after the `]` of the whole is one [`Malformed`]. The time
//! taken is linear in the text, however broken it is; only in a batch so broken
//! that this needs help (`PATIENCE`) do neighbours suffer.

use std::iter::FusedIterator;

use memchr::{memchr2, memmem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::rejection::Rejection;
use super::skeleton::{Shape, measure};

/// How every element of a batch begins, after its brace.
const FIRST_KEY: &str = "\"type\"";

/// How many times its length a batch may be measured in vain.
const PATIENCE: usize = 8;

/// A batch that is being read.
#[derive(Debug)]
pub struct Batch<'a> {
    data: &'a str,
    /// Everything before it was given out.
    position: usize,
    /// Something's nesting was broken: from here on an element is measured
    /// before it is parsed, since a parser may run through all of the rest.
    careful: bool,
    /// How many bytes may still be measured in vain.
    patience_bytes: usize,
    /// Where the last search for a boundary began, and what it found.
    searched: (usize, usize),
}

/// A piece of a batch that is no element of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed<'a> {
    /// The piece as it is; what it holds is as private as any content.
    pub text: &'a str,
    /// [`Rejection::MalformedJson`], [`Rejection::WrongShape`] or [`Rejection::TooDeep`].
    pub rejection: Rejection,
}

impl<'a> Batch<'a> {
    /// The batch in this text: an array, or one value that is none.
    pub fn new(data: &'a str) -> Self {
        let blank = data.len() - data.trim_ascii_start().len();
        let bracket = usize::from(data.as_bytes().get(blank) == Some(&b'['));
        Self {
            data,
            position: blank + bracket,
            careful: false,
            patience_bytes: data.len().saturating_mul(PATIENCE),
            searched: (0, 0),
        }
    }

    /// The next element, or what there is in its place. Ends after the last one.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator has one type of item; here every call names its own"
    )]
    #[inline(always)]
    pub fn next<T: Deserialize<'a>>(&mut self) -> Option<Result<T, Malformed<'a>>> {
        let start = self.next_start()?;
        let rest = &self.data[start..];
        if rest.starts_with(']') {
            // Something comes after the end; it may be that this was no end.
            let end = self.boundary(start + 1);
            return Some(Err(self.malformed(end, Rejection::MalformedJson)));
        }
        // In a sound batch the parser finds the end itself.
        let (end, broken) = if self.careful {
            self.cut()
        } else {
            (self.data.len(), None)
        };
        if let Some(rejection) = broken {
            return Some(Err(self.give_up(end, rejection)));
        }
        match parse_front(&self.data[start..end]) {
            Ok((element, bytes)) => {
                self.position = start + bytes;
                Some(Ok(element))
            }
            Err(error) => {
                let (end, broken) = self.cut();
                let sound = broken.is_none() && self.is_plain(end);
                let rejection = broken.unwrap_or_else(|| rejection(&error));
                Some(Err(if sound {
                    self.malformed(end, rejection)
                } else {
                    self.give_up(end, rejection)
                }))
            }
        }
    }

    /// Offers the next element to a faster way of reading, and tells whether it
    /// was taken. `read` tells how many bytes it took from the front of a text,
    /// where [`Self::next`] would have taken as many and found an element.
    #[inline(always)]
    pub(super) fn offer(&mut self, read: impl FnOnce(&'a str) -> Option<usize>) -> bool {
        if self.careful {
            return false;
        }
        let taken = self
            .next_start()
            .and_then(|start| Some(start + read(&self.data[start..])?));
        if let Some(end) = taken {
            self.position = end;
        }
        taken.is_some()
    }

    /// Whether what ends at `end` is a value of the batch that is whole and holds
    /// no element: a comma or the end of the batch follows, and no brace is in it.
    fn is_plain(&self, end: usize) -> bool {
        let after = self.data[end..].trim_ascii_start();
        after.starts_with([',', ']']) && !self.data[self.position..end].contains('{')
    }

    /// Gives out what is no element. Of a list or a string, which no element
    /// is, the bracket or quote may be all that is wrong.
    fn give_up(&mut self, end: usize, rejection: Rejection) -> Malformed<'a> {
        let inside = self.position + 1;
        match self.data.as_bytes()[self.position] {
            b'[' if self.patience_bytes > 0 => {
                self.lose_patience(end - inside);
                self.malformed(inside, Rejection::MalformedJson)
            }
            b'"' => {
                let end = self.boundary(inside);
                self.malformed(end, rejection)
            }
            _ => self.malformed(end, rejection),
        }
    }

    /// Goes to where the next element begins, or a piece in its place.
    fn next_start(&mut self) -> Option<usize> {
        let text = self.data.as_bytes();
        while let Some(b',' | b' ' | b'\t' | b'\r' | b'\n') = text.get(self.position) {
            self.position += 1;
        }
        let ended = match text.get(self.position) {
            None => true,
            Some(b']') => text[self.position + 1..].trim_ascii_start().is_empty(),
            Some(_) => false,
        };
        if ended {
            self.position = self.data.len();
            return None;
        }
        Some(self.position)
    }

    /// Gives out the text up to `end`, which is after the position.
    fn malformed(&mut self, end: usize, rejection: Rejection) -> Malformed<'a> {
        let text = &self.data[self.position..end];
        self.position = end;
        Malformed {
            text: text.trim_end_matches([',', ' ', '\t', '\r', '\n']),
            rejection,
        }
    }

    /// Where the element at the position ends, and what is broken in it, if
    /// that shows in its brackets and quotes.
    ///
    /// Each byte is measured, searched and parsed a fixed number of times, but
    /// for those that were measured beyond the end that was then found. When
    /// these add up to [`PATIENCE`] batches, brackets are not followed any more,
    /// and an element ends at the next boundary.
    fn cut(&mut self) -> (usize, Option<Rejection>) {
        let start = self.position;
        if self.patience_bytes == 0 {
            return (self.boundary(start + 1), None);
        }
        let text = self.data.as_bytes();
        let malformed = Rejection::MalformedJson;
        let (end, measured, rejection) = match measure(text, start) {
            Shape::Whole { end } => return (end, None),
            Shape::Stray => (self.after_stray(start), start, malformed),
            Shape::Broken { at, token } => (self.boundary(token.max(start + 1)), at, malformed),
            Shape::Unclosed => (self.boundary(start + 1), text.len(), malformed),
            Shape::TooDeep { at } => (self.boundary(start + 1), at, Rejection::TooDeep),
        };
        self.lose_patience(measured.saturating_sub(end));
        (end, Some(rejection))
    }

    fn lose_patience(&mut self, bytes: usize) {
        self.careful = true;
        self.patience_bytes = self.patience_bytes.saturating_sub(bytes);
    }

    /// Where an element may begin behind something that is none: at a brace, as
    /// long as no quote makes it uncertain what is text and what is not.
    fn after_stray(&mut self, stray: usize) -> usize {
        let text = self.data.as_bytes();
        match memchr2(b'{', b'"', &text[stray..]) {
            Some(found) if text[stray + found] == b'{' => stray + found,
            _ => self.boundary(stray + 1),
        }
    }

    /// The first brace at or after `from` that begins `,{"type"`, blanks aside;
    /// the end of the batch when there is none. No string of valid JSON holds
    /// that, for its quotes are escaped.
    fn boundary(&mut self, from: usize) -> usize {
        let (searched_from, found) = self.searched;
        if (searched_from..=found).contains(&from) {
            return found;
        }
        let text = self.data.as_bytes();
        let found = memmem::find_iter(text.get(from..).unwrap_or_default(), FIRST_KEY)
            .filter_map(|key| {
                let before_key = text[..from + key].trim_ascii_end();
                let before_brace = before_key.strip_suffix(b"{")?;
                let is_start = before_brace.trim_ascii_end().ends_with(b",");
                (is_start && before_brace.len() >= from).then_some(before_brace.len())
            })
            .next()
            .unwrap_or(text.len());
        self.searched = (from, found);
        found
    }
}

/// Parses one value from the front, and tells how many bytes it took.
#[inline(always)]
fn parse_front<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<(T, usize)> {
    if text.starts_with(['{', '[', '"']) {
        // Its end needs no look at what follows, so its way here can be short.
        let mut parser = serde_json::Deserializer::from_str(text);
        let value = T::deserialize(&mut parser)?;
        return Ok((value, parser.into_iter::<IgnoredAny>().byte_offset()));
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    match values.next() {
        Some(value) => Ok((value?, values.byte_offset())),
        None => Err(serde::de::Error::custom("there is no value")),
    }
}

fn rejection(error: &serde_json::Error) -> Rejection {
    match error.classify() {
        Category::Data => Rejection::WrongShape,
        // There is no other way to tell this one.
        _ if error.to_string().starts_with("recursion limit") => Rejection::TooDeep,
        _ => Rejection::MalformedJson,
    }
}

/// The elements of a JSON array, or the one value that is none, as raw text.
pub fn elements(data: &str) -> Elements<'_> {
    Elements(Batch::new(data))
}

/// See [`elements`].
#[derive(Debug)]
pub struct Elements<'a>(Batch<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.0.next::<&RawValue>()?;
        Some(element.map(RawValue::get).map_err(|piece| piece.rejection))
    }
}

impl FusedIterator for Elements<'_> {}

#[cfg(test)]
mod tests;
