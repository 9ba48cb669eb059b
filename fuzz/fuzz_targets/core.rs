//! The whole core, on any bytes and any sequence of what may happen to it, with
//! small bounds. See `script` for the inputs and `spans` for what is checked.
#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use runtrail::core::{Core, CoreSettings, Selection};
use runtrail::limits::Limits;
use runtrail::run::outputs::{GapCause, Wish};
use runtrail::run::table::NoAnswer;
use runtrail::trace::batch::ResourceInfo;
use runtrail::trace::content::ContentPolicy;
use runtrail::trace::span::TraceSettings;
use runtrail::wire::event::RunRef;
use runtrail::wire::time::Time;
use runtrail_fuzz::script::{Step, recut, steps};
use runtrail_fuzz::spans::Spans;

const OPEN_RUNS_MAX: usize = 4;
const OPEN_RUNS_BYTES_MAX: usize = 96 << 10;
const CONTENT_BYTES_MAX: usize = 64;
/// What one run may hold beyond that, when it is the only one: notes, nodes and
/// names are bounded one by one.
const ONE_RUN_BYTES_MAX: usize = 4 << 20;

/// What the first byte of an input chooses.
#[derive(Clone, Copy)]
struct Choice {
    capture: bool,
    repair: bool,
    markers: bool,
    /// Whether there is a clock, or only the times of the feed.
    clock: bool,
    openinference: bool,
}

impl Choice {
    fn of(byte: u8) -> Self {
        let bit = |n: u8| byte >> n & 1 == 1;
        Self {
            capture: bit(0),
            repair: bit(1),
            markers: bit(2),
            clock: bit(3),
            openinference: bit(4),
        }
    }

    fn settings(self) -> CoreSettings {
        let limits = Limits {
            line_bytes_max: 16 << 10,
            frame_bytes_max: 16 << 10,
            open_runs_max: OPEN_RUNS_MAX,
            open_runs_bytes_max: OPEN_RUNS_BYTES_MAX,
            open_nodes_max: 8,
            published_nodes_max: 16,
            chunk_events_max: 4,
            content_bytes_max: CONTENT_BYTES_MAX,
            summary_names_max: 4,
            held_events_bytes_max: 1 << 10,
            batch_bytes_max: 8 << 10,
            progress_after: Duration::from_secs(1),
            run_idle_max: Duration::from_secs(60),
            run_wait_max: Duration::from_secs(600),
            repair_wait_max: Duration::from_secs(10),
            ..Limits::default()
        };
        CoreSettings {
            system: "akribes".into(),
            source: "fuzz".into(),
            resource: ResourceInfo {
                service_name: "akribes".into(),
                service_instance_id: "fuzz".into(),
                attributes: Vec::new(),
            },
            trace: TraceSettings {
                openinference: self.openinference,
                content: policy(self.capture),
            },
            markers: self.markers,
            repair: self.repair,
            enrich: self.repair,
            prices: None,
            feeds: vec![None],
            selection: Selection::default(),
            limits,
        }
    }
}

/// The rules are compiled once: that takes longer than an input does.
fn policy(capture: bool) -> ContentPolicy {
    static POLICIES: OnceLock<[ContentPolicy; 2]> = OnceLock::new();
    let policies = POLICIES.get_or_init(|| {
        [false, true].map(|capture| {
            ContentPolicy::new(capture, &[""; 0], CONTENT_BYTES_MAX).expect("no rules of ours")
        })
    });
    policies[usize::from(capture)].clone()
}

/// A core, and what it said.
struct Bench {
    core: Core,
    choice: Choice,
    spans: Spans,
    batches: Vec<Vec<u8>>,
    summaries: Vec<String>,
    rejected: u64,
    /// The run that was asked for last.
    asked: String,
    /// And from where on.
    asked_after: u64,
    now: Time,
}

impl Bench {
    fn new(choice: Choice) -> Self {
        Self {
            core: Core::new(choice.settings()).expect("a known system"),
            choice,
            spans: Spans::default(),
            batches: Vec::new(),
            summaries: Vec::new(),
            rejected: 0,
            asked: String::new(),
            asked_after: 0,
            now: Time(1_778_149_422_000_000_000),
        }
    }

    fn play(&mut self, steps: &[Step<'_>]) {
        for step in steps {
            self.step(*step);
            self.look();
        }
        self.core.handle_end_of_input(0, self.clock());
        self.look();
        self.core.handle_end_of_runs();
        self.look();
        assert_eq!(self.core.open_runs(), 0);
        assert_eq!(
            self.core.open_runs_bytes(),
            0,
            "what was taken was given back"
        );
        if !self.choice.repair {
            self.spans.finish();
        }
    }

    fn step(&mut self, step: Step<'_>) {
        let asked = std::mem::take(&mut self.asked);
        let run = RunRef {
            id: Some(asked.as_str().into()),
            ..RunRef::default()
        };
        match step {
            Step::Feed(bytes) => self.core.handle_bytes(0, bytes, self.clock()),
            Step::Page(page) => self
                .core
                .handle_log_page(&run, self.asked_after, page, self.now),
            Step::Refuse => {
                (self.core).handle_log_refused(&run, NoAnswer::ForGood, self.now);
            }
            Step::Gap => self.core.handle_gap(0, GapCause::Disconnect, self.now),
            Step::Reconnect => self.core.handle_reconnect(0, self.clock()),
            Step::EndOfInput => self.core.handle_end_of_input(0, self.clock()),
            Step::Tick(by) => {
                let by = Duration::from_millis(1 << (by % 32));
                self.now = self.now.plus(by);
                self.core.handle_tick(self.now);
            }
            Step::Status(how) => {
                let status = ["running", "completed", "failed", "unheard of"][usize::from(how % 4)];
                let row = format!(
                    r#"{{"id":"{}","project_id":1,"script_name":"s","status":"{status}"}}"#,
                    run.id.as_deref().unwrap_or_default()
                );
                let row = Some(row.as_bytes()).filter(|_| how % 5 > 0);
                match how / 64 {
                    0 => self.core.handle_row(&run, row, self.now),
                    1 => self.core.handle_facts(&run, row, None, self.now),
                    _ => self.core.handle_room(how % 2 == 0, self.now),
                }
            }
        }
        self.asked = asked;
    }

    fn look(&mut self) {
        while let Some(batch) = self.core.poll_batch() {
            self.spans.look_at(&batch);
            self.batches.push(batch.body);
        }
        while let Some(summary) = self.core.poll_summary() {
            self.summaries.push(format!("{summary:?}"));
        }
        while let Some(wish) = self.core.poll_wish() {
            if let Wish::ReadLog { after, .. } = &wish {
                self.asked_after = *after;
            }
            match wish {
                Wish::ReadLog { run_id, .. }
                | Wish::AskRow { run_id, .. }
                | Wish::AskFacts { run_id, .. } => run_id.as_ref().clone_into(&mut self.asked),
                Wish::ListRuns { .. } => {
                    let rows =
                        r#"[{"id":"7","project_id":1,"script_name":"s","status":"running"}]"#;
                    self.core
                        .handle_rows(&wish, Some(rows.as_bytes()), self.now);
                }
            }
        }
        let deltas = self.core.deltas();
        self.rejected += deltas.rejected.iter().sum::<u64>();
        deltas.clear();
        let (runs, bytes) = (self.core.open_runs(), self.core.open_runs_bytes());
        assert!(runs <= OPEN_RUNS_MAX);
        assert!(
            bytes <= OPEN_RUNS_BYTES_MAX + ONE_RUN_BYTES_MAX,
            "{runs} runs hold {bytes}"
        );
        assert!(
            runs <= 1 || bytes <= 2 * OPEN_RUNS_BYTES_MAX,
            "{runs} runs hold {bytes}"
        );
    }

    fn clock(&self) -> Option<Time> {
        self.choice.clock.then_some(self.now)
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, piece_bytes, script @ ..] = input else {
        return;
    };
    let choice = Choice::of(*choice);
    let mut one = Bench::new(choice);
    one.play(&steps(script));
    let mut other = Bench::new(choice);
    other.play(&recut(script, usize::from(*piece_bytes)));
    assert_eq!(one.batches, other.batches, "another cutting, other batches");
    assert_eq!(one.summaries, other.summaries);
    assert_eq!(one.rejected, other.rejected);
});
