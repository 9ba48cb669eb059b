//! What is said wrongly, and how that is told.

use super::*;

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
