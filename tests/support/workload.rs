//! Runs at random, as a server would run them: every event in its place, with
//! namesakes, retries, tools, waits, loops and sub-scripts at once, and a server that
//! crashes now and then and begins them again.

use proptest::prelude::*;
use serde_json::json;

use super::{Feed, Line, usage};

/// One step of a run at random: what happens next, and after how many milliseconds.
pub type Step = (u8, u8, u16);

/// Steps of a run.
pub fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), 0u16..40), 1..max)
}

/// A run made of such steps. It is one that a server could have sent: what ends
/// was open, and what is paired by an id has one of its own.
pub fn run(id: &str, steps: &[Step]) -> Feed {
    let mut feed = Feed::of_run("random", id);
    let mut open = Open::default();
    let mut ms = 0;
    feed.start();
    for (what, which, after) in steps {
        ms += u64::from(*after);
        feed.at(ms);
        ms += open.step(&mut feed, what % 16, usize::from(*which), ms);
    }
    ms += 5;
    feed.at(ms);
    let last = steps.last().map_or(0, |step| step.1);
    match last % 8 {
        0 => feed.event(
            "Error",
            json!({"message": "boom", "kind": "Timeout", "code": "ExecutionTimeout", "user_message": ""}),
        ),
        _ => feed.end([open.input, open.output, open.ended]),
    };
    feed
}

/// The same steps on a server that never crashes.
pub fn without_crashes(runs: &[Vec<Step>]) -> Vec<Vec<Step>> {
    let step = |(what, which, after): &Step| match what % 16 == 15 && which.is_multiple_of(5) {
        true => (*what, which ^ 1, *after),
        false => (*what, *which, *after),
    };
    let run = |steps: &Vec<Step>| steps.iter().map(step).collect();
    runs.iter().map(run).collect()
}

/// A run's id by number.
pub fn run_id(n: usize) -> String {
    format!("{:08x}-0000-4000-8000-0000000000aa", n + 1)
}

/// The events of several runs, interleaved as the numbers say.
pub fn interleave(feeds: &[Feed], order: &[u8]) -> Vec<Line> {
    let mut left: Vec<std::slice::Iter<'_, Line>> =
        feeds.iter().map(|feed| feed.lines.iter()).collect();
    let mut order = order.iter().cycle();
    let mut lines = Vec::new();
    while left.iter().any(|run| run.len() > 0) {
        let pick = usize::from(*order.next().unwrap_or(&0)) % left.len();
        let run = (0..left.len())
            .map(|i| (pick + i) % left.len())
            .find(|i| left[*i].len() > 0);
        if let Some(line) = run.and_then(|run| left[run].next()) {
            lines.push(line.clone());
        }
    }
    lines
}

#[derive(Default)]
struct Open {
    tasks: Vec<(String, String, u64)>,
    tools: Vec<(String, String)>,
    waits: Vec<String>,
    looping: Option<u64>,
    next: usize,
    input: u64,
    output: u64,
    ended: u64,
    /// What would be told once more: tasks with what they used; none is a sub-script.
    told: Vec<Told>,
}

#[derive(Clone)]
enum Told {
    Task(String, u64, u64),
    SubScript(usize),
}

impl Open {
    /// Tells how long it took.
    fn step(&mut self, feed: &mut Feed, what: u8, which: usize, ms: u64) -> u64 {
        self.next += 1;
        let n = self.next;
        match what {
            0..=2 => {
                let name = ["plan", "write", "check"][which % 3].to_owned();
                feed.task(&name);
                self.tasks.push((name, format!("t{n}"), ms));
            }
            3..=7 => {
                if let Some((task, id, _)) = pick(&self.tasks, which) {
                    feed.chunk(task, id, &"x".repeat(which % 50));
                }
            }
            8 | 9 if !self.tasks.is_empty() => {
                let (task, _, started) = self.tasks.remove(which % self.tasks.len());
                let (input, output) = (which as u64, n as u64);
                self.input += input;
                self.output += output;
                self.ended += 1;
                feed.task_end(&task, ms - started, usage(input, output));
                self.told.push(Told::Task(task, input, output));
            }
            10 => {
                if let Some((task, _, _)) = pick(&self.tasks, which) {
                    let id = format!("tool-{n}");
                    feed.tool(task, "search", &id);
                    self.tools.push((task.clone(), id));
                }
            }
            11 if !self.tools.is_empty() => {
                let (task, id) = self.tools.remove(which % self.tools.len());
                feed.tool_end(&task, "search", &id, json!({"n": n}));
            }
            12 => {
                let token = format!("tok-{n}");
                feed.event(
                    "Suspended",
                    json!({"checkpoint_name": "ask", "token": token, "prompt": "?", "schema": {},
                           "actor_hint": "Human", "timeout_secs": 5}),
                );
                self.waits.push(token);
            }
            13 if !self.waits.is_empty() => {
                let token = self.waits.remove(which % self.waits.len());
                feed.event("Resumed", json!({"checkpoint_name": "ask", "token": token}));
            }
            14 => self.step_loop(feed),
            15 if which.is_multiple_of(5) => return self.begin_again(feed, ms),
            _ => self.sub_script(feed, which),
        }
        0
    }

    fn step_loop(&mut self, feed: &mut Feed) {
        self.looping = match self.looping {
            None => {
                feed.event("LoopStart", json!({"name": "solve", "max_turns": 3}));
                Some(0)
            }
            Some(3) => {
                feed.event(
                    "LoopEnd",
                    json!({"name": "solve", "turn_count": 3, "value": null}),
                );
                None
            }
            Some(turn) => {
                feed.event(
                    "LoopTurn",
                    json!({"name": "solve", "turn": turn + 1, "tool_calls": ["a"]}),
                );
                Some(turn + 1)
            }
        };
    }

    fn sub_script(&mut self, feed: &mut Feed, which: usize) {
        self.told.push(Told::SubScript(which));
        self.call(feed, which, false);
    }

    /// The server crashes: what is open is lost, what had ended is told once more.
    fn begin_again(&mut self, feed: &mut Feed, ms: u64) -> u64 {
        *self = Self {
            next: self.next,
            told: std::mem::take(&mut self.told),
            ..Self::default()
        };
        feed.start();
        for (after, told) in (1..).zip(self.told.clone()) {
            feed.at(ms + after);
            match told {
                Told::SubScript(which) => self.call(feed, which, true),
                Told::Task(task, input, output) => {
                    feed.task(&task).replay_hit();
                    feed.task_end(&task, 0, usage(input, output));
                    self.input += input;
                    self.output += output;
                    self.ended += 1;
                }
            }
        }
        self.told.len() as u64
    }

    fn call(&mut self, feed: &mut Feed, which: usize, again: bool) {
        let call = json!({"script_name": "child", "parent_task": format!("call{}", which % 2)});
        feed.inside(Some(call)).start().task("inner");
        if again {
            feed.replay_hit();
        }
        feed.task_end("inner", 0, usage(2, 3));
        feed.end([2, 3, 1]).inside(None);
        self.input += 2;
        self.output += 3;
        self.ended += 1;
    }
}

fn pick<T>(of: &[T], which: usize) -> Option<&T> {
    (!of.is_empty()).then(|| &of[which % of.len()])
}
