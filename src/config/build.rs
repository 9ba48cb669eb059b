//! What was chosen becomes a [`Config`]: the one place where a value is checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::choices::{Choices, Flags};
use super::credentials::{tls, token};
use super::environment::Environment;
use super::error::{ConfigError, Origin};
use super::keys::{self, AnyKey, BATCH_FRAME_BYTES_MAX};
use super::otlp::export;
use super::{
    Config, Listen, LogSettings, RecordSettings, ReplaySettings, ResendSettings, StoreSettings,
    describe, units,
};
use crate::core::{CoreSettings, Selection};
use crate::export::ExportSettings;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::metrics::catalogue::CatalogueError;
use crate::net::backoff::BackoffSettings;
use crate::run::prices::PriceTable;
use crate::source::{FeedScope, SourceSettings};
use crate::trace::batch::ResourceInfo;
use crate::trace::content::ContentPolicy;
use crate::trace::semconv;
use crate::trace::span::TraceSettings;
use crate::wire::dialect::Dialect;

/// The waits between attempts to connect to a server.
const SOURCE_BACKOFF: BackoffSettings = BackoffSettings {
    first: Duration::from_secs(1),
    most: Duration::from_secs(30),
};

/// The wait after a server refused us: somebody has to do something first.
const REFUSED_WAIT: Duration = Duration::from_secs(60);

/// Where the metrics of a demo are served.
const DEMO_LISTEN_METRICS: &str = "127.0.0.1:9464";

/// What the names and attributes of the resource may hold together. It stands in
/// each batch, and has to leave room for the largest span.
const RESOURCE_BYTES_MAX: usize = BATCH_FRAME_BYTES_MAX / 2;

pub(super) fn config(flags: &Flags, environment: &Environment) -> Result<Config, ConfigError> {
    let mut choices = Choices::gather(flags, environment)?;
    let export = export(&mut choices)?;
    whole(choices, export)
}

pub(super) fn demo(
    flags: &Flags,
    environment: &Environment,
    server: &Url,
) -> Result<Config, ConfigError> {
    let mut choices = Choices::gather_some(flags, environment, keys::is_of_demo)?;
    choices.preset(&keys::SOURCE_URL, server.as_str());
    // A demo is nobody else's business.
    choices.preset(&keys::LISTEN_METRICS, DEMO_LISTEN_METRICS);
    let export = export_if_asked_for(&mut choices)?;
    whole(choices, export)
}

fn whole(
    mut choices: Choices,
    export: Result<ExportSettings, String>,
) -> Result<Config, ConfigError> {
    let limits = limits(&choices)?;
    let store = store(&mut choices, &limits)?;
    let source = source(&choices)?;
    let self_trace = choices.needed(&keys::SELF_TRACE)?;
    if self_trace && export.is_err() {
        choices.warn(
            &keys::SELF_TRACE,
            "there is no backend to send to, so nothing is sent",
        );
    }
    let (export, no_export) = match export {
        Ok(export) => (Some(export), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Config {
        resource: resource(&choices, &source.system, &source.name)?,
        trace: trace(&choices, limits.content_bytes_max)?,
        selection: selection(&choices)?,
        markers: choices.needed(&keys::MARKERS)?,
        repair: choices.needed(&keys::REPAIR)?,
        enrich: choices.needed(&keys::ENRICH)?,
        prices: prices(&choices)?,
        store,
        listen: listen(&choices)?,
        log: log(&choices)?,
        self_trace,
        drain_max: choices.needed(&keys::DRAIN_MAX)?,
        memory_max: choices.needed(&keys::MEMORY_MAX)?,
        settings: describe::settings(&choices, &source, export.as_ref()),
        source,
        export,
        no_export,
        limits,
        warnings: choices.into_warnings(),
    })
}

pub(super) fn record(
    flags: &Flags,
    environment: &Environment,
) -> Result<RecordSettings, ConfigError> {
    let choices = Choices::gather(flags, environment)?;
    Ok(RecordSettings {
        source: source(&choices)?,
        log: log(&choices)?,
        warnings: choices.into_warnings(),
    })
}

pub(super) fn metrics_listener(
    flags: &Flags,
    environment: &Environment,
) -> Result<SocketAddr, ConfigError> {
    Choices::gather(flags, environment)?.needed(&keys::LISTEN_METRICS)
}

pub(super) fn resend(
    flags: &Flags,
    environment: &Environment,
) -> Result<ResendSettings, ConfigError> {
    let mut choices = Choices::gather(flags, environment)?;
    let limits = limits(&choices)?;
    Ok(ResendSettings {
        export: export(&mut choices)?,
        store: store(&mut choices, &limits)?,
        limits,
        log: log(&choices)?,
        warnings: choices.into_warnings(),
    })
}

pub(super) fn replay(
    system: &str,
    flags: &Flags,
    environment: &Environment,
) -> Result<ReplaySettings, ConfigError> {
    let mut choices = Choices::gather_some(flags, environment, keys::is_of_replay)?;
    let limits = Limits::default();
    let source = choices.value(&keys::SOURCE_NAME)?;
    let source = source.unwrap_or_else(|| system.to_owned());
    Ok(ReplaySettings {
        export: export_if_asked_for(&mut choices)?.ok(),
        core: CoreSettings {
            resource: resource(&choices, system, &source)?,
            trace: trace(&choices, limits.content_bytes_max)?,
            selection: selection(&choices)?,
            system: system.to_owned(),
            source,
            feeds: vec![None],
            markers: false,
            // A recording has no server that could be asked.
            repair: false,
            enrich: false,
            prices: prices(&choices)?,
            limits,
        },
        warnings: choices.into_warnings(),
    })
}

/// What is no live feed is sent only when somebody says so on the command line:
/// an endpoint in the environment is meant for others.
fn export_if_asked_for(
    choices: &mut Choices,
) -> Result<Result<ExportSettings, String>, ConfigError> {
    match choices.origin(&keys::EXPORT_ENDPOINT) {
        Origin::Flag(_) => export(choices),
        _ => Ok(Err("no --otlp is given: traces stay here".to_owned())),
    }
}

fn source(choices: &Choices) -> Result<SourceSettings, ConfigError> {
    let system = choices.needed(&keys::SOURCE_SYSTEM)?;
    let script = choices.value(&keys::SOURCE_SCRIPT)?;
    let projects = choices.needed(&keys::SOURCE_PROJECTS)?.into_iter();
    let feeds = projects.map(|project| FeedScope {
        project,
        script: script.clone(),
    });
    Ok(SourceSettings {
        name: choices
            .value(&keys::SOURCE_NAME)?
            .unwrap_or_else(|| system.clone()),
        system,
        url: choices.needed(&keys::SOURCE_URL)?,
        token: token(choices, &keys::SOURCE_TOKEN, &keys::SOURCE_TOKEN_FILE)?,
        feeds: feeds.collect(),
        tls: tls(
            choices,
            &keys::SOURCE_CA_FILE,
            &keys::SOURCE_CLIENT_CERTIFICATE_FILE,
            &keys::SOURCE_CLIENT_KEY_FILE,
        )?,
        connect_time_max: choices.needed(&keys::SOURCE_CONNECT_TIME_MAX)?,
        read_time_max: choices.needed(&keys::SOURCE_READ_TIME_MAX)?,
        backoff: SOURCE_BACKOFF,
        refused_wait: REFUSED_WAIT,
    })
}

/// A name that was given comes before one among the attributes, and both before
/// the default, as OpenTelemetry has it.
fn resource(choices: &Choices, system: &str, source: &str) -> Result<ResourceInfo, ConfigError> {
    let attributes = choices
        .value(&keys::RESOURCE_ATTRIBUTES)?
        .unwrap_or_default();
    let among_attributes = || {
        let mut latest_first = attributes.iter().rev();
        let named = latest_first.find(|(key, _)| key == semconv::SERVICE_NAME);
        named
            .map(|(_, name)| name.clone())
            .filter(|name| !name.is_empty())
    };
    let service_name = choices
        .value(&keys::SERVICE_NAME)?
        .or_else(among_attributes)
        .unwrap_or_else(|| system.to_owned());
    let held: usize = attributes
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if held > RESOURCE_BYTES_MAX {
        let problem = format!(
            "these hold {held} bytes, but stand in each batch: at most {} are taken",
            units::show_bytes(RESOURCE_BYTES_MAX)
        );
        return Err(choices.wrong(&keys::RESOURCE_ATTRIBUTES, problem));
    }
    Ok(ResourceInfo {
        service_name,
        service_instance_id: source.to_owned(),
        attributes,
    })
}

fn trace(choices: &Choices, content_bytes_max: usize) -> Result<TraceSettings, ConfigError> {
    let rules = choices.value(&keys::REDACT)?.unwrap_or_default();
    let capture = choices.needed(&keys::CAPTURE_CONTENT)?;
    Ok(TraceSettings {
        openinference: choices.needed(&keys::CONVENTIONS)?,
        content: ContentPolicy::new(capture, &rules, content_bytes_max)
            .map_err(|error| choices.wrong(&keys::REDACT, error.to_string()))?,
    })
}

fn selection(choices: &Choices) -> Result<Selection, ConfigError> {
    let include = choices.value(&keys::INCLUDE)?.unwrap_or_default();
    let exclude = choices.value(&keys::EXCLUDE)?.unwrap_or_default();
    let ratio = choices.needed(&keys::TRACE_RATIO)?;
    // Alone first, so that the key to blame is known.
    Selection::new(&include, &[], ratio)
        .map_err(|error| choices.wrong(&keys::INCLUDE, error.to_string()))?;
    Selection::new(&include, &exclude, ratio)
        .map_err(|error| choices.wrong(&keys::EXCLUDE, error.to_string()))
}

/// Prices without the day on which they were taken are prices that nobody can check.
fn prices(choices: &Choices) -> Result<Option<Arc<PriceTable>>, ConfigError> {
    let entries = choices.value(&keys::PRICES_MODELS)?;
    let taken = choices.value(&keys::PRICES_TAKEN)?;
    match (entries, taken) {
        (Some(entries), Some(taken)) => Ok(Some(Arc::new(PriceTable { taken, entries }))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(choices.wrong(
            &keys::PRICES_MODELS,
            "the day on which these prices were taken is not given: set prices.taken, such as 2026-05-01",
        )),
        (None, Some(_)) => Err(choices.wrong(
            &keys::PRICES_TAKEN,
            "there are no prices that were taken then: set prices.models, or leave this out",
        )),
    }
}

fn listen(choices: &Choices) -> Result<Listen, ConfigError> {
    let metrics = choices.needed(&keys::LISTEN_METRICS)?;
    let local = choices.needed(&keys::LISTEN_LOCAL)?;
    let local_token = token(
        choices,
        &keys::LISTEN_LOCAL_TOKEN,
        &keys::LISTEN_LOCAL_TOKEN_FILE,
    )?;
    if !local.ip().to_canonical().is_loopback() && local_token.is_none() {
        let problem = format!(
            "{local} is reached from elsewhere, so the API needs a token: set listen.local_token_file, or listen to 127.0.0.1"
        );
        return Err(choices.wrong(&keys::LISTEN_LOCAL, problem));
    }
    if collide(metrics, local) {
        let problem =
            format!("{local} is taken by listen.metrics ({metrics}): give each a port of its own");
        return Err(choices.wrong(&keys::LISTEN_LOCAL, problem));
    }
    Ok(Listen {
        metrics,
        local,
        local_token,
    })
}

/// Whether two listeners would want the same port of the same address. Port 0
/// is any that is free.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

fn store(choices: &mut Choices, limits: &Limits) -> Result<StoreSettings, ConfigError> {
    let store = StoreSettings {
        dir: choices.value(&keys::STORE_DIR)?,
        journal_bytes_max: choices.needed(&keys::STORE_JOURNAL_BYTES_MAX)?,
        outbox_bytes_max: choices.needed(&keys::STORE_OUTBOX_BYTES_MAX)?,
        quarantine_bytes_max: choices.needed(&keys::STORE_QUARANTINE_BYTES_MAX)?,
        checkpoint_every: choices.needed(&keys::STORE_CHECKPOINT_EVERY)?,
    };
    warn_of_what_says_nothing(choices, store.dir.is_some());
    // The newest segment always stays, so there has to be room for another one.
    let least = 2 * limits.frame_bytes_max.max(limits.answer_bytes_max);
    if store.dir.is_some() && store.journal_bytes_max < least {
        let [has, needs] = [store.journal_bytes_max, least].map(units::show_bytes);
        let problem = format!(
            "is {has}, but holds less than two of the largest records: give it {needs}, or lower limits.frame_bytes_max and limits.answer_bytes_max"
        );
        return Err(choices.wrong(&keys::STORE_JOURNAL_BYTES_MAX, problem));
    }
    Ok(store)
}

/// A bound that was chosen for the kind of store that there is not.
fn warn_of_what_says_nothing(choices: &mut Choices, on_disk: bool) {
    let of_disk: [&dyn AnyKey; 4] = [
        &keys::STORE_JOURNAL_BYTES_MAX,
        &keys::STORE_OUTBOX_BYTES_MAX,
        &keys::STORE_QUARANTINE_BYTES_MAX,
        &keys::STORE_CHECKPOINT_EVERY,
    ];
    let of_memory: [&dyn AnyKey; 1] = [&keys::OUTBOX_BYTES_MAX];
    let (idle, why) = match on_disk {
        true => (
            &of_memory[..],
            "this is of an outbox in memory: with store.dir, store.outbox_bytes_max counts",
        ),
        false => (&of_disk[..], "this means nothing without store.dir"),
    };
    for key in idle {
        if choices.raw(*key).is_some() {
            choices.warn(*key, why);
        }
    }
}

fn log(choices: &Choices) -> Result<LogSettings, ConfigError> {
    Ok(LogSettings {
        format: choices.needed(&keys::LOG_FORMAT)?,
        filter: choices.needed(&keys::LOG_LEVEL)?,
        runs: choices.needed(&keys::LOG_RUNS)?,
    })
}

fn limits(choices: &Choices) -> Result<Limits, ConfigError> {
    let limits = Limits {
        line_bytes_max: choices.needed(&keys::LINE_BYTES_MAX)?,
        frame_bytes_max: choices.needed(&keys::FRAME_BYTES_MAX)?,
        open_runs_max: choices.needed(&keys::OPEN_RUNS_MAX)?,
        open_runs_bytes_max: choices.needed(&keys::OPEN_RUNS_BYTES_MAX)?,
        open_nodes_max: choices.needed(&keys::OPEN_NODES_MAX)?,
        published_nodes_max: choices.needed(&keys::PUBLISHED_NODES_MAX)?,
        sealed_runs_max: choices.needed(&keys::SEALED_RUNS_MAX)?,
        chunk_events_max: choices.needed(&keys::CHUNK_EVENTS_MAX)?,
        content_bytes_max: choices.needed(&keys::CONTENT_BYTES_MAX)?,
        summary_names_max: choices.needed(&keys::SUMMARY_NAMES_MAX)?,
        held_events_bytes_max: choices.needed(&keys::HELD_EVENTS_BYTES_MAX)?,
        batch_bytes_max: choices.needed(&keys::BATCH_BYTES_MAX)?,
        batch_age_max: choices.needed(&keys::BATCH_AGE_MAX)?,
        progress_after: choices.needed(&keys::PROGRESS_AFTER)?,
        run_idle_max: choices.needed(&keys::RUN_IDLE_MAX)?,
        run_wait_max: choices.needed(&keys::RUN_WAIT_MAX)?,
        repair_wait_max: choices.needed(&keys::REPAIR_WAIT_MAX)?,
        repair_margin: choices.needed(&keys::REPAIR_MARGIN)?,
        enrich_wait_max: choices.needed(&keys::ENRICH_WAIT_MAX)?,
        asks_in_flight_max: choices.needed(&keys::ASKS_IN_FLIGHT_MAX)?,
        asks_per_second_max: choices.needed(&keys::ASKS_PER_SECOND_MAX)?,
        answer_bytes_max: choices.needed(&keys::ANSWER_BYTES_MAX)?,
        owed_runs_max: choices.needed(&keys::OWED_RUNS_MAX)?,
        owed_runs_bytes_max: choices.needed(&keys::OWED_RUNS_BYTES_MAX)?,
        outbox_bytes_max: choices.needed(&keys::OUTBOX_BYTES_MAX)?,
        recent_runs_max: choices.needed(&keys::RECENT_RUNS_MAX)?,
        recent_runs_bytes_max: choices.needed(&keys::RECENT_RUNS_BYTES_MAX)?,
        metric_series_max: choices.needed(&keys::METRIC_SERIES_MAX)?,
        label_values_max: choices.needed(&keys::LABEL_VALUES_MAX)?,
        series_idle_max: choices.needed(&keys::SERIES_IDLE_MAX)?,
    };
    if limits.line_bytes_max > limits.frame_bytes_max {
        let [line, frame] = [limits.line_bytes_max, limits.frame_bytes_max].map(units::show_bytes);
        return Err(match choices.origin(&keys::LINE_BYTES_MAX) {
            Origin::Default => choices.wrong(
                &keys::FRAME_BYTES_MAX,
                format!("a frame of {frame} cannot hold a line of {line}: lower limits.line_bytes_max too"),
            ),
            _ => choices.wrong(
                &keys::LINE_BYTES_MAX,
                format!("a line of {line} does not fit into limits.frame_bytes_max, which is {frame}"),
            ),
        });
    }
    match Metrics::new(&crate::metrics::Settings::new(&limits, Dialect::SYSTEMS)) {
        Ok(_) => Ok(limits),
        Err(CatalogueError::TooFewSeries { max, least }) => Err(choices.wrong(
            &keys::METRIC_SERIES_MAX,
            format!("is {max}, but {least} series always exist: give it more than that"),
        )),
        Err(error) => Err(choices.wrong(&keys::METRIC_SERIES_MAX, error.to_string())),
    }
}
