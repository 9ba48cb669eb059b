//! `runtrail replay` as people run it: the real program, real files and pipes.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test does"
)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/feeds/review.sse");
const EMITS: [&str; 3] = ["summaries", "spans", "metrics"];

/// Words of the recording that may leave only when content is captured: of a
/// prompt, a chain of thought, a tool's input and output, an answer, a
/// checkpoint, a result, a log, what code printed, and a URL's query.
const PRIVATE: [&str; 11] = [
    "walnut",
    "periwinkle",
    "juniper",
    "saffron",
    "marmalade",
    "cinnamon",
    "tangerine",
    "fennel",
    "cardamom",
    "nutmeg",
    "rhubarb",
];
/// A password in a streamed answer.
const SECRET: &str = "kumquat";

/// The program, without what the environment of the tests may say.
fn runtrail(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runtrail"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// The same, replaying a file.
fn replay(file: &str, options: &[&str]) -> Command {
    let mut command = runtrail(&["replay", "--system", "akribes", file]);
    command.args(options);
    command
}

/// What it prints, when all goes well.
fn printed(mut command: Command) -> String {
    let output = command.output().unwrap();
    succeeded(&output);
    String::from_utf8(output.stdout).unwrap()
}

fn succeeded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""));
}

/// The same for what comes in through a pipe, in pieces of these sizes.
fn piped(input: &[u8], options: &[&str], sizes: &[usize]) -> String {
    let mut child = spawned(&mut replay("-", options));
    let mut stdin = child.stdin.take().unwrap();
    let mut rest = input;
    let mut sizes = sizes.iter().cycle();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                stdin.write_all(piece).unwrap();
                rest = behind;
            }
        });
        child.wait_with_output().unwrap()
    });
    succeeded(&output);
    String::from_utf8(output.stdout).unwrap()
}

fn spawned(command: &mut Command) -> Child {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    piped.stderr(Stdio::piped()).spawn().unwrap()
}

/// It fails with this exit code, prints nothing, and says one sentence.
fn fails(mut command: Command, code: i32, sentence: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
    assert!(said.contains(sentence), "{said}");
    if code == 1 || said.starts_with("runtrail: ") {
        assert!(said.starts_with("runtrail: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    } else {
        assert!(said.starts_with("error: "), "{said}");
    }
}

/// A file that goes away with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The batches of the recording, a line each.
fn batches() -> Vec<String> {
    let recording = fs::read_to_string(RECORDING).unwrap();
    let data = recording
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}

#[test]
fn the_same_recording_prints_the_same_bytes_whatever_way_it_comes_in() {
    let recording = fs::read(RECORDING).unwrap();
    for emit in EMITS {
        let options = ["--emit", emit, "--markers"];
        let first = printed(replay(RECORDING, &options));
        assert!(!first.is_empty());
        assert!(
            first == printed(replay(RECORDING, &options)),
            "{emit}: twice"
        );
        for sizes in [&[usize::MAX][..], &[1, 2, 3, 5, 8, 13, 997], &[65_537]] {
            let again = piped(&recording, &options, sizes);
            assert!(first == again, "{emit}: through a pipe, {sizes:?}");
        }
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let recording = fs::read_to_string(RECORDING).unwrap();
    let expected = printed(replay(RECORDING, &["--emit", "spans"]));
    for form in [
        recording.replace('\n', "\r\n"),
        recording.replace('\n', "\r"),
        format!("\u{feff}{recording}"),
    ] {
        let read = piped(form.as_bytes(), &["--emit", "spans"], &[4_096]);
        assert!(expected == read);
    }
}

#[test]
fn lines_of_json_read_as_server_sent_events_do() {
    let batches = batches();
    let by_batch = batches.join("\n") + "\n";
    let events = batches.iter().flat_map(|batch| {
        let elements: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(batch).unwrap();
        elements
            .into_iter()
            .map(|element| element.get().to_owned() + "\n")
    });
    let by_event: String = events.collect();
    for emit in EMITS {
        let expected = printed(replay(RECORDING, &["--emit", emit]));
        for (form, lines) in [
            ("a batch a line", &by_batch),
            ("an event a line", &by_event),
        ] {
            let read = piped(lines.as_bytes(), &["--emit", emit], &[usize::MAX]);
            assert!(expected == read, "{emit}: {form}");
        }
    }
}

#[test]
fn a_run_is_a_line_and_most_are_verified() {
    let lines = printed(replay(RECORDING, &[]));
    let summaries: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |key: &str, value: &str| {
        let has = |summary: &&serde_json::Value| summary[key] == value;
        summaries.iter().filter(has).count()
    };
    assert_eq!(summaries.len(), 8);
    assert_eq!(count("verified", "match"), 5);
    assert_eq!(count("verified", "mismatch"), 0);
    for (outcome, runs) in [
        ("success", 5),
        ("error", 1),
        ("cancelled", 1),
        ("abandoned", 1),
    ] {
        assert_eq!(count("outcome", outcome), runs, "{outcome}");
    }
}

#[test]
fn without_capture_no_private_text_is_in_any_output() {
    for emit in EMITS {
        for options in [
            &["--emit", emit][..],
            &[
                "--emit",
                emit,
                "--conventions",
                "openinference",
                "--markers",
            ],
        ] {
            let output = printed(replay(RECORDING, options));
            for word in PRIVATE.iter().chain([&SECRET]) {
                assert!(!output.contains(word), "{word} in {options:?}");
            }
        }
    }
}

#[test]
fn with_capture_the_texts_are_there_and_the_secret_is_not() {
    const VARIABLE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    let by_flag = printed(replay(RECORDING, &["--emit", "spans", "--capture-content"]));
    for word in PRIVATE {
        assert!(by_flag.contains(word), "{word}");
    }
    assert!(!by_flag.contains(SECRET));
    assert!(by_flag.contains("[redacted]"));
    let by_variable = |mode: &str| {
        let mut command = replay(RECORDING, &["--emit", "spans"]);
        command.env(VARIABLE, mode);
        printed(command)
    };
    for mode in ["true", "SPAN_ONLY", "SPAN_AND_EVENT"] {
        assert!(by_flag == by_variable(mode), "{mode}");
    }
    let without = printed(replay(RECORDING, &["--emit", "spans"]));
    for mode in ["", "false", "NO_CONTENT"] {
        assert!(without == by_variable(mode), "{mode}");
    }
    let summaries = printed(replay(RECORDING, &["--capture-content"]));
    assert!(summaries.contains("tangerine"));
    let metrics = printed(replay(
        RECORDING,
        &["--emit", "metrics", "--capture-content"],
    ));
    assert!(PRIVATE.iter().all(|word| !metrics.contains(word)));
}

#[test]
fn a_rule_of_ones_own_redacts_too() {
    let options = [
        "--emit",
        "spans",
        "--capture-content",
        "--redact",
        "(?i)marmalade",
    ];
    let spans = printed(replay(RECORDING, &options));
    assert!(!spans.contains("marmalade"));
    assert!(spans.contains("periwinkle"));
}

#[test]
fn workflows_and_a_share_of_traces_can_be_chosen() {
    let runs = |options: &[&str]| printed(replay(RECORDING, options)).lines().count();
    let (all, reviews) = (runs(&[]), runs(&["--include", "review"]));
    assert!(0 < reviews && reviews < all);
    assert_eq!(runs(&["--exclude", "review"]), all - reviews);
    assert_eq!(runs(&["--include", "no such workflow"]), 0);
    // Summaries count every run, whatever the share of traces.
    assert_eq!(runs(&["--trace-ratio", "0"]), all);
    let spans = printed(replay(
        RECORDING,
        &["--emit", "spans", "--trace-ratio", "0"],
    ));
    assert_eq!(spans, "");
}

#[test]
fn what_is_odd_is_told_beside_the_result() {
    let mut command = replay(RECORDING, &[]);
    let output = command
        .env("OTEL_SERVICE_NAMES", "orders")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("did you mean OTEL_SERVICE_NAME?"), "{said}");
}

#[test]
fn the_resource_is_named_by_variables_and_an_empty_one_is_unset() {
    let resource = |variables: &[(&str, &str)]| -> Vec<(String, String)> {
        let mut command = replay(RECORDING, &["--emit", "spans"]);
        command.envs(variables.iter().copied());
        let spans = printed(command);
        let request: serde_json::Value =
            serde_json::from_str(spans.lines().next().unwrap()).unwrap();
        let attributes = request["resourceSpans"][0]["resource"]["attributes"].clone();
        let pair = |attribute: &serde_json::Value| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            (
                text(&attribute["key"]),
                text(&attribute["value"]["stringValue"]),
            )
        };
        attributes.as_array().unwrap().iter().map(pair).collect()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let unset = resource(&[]);
    assert!(unset.contains(&pair("service.name", "akribes")));
    assert!(unset.contains(&pair("service.instance.id", "akribes")));
    let empty = resource(&[("OTEL_SERVICE_NAME", ""), ("OTEL_RESOURCE_ATTRIBUTES", "")]);
    assert_eq!(empty, unset);
    let by_attribute = resource(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=orders")]);
    assert!(by_attribute.contains(&pair("service.name", "orders")));
    assert_eq!(by_attribute.len(), unset.len());
    let named = resource(&[
        ("OTEL_SERVICE_NAME", "orders"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test%2Cone,team=a",
        ),
    ]);
    for expected in [
        pair("service.name", "orders"),
        pair("deployment.environment.name", "test,one"),
        pair("team", "a"),
    ] {
        assert!(named.contains(&expected), "{expected:?} in {named:?}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_read() {
    let missing = "no-such-file";
    fails(runtrail(&["play"]), 2, "play");
    fails(runtrail(&["replay", missing]), 2, "--system");
    fails(
        runtrail(&["replay", "--system", "nobody", missing]),
        2,
        "akribes",
    );
    fails(replay(missing, &["--no-such-flag"]), 2, "--no-such-flag");
    fails(replay(missing, &["--emit", "poems"]), 2, "summaries");
    fails(
        replay(missing, &["--conventions", "none"]),
        2,
        "openinference",
    );
    fails(
        replay(missing, &["--redact", "("]),
        2,
        "the redaction rule `(`",
    );
    fails(replay(missing, &["--redact", ""]), 2, "the empty text");
    let mut wrong = replay(missing, &[]);
    wrong.env("OTEL_RESOURCE_ATTRIBUTES", "nothing");
    fails(wrong, 2, "`key=value`");
}

#[test]
fn what_cannot_be_read_is_told_in_one_sentence() {
    let empty = Scratch::new("empty.sse", b"");
    let comments = Scratch::new("comments.sse", b": keep-alive\n\n: keep-alive\n\n");
    let strange = Scratch::new("strange.sse", b"data: {\"hello\":\"world\"}\n\n");
    let prose = Scratch::new("prose.txt", b"Once upon a time\nthere was a log.\n");
    let noise = Scratch::new("noise.bin", &[0xFF, 0x00, 0x80, 0x0A].repeat(1_000));
    for emit in EMITS {
        let replay = |file: &str| replay(file, &["--emit", emit]);
        fails(replay("no-such-file"), 1, "cannot open no-such-file");
        fails(replay(env!("CARGO_MANIFEST_DIR")), 1, "directory");
        fails(replay("-"), 1, "nothing in the recording");
        for file in [&empty, &comments, &strange, &prose, &noise] {
            // Nothing can be told of a feed that says nothing.
            fails(
                replay(file.path()),
                1,
                "nothing in the recording is an event of akribes",
            );
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let recording = fs::read(RECORDING).unwrap();
    for emit in EMITS {
        let mut child = spawned(&mut replay("-", &["--emit", emit]));
        drop(child.stdout.take());
        // It may leave before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(&recording);
        succeeded(&child.wait_with_output().unwrap());
    }
}

#[test]
fn a_recording_that_breaks_off_tells_what_it_held() {
    let recording = fs::read(RECORDING).unwrap();
    for part in [3, 2] {
        let cut = &recording[..recording.len() / part];
        let summaries = piped(cut, &[], &[usize::MAX]);
        assert!(summaries.contains("\"outcome\":\"abandoned\""));
    }
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = include_str!("../README.md");
    let (_, after) = readme.split_once("```json\n").unwrap();
    let (shown, _) = after.split_once("```").unwrap();
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    let summaries = printed(replay(RECORDING, &[]));
    let mut lines = summaries.lines().map(serde_json::from_str);
    assert!(lines.any(|summary: Result<serde_json::Value, _>| summary.unwrap() == shown));
    let metrics = printed(replay(RECORDING, &["--emit", "metrics"]));
    let samples = readme.lines().filter(|line| line.starts_with("runtrail_"));
    for sample in samples {
        assert!(metrics.lines().any(|line| line == sample), "{sample}");
    }
}

#[test]
fn nothing_asked_is_answered_with_help() {
    let output = runtrail(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: runtrail"));
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(printed(runtrail(&["--help"])).contains("replay"));
    assert!(printed(runtrail(&["replay", "--help"])).contains("--emit"));
    let version = printed(runtrail(&["--version"]));
    assert_eq!(
        version.trim(),
        concat!("runtrail ", env!("CARGO_PKG_VERSION"))
    );
}
