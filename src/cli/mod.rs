//! The command line: what may be said, and what it means.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use thiserror::Error;

use crate::core::{CoreSettings, Selection};
use crate::limits::Limits;
use crate::trace::batch::ResourceInfo;
use crate::trace::content::{ContentPolicy, RuleError};
use crate::trace::semconv;
use crate::trace::span::TraceSettings;
use crate::wire::dialect::Dialect;

/// Turns every run of an AI-workflow server into an OpenTelemetry trace,
/// Prometheus metrics and a run summary.
#[derive(Debug, Parser)]
#[command(name = "runtrail", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read a recorded feed and print what becomes of it, as JSON lines or as
    /// Prometheus text. Runs still open at its end are closed as abandoned.
    Replay(Replay),
}

/// Read a recorded feed.
#[derive(Debug, Args)]
pub struct Replay {
    /// The recording: bytes of server-sent events, or a line of JSON an event;
    /// `-` is standard input.
    pub file: PathBuf,
    /// The system whose feed it is.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Dialect::SYSTEMS))]
    pub system: String,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Emit::Summaries)]
    pub emit: Emit,
    /// Also print the markers of runs that were open for longer than ten seconds.
    #[arg(long)]
    pub markers: bool,
    /// Where the feed comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// What spans say.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// One run summary a line.
    Summaries,
    /// One OTLP/JSON export request a line.
    Spans,
    /// The metrics, as Prometheus text.
    Metrics,
}

/// Where the feed comes from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// The name of the source: `service.instance.id` of all spans. Default: the system.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// `service.name` of all spans. Default: the one among the resource attributes,
    /// else the system.
    #[arg(long, value_name = "NAME", env = "OTEL_SERVICE_NAME")]
    pub service_name: Option<String>,
    /// Further attributes of the resource: `key=value,key=value`, percent-encoded.
    #[arg(long, value_name = "LIST", env = "OTEL_RESOURCE_ATTRIBUTES")]
    pub resource_attributes: Option<String>,
}

/// What spans say.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Let texts leave, redacted and cut: chunks, inputs and outputs of tools, results.
    #[arg(long)]
    pub capture_content: bool,
    /// The GenAI conventions' own variable for the same: `true`, `SPAN_ONLY` or
    /// `SPAN_AND_EVENT`.
    #[arg(
        long,
        value_name = "MODE",
        hide = true,
        env = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    )]
    pub capture_message_content: Option<String>,
    /// Attributes of further conventions beside GenAI's.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "gen-ai")]
    pub conventions: Vec<Convention>,
    /// A regular expression whose matches are redacted, beside the built-in ones.
    /// With a group called `secret` only that group is. May be given often.
    #[arg(long = "redact", value_name = "REGEX")]
    pub redaction_rules: Vec<String>,
}

/// A convention for attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Convention {
    /// OpenTelemetry's GenAI conventions; always there.
    #[value(alias = "gen_ai")]
    GenAi,
    /// OpenInference, as Phoenix reads it.
    Openinference,
}

/// What was said cannot be meant.
#[derive(Debug, Error)]
pub enum UsageError {
    /// A redaction rule is none.
    #[error(transparent)]
    Redaction(#[from] RuleError),
    /// The list of resource attributes is none.
    #[error("OTEL_RESOURCE_ATTRIBUTES: {0:?} is no `key=value`")]
    ResourceAttribute(String),
}

/// Reads the command line. An empty variable is an unset one.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments)
}

impl Replay {
    /// What the core needs to know.
    pub fn core_settings(&self) -> Result<CoreSettings, UsageError> {
        let limits = Limits::default();
        let attributes = resource_attributes(
            self.source
                .resource_attributes
                .as_deref()
                .unwrap_or_default(),
        )?;
        let or_system = |name: Option<&str>| match name {
            None | Some("") => self.system.clone(),
            Some(name) => name.to_owned(),
        };
        // A name that was given comes before one among the attributes, and both
        // before the default, as OpenTelemetry has it.
        let given = self.source.service_name.as_deref();
        let service_name = given.filter(|name| !name.is_empty()).or_else(|| {
            let mut named = attributes.iter().rev();
            named
                .find(|(key, _)| key == semconv::SERVICE_NAME)
                .map(|(_, name)| name.as_str())
        });
        let source = or_system(self.source.source.as_deref());
        Ok(CoreSettings {
            resource: ResourceInfo {
                service_name: or_system(service_name),
                service_instance_id: source.clone(),
                attributes,
            },
            system: self.system.clone(),
            source,
            trace: self.trace.settings(&limits)?,
            markers: self.markers,
            // A recording has no server that could be asked.
            repair: false,
            feeds: vec![None],
            selection: Selection::default(),
            limits,
        })
    }
}

impl TraceArgs {
    fn settings(&self, limits: &Limits) -> Result<TraceSettings, UsageError> {
        let by_convention = self.capture_message_content.as_deref().is_some_and(|mode| {
            ["true", "span_only", "span_and_event"].contains(&mode.to_lowercase().as_str())
        });
        Ok(TraceSettings {
            openinference: self.conventions.contains(&Convention::Openinference),
            content: ContentPolicy::new(
                self.capture_content || by_convention,
                &self.redaction_rules,
                limits.content_bytes_max,
            )?,
        })
    }
}

/// `key=value,key=value`, percent-encoded, as OpenTelemetry has it.
fn resource_attributes(list: &str) -> Result<Vec<(String, String)>, UsageError> {
    let pairs = list
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let wrong = || UsageError::ResourceAttribute(pair.to_owned());
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            let decoded = |text: &str| percent_decoded(text.trim()).ok_or_else(wrong);
            Ok((decoded(key)?, decoded(value)?))
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_attributes_are_read_as_opentelemetry_writes_them() {
        let read = |list| resource_attributes(list).ok();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(
            read("a=1, b=x%3Dy%2C ,"),
            Some(vec![pair("a", "1"), pair("b", "x=y,")])
        );
        assert_eq!(read("a=b=c"), Some(vec![pair("a", "b=c")]));
        assert_eq!(read("a"), None);
        assert_eq!(read("a=%zz"), None);
        assert_eq!(read("a=%C3"), None);
    }

    #[test]
    fn a_service_is_named_by_its_name_then_by_its_attributes_then_by_the_system() {
        let named = |name: &str, attributes: &str| {
            let mut line = vec!["runtrail", "replay", "--system", "akribes", "-"];
            line.extend(["--service-name", name, "--resource-attributes", attributes]);
            let Command::Replay(replay) = Cli::parse_from(line).command;
            replay.core_settings().unwrap().resource.service_name
        };
        assert_eq!(named("a", "service.name=b"), "a");
        assert_eq!(named("", "service.name=b"), "b");
        assert_eq!(named("", "service.name=b,service.name=c"), "c");
        assert_eq!(named("", "service.name="), "akribes");
        assert_eq!(named("", "team=b"), "akribes");
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
