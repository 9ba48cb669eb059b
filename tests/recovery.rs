//! A core that dies at any moment and is told again what it was told: the spans,
//! the summaries and the counts are those of one that lived on.

#![allow(clippy::expect_used, reason = "a test that cannot go on should stop")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use runtrail::core::{Core, CoreSettings, Part};
use runtrail::run::outputs::GapCause;
use runtrail::trace::batch::Batch;
use runtrail::wire::time::Time;
use support::asked::{
    Came, Server, WAY, Way, apart, by_id, counted, difference, feed_bytes, feeds, summaries, whole,
};
use support::workload::{interleave, steps};
use support::{Feed, Line, core, settings};

/// What survives a death.
#[derive(Default)]
struct Disk {
    checkpoint: Option<Checkpoint>,
    journal: Vec<Vec<u8>>,
    /// Those that are durable, which is as good as sent.
    outbox: Vec<Batch>,
    /// What was told was told.
    summaries: BTreeMap<String, String>,
}

struct Checkpoint {
    parts: Vec<Part>,
    counted: Vec<String>,
}

/// A program around a core, as far as it matters here.
struct Program {
    core: Core,
    /// Batches that are not yet in the outbox.
    packing: Vec<Batch>,
    counted: Vec<String>,
}

fn configured(limit: usize) -> CoreSettings {
    let mut settings = CoreSettings {
        repair: true,
        enrich: true,
        // Of a project that is known its runs can be listed.
        feeds: vec![Some(1)],
        ..settings(false)
    };
    // Batches are small, so that what comes of one input goes into several.
    settings.limits.batch_bytes_max = limit;
    settings
}

impl Program {
    /// Begins, or goes on from what is on disk.
    fn start(disk: &mut Disk, settings: &CoreSettings, now: Time) -> Self {
        // What of an input is not there as a whole was never sent.
        while disk.outbox.last().is_some_and(|batch| !batch.is_last) {
            disk.outbox.pop();
        }
        let through = disk.outbox.last().map_or(0, |batch| batch.through);
        let (core, counted) = match &disk.checkpoint {
            None => (core(settings.clone()), Vec::new()),
            Some(kept) => (
                Core::restore(settings.clone(), kept.parts.clone()).expect("our own"),
                kept.counted.clone(),
            ),
        };
        let mut program = Self {
            core,
            packing: Vec::new(),
            counted,
        };
        program.core.discard_through(through);
        for entry in &disk.journal {
            program.core.replay(entry).expect("our own");
            program.take(&mut disk.summaries);
        }
        program.core.resume(settings, true, now);
        program.keep(disk);
        program.core.handle_connect(0, Some(now));
        program.keep(disk);
        program
    }

    /// What was said is given away once what was told is in safety.
    fn keep(&mut self, disk: &mut Disk) {
        disk.journal.extend(self.core.entries().map(<[u8]>::to_vec));
        self.core.clear_entries();
        self.take(&mut disk.summaries);
    }

    fn take(&mut self, told: &mut BTreeMap<String, String>) {
        self.counted.extend(counted(&mut self.core));
        told.extend(summaries(&mut self.core));
        self.packing
            .extend(std::iter::from_fn(|| self.core.poll_batch()));
    }

    /// So many batches come into the outbox.
    fn store(&mut self, disk: &mut Disk, count: usize) {
        let count = count.min(self.packing.len());
        disk.outbox.extend(self.packing.drain(..count));
    }

    fn save(&mut self, disk: &mut Disk) {
        self.core.handle_drain();
        self.take(&mut disk.summaries);
        self.store(disk, usize::MAX);
        disk.checkpoint = Some(Checkpoint {
            parts: self.core.save().collect(),
            counted: self.counted.clone(),
        });
        // Some of what is older may still be there.
        let half = disk.journal.len() / 2;
        disk.journal.drain(..half);
    }

    fn came(mut self, mut disk: Disk) -> Came {
        self.core.handle_end_of_runs();
        self.take(&mut disk.summaries);
        self.store(&mut disk, usize::MAX);
        self.counted.sort();
        Came {
            spans: support::trace::spans(&disk.outbox),
            summaries: disk.summaries,
            counted: self.counted,
        }
    }
}

/// What comes of a feed whose reader dies now and then. Each number says what
/// happens at its event.
fn with_deaths(feeds: &[Feed], lines: &[Line], fate: &[u8], way: Way) -> Came {
    let mut disk = Disk::default();
    let mut server = Server {
        feeds,
        happened: feeds.iter().map(|feed| (feed.run.clone(), 0)).collect(),
        way,
        sent: Vec::new(),
    };
    let begin = Time(1_778_148_000_000_000_000);
    let mut program = Program::start(&mut disk, &configured(2_000), begin);
    let mut room = true;
    let mut dead = false;
    let mut fates = fate.iter().cycle();
    for (n, line) in lines.iter().enumerate() {
        let fate = fates.next().copied().unwrap_or_default();
        let now = Time(begin.0 + line.ms * 1_000_000);
        *server.happened.get_mut(&line.run).expect("a run of it") += 1;
        if dead {
            // It may stay away for a while.
            if fate % 4 == 0 {
                continue;
            }
            server.sent.clear();
            let limit = 1_500 + 700 * (n % 5);
            program = Program::start(&mut disk, &configured(limit), now);
            dead = false;
        }
        let core = &mut program.core;
        if !(way.loses && fate < 40) {
            core.handle_bytes(0, &feed_bytes(std::slice::from_ref(line), way), Some(now));
        }
        match fate {
            0..20 => core.handle_gap(0, GapCause::Lagged, now),
            20..40 => {
                core.handle_gap(0, GapCause::Disconnect, now);
                core.handle_reconnect(0, Some(now));
            }
            40..60 => {
                room = !room;
                core.handle_room(room, now);
            }
            60..80 => core.handle_tick(now),
            _ => {}
        }
        if fate % 3 == 0 {
            server.answer(core, now);
        }
        if fate % 11 == 0 {
            // Dead before anything of this was in safety.
            dead = true;
            continue;
        }
        program.keep(&mut disk);
        match fate % 7 {
            0 => program.store(&mut disk, usize::from(fate) % 5),
            1 => program.save(&mut disk),
            2 => {
                program.core.handle_drain();
                program.take(&mut disk.summaries);
            }
            3 => {
                program.store(&mut disk, usize::from(fate) % 3);
                dead = true;
            }
            _ => {}
        }
    }
    let now = Time(begin.0 + 900_000_000_000);
    server.sent.clear();
    let mut program = Program::start(&mut disk, &configured(2_000), now);
    program.core.handle_room(true, now);
    server.answer_all(&mut program.core, now);
    // What came to be owed since is paid at the next tick.
    program.core.handle_tick(now);
    server.answer_all(&mut program.core, now);
    assert_eq!(
        program.core.owed_runs(),
        0,
        "everything that is owed is paid"
    );
    program.keep(&mut disk);
    program.came(disk)
}

fn death_difference(feeds: &[Feed], lines: &[Line], fate: &[u8], way: Way) -> Option<String> {
    let recovered = with_deaths(feeds, lines, fate, way);
    let whole = whole(lines, way);
    let spans = difference(&by_id(recovered.spans), &by_id(whole.spans));
    let summaries = (recovered.summaries != whole.summaries)
        .then(|| format!("{:#?}\n{:#?}", recovered.summaries, whole.summaries));
    let (recovered, shown) = told_apart(&recovered.counted);
    let (whole, shown_by_whole) = told_apart(&whole.counted);
    let counted = (recovered != whole).then(|| format!("{recovered:#?}\n{whole:#?}"));
    // What had to wait for room is shown by nothing.
    let strange = shown.difference(&shown_by_whole).next();
    let strange = strange.map(|shown| format!("shown by {shown}"));
    spans.or(summaries).or(counted).or(strange)
}

/// What was counted, and the spans that show it.
fn told_apart(counted: &[String]) -> (Vec<&str>, BTreeSet<&str>) {
    let apart = counted.iter().map(|line| line.split_once(",exemplar:"));
    let (mut told, shown): (Vec<_>, Vec<_>) = std::iter::zip(counted, apart)
        .map(|(line, apart)| apart.unwrap_or((line, "None})")))
        .unzip();
    let shown = shown.into_iter().filter(|shown| shown.starts_with("Some"));
    told.sort_unstable();
    (told, shown.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whenever_it_dies_nothing_is_lost_doubled_or_changed(
        runs in prop::collection::vec(steps(24), 1..4),
        order in prop::collection::vec(any::<u8>(), 1..30),
        fate in prop::collection::vec(any::<u8>(), 1..60),
        late: bool,
        loses: bool,
    ) {
        let feeds = feeds(&apart(&runs));
        let lines = interleave(&feeds, &order);
        let way = Way { late, loses, ..WAY };
        let difference = death_difference(&feeds, &lines, &fate, way);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }
}

#[test]
fn a_run_of_which_nothing_was_ever_kept_is_found_in_the_list() {
    // Dead at each event, before any of it was in safety.
    let feeds = feeds(&[vec![(0, 0, 1)]]);
    let lines = interleave(&feeds, &[0]);
    let way = Way {
        loses: false,
        ..WAY
    };
    let difference = death_difference(&feeds, &lines, &[11], way);
    assert_eq!(difference, None);
}

#[test]
fn what_was_sent_in_an_earlier_life_is_shown_again_when_it_is_counted_again() {
    let feeds = feeds(&[vec![(0, 0, 1), (1, 0, 5)]]);
    let lines = interleave(&feeds, &[0]);
    let begin = Time(1_778_148_000_000_000_000);
    let settings = CoreSettings {
        enrich: false,
        ..configured(2_000)
    };
    let mut first = core(settings.clone());
    first.resume(&settings, true, begin);
    first.handle_connect(0, Some(begin));
    first.handle_bytes(0, &feed_bytes(&lines, WAY), Some(begin));
    let mut second = core(settings);
    second.discard_through(first.position());
    for entry in first.entries() {
        second.replay(entry).expect("our own");
    }
    second.handle_drain();
    assert!(second.poll_batch().is_none(), "all of it was sent");
    let shown = counted(&mut first);
    assert!(shown.iter().any(|told| told.contains("Some(Exemplar{")));
    assert_eq!(counted(&mut second), shown);
}
