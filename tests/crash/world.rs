//! A server, a program that is disturbed with all that stands around it, and
//! one that is not.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use runtrail::sim::SimHandle;
use tempfile::TempDir;

use crate::backend::{Backend, Mood};
use crate::compare;
use crate::gate::{Gate, Weather};
use crate::load::{self, Load, PROJECTS, Pace};
use crate::program::{Ended, Program, eventually, get};

/// Requests of one life that may be under way at once.
pub(crate) const IN_FLIGHT_MAX: usize = 4;

/// Who has something to do, and does nothing for so long, hangs.
const STILL_MAX: Duration = Duration::from_secs(90);

/// Who has nothing to do for so long has forgotten what is missing.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Differences that are told one by one.
const TOLD_MAX: usize = 12;

pub(crate) type Variables = Vec<(&'static str, String)>;

/// All that there is.
pub(crate) struct World {
    pub(crate) server: Arc<SimHandle>,
    pub(crate) gate: Gate,
    pub(crate) backend: Backend,
    pub(crate) lives: u32,
    /// Variables of the disturbed program beside those that it needs.
    pub(crate) more: Variables,
    /// What becomes the disturbed program, if not the program by itself.
    pub(crate) launcher: Option<fn(&Path) -> Command>,
    /// How many spans the disturbed program is to lack at the end.
    pub(crate) lacks: usize,
    kept: Kept,
    calm: Program,
    calm_backend: Backend,
    load: Option<Load>,
}

/// What the disturbed program has on disk, with what it said: kept when the
/// test fails.
struct Kept {
    dir: Option<TempDir>,
    diary: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            let dir = dir.keep();
            let _ = std::fs::write(dir.join("diary.txt"), &self.diary);
            eprintln!("kept: {}", dir.display());
        }
    }
}

impl World {
    /// Everything but the disturbed program; nothing runs yet.
    pub(crate) async fn new(pace: Pace) -> Self {
        let server = load::server(pace).await;
        let gate = Gate::before(server.addr()).await;
        let backend = Backend::start().await;
        let calm_backend = Backend::start().await;
        let mut variables = common(&server.url(), &server);
        variables.extend(calm_backend.variables(0));
        let calm = start(&variables);
        server.wait_for_feeds(2).await;
        Self {
            server,
            gate,
            backend,
            lives: 0,
            more: Vec::new(),
            launcher: None,
            lacks: 0,
            kept: Kept {
                dir: Some(TempDir::with_prefix("runtrail-crash-").unwrap()),
                diary: String::new(),
            },
            calm,
            calm_backend,
            load: None,
        }
    }

    /// Where the disturbed program keeps what it has.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir().join("store")
    }

    /// The variables of the next life.
    pub(crate) fn variables(&mut self) -> Variables {
        self.lives += 1;
        let mut variables = common(&self.gate.url(), &self.server);
        variables.push(("RUNTRAIL_STORE_DIR", self.store().display().to_string()));
        variables.extend(self.backend.variables(self.lives));
        variables.extend(self.more.iter().cloned());
        variables
    }

    /// Starts the disturbed program.
    pub(crate) fn live(&mut self) -> Program {
        let variables = self.variables();
        match self.launcher {
            None => start(&variables),
            Some(launcher) => Program::spawn(launcher(self.dir()), &borrowed(&variables)),
        }
    }

    /// Starts it for the first time, and then the runs: both programs hear of
    /// them from the beginning.
    pub(crate) async fn begin(&mut self, pace: Pace) -> Program {
        let program = self.live();
        self.server.wait_for_feeds(4).await;
        self.load = Some(Load::on(&self.server, pace));
        eventually("it has heard something", || {
            (sum(&program, "runtrail_events_total") > 0.0).then_some(())
        });
        program
    }

    /// Writes down what is done, and what the program said.
    pub(crate) fn note(&mut self, what: &str) {
        let now = runtrail::net::clock::now().to_rfc3339();
        writeln!(self.kept.diary, "{now} life {}: {what}", self.lives).unwrap();
    }

    /// A life is over: nothing that it said may tell of a defect.
    pub(crate) fn over(&mut self, ended: &Ended) {
        let path = self.dir().join(format!("life-{}.log", self.lives));
        std::fs::write(path, &ended.text).unwrap();
        assert!(
            !ended.text.contains("panicked at"),
            "life {} broke:\n{}",
            self.lives,
            ended.text
        );
    }

    /// Where all of it is.
    pub(crate) fn dir(&self) -> &Path {
        self.kept.dir.as_ref().unwrap().path()
    }

    /// Everything is well, no run begins any more, and those that are open end.
    pub(crate) async fn calm_down(&mut self) {
        self.note("all is well from now on");
        self.gate.weather(Weather::default());
        self.backend.mood(Mood::Takes).await;
        if let Some(load) = self.load.take() {
            load.stop().await;
        }
        self.server.wait_until_idle().await;
    }

    /// Waits until the disturbed program has sent as much as the other, or until
    /// it does nothing any more.
    async fn wait_for_all(&self, program: &Program) {
        let pause = Duration::from_millis(100);
        let (mut before, mut still) = (None, Duration::ZERO);
        loop {
            let all = self.calm_backend.book().held_count();
            let held = self.backend.book().held_count();
            let page = page(program);
            let is_done = is_done(&page);
            let so_far = (
                self.backend.book().requests,
                self.gate.damage().calls,
                compare::sum(&page, "runtrail_runs_owed") as u64,
            );
            still = match before.replace(so_far) == Some(so_far) {
                true => still + pause,
                false => Duration::ZERO,
            };
            let patience = if is_done { IDLE_MAX } else { STILL_MAX };
            if (is_done && held + self.lacks >= all) || still > patience {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until the disturbed program has nothing left to do, and ends both.
    /// What they have not done by then is a difference.
    pub(crate) async fn settle(self, program: Program) -> Outcome {
        let runs = self.server.finished_runs().len();
        eventually("the undisturbed program is done", || {
            let done = is_done(&page(&self.calm)) && self.calm_backend.book().roots() >= runs;
            done.then_some(())
        });
        self.wait_for_all(&program).await;
        let wire = self.dir().join("wire.txt");
        std::fs::write(wire, self.gate.diary()).unwrap();
        let pages = [&program, &self.calm].map(page);
        let mut wrong = Vec::new();
        for (name, program) in [("disturbed", program), ("undisturbed", self.calm)] {
            program.signal("TERM");
            let ended = program.ended();
            if ended.code != Some(0) {
                wrong.push(format!("the {name} program ended with {ended:?}"));
            }
            if name == "disturbed" {
                let path = self.kept.dir.as_ref().unwrap().path();
                let path = path.join(format!("life-{}.log", self.lives));
                std::fs::write(path, &ended.text).unwrap();
            }
        }
        Outcome {
            runs,
            wrong,
            pages,
            backend: self.backend,
            calm_backend: self.calm_backend,
            _kept: self.kept,
            _around: (self.server, self.gate),
        }
    }
}

/// What came of it all.
pub(crate) struct Outcome {
    pub(crate) runs: usize,
    pub(crate) wrong: Vec<String>,
    /// The last metrics of the disturbed and of the undisturbed program.
    pub(crate) pages: [String; 2],
    pub(crate) backend: Backend,
    pub(crate) calm_backend: Backend,
    _kept: Kept,
    _around: (Arc<SimHandle>, Gate),
}

impl Outcome {
    /// Nothing is lost, nothing is doubled, and nothing is otherwise.
    pub(crate) fn is_as_undisturbed(&self, title: &str) {
        let wrong = self.differences();
        assert!(wrong.is_empty(), "{title}\n{}", wrong.join("\n"));
    }

    /// What is lost, doubled or otherwise.
    pub(crate) fn differences(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        let calm = self.calm_backend.book();
        if calm.roots() != self.runs {
            let roots = calm.roots();
            let runs = self.runs;
            wrong.push(format!(
                "the undisturbed program sent {roots} roots of {runs} runs"
            ));
        }
        let book = self.backend.book();
        for (book, whose) in [(&book, "disturbed"), (&calm, "undisturbed")] {
            for (ids, first, other) in book.two_contents.iter().take(TOLD_MAX) {
                let how = compare::difference(other, first, false).join("\n    ");
                wrong.push(format!(
                    "the {whose} program sent {ids:?} `{}` with two contents, in lives {} and {}:\n    {how}",
                    first.span.name,
                    first.first_in(),
                    other.first_in()
                ));
            }
        }
        let spans = compare::spans(&book.held(), &calm.held());
        wrong.extend(some_of("spans", spans));
        let metrics = compare::metrics(&self.pages[0], &self.pages[1]);
        wrong.extend(some_of("metrics", metrics));
        if compare::sum(&self.pages[0], "runtrail_runs_open") != 0.0 {
            wrong.push("runs are open at the end".to_owned());
        }
        wrong
    }

    /// What came, in a line.
    pub(crate) fn numbers(&self) -> String {
        let book = self.backend.book();
        let held = book.held();
        format!(
            "{} runs, {} spans, {} requests, {} bodies again, sums of runs {:?}",
            self.runs,
            held.len(),
            book.requests,
            book.again.len(),
            compare::verdicts(&held)
        )
    }
}

fn some_of(what: &str, all: Vec<String>) -> Vec<String> {
    let count = all.len();
    let mut some: Vec<_> = all.into_iter().take(TOLD_MAX).collect();
    if count > some.len() {
        some.push(format!("and so on: {count} differences in {what}"));
    }
    some
}

/// The variables that both programs have.
fn common(url: &str, server: &SimHandle) -> Variables {
    vec![
        ("AKRIBES_URL", url.to_owned()),
        ("AKRIBES_TOKEN", server.token().unwrap().to_owned()),
        ("AKRIBES_PROJECT_ID", PROJECTS.to_owned()),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_MEMORY_MAX", "1GiB".to_owned()),
        ("RUNTRAIL_CAPTURE_CONTENT", "true".to_owned()),
        ("RUNTRAIL_EXPORT_IN_FLIGHT_MAX", IN_FLIGHT_MAX.to_string()),
        ("RUNTRAIL_DRAIN_MAX", "1s".to_owned()),
        ("RUNTRAIL_LIMITS_BATCH_AGE_MAX", "50ms".to_owned()),
        ("RUNTRAIL_LIMITS_PROGRESS_AFTER", "1s".to_owned()),
        // What the server knows of a run at its end is waited for, however slow
        // the machine is: without it a root is another one.
        ("RUNTRAIL_LIMITS_ENRICH_WAIT_MAX", "10m".to_owned()),
        ("RUNTRAIL_LIMITS_ASKS_IN_FLIGHT_MAX", "8".to_owned()),
        ("RUNTRAIL_LIMITS_ANSWER_BYTES_MAX", "4MiB".to_owned()),
        ("RUNTRAIL_LIMITS_ASKS_PER_SECOND_MAX", "200".to_owned()),
        ("RUNTRAIL_STORE_CHECKPOINT_EVERY", "1s".to_owned()),
    ]
}

pub(crate) fn start(variables: &[(&'static str, String)]) -> Program {
    Program::start(&["run"], &borrowed(variables))
}

/// Variables as a command takes them.
pub(crate) fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    let pairs = variables.iter().map(|(name, value)| (*name, &**value));
    pairs.collect()
}

/// The metrics of a program.
pub(crate) fn page(program: &Program) -> String {
    let [metrics, _] = program.listeners();
    let (status, page) = get(metrics, "/metrics", "");
    assert_eq!(status, 200, "{page}");
    page
}

/// The sum over all series of a metric of a program.
pub(crate) fn sum(program: &Program, metric: &str) -> f64 {
    compare::sum(&page(program), metric)
}

/// Whether nothing is open and nothing waits, by the metrics of a program.
fn is_done(page: &str) -> bool {
    let nothing = |metric| compare::sum(page, metric) == 0.0;
    nothing("runtrail_runs_open")
        && nothing("runtrail_outbox_batches")
        && nothing("runtrail_runs_owed")
}
