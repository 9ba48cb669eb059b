//! Configuration as people meet it: the reference, the example, and the program's
//! answers to what cannot be meant.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test does"
)]

use std::path::Path;
use std::process::{Command, Output};

use runtrail::config::{Config, Environment, Flags, reference};

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/runtrail.yaml");

/// The program, with no environment but this.
fn runtrail(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runtrail"));
    command.args(arguments).env_clear();
    command.envs(variables.iter().copied());
    command.output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = runtrail(arguments, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_reference_is_fresh() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(REFERENCE, reference()).unwrap();
    }
    let written = std::fs::read_to_string(REFERENCE).unwrap_or_default();
    assert!(
        written == reference(),
        "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test --test configuration"
    );
}

#[test]
fn the_program_prints_its_reference() {
    assert!(printed(&["check", "--print-reference"]) == reference());
}

#[test]
fn the_example_is_one() {
    let flags = Flags {
        file: Some(EXAMPLE.into()),
        ..Flags::default()
    };
    let config = Config::load(&flags, &Environment::default()).unwrap();
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.source.feeds.len(), 2);
    assert!(!config.trace.content.captures() && config.trace.openinference);
    assert!(!config.selection.has_workflow("health_check"));
    // What is left out as a comment can be put in.
    let all = std::fs::read_to_string(EXAMPLE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hunter2").unwrap();
    let all = all
        .replace("/var/run/secrets/akribes/token", token.to_str().unwrap())
        .replace("  # token_file", "  token_file")
        .replace("  # headers", "  headers")
        .replace("  #   x-scope", "    x-scope")
        .replace("# redact", "redact")
        .replace("#   - ", "  - ");
    let file = folder.path().join("all.yaml");
    std::fs::write(&file, all).unwrap();
    let flags = Flags {
        file: Some(file),
        ..Flags::default()
    };
    let config = Config::load(&flags, &Environment::default()).unwrap();
    assert!(config.source.token.is_some());
    assert_eq!(config.export.unwrap().headers.len(), 1);
    assert!(!config.trace.content.redact("customer-17").contains("17"));
}

#[test]
fn what_cannot_be_meant_is_a_usage_error_of_one_sentence() {
    let missing = Path::new(EXAMPLE).with_file_name("missing.yaml");
    let missing = missing.to_str().unwrap();
    for (arguments, variables, sentence) in [
        (&[][..], &[][..], "source.url is not set"),
        (
            &["--config", missing],
            &[],
            "cannot read the configuration file",
        ),
        (
            &["--url", "akribes"],
            &[],
            "source.url (from --url): is no URL",
        ),
        (
            &["--url", "http://a", "--listen", "9464"],
            &[],
            "listen.metrics (from --listen)",
        ),
        (
            &["--url", "http://a", "--memory-max", "1"],
            &[],
            "memory_max (from --memory-max)",
        ),
        (
            &["--url", "http://a", "--capture-content=maybe"],
            &[],
            "capture_content (from --capture-content)",
        ),
        (
            &[],
            &[("AKRIBES_URL", "akribes")],
            "source.url (from AKRIBES_URL)",
        ),
        (
            &[],
            &[("RUNTRAIL_SOURCE_URL", "x"), ("AKRIBES_URL", "http://a")],
            "(from RUNTRAIL_SOURCE_URL)",
        ),
    ] {
        for command in ["run", "check"] {
            let arguments = [&[command], arguments].concat();
            let output = runtrail(&arguments, variables);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(
                said.starts_with("runtrail: ") && said.contains(sentence),
                "{said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn a_flag_that_there_is_not_is_a_usage_error() {
    for arguments in [
        &["run", "--token", "hunter2"][..],
        &["check", "--colour"],
        &["record", "--for", "10"],
        &["record", "--max-bytes", "lots"],
        &["simulate", "--listen", "3001"],
        &["simulate", "--speed", "0"],
        &["demo", "--runs-per-minute", "NaN"],
        &["demo", "--url", "http://akribes"],
        &[
            "replay",
            "--system",
            "akribes",
            "--url",
            "http://akribes",
            "-",
        ],
    ] {
        let output = runtrail(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: "), "{said}");
    }
}

#[test]
fn help_names_the_flags_of_daily_use_and_their_variables() {
    for command in ["run", "check"] {
        let help = printed(&[command, "--help"]);
        for flag in [
            "--config",
            "--url",
            "--project",
            "--token-file",
            "--otlp",
            "--protocol",
            "--listen",
            "--local",
            "--capture-content",
            "--log-runs",
            "--memory-max",
            "--include",
            "--exclude",
            "--trace-ratio",
            "AKRIBES_URL",
            "AKRIBES_PROJECT_ID",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ] {
            assert!(help.contains(flag), "{command}: {flag}");
        }
    }
    let brief = printed(&["run", "-h"]);
    assert!(brief.lines().count() < 60, "{brief}");
    let replay = printed(&["replay", "--help"]);
    for flag in ["--otlp", "--include", "--trace-ratio", "OTEL_SERVICE_NAME"] {
        assert!(replay.contains(flag), "{flag}");
    }
    // A recording is sent only by its flag.
    assert!(!replay.contains("OTEL_EXPORTER_OTLP_ENDPOINT,"));
    for (command, flag) in [
        ("record", "--out"),
        ("simulate", "--seed"),
        ("demo", "--no-color"),
    ] {
        assert!(printed(&[command, "--help"]).contains(flag), "{command}");
    }
}

#[test]
fn a_switch_is_on_by_its_name_and_off_by_its_value() {
    let run = |flag: &str| {
        let line = ["runtrail", "run", "--url", "http://a", flag];
        let line = line.iter().map(Into::into);
        let cli = runtrail::cli::parse(line).unwrap();
        let runtrail::cli::Command::Run(run) = cli.command else {
            unreachable!("it says run");
        };
        let variables = [
            ("RUNTRAIL_CAPTURE_CONTENT", "true"),
            ("RUNTRAIL_LOG_RUNS", "false"),
        ];
        run.config(&Environment::from_iter(variables)).unwrap()
    };
    assert!(run("--log-runs").log.runs);
    assert!(!run("--log-runs=false").log.runs);
    assert!(!run("--capture-content=false").trace.content.captures());
    assert!(run("--capture-content").trace.content.captures());
}

#[test]
fn lists_are_given_often_or_between_commas() {
    let line = [
        "runtrail",
        "run",
        "--url",
        "http://a",
        "--project",
        "1,2",
        "--project",
        "3",
        "--redact",
        "x{1,3}",
        "--redact",
        "y",
        "--exclude",
        "a",
        "--exclude",
        "b,c",
    ];
    let cli = runtrail::cli::parse(line.iter().map(Into::into)).unwrap();
    let runtrail::cli::Command::Run(run) = cli.command else {
        unreachable!("it says run");
    };
    let config = run.config(&Environment::default()).unwrap();
    assert_eq!(config.source.feeds.len(), 3);
    assert_eq!(
        config.trace.content.redact("-xxx-y-"),
        "-[redacted]-[redacted]-"
    );
    for name in ["a", "b", "c"] {
        assert!(!config.selection.has_workflow(name), "{name}");
    }
}
