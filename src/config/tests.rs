use super::*;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::export::{Compression, Protocol};
use crate::limits::PRICE_ENTRIES_MAX;

/// A place for files, and what the three layers say.
struct Said {
    folder: TempDir,
    flags: Flags,
    variables: Vec<(String, String)>,
}

impl Said {
    /// No more than a server's address.
    fn new() -> Self {
        Self::nothing().variable("AKRIBES_URL", "http://akribes:3001")
    }

    fn nothing() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = Self {
            folder,
            flags: Flags::default(),
            variables: Vec::new(),
        };
        // Whatever stands at the default place of the machine is none of ours.
        said.file("")
    }

    fn file(self, content: &str) -> Self {
        self.bytes(content.as_bytes())
    }

    fn bytes(mut self, content: &[u8]) -> Self {
        let path = self.written("runtrail.yaml", content);
        self.flags.file = Some(path);
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        let mut keys = keys::all();
        let key = keys.find(|key| key.about().flag == Some(name)).unwrap();
        self.flags.values.push((key, vec![value.to_owned()]));
        self
    }

    fn written(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let environment = self.variables.iter().cloned().collect();
        Config::load(&self.flags, &environment)
    }

    fn config(&self) -> Config {
        self.load().unwrap()
    }

    /// What is said of it, without the path of its folder.
    fn problem(&self) -> String {
        let problem = self.load().map(|_| ()).unwrap_err().to_string();
        problem.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// What a key was told to be, and by whom.
    fn setting(&self, key: &str) -> (String, String) {
        let config = self.config();
        let setting = config.describe().iter().find(|setting| setting.key == key);
        let setting = setting.unwrap();
        let origin = setting.origin.to_string();
        let folder = format!("{}/", self.folder.path().display());
        (setting.value.clone(), origin.replace(&folder, ""))
    }
}

#[test]
fn a_server_s_address_is_all_that_must_be_said() {
    let config = Said::new().config();
    assert_eq!(config.source.url.as_str(), "http://akribes:3001/");
    assert_eq!(config.source.name, "akribes");
    assert_eq!(config.source.feeds, [crate::source::FeedScope::default()]);
    assert_eq!(config.source.token, None);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.listen.metrics.to_string(), "0.0.0.0:9464");
    assert_eq!(config.listen.local.to_string(), "127.0.0.1:9465");
    assert_eq!(config.memory_max, 384 << 20);
    assert_eq!(config.drain_max, Duration::from_secs(20));
    assert!(config.markers && !config.self_trace && !config.log.runs);
    assert!(config.repair && config.enrich);
    assert_eq!(config.store.dir, None);
    assert_eq!(config.outbox_bytes_max(), 32 << 20);
    assert!(config.warnings.is_empty());
    assert!(config.no_export.unwrap().contains("no OTLP endpoint"));
    assert_eq!(
        Said::nothing().problem(),
        "source.url is not set: give it with --url, AKRIBES_URL, or in the file"
    );
}

/// What each layer may say of a key, the one that counts first in front.
struct Layers {
    key: &'static str,
    flag: (&'static str, &'static str),
    variables: &'static [(&'static str, &'static str)],
    /// A line, the column of the key in it, and its value as it is shown.
    file: (&'static str, usize, &'static str),
}

const LAYERS: [Layers; 6] = [
    Layers {
        key: "memory_max",
        flag: ("--memory-max", "3GiB"),
        variables: &[("RUNTRAIL_MEMORY_MAX", "2GiB")],
        file: ("memory_max: 1GiB", 1, "1GiB"),
    },
    Layers {
        key: "trace_ratio",
        flag: ("--trace-ratio", "0.125"),
        variables: &[("RUNTRAIL_TRACE_RATIO", "0.25")],
        file: ("trace_ratio: 0.5", 1, "0.5"),
    },
    Layers {
        key: "source.projects",
        flag: ("--project", "5"),
        variables: &[
            ("RUNTRAIL_SOURCE_PROJECTS", "3"),
            ("AKRIBES_PROJECT_ID", "4"),
        ],
        file: ("source: {projects: [1, 2]}", 10, "1, 2"),
    },
    Layers {
        key: "service_name",
        flag: ("--service-name", "d"),
        variables: &[("RUNTRAIL_SERVICE_NAME", "b"), ("OTEL_SERVICE_NAME", "c")],
        file: ("service_name: a", 1, "a"),
    },
    Layers {
        key: "export.protocol",
        flag: ("--protocol", "grpc"),
        variables: &[
            ("RUNTRAIL_EXPORT_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ],
        file: ("export: {protocol: grpc}", 10, "grpc"),
    },
    Layers {
        key: "log.level",
        flag: ("--log-level", "error"),
        variables: &[("RUNTRAIL_LOG_LEVEL", "debug"), ("RUST_LOG", "trace")],
        file: ("log: {level: warn}", 7, "warn"),
    },
];

#[test]
fn the_file_is_below_the_environment_and_that_below_the_flags() {
    for Layers {
        key,
        flag,
        variables,
        file,
    } in LAYERS
    {
        let (line, column, value) = file;
        // All of them speak, then all but the first, and so on.
        let all = [flag].into_iter().chain(variables.iter().copied());
        let all = all.map(|(name, value)| (name.to_owned(), value));
        let all = all.chain([(format!("runtrail.yaml:1:{column}"), value)]);
        let all: Vec<_> = all.collect();
        for silent in 0..all.len() {
            let mut said = Said::new().file(line);
            for (name, value) in &all[..all.len() - 1] {
                let speaks = all[silent..].iter().any(|(speaking, _)| speaking == name);
                if name.starts_with("--") && speaks {
                    said = said.flag(name, value);
                } else if !name.starts_with("--") {
                    // An empty variable is an unset one.
                    said = said.variable(name, if speaks { value } else { "" });
                }
            }
            let (origin, value) = &all[silent];
            assert_eq!(said.setting(key), ((*value).to_owned(), origin.clone()));
        }
        assert_eq!(Said::new().setting(key).1, "default", "{key}");
    }
}

#[test]
fn every_key_is_read_from_the_file_and_from_its_variable() {
    // A token and its file cannot be together.
    for left_out in ["token", "token_file"] {
        let (mut by_file, mut by_variable) = (Said::nothing(), Said::nothing());
        let written = examples(&by_file);
        let keys = || keys::all().filter(|key| !key.about().path.ends_with(left_out));
        let mut content = String::new();
        for key in keys() {
            let about = key.about();
            let text = match about.default {
                keys::Preset::Value(text) => text.to_owned(),
                keys::Preset::Nothing(_) => written(about.path),
            };
            by_variable = by_variable.variable(&about.variable(), &text);
            let value = match key.shape() {
                kinds::Shape::One => format!("'{text}'"),
                kinds::Shape::Many | kinds::Shape::ManyFlags => format!("[{text}]"),
                kinds::Shape::Pairs => "{a: b}".to_owned(),
                kinds::Shape::Entries => {
                    "[{model: m*, input: 1, output: 2}, {model: '*', input: 0, output: 0}]"
                        .to_owned()
                }
            };
            let (section, name) = about.path.split_once('.').unwrap_or(("", about.path));
            if section.is_empty() {
                content.push_str(&format!("{name}: {value}\n"));
                continue;
            }
            let heading = format!("{section}:\n");
            if !content.contains(&heading) {
                content.push_str(&heading);
            }
            let line = format!("  {name}: {value}\n");
            let below = content.find(&heading).unwrap() + heading.len();
            content.insert_str(below, &line);
        }
        by_file = by_file.file(&content);
        let (file, variables) = (by_file.config(), by_variable.config());
        for key in keys() {
            let about = key.about();
            let of = |config: &Config| {
                let setting = config.describe().iter();
                let mut setting = setting.filter(|setting| setting.key == about.path);
                let setting = setting.next().unwrap();
                (setting.value.clone(), setting.origin.clone())
            };
            let (from_file, origin) = of(&file);
            assert!(
                matches!(origin, Origin::File(_)),
                "{}: {origin}",
                about.path
            );
            let (from_variable, origin) = of(&variables);
            assert_eq!(origin, Origin::Variable(about.variable()));
            assert_eq!(from_file, from_variable, "{}", about.path);
            assert_eq!(
                from_file.contains("[secret]"),
                key.is_secret(),
                "{from_file}"
            );
        }
    }
}

/// What may be written for a key that has no default to write again.
fn examples(said: &Said) -> impl Fn(&str) -> String + use<> {
    let (certificate, key) = certificate();
    let files = [
        ("ca_file", certificate.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
        ("token_file", "hunter2"),
    ];
    let files = files.map(|(end, content)| (end, said.written(end, content.as_bytes())));
    move |path| {
        if let Some((_, file)) = files.iter().find(|(end, _)| path.ends_with(end)) {
            return file.display().to_string();
        }
        let text = match path {
            "source.url" => "http://c:1",
            "export.endpoint" => "http://c:4318",
            "export.headers" | "resource_attributes" => "a=b",
            "redact" | "include" | "exclude" => "a, b",
            "prices.taken" => "2026-05-01",
            "prices.models" => "model=m*,input=1,output=2; model=*,input=0,output=0",
            _ => "text",
        };
        text.to_owned()
    }
}

#[test]
fn what_opentelemetry_says_is_understood() {
    let export = |variables: &[(&str, &str)]| {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let mut said = Said::new();
        for (name, value) in [&[endpoint][..], variables].concat() {
            said = said.variable(name, value);
        }
        said.config().export
    };
    let plain = export(&[]).unwrap();
    assert_eq!(plain.endpoint.as_str(), "http://c:4318/v1/traces");
    assert_eq!(plain.protocol, Protocol::HttpProtobuf);
    assert_eq!(plain.compression, Compression::Gzip);
    assert_eq!(plain.timeout, Duration::from_secs(10));
    assert!(plain.headers.is_empty());
    let all = export(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,X-Team=t"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "only=this"),
    ])
    .unwrap();
    assert_eq!(all.endpoint.as_str(), "http://t:1/x");
    assert_eq!(all.compression, Compression::None);
    assert_eq!(all.timeout, Duration::from_millis(1_500));
    let names: Vec<_> = all.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["only"]);
    let general = export(&[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,X-Team=t")]).unwrap();
    let headers = general.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str(), value.reveal()))
        .collect();
    assert_eq!(headers, [("api-key", "a b"), ("x-team", "t")]);
    let bare = export(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c:4317"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
    ])
    .unwrap();
    assert_eq!(bare.endpoint.as_str(), "http://c:4317/");
    for (name, value, sends) in [
        ("OTEL_SDK_DISABLED", "true", false),
        ("OTEL_SDK_DISABLED", "TRUE", false),
        ("OTEL_SDK_DISABLED", "false", true),
        ("OTEL_SDK_DISABLED", "1", true),
        ("OTEL_TRACES_EXPORTER", "none", false),
        ("OTEL_TRACES_EXPORTER", "otlp", true),
        ("OTEL_TRACES_EXPORTER", "console,otlp", true),
        ("OTEL_TRACES_EXPORTER", "zipkin", true),
        ("RUNTRAIL_EXPORT_ENABLED", "false", false),
    ] {
        assert_eq!(export(&[(name, value)]).is_some(), sends, "{name}={value}");
    }
    let both = [
        ("RUNTRAIL_EXPORT_ENABLED", "true"),
        ("OTEL_SDK_DISABLED", "true"),
    ];
    assert!(export(&both).is_some());
}

#[test]
fn what_is_off_and_why_is_told() {
    let said = Said::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")
        .variable("OTEL_SDK_DISABLED", "true");
    let why = said.config().no_export.unwrap();
    assert!(why.contains("(by OTEL_SDK_DISABLED)"), "{why}");
    // Whoever types an address means it.
    let config = said.flag("--otlp", "http://d:4318").config();
    assert_eq!(config.export.unwrap().endpoint.host_str(), Some("d"));
    assert_eq!(config.no_export, None);
}

#[test]
fn content_leaves_when_the_conventions_variable_says_so() {
    const VARIABLE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    for (value, captures) in [
        ("true", true),
        ("SPAN_ONLY", true),
        ("span_and_event", true),
        ("false", false),
        ("NO_CONTENT", false),
        ("EVENT_ONLY", false),
        ("yes", false),
    ] {
        let config = Said::new().variable(VARIABLE, value).config();
        assert_eq!(config.trace.content.captures(), captures, "{value}");
        assert_eq!(config.warnings.len(), usize::from(value == "yes"));
    }
    let ours = Said::new()
        .variable(VARIABLE, "true")
        .variable("RUNTRAIL_CAPTURE_CONTENT", "false");
    assert!(!ours.config().trace.content.captures());
}

#[test]
fn a_token_comes_from_one_place() {
    let said = Said::new();
    let path = said.written("token", b"from-file\n").display().to_string();
    let token = |said: &Said| said.config().source.token.unwrap().read().unwrap();
    let by_file = said.variable("AKRIBES_TOKEN_FILE", &path);
    assert_eq!(token(&by_file).reveal(), "from-file");
    let both = by_file.variable("AKRIBES_TOKEN", "hunter2");
    assert_eq!(
        both.problem(),
        "source.token (from AKRIBES_TOKEN): source.token_file is given too (from AKRIBES_TOKEN_FILE): one of them is enough, and it cannot be told which is meant"
    );
    // In different layers the higher one counts, as for any key.
    let flag_over_variable = Said::new()
        .variable("AKRIBES_TOKEN", "hunter2")
        .flag("--token-file", &path);
    assert_eq!(token(&flag_over_variable).reveal(), "from-file");
    let variable_over_file = Said::new()
        .file(&format!("source: {{token_file: '{path}'}}"))
        .variable("AKRIBES_TOKEN", "hunter2");
    assert_eq!(token(&variable_over_file).reveal(), "hunter2");
    let in_the_file = Said::new().file("source:\n  token: hunter2\n");
    assert_eq!(token(&in_the_file).reveal(), "hunter2");
    let warnings = in_the_file.config().warnings;
    assert!(warnings[0].contains("`source.token_file`"), "{warnings:?}");
}

#[test]
fn feeds_are_one_a_project_or_one_of_all() {
    let projects = |text: &str| {
        let config = Said::new()
            .flag("--project", text)
            .flag("--script", "review")
            .config();
        let feeds = config.source.feeds.into_iter();
        let project = |feed: crate::source::FeedScope| {
            assert_eq!(feed.script.as_deref(), Some("review"));
            feed.project
        };
        feeds.map(project).collect::<Vec<_>>()
    };
    assert_eq!(projects("all"), [None]);
    assert_eq!(projects("ALL"), [None]);
    assert_eq!(projects("7"), [Some(7)]);
    assert_eq!(projects("7, 1,7"), [Some(7), Some(1)]);
    for content in ["source: {projects: 7}", "source: {projects: [7]}"] {
        let config = Said::new().file(content).config();
        assert_eq!(config.source.feeds[0].project, Some(7), "{content}");
    }
}

#[test]
fn values_of_a_file_keep_the_form_in_which_they_were_written() {
    let content = "service_name: 1.10\nresource_attributes:\n  service.version: 2.0\n  on: yes\ninclude: [1.10, \"no\"]\n";
    let said = Said::new().file(content);
    let resource = said.config().resource;
    assert_eq!(resource.service_name, "1.10");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        resource.attributes,
        [pair("service.version", "2.0"), pair("on", "yes")]
    );
    assert_eq!(said.setting("include").0, "1.10, no");
}

#[test]
fn an_empty_value_of_a_file_is_none() {
    for content in [
        "",
        "# nothing\n",
        "---\n",
        "source:\nexport:\n",
        "service_name:\ninclude: ~\nresource_attributes: null\n",
        "source: {}\nservice_name: ''\n",
    ] {
        let config = Said::new().file(content).config();
        assert_eq!(config.resource.service_name, "akribes", "{content}");
        assert!(config.selection.has_workflow("any"));
    }
}

#[test]
fn a_variable_that_is_nearly_known_is_told_and_those_of_others_are_not() {
    let warnings = |name: &str| Said::new().variable(name, "x").config().warnings;
    for (name, meant) in [
        ("RUNTRAIL_LISTEN_METRIC", "RUNTRAIL_LISTEN_METRICS"),
        ("RUNTRAIL_MEMROY_MAX", "RUNTRAIL_MEMORY_MAX"),
        ("RUNTRAIL_CONFIGS", "RUNTRAIL_CONFIG"),
        ("AKRIBES_PROJECTS_ID", "AKRIBES_PROJECT_ID"),
        ("OTEL_EXPORTER_OLTP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ] {
        let said = format!("the variable {name} means nothing here: did you mean {meant}?");
        assert_eq!(warnings(name), [said]);
    }
    for name in [
        "RUNTRAIL_SERVICE_HOST",
        "RUNTRAIL_SERVICE_PORT",
        "RUNTRAIL_SERVICE_PORT_HTTP",
        "RUNTRAIL_PORT",
        "RUNTRAIL_PORT_9464_TCP",
        "RUNTRAIL_PORT_9464_TCP_ADDR",
        "RUNTRAIL_PORT_9464_TCP_PROTO",
        "AKRIBES_SERVICE_HOST",
        "AKRIBES_PORT",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
        "OTEL_METRICS_EXPORTER",
        "OTEL_LOGS_EXPORTER",
        "OTEL_PROPAGATORS",
        "OTEL_TRACES_SAMPLER",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_LOG_LEVEL",
        "PATH",
    ] {
        assert_eq!(warnings(name), [""; 0], "{name}");
    }
}

#[test]
fn what_is_wrong_is_told_in_a_sentence_with_where_it_comes_from() {
    let by_file = |content: &str| Said::new().file(content).problem();
    for (content, problem) in [
        (
            "sorce: 5",
            "runtrail.yaml:1:1: there is no key `sorce`: did you mean `source`?",
        ),
        (
            "source:\n  ulr: x",
            "runtrail.yaml:2:3: there is no key `source.ulr`: did you mean `source.url`?",
        ),
        (
            "url: x",
            "runtrail.yaml:1:1: there is no key `url`: did you mean `source.url`?",
        ),
        ("colour: x", "runtrail.yaml:1:1: there is no key `colour`"),
        (
            "log: {}\n# b\nlog: {}",
            "runtrail.yaml:3:1: `log` stands here twice",
        ),
        (
            "source: x",
            "runtrail.yaml:1:9: source is a section: write its keys below it, indented",
        ),
        (
            "[a]",
            "runtrail.yaml:1:1: this must be a map of keys, such as `source:` and `url:` below it",
        ),
        (
            "memory_max: [1]",
            "runtrail.yaml:1:13: memory_max: one value must stand here (size, 16MiB to 1024GiB)",
        ),
        (
            "redact: {a: b}",
            "runtrail.yaml:1:9: redact: a list must stand here, such as [a, b] (list of regular expressions)",
        ),
        (
            "include: 1.10",
            "runtrail.yaml:1:1: include: a list must stand here, such as [a, b] (list of patterns)",
        ),
        (
            "resource_attributes: a=b",
            "runtrail.yaml:1:22: resource_attributes: names with a text each must stand here, indented (names with values)",
        ),
        (
            "markers: maybe",
            "markers (from runtrail.yaml:1:1): `maybe` is neither true nor false",
        ),
        (
            "log:\n  format: xml",
            "log.format (from runtrail.yaml:2:3): `xml` is none of `auto`, `text`, `json`",
        ),
        ("a: 1\n b: 2", "runtrail.yaml:1:1: there is no key `a`"),
        ("log: {level: \"info", "this is no YAML"),
        ("\"log", "this is no YAML"),
        ("log: *x", "this is no YAML"),
        (
            "log: {<<: {level: info}}",
            "runtrail.yaml:1:7: `<<` is not read here: write the keys out",
        ),
        (
            "service_name: !env X",
            "a tag such as `!name` is not read here",
        ),
        ("log:\n---\nlog:", "a second document begins here"),
    ] {
        let said = by_file(content);
        assert!(said.contains(problem), "{content}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for (name, value, problem) in [
        (
            "AKRIBES_URL",
            "akribes:3001",
            "is no URL: write http:// or https:// before the server's name",
        ),
        (
            "AKRIBES_URL",
            "ftp://akribes",
            "it must begin with http:// or https://",
        ),
        ("AKRIBES_URL", "http://akribes:99999", "is no URL"),
        (
            "AKRIBES_URL",
            "http://akribes/?token=hunter2",
            "has a `?` or `#`",
        ),
        (
            "AKRIBES_URL",
            "http://me:hunter2@akribes",
            "holds a user or password",
        ),
        (
            "AKRIBES_PROJECT_ID",
            "seven",
            "`seven` is no project id: write a number, several, or all",
        ),
        ("AKRIBES_PROJECT_ID", "-1", "is no project id"),
        ("AKRIBES_PROJECT_ID", ",", "names no project"),
        ("AKRIBES_PROJECT_ID", "1,all", "`all` is no project id"),
        ("AKRIBES_TOKEN", "hun ter2", "is no token: it has spaces"),
        (
            "AKRIBES_TOKEN_FILE",
            "/no/such/token",
            "cannot read the token file /no/such/token",
        ),
        (
            "RUNTRAIL_SOURCE_SYSTEM",
            "axon9",
            "is no system that is known: known are `akribes`",
        ),
        (
            "RUNTRAIL_SOURCE_CA_FILE",
            "/no/such/ca.pem",
            "cannot read /no/such/ca.pem",
        ),
        (
            "RUNTRAIL_SOURCE_READ_TIME_MAX",
            "60",
            "`60` is no time: write 250ms, 10s, 5m, 1h30m or 14d",
        ),
        (
            "RUNTRAIL_SOURCE_READ_TIME_MAX",
            "0s",
            "is 0s, but at least 1s makes sense",
        ),
        (
            "RUNTRAIL_SOURCE_READ_TIME_MAX",
            "3d",
            "is 3d, but at most 1h makes sense",
        ),
        (
            "RUNTRAIL_MEMORY_MAX",
            "lots",
            "`lots` is no size: write 64MiB, 512KiB, 1GB or plain bytes",
        ),
        (
            "RUNTRAIL_MEMORY_MAX",
            "1MiB",
            "is 1MiB, but at least 16MiB makes sense",
        ),
        (
            "RUNTRAIL_TRACE_RATIO",
            "2",
            "`2` is no number between 0 and 1",
        ),
        (
            "RUNTRAIL_TRACE_RATIO",
            "NaN",
            "is no number between 0 and 1",
        ),
        (
            "RUNTRAIL_CONVENTIONS",
            "gen_ai,langsmith",
            "`langsmith` is no convention that is known",
        ),
        (
            "RUNTRAIL_REDACT",
            "(",
            "the redaction rule `(` is not a regular expression",
        ),
        ("RUNTRAIL_LOG_LEVEL", "inof", "`inof`: did you mean `info`?"),
        (
            "RUNTRAIL_LOG_LEVEL",
            "runtrail=loud",
            "is no filter of logs",
        ),
        (
            "RUNTRAIL_LISTEN_METRICS",
            "0.0.0.0:94640",
            "has no port: the highest is 65535",
        ),
        (
            "RUNTRAIL_LISTEN_METRICS",
            "localhost:9464",
            "write an IP address and a port",
        ),
        (
            "RUNTRAIL_LISTEN_METRICS",
            ":9464",
            "write an IP address and a port",
        ),
        (
            "RUNTRAIL_LISTEN_METRICS",
            "127.0.0.1:9465",
            "is taken by listen.metrics",
        ),
        (
            "RUNTRAIL_LISTEN_LOCAL",
            "127.0.0.1:9464",
            "is taken by listen.metrics",
        ),
        (
            "RUNTRAIL_LISTEN_LOCAL",
            "0.0.0.0:9465",
            "the API needs a token: set listen.local_token_file",
        ),
        (
            "RUNTRAIL_LISTEN_LOCAL",
            "[::]:9465",
            "the API needs a token",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "`http/json` is not spoken here: use `http/protobuf`",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "thrift",
            "`thrift` is none of `http/protobuf`, `grpc`",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "10s",
            "is no number of milliseconds",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "0",
            "but at least 1ms makes sense",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "zstd",
            "`zstd` is none of `gzip`, `none`",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=1,hunter2",
            "entry 2 is no `key=value`",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "bad name=hunter2",
            "entry 1 has a name that no header can have",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=hunter2%0D%0Ab: c",
            "the value of `a` holds what no header can carry",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "Content-Type=text/plain",
            "sets `content-type`",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "c:4318",
            "write http:// or https://",
        ),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "/k.pem",
            "give export.client_certificate_file too",
        ),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "/c.pem",
            "give export.client_key_file too",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "nothing",
            "entry 1 is no `key=value`",
        ),
        (
            "RUNTRAIL_LIMITS_OPEN_RUNS_MAX",
            "0",
            "is 0, but at least 1 makes sense",
        ),
        (
            "RUNTRAIL_LIMITS_OPEN_RUNS_MAX",
            "many",
            "`many` is no whole number",
        ),
        (
            "RUNTRAIL_LIMITS_CHUNK_EVENTS_MAX",
            "128",
            "is 128, but at most 127 makes sense",
        ),
        (
            "RUNTRAIL_LIMITS_BATCH_BYTES_MAX",
            "1MiB",
            "but at least 1088KiB makes sense",
        ),
        (
            "RUNTRAIL_LIMITS_BATCH_BYTES_MAX",
            "4MiB",
            "but at most 3MiB makes sense",
        ),
        (
            "RUNTRAIL_LIMITS_LINE_BYTES_MAX",
            "16MiB",
            "does not fit into limits.frame_bytes_max, which is 8MiB",
        ),
        (
            "RUNTRAIL_LIMITS_FRAME_BYTES_MAX",
            "4MiB",
            "lower limits.line_bytes_max too",
        ),
        (
            "RUNTRAIL_LIMITS_METRIC_SERIES_MAX",
            "5",
            "series always exist",
        ),
    ] {
        let said = Said::nothing();
        // The server is named, unless it is what is wrong.
        let said = if name == "AKRIBES_URL" {
            said
        } else {
            said.flag("--url", "http://a")
        };
        let said = said.variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let said = said.variable(name, value).problem();
        let key = said.split_once(' ').unwrap().0;
        assert!(said.contains(problem), "{name}={value}: {said}");
        let by_variable = said.contains(&format!("(from {name}): "));
        assert!(
            by_variable || said.starts_with("listen.local (from default)"),
            "{said}"
        );
        assert!(keys::find(key).is_some(), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(
        Said::new().flag("--listen", "9464").problem(),
        "listen.metrics (from --listen): `9464` is no address to listen at: write an IP address and a port, such as 0.0.0.0:9464 or [::1]:9465"
    );
}

#[test]
fn a_value_that_is_no_text_is_told() {
    use std::os::unix::ffi::OsStringExt;
    let strange = std::ffi::OsString::from_vec(vec![0xFF, b'x']);
    for (name, key) in [
        ("AKRIBES_URL", "source.url"),
        ("RUNTRAIL_CONFIG", "the configuration file"),
    ] {
        let environment = Environment::from_iter([(name, strange.clone())]);
        let said = Config::load(&Flags::default(), &environment)
            .unwrap_err()
            .to_string();
        assert_eq!(said, format!("{key} (from {name}): is no UTF-8 text"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let mut said = Said::new();
    said.flags.file = Some(said.folder.path().join("missing.yaml"));
    assert!(
        said.problem()
            .starts_with("cannot read the configuration file missing.yaml: ")
    );
    said.flags.file = None;
    let by_variable = said.variable("RUNTRAIL_CONFIG", "/no/such.yaml").problem();
    assert!(by_variable.contains("/no/such.yaml"), "{by_variable}");
    assert!(
        Said::new()
            .bytes(b"\xFF\xFE")
            .problem()
            .contains("this is no UTF-8 text")
    );
    let large = vec![b'#'; (1 << 20) + 1];
    assert!(
        Said::new()
            .bytes(&large)
            .problem()
            .contains("more than 1 MiB")
    );
}

#[test]
fn a_file_that_was_written_to_do_harm_is_bounded() {
    let deep_lists = format!("include: {}", "[".repeat(10_000));
    let deep_maps = format!("include: {}", "{a: ".repeat(10_000));
    let laughs = (1..30).fold("include:\n- &a0 [x]\n".to_owned(), |text, i| {
        let last = i - 1;
        text + &format!("- &a{i} [*a{last},*a{last},*a{last},*a{last},*a{last}]\n")
    });
    let many = format!("include: [{}]", "a,".repeat(100_000));
    let long = format!("service_name: {}", "a".repeat(100_000));
    let rules = format!("redact: [{}]", "a,".repeat(1_000));
    let resource = format!("resource_attributes: {{a: {}}}", "a".repeat(100_000));
    for content in [deep_lists, deep_maps, laughs, many, long, rules, resource] {
        let said = Said::new().file(&content).problem();
        assert!(said.len() < 300, "{said}");
    }
}

#[test]
fn no_secret_of_a_broken_file_is_repeated() {
    for content in [
        "source: {token: hunter2",
        "source:\n  token: 'hunter2\n",
        "source:\n  token: \"\\hunter2\"\n",
        "source:\n  token: [hunter2]\n",
        "source:\n  token: {hunter2: 1}\n",
        "source:\n  token: *hunter2\n",
        "source:\n  token: !hunter2 x\n",
        "source:\n  token: hunter2: hunter2\n",
        "source:\n  token: @hunter2\n",
        "source:\n  token: hunter2\n bad: x\n",
        "export:\n  headers: hunter2\n",
        "export:\n  headers:\n    - hunter2\n",
        "export:\n  headers: {a: [hunter2]}\n",
        "export:\n  headers: {a: \"hunter2\\n\"}\n",
        "export:\n  headers: {\"a b\": hunter2}\n",
        "export:\n  endpoint: http://a:hunter2@b\n",
    ] {
        let said = Said::new().file(content).problem();
        assert!(!said.contains("hunter2"), "{content}: {said}");
    }
}

#[test]
fn certificates_are_read_before_anything_begins() {
    let said = Said::new();
    let (certificate, key) = certificate();
    let path =
        |name: &str, content: &str| said.written(name, content.as_bytes()).display().to_string();
    let (certificate, key) = (path("c.pem", &certificate), path("k.pem", &key));
    let junk = path("junk.pem", "no certificate");
    let with = |ca: &str, certificate: &str, key: &str| {
        Said::new()
            .variable("RUNTRAIL_SOURCE_CA_FILE", ca)
            .variable("RUNTRAIL_SOURCE_CLIENT_CERTIFICATE_FILE", certificate)
            .variable("RUNTRAIL_SOURCE_CLIENT_KEY_FILE", key)
    };
    let tls = with(&certificate, &certificate, &key).config().source.tls;
    assert_eq!(tls.client_key_file, Some(PathBuf::from(&key)));
    let wrong_ca = with(&junk, "", "").problem();
    assert!(
        wrong_ca.starts_with("source.ca_file (from RUNTRAIL_SOURCE_CA_FILE): "),
        "{wrong_ca}"
    );
    let wrong_key = with("", &certificate, &junk).problem();
    assert!(
        wrong_key.starts_with("source.client_certificate_file"),
        "{wrong_key}"
    );
    let half = with("", &certificate, "").problem();
    assert!(half.ends_with("give source.client_key_file too"), "{half}");
}

/// A certificate that signs itself, and its key.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn an_api_that_others_reach_asks_for_a_token() {
    let said = Said::new()
        .flag("--local", "0.0.0.0:9465")
        .variable("RUNTRAIL_LISTEN_LOCAL_TOKEN", "hunter2");
    assert!(said.config().listen.local_token.is_some());
    for loopback in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let config = Said::new().flag("--local", loopback).config();
        assert_eq!(config.listen.local_token, None);
    }
    let any_port = Said::new()
        .flag("--local", "127.0.0.1:0")
        .flag("--listen", "127.0.0.1:0");
    assert_eq!(any_port.config().listen.metrics.port(), 0);
    let two_addresses = Said::new()
        .flag("--local", "127.0.0.1:9")
        .flag("--listen", "127.0.0.2:9");
    assert_eq!(two_addresses.config().listen.metrics.port(), 9);
}

#[test]
fn what_was_chosen_is_shown_without_secrets() {
    let said = Said::new()
        .variable("AKRIBES_TOKEN", "hunter2")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/?key=hunter2")
        .variable("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")
        .flag("--include", "a*,b");
    let config = said.config();
    let shown = config.render();
    assert_eq!(
        shown,
        "\
source.url       http://akribes:3001  (from AKRIBES_URL)
source.token     [secret]  (from AKRIBES_TOKEN)
export.endpoint  http://c:4318/v1/traces?[secret]  (from OTEL_EXPORTER_OTLP_ENDPOINT)
export.headers   authorization=[secret]  (from OTEL_EXPORTER_OTLP_HEADERS)
include          a*, b  (from --include)
76 other keys have their defaults.
"
    );
    let secrets = [
        format!("{:?}", config.source.token),
        format!("{:?}", config.export),
    ];
    // The address itself has to be whole.
    let secrets = secrets.join(" ").replace("key=hunter2", "");
    assert!(!secrets.contains("hunter2"), "{secrets}");
}

#[test]
fn a_store_has_a_directory_and_bounds_of_its_own() {
    let said = Said::new()
        .flag("--store-dir", "/var/lib/runtrail")
        .variable("RUNTRAIL_STORE_CHECKPOINT_EVERY", "5s")
        .variable("RUNTRAIL_REPAIR", "false")
        .variable("RUNTRAIL_ENRICH", "false");
    let config = said.config();
    assert_eq!(config.outbox_bytes_max(), 512 << 20);
    assert_eq!(
        config.store,
        StoreSettings {
            dir: Some(PathBuf::from("/var/lib/runtrail")),
            journal_bytes_max: 64 << 20,
            outbox_bytes_max: 512 << 20,
            quarantine_bytes_max: 64 << 20,
            checkpoint_every: Duration::from_secs(5),
        }
    );
    assert!(!config.repair && !config.enrich);
    assert!(config.warnings.is_empty());
}

#[test]
fn a_bound_of_the_store_that_there_is_not_is_odd() {
    let warnings = |said: Said| said.config().warnings;
    for key in [
        "JOURNAL_BYTES_MAX",
        "OUTBOX_BYTES_MAX",
        "QUARANTINE_BYTES_MAX",
    ] {
        let name = format!("RUNTRAIL_STORE_{key}");
        let told = warnings(Said::new().variable(&name, "128MiB"));
        assert!(told[0].ends_with(&format!(
            "(from {name}): this means nothing without store.dir"
        )));
        let on_disk = Said::new().variable(&name, "128MiB");
        assert!(warnings(on_disk.variable("RUNTRAIL_STORE_DIR", "d")).is_empty());
    }
    let in_memory = || Said::new().variable("RUNTRAIL_LIMITS_OUTBOX_BYTES_MAX", "64MiB");
    assert!(warnings(in_memory()).is_empty());
    let told = warnings(in_memory().variable("RUNTRAIL_STORE_DIR", "d"));
    assert!(
        told[0].contains("store.outbox_bytes_max counts"),
        "{told:?}"
    );
}

#[test]
fn a_journal_holds_two_of_the_largest_records() {
    for key in [
        "RUNTRAIL_LIMITS_FRAME_BYTES_MAX",
        "RUNTRAIL_LIMITS_ANSWER_BYTES_MAX",
    ] {
        let with = |journal: &str| {
            Said::new()
                .variable("RUNTRAIL_STORE_JOURNAL_BYTES_MAX", journal)
                .variable(key, "9MiB")
        };
        let on_disk = |journal: &str| with(journal).flag("--store-dir", "d");
        assert_eq!(
            on_disk("17MiB").problem(),
            "store.journal_bytes_max (from RUNTRAIL_STORE_JOURNAL_BYTES_MAX): is 17MiB, but holds less than two of the largest records: give it 18MiB, or lower limits.frame_bytes_max and limits.answer_bytes_max"
        );
        on_disk("18MiB").config();
        // Without a store there is no journal that could be too small.
        with("17MiB").config();
    }
}

#[test]
fn self_tracing_without_a_backend_is_odd() {
    let warnings = Said::new()
        .variable("RUNTRAIL_SELF_TRACE", "true")
        .config()
        .warnings;
    assert!(warnings[0].contains("no backend"), "{warnings:?}");
}

#[test]
fn too_many_patterns_are_refused_with_the_key_to_blame() {
    let long = vec!["a".repeat(1_000); 100].join(",");
    let said = Said::new().flag("--include", &long).problem();
    assert!(said.starts_with("include (from --include): "), "{said}");
    let said = Said::new().flag("--exclude", &long).problem();
    assert!(said.starts_with("exclude (from --exclude): "), "{said}");
    let said = Said::new().flag("--exclude", &"a,".repeat(257)).problem();
    assert!(
        said.contains("has 257 values, but at most 256 are taken"),
        "{said}"
    );
}

#[test]
fn a_recording_is_sent_only_when_somebody_says_so() {
    let environment = Environment::from_iter([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
        ("RUNTRAIL_LIMITS_OPEN_RUNS_MAX", "nonsense"),
        ("RUNTRAIL_CONFIG", "/no/such.yaml"),
    ]);
    let silent = ReplaySettings::load("akribes", &Flags::default(), &environment).unwrap();
    assert!(silent.export.is_none());
    let flags = Said::new()
        .flag("--otlp", "http://d:4318")
        .flag("--exclude", "a")
        .flags;
    let flags = Flags {
        file: None,
        ..flags
    };
    let sent = ReplaySettings::load("akribes", &flags, &environment).unwrap();
    let export = sent.export.unwrap();
    assert_eq!(export.endpoint.as_str(), "http://d:4318/v1/traces");
    assert_eq!(export.headers.len(), 1);
    assert!(!sent.core.selection.has_workflow("a"));
}

#[test]
fn a_demo_needs_no_server_and_tells_nobody() {
    let environment = Environment::from_iter([
        ("AKRIBES_URL", "http://in-earnest"),
        ("AKRIBES_TOKEN", "hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
    ]);
    let server = Url::parse("http://127.0.0.1:1").unwrap();
    let config = Config::for_demo(&Flags::default(), &environment, &server).unwrap();
    assert_eq!(config.source.url, server);
    assert_eq!(config.source.token, None);
    assert!(config.export.is_none());
    assert!(config.listen.metrics.ip().is_loopback());
}

#[test]
fn what_records_needs_the_source_only() {
    let said = Said::new().variable("OTEL_EXPORTER_OTLP_PROTOCOL", "nonsense");
    let environment = said.variables.iter().cloned().collect();
    let settings = RecordSettings::load(&said.flags, &environment).unwrap();
    assert_eq!(settings.source.name, "akribes");
    assert_eq!(settings.log.filter, "info");
}

#[test]
fn who_asks_after_a_sidecar_needs_to_know_where_it_listens_only() {
    let listener = |said: Said| {
        let environment = said.variables.iter().cloned().collect();
        metrics_listener(&said.flags, &environment)
    };
    // No server is named, and the rest is nonsense.
    let said = || Said::new().variable("OTEL_EXPORTER_OTLP_PROTOCOL", "nonsense");
    assert_eq!(listener(said()).unwrap().to_string(), "0.0.0.0:9464");
    let variable = || said().variable("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:1");
    assert_eq!(listener(variable()).unwrap().to_string(), "127.0.0.1:1");
    let flag = variable().flag("--listen", "127.0.0.1:2");
    assert_eq!(listener(flag).unwrap().to_string(), "127.0.0.1:2");
    let wrong = listener(said().variable("RUNTRAIL_LISTEN_METRICS", "here"));
    assert!(wrong.unwrap_err().to_string().contains("listen.metrics"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_of_a_file_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = file::parse(std::path::Path::new("x"), &bytes);
    }

    #[test]
    fn no_text_of_a_file_is_too_strange(text in "[a-z:\\[\\]{}&*!|>'\"%@`,? \n\t#~<-]{0,80}") {
        let _ = file::parse(std::path::Path::new("x"), text.as_bytes());
    }

    #[test]
    fn no_value_of_a_variable_is_too_strange(
        which in any::<prop::sample::Index>(),
        value in "\\PC{0,40}",
    ) {
        let names: Vec<_> = keys::all().flat_map(|key| key.about().variables()).collect();
        let name = which.get(&names).clone();
        // Reading any file of the machine is not what this is about.
        prop_assume!(!name.ends_with("_FILE") && !name.contains("CERTIFICATE"));
        let environment = Environment::from_iter([
            ("AKRIBES_URL".to_owned(), "http://a".to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://a".to_owned()),
            (name, value),
        ]);
        if let Err(error) = Config::load(&Flags::default(), &environment) {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}

/// A file with these prices, and a server's address.
fn priced(models: &str) -> Said {
    Said::new().file(&format!(
        "prices:\n  taken: 2026-05-01\n  models:\n{models}"
    ))
}

#[test]
fn prices_are_a_list_of_which_the_lesser_fields_follow_from_the_others() {
    let prices = priced(
        "    - {model: claude-*, provider: anthropic, input: 3, output: 15.0, cache_read: 0.3, cache_write_5m: 3.75, cache_write_1h: 6}\n    - model: gpt-5*\n      input: 1.25\n      output: 10\n      cache_read:\n    - {model: '*', input: 0, output: 0, cache_write_5m: 1}\n",
    );
    let prices = prices.config().prices.unwrap();
    assert_eq!(prices.taken, "2026-05-01");
    let all: Vec<_> = prices
        .entries
        .iter()
        .map(|entry| {
            let [read, write, long] =
                [entry.cache_read, entry.cache_write_5m, entry.cache_write_1h];
            (
                entry.model.as_str(),
                entry.provider.as_deref(),
                [entry.input, entry.output, read, write, long],
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            ("claude-*", Some("anthropic"), [3.0, 15.0, 0.3, 3.75, 6.0]),
            ("gpt-5*", None, [1.25, 10.0, 1.25, 1.25, 1.25]),
            ("*", None, [0.0, 0.0, 0.0, 1.0, 1.0]),
        ]
    );
    let said = Said::new()
        .variable("RUNTRAIL_PRICES_TAKEN", "2026-05-01")
        .variable(
            "RUNTRAIL_PRICES_MODELS",
            "model=gpt-5*,input=1.25,output=10;",
        );
    let by_variable = said.config().prices.unwrap();
    assert_eq!(by_variable.entries, prices.entries[1..2]);
    assert_eq!(said.setting("prices.models").0, "gpt-5*");
    assert_eq!(Said::new().config().prices, None);
}

#[test]
fn prices_that_cannot_be_meant_are_told_with_their_line() {
    let one = |fields: &str| {
        priced(&format!(
            "    - {{model: a, input: 1, output: 2}}\n    - {{{fields}}}\n"
        ))
        .problem()
    };
    let key = "prices.models (from runtrail.yaml:3:3): line 5";
    for (fields, problem) in [
        (
            "model: b, inptu: 1, output: 1",
            "there is no key `inptu`: did you mean `input`?",
        ),
        (
            "model: b, input: 1, output: 1, colour: red",
            "there is no key `colour`",
        ),
        ("model: b, output: 1", "this entry has no `input`"),
        ("model: b, input: 1", "this entry has no `output`"),
        ("input: 1, output: 1", "this entry has no `model`"),
        (
            "model: '', input: 1, output: 1",
            "`model` is empty: write a name, or `*` for all",
        ),
        (
            "model: b, provider: ' ', input: 1, output: 1",
            "`provider` is empty: write a name, or `*` for all",
        ),
    ] {
        assert_eq!(one(fields), format!("{key}: {problem}"));
    }
    for price in ["-1", "nan", "inf", "1e9", "cheap", "1,5", "''"] {
        let price = format!("\"{}\"", price.trim_matches('\''));
        let said = one(&format!(
            "model: b, input: 1, output: 1, cache_read: {price}"
        ));
        let problem = "which is no price: write US dollars for a million tokens, such as 1.25";
        assert!(said.starts_with(key) && said.ends_with(problem), "{said}");
        assert!(said.contains("`cache_read` is `"), "{said}");
    }
    let long = one(&format!("model: {}, input: 1, output: 1", "m".repeat(201)));
    assert_eq!(long, format!("{key}: `model` is longer than any name"));
    assert_eq!(
        one("model: b, input: 1, input: 2, output: 1"),
        "runtrail.yaml:5:28: `input` stands here twice"
    );
    let by_variable = |models: &str| {
        let said = Said::new().variable("RUNTRAIL_PRICES_TAKEN", "2026-05-01");
        said.variable("RUNTRAIL_PRICES_MODELS", models).problem()
    };
    let key = "prices.models (from RUNTRAIL_PRICES_MODELS):";
    assert_eq!(
        by_variable("model=a,input=1,output=1;model=b,input=1,input=2,output=1"),
        format!("{key} entry 2: `input` stands here twice")
    );
    assert_eq!(
        by_variable("model=a,input"),
        format!("{key} entry 2 is no `key=value`, percent-encoded")
    );
}

#[test]
fn prices_of_no_shape_too_many_or_of_no_day_are_refused() {
    for (models, problem) in [
        (
            "    a: b\n",
            "runtrail.yaml:4:5: prices.models: a list of maps must stand here, each behind a `-` (list of prices)",
        ),
        (
            "    - a\n",
            "runtrail.yaml:4:7: prices.models: a list of maps must stand here, each behind a `-` (list of prices)",
        ),
        (
            "    []\n",
            "prices.models (from runtrail.yaml:3:3): holds no price: give one, or leave it out",
        ),
    ] {
        assert_eq!(priced(models).problem(), problem);
    }
    let many = "    - {model: a, input: 1, output: 1}\n".repeat(PRICE_ENTRIES_MAX + 1);
    let problem = priced(&many).problem();
    assert!(
        problem.ends_with("has 501 entries, but at most 500 are taken"),
        "{problem}"
    );
    // As many as are taken, with all their fields, are read.
    let full = "    - {model: a, provider: b, input: 1, output: 1, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1}\n";
    let full = priced(&full.repeat(PRICE_ENTRIES_MAX)).config();
    assert_eq!(full.prices.unwrap().entries.len(), PRICE_ENTRIES_MAX);

    let entry = "  models: [{model: a, input: 1, output: 1}]\n";
    for day in [
        "2026-02-30",
        "2026-5-1",
        "26-05-01",
        "2026-05-01T00:00:00Z",
        "today",
    ] {
        let said = Said::new().file(&format!("prices:\n  taken: {day}\n{entry}"));
        let problem = format!(
            "prices.taken (from runtrail.yaml:2:3): `{day}` is no day of the calendar such as 2026-05-01"
        );
        assert_eq!(said.problem(), problem);
    }
    let undated = Said::new().file(&format!("prices:\n{entry}")).problem();
    assert!(
        undated.contains("is not given: set prices.taken, such as 2026-05-01"),
        "{undated}"
    );
    let empty = Said::new().file("prices: {taken: 2026-05-01}\n").problem();
    assert!(
        empty.contains("set prices.models, or leave this out"),
        "{empty}"
    );
}
