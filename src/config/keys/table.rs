//! The keys beside the bounds.

use std::time::Duration;

use super::super::kinds::{
    Address, Attributes, Bytes, Conventions, Count, Day, Endpoint, File, Folder, Headers,
    LogFilter, OneOf, OtlpProtocol, Patterns, Prices, Projects, Ratio, Rules, Server, Switch,
    System, Text, Time, Token,
};
use super::super::translate::{capture_mode, exporters, millis, plain, sdk_disabled};
use super::{AnyKey, DEPLOYER, GUARDIAN, Key, PAYER, READER, STORER, TUNER, key, keys};
use crate::config::LogFormat;
use crate::export::Compression;

/// The general endpoint of OpenTelemetry, to which the path of traces is added.
pub const OTEL_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The endpoint of traces, which is used as it is.
pub const OTEL_TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

const fn seconds(least: u64, most: u64) -> Time {
    Time {
        least: Duration::from_secs(least),
        most: Duration::from_secs(most),
    }
}

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

const fn bytes(least: usize, most: usize) -> Bytes {
    Bytes { least, most }
}

const REQUEST_TIME: Time = Time {
    least: Duration::from_millis(1),
    most: Duration::from_secs(600),
};

const PEM_FILE_UNSET: &str = "none";

keys! {
    SOURCE_URL: Server = key("source.url", Server)
        .flag("--url")
        .also(&[plain("AKRIBES_URL")])
        .unset("none: it must be given")
        .effect("The address of the workflow server.")
        .changed_by(DEPLOYER);
    SOURCE_PROJECTS: Projects = key("source.projects", Projects)
        .flag("--project")
        .also(&[plain("AKRIBES_PROJECT_ID")])
        .default("all")
        .effect("The projects to listen to: ids, each with a feed of its own, or `all` that the token reaches.")
        .changed_by(DEPLOYER);
    SOURCE_SCRIPT: Text = key("source.script", Text)
        .flag("--script")
        .unset("all workflows")
        .effect("Ask the server for the events of this one workflow only.")
        .changed_by(DEPLOYER);
    SOURCE_TOKEN_FILE: File = key("source.token_file", File)
        .flag("--token-file")
        .also(&[plain("AKRIBES_TOKEN_FILE")])
        .unset("no token")
        .effect("The file that holds the server's token. It is read again for each connection, so a mounted secret can change.")
        .changed_by(DEPLOYER);
    SOURCE_TOKEN: Token = key("source.token", Token)
        .also(&[plain("AKRIBES_TOKEN")])
        .unset("no token")
        .effect("The server's token itself. `source.token_file` is the safer way; both at once are refused.")
        .changed_by(DEPLOYER);
    SOURCE_SYSTEM: System = key("source.system", System)
        .default("akribes")
        .effect("The system whose feed it is.")
        .changed_by(DEPLOYER);
    SOURCE_NAME: Text = key("source.name", Text)
        .flag("--source")
        .unset("the system")
        .effect("The name of the source: `service.instance.id` of all spans.")
        .changed_by(DEPLOYER);
    SOURCE_CA_FILE: File = key("source.ca_file", File)
        .unset(PEM_FILE_UNSET)
        .effect("Authorities to trust beside those of the system, as PEM.")
        .changed_by(DEPLOYER);
    SOURCE_CLIENT_CERTIFICATE_FILE: File = key("source.client_certificate_file", File)
        .unset(PEM_FILE_UNSET)
        .effect("The certificate to present to the server, as PEM.")
        .changed_by(DEPLOYER);
    SOURCE_CLIENT_KEY_FILE: File = key("source.client_key_file", File)
        .unset(PEM_FILE_UNSET)
        .effect("The key of that certificate, as PEM.")
        .changed_by(DEPLOYER);
    SOURCE_CONNECT_TIME_MAX: Time = key("source.connect_time_max", seconds(1, 300))
        .default("10s")
        .effect("How long a connection to the server may take to be made, the head of its answer included.")
        .changed_by(TUNER);
    SOURCE_READ_TIME_MAX: Time = key("source.read_time_max", seconds(1, 3_600))
        .default("60s")
        .effect("A feed that is silent for longer than this, keep-alives included, is dead, and is connected anew.")
        .changed_by("whoever runs a server with rare keep-alives");

    EXPORT_ENDPOINT: Endpoint = key("export.endpoint", Endpoint)
        .flag("--otlp")
        .also(&[plain(OTEL_TRACES_ENDPOINT), plain(OTEL_ENDPOINT)])
        .unset("no export: traces stay in the local API")
        .effect("Where traces are sent. Over HTTP `v1/traces` is added to the path, unless it ends so already; `OTEL_EXPORTER_OTLP_ENDPOINT` always gets it, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is used as it is.")
        .changed_by(DEPLOYER);
    EXPORT_PROTOCOL: OtlpProtocol = key("export.protocol", OtlpProtocol)
        .flag("--protocol")
        .also(&[
            plain("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
            plain("OTEL_EXPORTER_OTLP_PROTOCOL"),
        ])
        .default("http/protobuf")
        .effect("How OTLP is spoken: `http/protobuf` or `grpc`.")
        .changed_by(DEPLOYER);
    EXPORT_HEADERS: Headers = key("export.headers", Headers)
        .also(&[
            plain("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
            plain("OTEL_EXPORTER_OTLP_HEADERS"),
        ])
        .unset("none")
        .effect("Headers of each request, or metadata with gRPC. In a variable `name=value,name=value`, percent-encoded.")
        .changed_by(DEPLOYER);
    EXPORT_COMPRESSION: OneOf<Compression> = key("export.compression", OneOf(&[("gzip", Compression::Gzip), ("none", Compression::None)]))
        .also(&[
            plain("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"),
            plain("OTEL_EXPORTER_OTLP_COMPRESSION"),
        ])
        .default("gzip")
        .effect("How requests are compressed.")
        .changed_by("whoever runs a backend that cannot unpack");
    EXPORT_TIMEOUT: Time = key("export.timeout", REQUEST_TIME)
        .also(&[
            millis("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
            millis("OTEL_EXPORTER_OTLP_TIMEOUT"),
        ])
        .default("10s")
        .effect("How long one request may take. The variables of OpenTelemetry give milliseconds.")
        .changed_by("whoever runs a slow backend");
    EXPORT_CA_FILE: File = key("export.ca_file", File)
        .also(&[
            plain("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
            plain("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ])
        .unset(PEM_FILE_UNSET)
        .effect("Authorities to trust beside those of the system, as PEM.")
        .changed_by(DEPLOYER);
    EXPORT_CLIENT_CERTIFICATE_FILE: File = key("export.client_certificate_file", File)
        .also(&[
            plain("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE"),
            plain("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ])
        .unset(PEM_FILE_UNSET)
        .effect("The certificate to present to the backend, as PEM.")
        .changed_by(DEPLOYER);
    EXPORT_CLIENT_KEY_FILE: File = key("export.client_key_file", File)
        .also(&[
            plain("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"),
            plain("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        ])
        .unset(PEM_FILE_UNSET)
        .effect("The key of that certificate, as PEM.")
        .changed_by(DEPLOYER);
    EXPORT_INSECURE: Switch = key("export.insecure", Switch)
        .also(&[
            plain("OTEL_EXPORTER_OTLP_TRACES_INSECURE"),
            plain("OTEL_EXPORTER_OTLP_INSECURE"),
        ])
        .default("false")
        .effect("With gRPC and an endpoint without `http://` or `https://`: speak without TLS.")
        .changed_by(DEPLOYER);
    EXPORT_IN_FLIGHT_MAX: Count = key("export.in_flight_max", Count { least: 1, most: 64 })
        .default("4")
        .effect("Requests on their way to the backend at once.")
        .changed_by(TUNER);
    EXPORT_ENABLED: Switch = key("export.enabled", Switch)
        .also(&[sdk_disabled("OTEL_SDK_DISABLED"), exporters("OTEL_TRACES_EXPORTER")])
        .default("true")
        .effect("Whether traces are sent at all. `OTEL_SDK_DISABLED=true` and `OTEL_TRACES_EXPORTER=none` say no; `--otlp` says yes.")
        .changed_by(DEPLOYER);

    STORE_DIR: Folder = key("store.dir", Folder)
        .flag("--store-dir")
        .unset("nothing is kept on disk")
        .effect("The directory on a volume that outlives the pod, in which what was read is kept until it is safe elsewhere. Without it a restart loses the runs that are open, the spans that wait and all counts. One process at a time may use it.")
        .changed_by(DEPLOYER);
    STORE_JOURNAL_BYTES_MAX: Bytes = key("store.journal_bytes_max", bytes(16 * MIB, 64 * GIB))
        .default("64MiB")
        .effect("Accepted events on disk, kept until their spans are in the outbox. When it is full, a checkpoint is made early; while that makes no room, reading stops.")
        .changed_by(STORER);
    STORE_OUTBOX_BYTES_MAX: Bytes = key("store.outbox_bytes_max", bytes(8 * MIB, 1024 * GIB))
        .default("512MiB")
        .effect("Batches on disk that wait for the backend, compressed. When it is full, metrics and summaries go on; runs that end meanwhile are rebuilt from the server's log once there is room. Without `store.dir` `limits.outbox_bytes_max` counts.")
        .changed_by("whoever knows how long the backend may be away");
    STORE_QUARANTINE_BYTES_MAX: Bytes = key("store.quarantine_bytes_max", bytes(8 * MIB, 64 * GIB))
        .default("64MiB")
        .effect("Batches on disk that the backend refused for good, for `runtrail resend`. When it is full, the oldest go.")
        .changed_by(STORER);
    STORE_CHECKPOINT_EVERY: Time = key("store.checkpoint_every", seconds(1, 3_600))
        .default("60s")
        .effect("How often the state of all open runs is written to disk, at most: where that takes long, the rest after it is ten times as long, up to 5 minutes. The more rarely, the more of the journal is read again after a restart.")
        .changed_by(STORER);

    CAPTURE_CONTENT: Switch = key("capture_content", Switch)
        .flag("--capture-content")
        .also(&[capture_mode("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")])
        .default("false")
        .effect("Let texts leave, redacted and cut: prompts, chunks, inputs and outputs of tools, results, logs.")
        .changed_by(GUARDIAN);
    REDACT: Rules = key("redact", Rules)
        .flag("--redact")
        .unset("the built-in rules only")
        .effect("Regular expressions whose matches are redacted, beside the built-in ones. With a group called `secret` only that group is. In the variable a comma ends a rule, so one that holds a comma belongs in the file.")
        .changed_by(GUARDIAN);
    CONVENTIONS: Conventions = key("conventions", Conventions)
        .flag("--conventions")
        .default("gen_ai")
        .effect("Attributes of further conventions beside GenAI's, which are always there: `openinference`, as Phoenix reads it.")
        .changed_by(READER);
    INCLUDE: Patterns = key("include", Patterns)
        .flag("--include")
        .unset("all workflows")
        .effect("Only workflows whose name fits one of these: `*` is any text, `?` any character. Others leave no trace, metric or summary.")
        .changed_by(READER);
    EXCLUDE: Patterns = key("exclude", Patterns)
        .flag("--exclude")
        .unset("none")
        .effect("No workflow whose name fits one of these, whatever `include` says.")
        .changed_by(READER);
    TRACE_RATIO: Ratio = key("trace_ratio", Ratio)
        .flag("--trace-ratio")
        .default("1")
        .effect("The share of runs whose spans are sent, chosen by trace id. Metrics and summaries count every run.")
        .changed_by("whoever pays for the backend");
    MARKERS: Switch = key("markers", Switch)
        .default("true")
        .effect("Whether a run that is open for longer than `limits.progress_after` sends a marker span, so that it is seen before it ends.")
        .changed_by(READER);
    REPAIR: Switch = key("repair", Switch)
        .default("true")
        .effect("Ask the server for what the feed lost, or what it sent while nobody listened, where it has a log.")
        .changed_by("whoever runs the server");
    ENRICH: Switch = key("enrich", Switch)
        .default("true")
        .effect("Ask the server at the end of each run for its row and its tasks: cost, version, channel, who triggered it.")
        .changed_by("whoever runs the server");
    SERVICE_NAME: Text = key("service_name", Text)
        .flag("--service-name")
        .also(&[plain("OTEL_SERVICE_NAME")])
        .unset("the one among the resource attributes, else the system")
        .effect("`service.name` of all spans.")
        .changed_by(DEPLOYER);
    RESOURCE_ATTRIBUTES: Attributes = key("resource_attributes", Attributes)
        .flag("--resource-attributes")
        .also(&[plain("OTEL_RESOURCE_ATTRIBUTES")])
        .unset("none")
        .effect("Further attributes of the resource. In a variable or flag `key=value,key=value`, percent-encoded.")
        .changed_by(DEPLOYER);

    PRICES_TAKEN: Day = key("prices.taken", Day)
        .unset("no prices")
        .effect("The day on which the prices below were taken from the price lists of the providers. It is given with them, for whoever asks later how old they are.")
        .changed_by(PAYER);
    PRICES_MODELS: Prices = key("prices.models", Prices)
        .unset("a run costs what the server says, or nobody knows")
        .effect("What models cost in US dollars for a million tokens, for runs whose cost the server does not tell. An entry has `model`, a pattern of names as `include` has them; `input` and `output`; and where they differ `cache_read` and `cache_write_5m` (else as `input`) and `cache_write_1h` (else as `cache_write_5m`). With `provider`, a pattern too, it is for that one only. Of the entries that fit, the first one counts. In a variable entries stand between semicolons, as `model=…,input=…,output=…`.")
        .changed_by(PAYER);

    LISTEN_METRICS: Address = key("listen.metrics", Address)
        .flag("--listen")
        .default("0.0.0.0:9464")
        .effect("Where `/metrics`, `/healthz` and `/readyz` are served, and nothing else.")
        .changed_by(DEPLOYER);
    LISTEN_LOCAL: Address = key("listen.local", Address)
        .flag("--local")
        .default("127.0.0.1:9465")
        .effect("Where the API is served. Anything but loopback needs a token.")
        .changed_by(DEPLOYER);
    LISTEN_LOCAL_TOKEN_FILE: File = key("listen.local_token_file", File)
        .unset("no token")
        .effect("The file that holds the token which the API asks for.")
        .changed_by(DEPLOYER);
    LISTEN_LOCAL_TOKEN: Token = key("listen.local_token", Token)
        .unset("no token")
        .effect("That token itself; both at once are refused.")
        .changed_by(DEPLOYER);

    LOG_RUNS: Switch = key("log_runs", Switch)
        .flag("--log-runs")
        .default("false")
        .effect("Write each finished run as one line of JSON to standard output.")
        .changed_by(DEPLOYER);
    LOG_LEVEL: LogFilter = key("log.level", LogFilter)
        .flag("--log-level")
        .also(&[plain("RUST_LOG")])
        .default("info")
        .effect("Which of its own logs runtrail writes: a level, or a filter as `RUST_LOG` has it.")
        .changed_by("whoever looks for a fault");
    LOG_FORMAT: OneOf<Option<LogFormat>> = key("log.format", OneOf(&[("auto", None), ("text", Some(LogFormat::Text)), ("json", Some(LogFormat::Json))]))
        .flag("--log-format")
        .default("auto")
        .effect("How logs are written: `text`, `json`, or `auto`, which is text on a terminal and JSON otherwise.")
        .changed_by(DEPLOYER);

    MEMORY_MAX: Bytes = key("memory_max", bytes(16 * MIB, 1024 * GIB))
        .flag("--memory-max")
        .default("384MiB")
        .effect("What all of it together may use. The sum of the bounds is computed at start, and refused when it is more.")
        .changed_by("whoever sizes the pod");
    DRAIN_MAX: Time = key("drain_max", seconds(1, 3_600))
        .flag("--drain-max")
        .default("20s")
        .effect("How long the end may take after SIGTERM. Keep it below the pod's grace period.")
        .changed_by(DEPLOYER);
    SELF_TRACE: Switch = key("self_trace", Switch)
        .default("false")
        .effect("Send runtrail's own traces to the backend too.")
        .changed_by("whoever looks for a fault in runtrail");
}
