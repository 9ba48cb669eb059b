//! What single parts need: certificates, the store, the API, other commands.

use super::*;

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
