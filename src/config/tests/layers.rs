//! What is said, and who is heard: file, environment and flags.

use super::*;

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
