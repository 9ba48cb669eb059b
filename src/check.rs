//! `runtrail check`: what `run` would do, tried without doing it. Each step is
//! a line; a step that fails says what is wrong and what to do.

use std::io::{self, Write};
use std::net::SocketAddr;

use crate::config::Config;
use crate::export::advice::shown;
use crate::export::{self, ProbeAnswer};
use crate::net::secret::TokenSource;
use crate::sidecar::bind;
use crate::sidecar::budget::{Budget, Size, checkpoint_bytes_max, store_bytes_max};
use crate::source;
use crate::store::StoreDir;
use crate::store::quarantine::{self, Listing};
use crate::wire::time::Time;

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// `run` would work, now.
    Sound,
    /// It would not.
    Unsound {
        /// Whether a setting is wrong, rather than a port, server or backend.
        usage: bool,
        /// The first thing that is wrong, in a sentence.
        message: String,
    },
}

/// Tries everything, also when something fails, and writes a line for each step.
/// Nothing stays behind: ports are let go, and connections closed.
pub async fn check(config: &Config, out: &mut impl Write) -> io::Result<Verdict> {
    let mut steps = Steps { out, failed: None };
    let Config { source, listen, .. } = config;
    steps.setting("memory", memory(config))?;
    steps.setting("token", token(source.token.as_ref()))?;
    if listen.local_token.is_some() {
        steps.setting("API token", token(listen.local_token.as_ref()))?;
    }
    steps.setting("store", Ok(store(config)))?;
    steps.setting("prices", Ok(prices(config)))?;
    steps.outside("quarantine", quarantined(config))?;
    let metrics = free(listen.metrics, "listen.metrics").await;
    steps.outside("metrics", metrics)?;
    let local = free(listen.local, "listen.local").await;
    steps.outside("API", local)?;
    let server = source::try_once(source).await;
    let server = server.map(|()| format!("{} sends its feed", shown(&source.url)));
    steps.outside("server", server.map_err(|loss| loss.message))?;
    steps.outside("backend", backend(config).await)?;
    if steps.failed.is_none() {
        writeln!(steps.out, "\nall is well: `runtrail run` would work")?;
    }
    Ok(steps.failed.unwrap_or(Verdict::Sound))
}

struct Steps<'o, W> {
    out: &'o mut W,
    failed: Option<Verdict>,
}

impl<W: Write> Steps<'_, W> {
    /// A step that fails by what was set alone.
    fn setting(&mut self, what: &str, result: Result<String, String>) -> io::Result<()> {
        self.step(what, result, true)
    }

    /// A step that fails by what is outside.
    fn outside(&mut self, what: &str, result: Result<String, String>) -> io::Result<()> {
        self.step(what, result, false)
    }

    fn step(&mut self, what: &str, result: Result<String, String>, usage: bool) -> io::Result<()> {
        match result {
            Ok(text) => writeln!(self.out, "  ok    {what:<10} {text}"),
            Err(message) => {
                writeln!(self.out, "  FAIL  {what:<10} {message}")?;
                self.failed
                    .get_or_insert(Verdict::Unsound { usage, message });
                Ok(())
            }
        }
    }
}

fn memory(config: &Config) -> Result<String, String> {
    let budget = Budget::new(config);
    budget.check().map_err(|error| error.to_string())?;
    let (sum, max) = (Size(budget.sum()), Size(config.memory_max));
    Ok(format!("at most {sum}, of {max} (memory_max)"))
}

fn store(config: &Config) -> String {
    let store = &config.store;
    let Some(dir) = &store.dir else {
        return "none: a restart loses the runs that are open, the spans that wait and all counts (store.dir)".to_owned();
    };
    let parts = [
        ("journal", store.journal_bytes_max),
        ("outbox", store.outbox_bytes_max),
        ("quarantine", store.quarantine_bytes_max),
    ];
    let parts = parts.map(|(part, bytes)| format!("{part} {}", Size(bytes)));
    format!(
        "{}, at most {}: {}, and two checkpoints of at most {}",
        dir.display(),
        Size(store_bytes_max(config)),
        parts.join(", "),
        Size(checkpoint_bytes_max(config))
    )
}

fn prices(config: &Config) -> String {
    let Some(prices) = &config.prices else {
        return "none: a run costs what the server says (prices.models)".to_owned();
    };
    format!(
        "{} entries, taken on {}, for runs whose cost the server does not tell",
        prices.entries.len(),
        prices.taken
    )
}

fn token(token: Option<&TokenSource>) -> Result<String, String> {
    let Some(source) = token else {
        return Ok("none is given: the server is asked without one".to_owned());
    };
    source.read().map_err(|error| error.to_string())?;
    Ok(match source {
        TokenSource::Value(_) => "given as it is".to_owned(),
        TokenSource::File(path) => format!("read from {}", path.display()),
    })
}

/// What the backend refused for good. A running sidecar is not disturbed.
fn quarantined(config: &Config) -> Result<String, String> {
    let Some(dir) = &config.store.dir else {
        return Ok("none: what the backend refuses is dropped".to_owned());
    };
    let files = StoreDir::look(dir).map_err(|error| error.to_string())?;
    let listing = files.map(quarantine::list).transpose();
    match listing.map_err(|error| error.to_string())? {
        Some(listing) if listing.batches > 0 => Ok(listed(&listing)),
        _ => Ok("nothing was refused".to_owned()),
    }
}

fn listed(listing: &Listing) -> String {
    let time = |time: Option<Time>| time.unwrap_or_default().to_rfc3339();
    let reasons = listing.by_reason.iter();
    let reasons = reasons.map(|(reason, (spans, said))| match said.as_str() {
        "" => format!("{reason}: spans {spans}"),
        said => format!("{reason}: spans {spans}, last said {said:?}"),
    });
    format!(
        "refused: batches {}, spans {}, {}, from {} to {} ({}); `runtrail resend` sends them again",
        listing.batches,
        listing.spans,
        Size(listing.bytes as usize),
        time(listing.oldest),
        time(listing.newest),
        reasons.collect::<Vec<_>>().join("; ")
    )
}

async fn free(address: SocketAddr, key: &'static str) -> Result<String, String> {
    let bound = bind(address, key).await;
    bound.map_err(|error| error.to_string())?;
    Ok(format!("{address} is free"))
}

async fn backend(config: &Config) -> Result<String, String> {
    let Some(settings) = &config.export else {
        let why = config.no_export.clone();
        return Ok(why.unwrap_or_else(|| "none: traces stay in the local API".to_owned()));
    };
    let answer = export::probe(settings).await;
    let ProbeAnswer { endpoint, remark } = answer.map_err(|error| error.to_string())?;
    Ok(match remark {
        Some(remark) => format!("{endpoint} takes spans, and says: {remark}"),
        None => format!("{endpoint} takes spans"),
    })
}
