//! What everything that touches the network shares: secrets, TLS, waiting
//! between attempts, and a small HTTP server.
//!
//! - [`secret`]: values that must never be shown
//! - [`tls`]: certificates, and the one HTTP client that is made with them
//! - [`backoff`]: how long to wait before the next attempt
//! - [`causes`](causes::causes): what is behind an error
//! - [`clock`]: the clock on the wall
//! - [`loopback`]: this machine, as it calls itself, to which no proxy is a way
//! - [`percent`]: percent signs in what others write
//! - [`retry_after`]: how long a server asks to be left alone
//! - `steady`: a clock that nobody sets
//! - [`serve`]: the server behind the listeners, bounded in every direction

pub mod backoff;
pub mod causes;
pub mod clock;
pub mod loopback;
pub mod percent;
pub mod retry_after;
pub mod secret;
pub mod serve;
pub(crate) mod steady;
pub mod tls;
