//! Our own logs: text on a terminal, JSON otherwise, on standard error. Never
//! more from one place than its share, never slower than their reader, and
//! never with a token or content: nothing of these is given to `tracing`.

mod bursts;
mod lines;

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use self::bursts::BurstLimit;
pub use self::lines::{LineWriter, Lines, Told};
use crate::config::{LogFormat, LogSettings};

/// The logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error(
        "the log level {filter:?} is none: use error, warn, info, debug, trace, or a filter as RUST_LOG has it ({error})"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        error: tracing_subscriber::filter::ParseError,
    },
    /// Somebody was here before.
    #[error("logs are set up already")]
    Twice(#[from] TryInitError),
}

/// What keeps the logs going; they are written to their end when it is dropped.
#[derive(Debug)]
pub struct Logs {
    limit: BurstLimit,
    _lines: Lines,
}

impl Logs {
    /// Says how many lines were held back since this was called last.
    pub fn tell_held_back(&self) {
        let held_back = self.limit.take_held_back();
        if held_back > 0 {
            tracing::warn!(
                lines = held_back,
                "lines of logs were held back: too many from one place"
            );
        }
    }
}

/// A further layer, for our own traces.
pub type FurtherLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets the logs of the process up.
pub fn start(settings: &LogSettings, further: Option<FurtherLayer>) -> Result<Logs, LogError> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(|error| LogError::Filter {
        filter: settings.filter.clone(),
        error,
    })?;
    let (writer, lines) = LineWriter::start(io::stderr(), Told::Here);
    let limit = BurstLimit::default();
    let is_terminal = io::stderr().is_terminal();
    let format = settings.format.unwrap_or(usual_format(is_terminal));
    tracing_subscriber::registry()
        .with(further)
        .with(written(format, writer, is_terminal).with_filter(filter.and(limit.clone())))
        .try_init()?;
    Ok(Logs {
        limit,
        _lines: lines,
    })
}

const fn usual_format(is_terminal: bool) -> LogFormat {
    match is_terminal {
        true => LogFormat::Text,
        false => LogFormat::Json,
    }
}

fn written<S>(
    format: LogFormat,
    writer: LineWriter,
    colours: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    match format {
        LogFormat::Text => fmt::layer()
            .with_ansi(colours)
            .with_target(false)
            .with_writer(writer)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer)
            .boxed(),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::lines::tests::Shared;
    use super::*;

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let out = Shared::default();
        let (writer, lines) = LineWriter::start(out.clone(), Told::Here);
        let limit = BurstLimit::default();
        let layer = written(format, writer, false).with_filter(limit.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        drop(lines);
        out.text()
    }

    #[test]
    fn people_read_terminals_and_machines_the_rest() {
        assert_eq!(usual_format(true), LogFormat::Text);
        assert_eq!(usual_format(false), LogFormat::Json);
    }

    #[test]
    fn for_machines_a_line_is_a_json_object_with_its_fields_on_top() {
        let text = logged(LogFormat::Json, || tracing::warn!(feed = 3, "lost"));
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["feed"]),
            (&"WARN".into(), &"lost".into(), &3.into())
        );
    }

    #[test]
    fn for_people_a_line_is_plain_text() {
        let text = logged(LogFormat::Text, || tracing::info!(feed = 3, "connected"));
        assert!(text.contains("INFO"), "{text}");
        assert!(text.trim_end().ends_with("connected feed=3"), "{text}");
    }

    #[test]
    fn a_line_does_not_repeat_the_span_that_it_is_said_in() {
        let text = logged(LogFormat::Text, || {
            let _inside = tracing::info_span!("sending", spans = 3).entered();
            tracing::info!("sent");
        });
        assert!(text.trim_end().ends_with("INFO sent"), "{text}");
    }

    #[test]
    fn one_place_has_its_share_and_another_place_its_own() {
        let text = logged(LogFormat::Text, || {
            for _ in 0..1_000 {
                tracing::info!("chatter");
            }
            tracing::info!("news");
        });
        let chatter = text.matches("chatter").count();
        assert!(chatter < 100, "{chatter}");
        assert_eq!(text.matches("news").count(), 1);
    }
}
