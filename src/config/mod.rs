//! What people choose: file < environment < flags, parsed once into one value
//! that needs no second check.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::Selection;
use crate::export::ExportSettings;
use crate::limits::Limits;
use crate::net::secret::TokenSource;
use crate::source::SourceSettings;
use crate::trace::batch::ResourceInfo;
use crate::trace::span::TraceSettings;

/// Everything that `run` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where events come from.
    pub source: SourceSettings,
    /// Where spans go; without it they stay in the local API.
    pub export: Option<ExportSettings>,
    /// What spans say of where they come from.
    pub resource: ResourceInfo,
    /// What spans say.
    pub trace: TraceSettings,
    /// Which runs are told of.
    pub selection: Selection,
    /// Whether runs that are open for a while send a marker.
    pub markers: bool,
    /// The listeners.
    pub listen: Listen,
    /// Our own logs.
    pub log: LogSettings,
    /// Whether our own traces go to the backend too.
    pub self_trace: bool,
    /// How long the end may take.
    pub drain_max: Duration,
    /// What all of it together may use, in bytes.
    pub memory_max: usize,
    /// The bounds.
    pub limits: Limits,
}

/// The listeners.
#[derive(Debug, Clone)]
pub struct Listen {
    /// `/metrics`, `/healthz`, `/readyz`.
    pub metrics: SocketAddr,
    /// The API.
    pub local: SocketAddr,
    /// What the API asks for; never `None` when it listens to more than loopback.
    pub local_token: Option<TokenSource>,
}

/// Our own logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How they are written; without it text on a terminal, and JSON otherwise.
    pub format: Option<LogFormat>,
    /// Which ones, as `RUST_LOG` says it.
    pub filter: String,
    /// Whether each finished run is a line of JSON on standard output.
    pub runs: bool,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The default place of the file, when it is there.
pub fn default_file() -> PathBuf {
    PathBuf::from("/etc/runtrail/config.yaml")
}
