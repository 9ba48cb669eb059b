//! A simulated Akribes server, for the demo, for tests and for load.
//!
//! - [`workload`]: the runs, made up from a seed
//! - [`server`]: the server that plays them, and its routes
//! - [`misbehaviour`]: what can go wrong with it
//! - [`settings`]: what it is to be like
//! - [`simulate`]: all of it, as a command
//!
//! It says what a real server would say, to the byte of each event, so that
//! nothing before it can tell the difference; tests hold it against the types
//! and the client of the real one. It is no part of the sidecar.

pub mod misbehaviour;
pub mod server;
pub mod settings;
mod simulate;
pub mod workload;

pub use self::misbehaviour::Misbehaviour;
pub use self::server::{SimHandle, SimServer};
pub use self::settings::{SimSettings, SimSettingsError};
pub use self::simulate::{Greeting, SimReport, simulate};
