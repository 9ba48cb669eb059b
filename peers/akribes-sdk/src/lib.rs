//! Feeds of an Akribes server, made up from a seed, and a server that plays them
//! to the Akribes SDK. What the SDK makes of a run is held against runtrail's
//! summary of the same bytes.
//!
//! - [`words`]: names, texts and values with everything awkward in them
//! - [`events`]: one run's events, in their real types where these can say it
//! - [`elements`]: what stands around events in a batch, and what is no event
//! - [`spelling`]: the many ways to write the same JSON
//! - [`frames`]: server-sent events, and how they are cut on their way
//! - [`feed`]: all of it put together
//! - [`server`]: the feeds, over HTTP
//!
//! Only what the SDK can read is made. It reads nothing from frames that are
//! ended by CR alone or begin with a byte order mark, nor most of the old forms.

pub mod elements;
pub mod events;
pub mod feed;
pub mod frames;
pub mod server;
pub mod spelling;
pub mod words;

/// One of several.
pub(crate) fn pick<'a, T: ?Sized>(rng: &mut fastrand::Rng, of: &[&'a T]) -> &'a T {
    of[rng.usize(..of.len())]
}

/// True in `percent` of a hundred.
pub(crate) fn chance(rng: &mut fastrand::Rng, percent: u8) -> bool {
    rng.u8(..100) < percent
}

/// Lists made into one at random; each keeps its own order.
pub(crate) fn interleave<T>(rng: &mut fastrand::Rng, lists: Vec<Vec<T>>) -> Vec<T> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    while !lists.is_empty() {
        let at = rng.usize(..lists.len());
        match lists[at].next() {
            Some(item) => all.push(item),
            None => drop(lists.swap_remove(at)),
        }
    }
    all
}
