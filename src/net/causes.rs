//! What is behind an error.

use std::error::Error;
use std::io;

/// An error and all that it came from, one by one. An `io::Error` passes over
/// what it holds when it is asked for its source, so that is looked at first.
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn Error + 'static) = *error;
        let held = error.downcast_ref().and_then(io::Error::get_ref);
        match held {
            Some(held) => Some(held as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn what_an_io_error_holds_is_seen_too() {
        let error = Outer(io::Error::other(Inner));
        let mut behind = causes(&error);
        assert!(behind.next().unwrap().is::<Outer>());
        assert!(behind.next().unwrap().is::<io::Error>());
        assert!(behind.next().unwrap().is::<Inner>());
        assert!(behind.next().is_none());
    }
}
