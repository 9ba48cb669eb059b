use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::TextEncoder;
use proptest::prelude::*;

use super::write::Writer;
use super::*;
use crate::limits::Limits;
use crate::metrics::catalogue::{CATALOGUE, CostBasis};
use crate::metrics::delta::{Delta, Deltas, Exemplar};
use crate::metrics::family::Shown;
use crate::metrics::{Metrics, Settings};
use crate::run::finished::{RunMeta, Verified};
use crate::run::summary::ModelTokens;
use crate::wire::event::{NodeOutcome, RunOutcome};
use crate::wire::time::Time;

const NOW: Time = Time(1_700_000_000_000_000_000);

fn meta(workflow: &str) -> Arc<RunMeta> {
    Arc::new(RunMeta {
        trace_id: [7; 16],
        system: "akribes",
        source: "test".into(),
        project: Some(1),
        workflow: Arc::from(workflow),
        run_id: Arc::from("exec-99"),
    })
}

/// Spans by number; the number is also the second of the minute at which they end.
fn exemplar(n: u8) -> Option<Exemplar> {
    Some(Exemplar {
        trace_id: [0xab; 16],
        span_id: [0, 0, 0, 0, 0, 0, 0, n],
        at: NOW.plus(Duration::from_millis(u64::from(n) * 1_000 + 7)),
    })
}

fn run_finished(outcome: RunOutcome, seconds: u64, exemplar: Option<Exemplar>) -> Delta {
    Delta::RunFinished {
        run: 1,
        outcome,
        error_type: None,
        duration: Duration::from_secs(seconds),
        tasks_passed: 1,
        tasks_failed: 0,
        verified: Verified::Match,
        exemplar,
    }
}

fn task_finished(outcome: NodeOutcome, failures: u64, exemplar: Option<Exemplar>) -> Delta {
    Delta::TaskFinished {
        run: 1,
        task: "t".into(),
        outcome,
        duration: Duration::from_millis(300),
        attempts: 1,
        validation_failures: failures,
        escalated: false,
        cached: false,
        tokens: Some(ModelTokens {
            provider: "openai".into(),
            model: "gpt-5".into(),
            input: 100,
            output: 20,
            cache_read: 0,
            cache_write: 0,
            reasoning: 0,
        }),
        time_to_first_chunk: Some(Duration::from_millis(50)),
        time_per_output_token: Some(Duration::from_millis(10)),
        exemplar,
    }
}

fn tool_finished(outcome: NodeOutcome, exemplar: Option<Exemplar>) -> Delta {
    Delta::ToolFinished {
        run: 1,
        server: "web".into(),
        tool: "find".into(),
        outcome,
        duration: Duration::from_millis(20),
        exemplar,
    }
}

/// What becomes of these, each in a run of the workflow.
fn metrics(workflow: &str, facts: impl IntoIterator<Item = Delta>) -> Metrics {
    let settings = Settings::new(&Limits::default(), &["akribes"]);
    let mut metrics = Metrics::of_this_build(&settings, NOW).unwrap();
    for group in [Group::Export, Group::Store] {
        metrics.register(group).unwrap();
    }
    for fact in facts {
        apply(&mut metrics, workflow, fact, 60);
    }
    metrics
}

/// What happened to a run, heard at this second of the minute.
fn apply(metrics: &mut Metrics, workflow: &str, fact: Delta, second: u64) {
    let run = Delta::RunStarted {
        run: 1,
        meta: meta(workflow),
        start: NOW,
    };
    let deltas = Deltas {
        in_order: vec![run, fact],
        ..Deltas::default()
    };
    metrics.apply(&deltas, &[], NOW.plus(Duration::from_secs(second)));
}

fn page(metrics: &Metrics, form: Form) -> String {
    metrics.exposition().text(form, &[], 0)
}

/// The lines of the OpenMetrics page that have exemplars, without what is the
/// same in all of them.
fn shown(metrics: &Metrics) -> Vec<String> {
    let page = page(metrics, Form::OpenMetrics);
    let shown = page.lines().filter(|line| line.contains(" # "));
    shown
        .map(|line| {
            line.replace("project=\"1\",", "")
                .replace("system=\"akribes\",", "")
                .replace("trace_id=\"abababababababababababababababab\",", "")
                .replace("span_id=\"00000000000000", "span_id=\"")
                .replace("runtrail_", "")
        })
        .collect()
}

proptest! {
    #[test]
    fn the_classic_form_is_to_the_byte_what_the_library_writes(
        workflows in prop::collection::vec("[a-c\"\\\\\n é{},=#]{0,6}", 1..6),
        milliseconds in prop::collection::vec(0u64..8_000_000, 1..6),
        usd in prop::collection::vec(prop_oneof![0.0..1e-6f64, 0.0..1e20f64, Just(5.0)], 1..6),
        seconds in 0u64..4_000_000_000,
    ) {
        let facts = milliseconds.iter().map(|milliseconds| {
            let mut delta = run_finished(RunOutcome::Error, 0, exemplar(1));
            if let Delta::RunFinished { duration, .. } = &mut delta {
                *duration = Duration::from_millis(*milliseconds);
            }
            delta
        });
        let mut metrics = metrics(&workflows[0], facts);
        for (workflow, usd) in workflows.iter().zip(&usd) {
            let run = Delta::RunStarted { run: 2, meta: meta(workflow), start: NOW };
            let cost = Delta::Cost {
                run: 2,
                provider: workflow.as_str().into(),
                model: "m".into(),
                basis: CostBasis::Server,
                usd: *usd,
            };
            let deltas = Deltas { in_order: vec![run, cost], ..Deltas::default() };
            metrics.apply(&deltas, &[], NOW);
        }
        metrics.set_project_info(1, &workflows[0], NOW);
        metrics.set_source_last_event(Time(seconds * 1_000_000_001), NOW);
        let theirs = TextEncoder::new().encode_to_string(&metrics.gather()).unwrap();
        prop_assert_eq!(page(&metrics, Form::Classic), theirs);
    }
}

#[test]
fn open_metrics_names_families_and_units_and_escapes_and_ends() {
    let failed = run_finished(RunOutcome::Error, 5, exemplar(1));
    let mut metrics = metrics("a\"b\\c\nd", [failed]);
    metrics.set_project_info(2, "naïve, {x=\"1\"} # y", NOW);
    let page = page(&metrics, Form::OpenMetrics);
    let labels = r#"project="1",system="akribes",workflow="a\"b\\c\nd""#;
    let of_error = format!(r#"outcome="error",{labels}"#);
    let shown = r#"# {trace_id="abababababababababababababababab",span_id="0000000000000001"}"#;
    for part in [
        "# TYPE runtrail_run_duration_seconds histogram\n\
         # UNIT runtrail_run_duration_seconds seconds\n\
         # HELP runtrail_run_duration_seconds How long "
            .to_owned(),
        "# TYPE runtrail_runs_finished counter\n# HELP runtrail_runs_finished Runs that "
            .to_owned(),
        "# TYPE runtrail_build_info gauge\n# HELP runtrail_build_info ".to_owned(),
        "\nruntrail_project_info{name=\"naïve, {x=\\\"1\\\"} # y\",project=\"2\"} 1\n".to_owned(),
        "\nruntrail_source_connected 0\n".to_owned(),
        format!(
            "\nruntrail_run_duration_seconds_bucket{{{of_error},le=\"1.0\"}} 0\n\
             runtrail_run_duration_seconds_bucket{{{of_error},le=\"5.0\"}} 1 {shown} 5 1700000001.007\n\
             runtrail_run_duration_seconds_bucket{{{of_error},le=\"10.0\"}} 1\n"
        ),
        format!(
            "le=\"7200.0\"}} 1\n\
             runtrail_run_duration_seconds_bucket{{{of_error},le=\"+Inf\"}} 1\n\
             runtrail_run_duration_seconds_sum{{{of_error}}} 5\n\
             runtrail_run_duration_seconds_count{{{of_error}}} 1\n"
        ),
        format!("\nruntrail_runs_finished_total{{{of_error}}} 1 {shown} 1 1700000001.007\n"),
    ] {
        assert!(page.contains(&part), "{part}\n{page}");
    }
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1);
    assert!(!page.contains("_created"));
}

#[test]
fn what_ended_badly_is_shown_and_what_went_well_only_by_its_time() {
    let failed = metrics(
        "w",
        [
            run_finished(RunOutcome::Success, 3, exemplar(1)),
            run_finished(RunOutcome::Error, 3, exemplar(2)),
            run_finished(RunOutcome::Timeout, 9_000, exemplar(3)),
            run_finished(RunOutcome::Cancelled, 3, exemplar(4)),
            run_finished(RunOutcome::Abandoned, 3, exemplar(5)),
            task_finished(NodeOutcome::Success, 0, exemplar(6)),
            task_finished(NodeOutcome::Failed, 2, exemplar(7)),
            task_finished(NodeOutcome::Unable, 0, exemplar(8)),
            tool_finished(NodeOutcome::Success, exemplar(9)),
            tool_finished(NodeOutcome::Failed, exemplar(10)),
        ],
    );
    let expected = [
        r#"run_duration_seconds_bucket{outcome="abandoned",workflow="w",le="5.0"} 1 # {span_id="05"} 3 1700000005.007"#,
        r#"run_duration_seconds_bucket{outcome="cancelled",workflow="w",le="5.0"} 1 # {span_id="04"} 3 1700000004.007"#,
        r#"run_duration_seconds_bucket{outcome="error",workflow="w",le="5.0"} 1 # {span_id="02"} 3 1700000002.007"#,
        r#"run_duration_seconds_bucket{outcome="success",workflow="w",le="5.0"} 1 # {span_id="01"} 3 1700000001.007"#,
        r#"run_duration_seconds_bucket{outcome="timeout",workflow="w",le="+Inf"} 1 # {span_id="03"} 9000 1700000003.007"#,
        r#"run_errors_total{error_type="_OTHER",workflow="w"} 2 # {span_id="03"} 1 1700000003.007"#,
        r#"runs_finished_total{outcome="abandoned",workflow="w"} 1 # {span_id="05"} 1 1700000005.007"#,
        r#"runs_finished_total{outcome="cancelled",workflow="w"} 1 # {span_id="04"} 1 1700000004.007"#,
        r#"runs_finished_total{outcome="error",workflow="w"} 1 # {span_id="02"} 1 1700000002.007"#,
        r#"runs_finished_total{outcome="timeout",workflow="w"} 1 # {span_id="03"} 1 1700000003.007"#,
        r#"task_duration_seconds_bucket{task="t",workflow="w",le="0.5"} 3 # {span_id="08"} 0.3 1700000008.007"#,
        r#"tasks_finished_total{outcome="failed",task="t",workflow="w"} 1 # {span_id="07"} 1 1700000007.007"#,
        r#"tasks_finished_total{outcome="unable",task="t",workflow="w"} 1 # {span_id="08"} 1 1700000008.007"#,
        r#"time_per_output_token_seconds_bucket{model="gpt-5",provider="openai",workflow="w",le="0.01"} 3 # {span_id="08"} 0.01 1700000008.007"#,
        r#"time_to_first_chunk_seconds_bucket{model="gpt-5",provider="openai",workflow="w",le="0.08"} 3 # {span_id="08"} 0.05 1700000008.007"#,
        r#"tool_calls_total{outcome="failed",server="web",tool="find",workflow="w"} 1 # {span_id="0a"} 1 1700000010.007"#,
        r#"tool_duration_seconds_bucket{outcome="failed",server="web",tool="find",workflow="w",le="0.025"} 1 # {span_id="0a"} 0.02 1700000010.007"#,
        r#"tool_duration_seconds_bucket{outcome="success",server="web",tool="find",workflow="w",le="0.025"} 1 # {span_id="09"} 0.02 1700000009.007"#,
        r#"validation_failures_total{task="t",workflow="w"} 2 # {span_id="07"} 2 1700000007.007"#,
    ];
    assert_eq!(shown(&failed), expected);
    assert!(!page(&failed, Form::Classic).contains(" # {"));
}

#[test]
fn a_newer_span_takes_the_place_of_an_older_one_and_never_the_other_way() {
    for (order, last) in [([1, 2], 2), ([2, 1], 2)] {
        let runs = order.map(|n| run_finished(RunOutcome::Error, 3, exemplar(n)));
        let shown = shown(&metrics("w", runs));
        assert!(shown.len() == 3, "{shown:?}");
        for line in shown {
            assert!(line.contains(&format!("span_id=\"0{last}\"")), "{line}");
        }
    }
}

#[test]
fn a_span_of_a_clock_that_is_ahead_does_not_stay_for_ever() {
    let ended = |n| run_finished(RunOutcome::Error, 3, exemplar(n));
    let mut metrics = metrics("w", [ended(200)]);
    let said = shown(&metrics);
    assert!(
        said.len() == 3 && said[0].ends_with(" 1700000060.000"),
        "{said:?}"
    );
    apply(&mut metrics, "w", ended(61), 62);
    for line in shown(&metrics) {
        assert!(line.contains("span_id=\"3d\""), "{line}");
    }
}

#[test]
fn each_bucket_shows_a_span_of_its_own_and_one_without_a_trace_shows_none() {
    let ended = [(1, 1), (2, 5), (3, 6), (4, 7_200), (5, 7_201)];
    let ended = ended.map(|(n, seconds)| run_finished(RunOutcome::Success, seconds, exemplar(n)));
    let untold = run_finished(RunOutcome::Success, 100, None);
    let metrics = metrics("w", ended.into_iter().chain([untold]));
    let bounds: Vec<_> = (shown(&metrics).iter())
        .map(|line| {
            let (_, bound) = line.split_once("le=\"").unwrap();
            let (bound, rest) = bound.split_once('"').unwrap();
            let (_, span) = rest.split_once("span_id=\"").unwrap();
            format!("{bound} {}", &span[..2])
        })
        .collect();
    let expected = ["1.0 01", "5.0 02", "10.0 03", "7200.0 04", "+Inf 05"];
    assert_eq!(bounds, expected);
}

#[test]
fn spans_are_not_kept_beyond_the_process() {
    let metrics = metrics("w", [run_finished(RunOutcome::Error, 3, exemplar(1))]);
    let settings = Settings::new(&Limits::default(), &["akribes"]);
    let (next, _) = Metrics::restore(&settings, &metrics.snapshot(), [], NOW).unwrap();
    assert!(page(&next, Form::OpenMetrics).contains("runtrail_run_errors_total{"));
    assert_eq!(shown(&next), [""; 0]);
}

#[test]
fn families_without_their_suffixes_do_not_meet() {
    let names = CATALOGUE.iter().map(|row| row.name);
    let families: BTreeSet<_> = names
        .map(|name| name.strip_suffix("_total").unwrap_or(name))
        .collect();
    assert_eq!(families.len(), CATALOGUE.len());
    for family in &families {
        for suffix in ["_bucket", "_sum", "_count", "_total", "_created", "_gsum"] {
            let stem = family.strip_suffix(suffix);
            assert!(
                !stem.is_some_and(|stem| families.contains(stem)),
                "{family}"
            );
        }
    }
}

#[test]
fn a_unit_is_what_a_name_ends_in() {
    for (name, unit) in [
        ("a_seconds", Some("seconds")),
        ("a_seconds_total", Some("seconds")),
        ("a_limit_bytes", Some("bytes")),
        ("a_usd_total", Some("usd")),
        ("a_seconds_x_total", None),
        ("milliseconds", None),
        ("seconds", None),
    ] {
        let mut writer = Writer::new(Form::OpenMetrics, 0);
        writer.head(name, "A.", Kind::Sum);
        let page = writer.finish();
        let family = name.trim_end_matches("_total");
        let expected = unit.map(|unit| format!("# UNIT {family} {unit}"));
        let found = page.lines().find(|line| line.starts_with("# UNIT"));
        assert_eq!(found, expected.as_deref());
    }
}

#[test]
fn texts_of_help_are_escaped_as_each_form_has_it() {
    for (form, expected) in [
        (Form::Classic, "# HELP a \\\\ \"b\" \\n c\n"),
        (Form::OpenMetrics, "# HELP a \\\\ \\\"b\\\" \\n c\n"),
    ] {
        let mut writer = Writer::new(form, 0);
        writer.head("a", "\\ \"b\" \n c", Kind::Gauge);
        let page = writer.finish();
        assert!(page.contains(expected), "{page}");
    }
}

#[test]
fn numbers_are_written_so_that_every_reader_reads_them() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-3.0, "-3"),
        (0.1, "0.1"),
        (1.5e-7, "0.00000015"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (u64::MAX as f64, "18446744073709552000"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
    ] {
        let mut writer = Writer::new(Form::OpenMetrics, 0);
        writer.head("a", "A.", Kind::Gauge);
        writer.sample(value, None);
        let page = writer.finish();
        assert!(page.contains(&format!("\na {expected}\n")), "{page}");
    }
}

#[test]
fn an_exemplar_is_far_shorter_than_it_may_be() {
    let mut writer = Writer::new(Form::OpenMetrics, 0);
    writer.head("a_total", "A.", Kind::Counter);
    let at = Time(u64::MAX);
    let exemplar = Exemplar {
        at,
        ..exemplar(255).unwrap()
    };
    let value = 1.0;
    writer.sample(1.0, Some(&Shown { exemplar, value }));
    let page = writer.finish();
    let (_, labels) = page.split_once("# {trace_id").unwrap();
    let (labels, rest) = labels.split_once('}').unwrap();
    // Of names and values together there may be 128.
    assert!(labels.len() < 80);
    assert_eq!(rest, " 1 18446744073.709\n# EOF\n");
}
