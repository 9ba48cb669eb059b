//! What people choose: file < environment < flags, parsed once into one value
//! that needs no second check.
//!
//! - [`keys`]: the one table of all keys, from which everything else is made:
//!   variables, flags, help, the reference
//! - `kinds` and `units`: how a value of each kind is written
//! - `file`, [`Environment`] and [`Flags`]: the three layers
//! - `choices`: what of them counts
//! - `build`, `otlp` and `credentials`: what was chosen becomes a [`Config`]
//! - `describe` and [`reference()`]: what people read
//!
//! A wrong value is an error in one sentence that says where it comes from. No
//! sentence repeats what may be secret.

mod build;
mod choices;
mod credentials;
mod describe;
mod environment;
mod error;
mod file;
pub mod keys;
pub mod kinds;
mod near;
mod otlp;
mod pairs;
mod reference;
mod translate;
mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::choices::Flags;
pub use self::describe::Setting;
pub use self::environment::Environment;
pub use self::error::{ConfigError, Origin, Place};
pub use self::reference::reference;
pub use self::units::{bytes as parse_bytes, time as parse_time};

use reqwest::Url;

use crate::core::{CoreSettings, Selection};
use crate::export::ExportSettings;
use crate::limits::Limits;
use crate::net::secret::TokenSource;
use crate::run::prices::PriceTable;
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
    /// Why they go nowhere, when they do: a sentence to be told at start.
    pub no_export: Option<String>,
    /// What spans say of where they come from.
    pub resource: ResourceInfo,
    /// What spans say.
    pub trace: TraceSettings,
    /// Which runs are told of.
    pub selection: Selection,
    /// Whether runs that are open for a while send a marker.
    pub markers: bool,
    /// Whether the server is asked for what the feed lost.
    pub repair: bool,
    /// Whether the server is asked, at the end of a run, what else it knows of it.
    pub enrich: bool,
    /// What models cost, where the server does not say it.
    pub prices: Option<Arc<PriceTable>>,
    /// What is kept on disk.
    pub store: StoreSettings,
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
    /// All of this again, key by key, for people to read.
    pub settings: Vec<Setting>,
    /// What is odd, to be told at start.
    pub warnings: Vec<String>,
}

/// What is kept on disk, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Where; without it nothing is, and the bounds below say nothing.
    pub dir: Option<PathBuf>,
    /// Accepted events.
    pub journal_bytes_max: usize,
    /// Batches that wait for the backend.
    pub outbox_bytes_max: usize,
    /// Batches that the backend refused for good.
    pub quarantine_bytes_max: usize,
    /// How often the state of the open runs is written.
    pub checkpoint_every: Duration,
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

/// Everything that `record` needs to know.
#[derive(Debug, Clone)]
pub struct RecordSettings {
    /// Where events come from.
    pub source: SourceSettings,
    /// Our own logs.
    pub log: LogSettings,
    /// What is odd, to be told at start.
    pub warnings: Vec<String>,
}

/// Everything that `resend` needs to know.
#[derive(Debug, Clone)]
pub struct ResendSettings {
    /// Where spans are sent, or why they are not.
    pub export: Result<ExportSettings, String>,
    /// Where they are kept.
    pub store: StoreSettings,
    /// How large they may be.
    pub limits: Limits,
    /// Our own logs.
    pub log: LogSettings,
    /// What is odd, to be told at start.
    pub warnings: Vec<String>,
}

/// Everything that `replay` needs to know.
#[derive(Debug, Clone)]
pub struct ReplaySettings {
    /// What the core needs to know.
    pub core: CoreSettings,
    /// Where spans are sent, if they are.
    pub export: Option<ExportSettings>,
    /// What is odd, to be told at start.
    pub warnings: Vec<String>,
}

impl Config {
    /// What was chosen in the file, the environment and the flags.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        build::config(flags, environment)
    }

    /// What was chosen for a simulated server at this address: there is no file,
    /// and nothing of the environment about other servers.
    pub fn for_demo(
        flags: &Flags,
        environment: &Environment,
        server: &Url,
    ) -> Result<Self, ConfigError> {
        build::demo(flags, environment, server)
    }

    /// Every key with its value and where that comes from; secrets are not shown.
    pub fn describe(&self) -> &[Setting] {
        &self.settings
    }

    /// What is not as it is by default, a line each, for a terminal.
    pub fn render(&self) -> String {
        describe::render(&self.settings)
    }

    /// What may wait for the backend: on disk if there is a store, else in memory.
    pub const fn outbox_bytes_max(&self) -> usize {
        match self.store.dir {
            Some(_) => self.store.outbox_bytes_max,
            None => self.limits.outbox_bytes_max,
        }
    }

    /// What the core needs to know.
    pub fn core_settings(&self) -> CoreSettings {
        let feeds = self.source.feeds.iter();
        CoreSettings {
            system: self.source.system.clone(),
            source: self.source.name.clone(),
            feeds: feeds.map(|feed| feed.project).collect(),
            resource: self.resource.clone(),
            trace: self.trace.clone(),
            markers: self.markers,
            repair: self.repair,
            enrich: self.enrich,
            prices: self.prices.clone(),
            selection: self.selection.clone(),
            limits: self.limits.clone(),
        }
    }
}

impl RecordSettings {
    /// What was chosen of the source, in the file, the environment and the flags.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        build::record(flags, environment)
    }
}

impl ResendSettings {
    /// What was chosen of the backend and the store, in the file, the environment
    /// and the flags.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        build::resend(flags, environment)
    }
}

impl ReplaySettings {
    /// What was chosen for the recording of a system. There is no file.
    pub fn load(
        system: &str,
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        build::replay(system, flags, environment)
    }
}

/// Where metrics and probes are, as chosen in the file, the environment and the
/// flags. Whatever else is chosen need not make sense.
pub fn metrics_listener(
    flags: &Flags,
    environment: &Environment,
) -> Result<SocketAddr, ConfigError> {
    build::metrics_listener(flags, environment)
}

/// The default place of the file, when it is there.
pub fn default_file() -> PathBuf {
    PathBuf::from("/etc/runtrail/config.yaml")
}

#[cfg(test)]
mod tests;
