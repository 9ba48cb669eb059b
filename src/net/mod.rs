//! What everything that touches the network shares: secrets, TLS, waiting
//! between attempts, and a small HTTP server.
//!
//! - [`secret`]: values that must never be shown
//! - [`tls`]: certificates, and the one HTTP client that is made with them
//! - [`backoff`]: how long to wait before the next attempt
//! - [`serve`]: the server behind the listeners, bounded in every direction

pub mod backoff;
pub mod secret;
pub mod serve;
pub mod tls;
