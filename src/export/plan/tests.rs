use std::collections::{BTreeMap, VecDeque};

use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::export::Compression;
use crate::export::pack::{bisect, pack};
use crate::limits::Limits;
use crate::store::outbox::{Outbox, OutboxSettings, Packed};
use crate::trace::batch::{Batcher, ResourceInfo};
use crate::trace::body::spans;

const SETTINGS: PlanSettings = PlanSettings {
    in_flight_max: 3,
    backoff: BackoffSettings {
        first: Duration::from_secs(1),
        most: Duration::from_secs(30),
    },
    probe_wait: Duration::from_secs(60),
};

const TAKEN: Verdict = Verdict::Taken { rejected: 0 };
const RETRY: Verdict = Verdict::Retry { after: None };
const INVALID: Verdict = Verdict::RefusedData(RefusalReason::Invalid);
const MINUTE: Duration = Duration::from_secs(60);

/// A plan, the outbox that it works on, and the time that passes for both.
struct Bench {
    plan: Plan,
    outbox: Outbox,
    now: Time,
    /// What is on its way, with the names of its spans.
    in_flight: BTreeMap<BodyId, Packed>,
    taken: Vec<String>,
    dropped: Vec<(RefusalReason, String)>,
}

fn body(names: &[String]) -> Packed {
    let mut batcher = Batcher::new(&ResourceInfo::default(), &Limits::default());
    for name in names {
        let span = Span {
            name: name.clone(),
            ..Span::default()
        };
        batcher.push(&span.encode_to_vec(), 0, Time::ZERO);
    }
    pack(batcher.flush().unwrap(), Compression::None)
}

fn names(packed: &Packed) -> Vec<String> {
    let spans = spans(&packed.body);
    spans
        .map(|span| Span::decode(span.bytes).unwrap().name)
        .collect()
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            plan: Plan::new(SETTINGS, seed),
            outbox: Outbox::in_memory(OutboxSettings {
                limit_bytes: 8 << 20,
                body_bytes_max: 64 << 10,
            })
            .unwrap(),
            now: Time(1_000_000_000_000),
            in_flight: BTreeMap::new(),
            taken: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// One body for each text, one span for each letter.
    fn with(bodies: &[&str]) -> Self {
        let mut bench = Self::new(7);
        for body in bodies {
            bench.push(body);
        }
        bench
    }

    fn push(&mut self, letters: &str) {
        let names: Vec<_> = letters.chars().map(String::from).collect();
        self.outbox.push(&body(&names), 0, true, self.now).unwrap();
    }

    /// Sends all that may be sent now, and tells the names in it.
    fn send(&mut self) -> Vec<String> {
        self.send_until_told_to_wait().0
    }

    fn send_until_told_to_wait(&mut self) -> (Vec<String>, Option<Time>) {
        let mut sent = Vec::new();
        loop {
            let id = match self.plan.next(self.outbox.oldest_waiting(), self.now) {
                Next::Send(id) => id,
                Next::Wait(until) => return (sent, until),
            };
            assert!(self.in_flight.len() < SETTINGS.in_flight_max);
            let packed = self.outbox.take(id).unwrap().expect("it is in the outbox");
            sent.push(names(&packed).concat());
            assert!(
                self.in_flight.insert(id, packed).is_none(),
                "sent twice at once"
            );
        }
    }

    fn id(&self, letters: &str) -> BodyId {
        let mut found = self.in_flight.iter();
        let found = found.find(|(_, packed)| names(packed).concat() == letters);
        *found.expect("it is on its way").0
    }

    #[track_caller]
    fn answer(&mut self, letters: &str, verdict: Verdict) -> Fate {
        self.answer_id(self.id(letters), verdict)
    }

    fn answer_id(&mut self, id: BodyId, verdict: Verdict) -> Fate {
        let packed = self.in_flight.remove(&id).unwrap();
        let fate = self.plan.answered(id, &verdict, self.now);
        match fate {
            Fate::Taken => {
                self.taken.extend(names(&packed));
                self.outbox.acknowledge(id).unwrap();
            }
            Fate::Refused(reason) => match bisect(&packed) {
                Some(halves) => self.outbox.replace(id, &halves).unwrap(),
                None => {
                    self.dropped
                        .extend(names(&packed).into_iter().map(|name| (reason, name)));
                    self.outbox.acknowledge(id).unwrap();
                }
            },
            Fate::Kept => {}
            Fate::GivenBack => self.outbox.give_back(id),
        }
        fate
    }

    fn answer_all(&mut self, verdict: Verdict) {
        for id in self.in_flight.keys().copied().collect::<Vec<_>>() {
            self.answer_id(id, verdict);
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }

    fn nothing_goes_for(&mut self, span: Duration) {
        let before = Time(self.now.plus(span).0 - 1);
        let next = self.plan.next(self.outbox.oldest_waiting(), before);
        assert!(matches!(next, Next::Wait(_)), "{next:?}");
    }
}

#[test]
fn the_oldest_go_first_several_at_a_time_and_are_settled_in_any_order() {
    let mut bench = Bench::with(&["a", "b", "c", "d", "e"]);
    assert_eq!(bench.send(), ["a", "b", "c"]);
    bench.answer("b", TAKEN);
    assert_eq!(bench.send(), ["d"]);
    assert_eq!(bench.outbox.horizon(), 0, "a is not settled");
    bench.answer("a", TAKEN);
    assert_eq!(bench.outbox.horizon(), 2);
    assert_eq!(bench.send(), ["e"]);
    bench.answer_all(TAKEN);
    assert_eq!(bench.send(), [""; 0]);
    assert_eq!(bench.plan.next(None, bench.now), Next::Wait(None));
    assert_eq!(bench.taken, ["b", "a", "c", "d", "e"]);
}

#[test]
fn without_an_answer_everything_rests_and_a_single_body_probes() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    bench.send();
    bench.answer_all(RETRY);
    assert!(bench.plan.is_paused());
    bench.pass(SETTINGS.backoff.first);
    assert_eq!(bench.send(), ["d"], "one that was not tried yet");
    bench.answer("d", RETRY);
    bench.pass(SETTINGS.backoff.first * 2);
    assert_eq!(bench.send(), ["a"], "of those equally tried the oldest");
    bench.answer("a", RETRY);
    bench.pass(SETTINGS.backoff.first * 4);
    assert_eq!(bench.send(), ["b"], "the least tried");
    bench.answer("b", TAKEN);
    assert!(!bench.plan.is_paused());
    assert_eq!(
        bench.send(),
        ["a", "c", "d"],
        "all is well, all goes at once"
    );
}

#[test]
fn what_failed_late_goes_at_once_too_when_all_is_well() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.send();
    bench.answer("a", Verdict::Failed);
    bench.pass(SETTINGS.probe_wait);
    assert_eq!(bench.send(), ["a"]);
    bench.answer("b", Verdict::Failed);
    bench.answer("a", TAKEN);
    assert_eq!(bench.send(), ["b"]);
}

#[test]
fn after_an_outage_the_waits_are_short_again() {
    for seed in 0..100 {
        let mut bench = Bench::new(seed);
        bench.push("a");
        for _ in 0..20 {
            assert_eq!(bench.send(), ["a"]);
            bench.answer("a", RETRY);
            bench.pass(SETTINGS.backoff.most);
        }
        bench.send();
        bench.answer("a", TAKEN);
        bench.push("b");
        bench.send();
        bench.answer("b", RETRY);
        bench.pass(SETTINGS.backoff.first);
        assert_eq!(bench.send(), ["b"]);
    }
}

#[test]
fn that_others_passed_once_condemns_no_data_in_an_outage_that_follows() {
    let mut bench = Bench::with(&["xy", "a"]);
    bench.send();
    bench.answer("a", TAKEN);
    for _ in 0..20 {
        assert_eq!(bench.answer("xy", Verdict::TimedOut), Fate::Kept);
        bench.pass(SETTINGS.backoff.most);
        assert_eq!(bench.send(), ["xy"]);
    }
    assert!(bench.plan.is_paused());
}

#[test]
fn bodies_that_fail_together_have_failed_once() {
    for seed in 0..100 {
        let mut bench = Bench::new(seed);
        for body in ["a", "b", "c", "d"] {
            bench.push(body);
        }
        bench.send();
        bench.answer_all(RETRY);
        let Next::Wait(Some(until)) = bench.plan.next(None, bench.now) else {
            panic!("there is something to wait for");
        };
        assert!(until.since(bench.now) <= SETTINGS.backoff.first);
    }
}

#[test]
fn the_waits_of_an_outage_grow_up_to_the_most() {
    let mut longest = Duration::ZERO;
    let mut attempts = 0;
    let mut bench = Bench::with(&["a", "b"]);
    let end = bench.now.plus(MINUTE * 60);
    bench.send();
    bench.answer_all(RETRY);
    while bench.now < end {
        let Next::Wait(Some(until)) = bench.plan.next(bench.outbox.oldest_waiting(), bench.now)
        else {
            panic!("there is something to wait for");
        };
        longest = longest.max(until.since(bench.now));
        bench.now = until;
        assert_eq!(bench.send().len(), 1);
        attempts += 1;
        bench.answer_all(RETRY);
    }
    assert!(longest <= SETTINGS.backoff.most && longest > SETTINGS.backoff.most / 2);
    assert!((100..1_000).contains(&attempts), "{attempts}");
}

#[test]
fn who_asks_to_wait_is_waited_for_by_all() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    bench.send();
    bench.answer("a", TAKEN);
    let asked = Duration::from_secs(20);
    bench.answer("b", Verdict::Retry { after: Some(asked) });
    bench.nothing_goes_for(asked);
    // A later answer of the same kind makes it longer, not shorter.
    let longer = Duration::from_secs(40);
    bench.answer(
        "c",
        Verdict::Retry {
            after: Some(longer),
        },
    );
    bench.nothing_goes_for(longer);
    bench.pass(longer + SETTINGS.backoff.first);
    assert_eq!(bench.send().len(), 1);
}

#[test]
fn a_wait_that_is_asked_for_has_a_bound() {
    let mut bench = Bench::with(&["a"]);
    bench.send();
    let after = Some(Duration::from_secs(86_400));
    bench.answer("a", Verdict::Retry { after });
    bench.pass(RETRY_AFTER_MAX + SETTINGS.backoff.first);
    assert_eq!(bench.send(), ["a"]);
}

#[test]
fn a_refused_sender_pauses_everything_and_is_probed_once_a_while() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    bench.send();
    assert_eq!(bench.answer("a", Verdict::RefusedRoute), Fate::Kept);
    bench.answer_all(Verdict::RefusedRoute);
    for probe in ["d", "a", "b", "c", "d", "a"] {
        bench.nothing_goes_for(SETTINGS.probe_wait);
        bench.pass(SETTINGS.probe_wait);
        assert_eq!(bench.send(), [probe], "one, the least tried");
        bench.answer(probe, Verdict::RefusedRoute);
    }
    assert!(bench.plan.is_paused());
    bench.pass(SETTINGS.probe_wait);
    bench.send();
    bench.answer("b", TAKEN);
    assert_eq!(bench.send(), ["a", "c", "d"]);
}

#[test]
fn what_was_sent_before_the_trouble_does_not_end_the_pause() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    bench.send();
    bench.answer("a", Verdict::RefusedRoute);
    bench.answer("b", TAKEN);
    bench.answer("c", INVALID);
    assert!(bench.plan.is_paused());
    bench.nothing_goes_for(SETTINGS.probe_wait);
}

#[test]
fn a_refused_body_is_halved_down_to_the_span_at_fault() {
    let mut bench = Bench::with(&["abcde", "f"]);
    loop {
        let sent = bench.send();
        if sent.is_empty() {
            break;
        }
        for letters in sent {
            let verdict = if letters.contains('d') {
                INVALID
            } else {
                TAKEN
            };
            bench.answer(&letters, verdict);
        }
    }
    bench.taken.sort();
    assert_eq!(bench.taken, ["a", "b", "c", "e", "f"]);
    assert_eq!(bench.dropped, [(RefusalReason::Invalid, "d".to_owned())]);
    assert_eq!(bench.outbox.status().batches, 0);
    assert!(!bench.plan.is_paused());
}

#[test]
fn a_refusal_of_data_shows_a_probe_that_the_route_is_well() {
    let mut bench = Bench::with(&["ab", "c"]);
    bench.send();
    bench.answer_all(RETRY);
    bench.pass(SETTINGS.backoff.first);
    assert_eq!(bench.send(), ["ab"]);
    bench.answer("ab", INVALID);
    assert_eq!(bench.send(), ["a", "b", "c"]);
}

/// Answers everything that is sent until nothing is left or time is up.
fn run(bench: &mut Bench, span: Duration, verdict: impl Fn(&str) -> Verdict) {
    let end = bench.now.plus(span);
    while bench.now < end && bench.outbox.status().batches > 0 {
        let (sent, until) = bench.send_until_told_to_wait();
        match until {
            Some(until) if sent.is_empty() => bench.now = until,
            None if sent.is_empty() => panic!("nothing goes, and nothing will"),
            _ => {}
        }
        for letters in sent {
            bench.answer(&letters, verdict(&letters));
        }
    }
}

#[test]
fn a_body_that_fails_again_and_again_while_others_pass_is_halved() {
    for (verdict, reason) in [
        (Verdict::TimedOut, RefusalReason::TimedOut),
        (Verdict::Failed, RefusalReason::Failed),
    ] {
        let mut bench = Bench::with(&["poison"]);
        let end = bench.now.plus(MINUTE * 60);
        while bench.now < end && bench.outbox.status().batches > 0 {
            // There is always something else that passes.
            bench.push("-");
            run(
                &mut bench,
                Duration::from_secs(1),
                |letters| match letters.contains('s') {
                    true => verdict,
                    false => TAKEN,
                },
            );
            bench.pass(Duration::from_secs(1));
        }
        assert_eq!(bench.dropped, [(reason, "s".to_owned())]);
        bench.taken.retain(|name| name != "-");
        bench.taken.sort();
        assert_eq!(bench.taken, ["i", "n", "o", "o", "p"]);
    }
}

#[test]
fn a_body_at_which_the_sender_is_refused_is_never_suspected_however_many_others_are_taken() {
    let mut bench = Bench::with(&["ab"]);
    for _ in 0..100 {
        bench.push("-");
        run(&mut bench, MINUTE, |letters| match letters {
            "-" => TAKEN,
            _ => Verdict::RefusedRoute,
        });
        bench.pass(MINUTE);
    }
    assert_eq!(bench.dropped, []);
    assert_eq!(bench.taken.len(), 100);
    assert_eq!(bench.outbox.status().batches, 1, "it is whole");
}

#[test]
fn what_could_not_be_recorded_is_sent_again_after_a_while() {
    let mut bench = Bench::with(&["a"]);
    bench.send();
    let id = bench.id("a");
    assert_eq!(
        bench.plan.answered(id, &INVALID, bench.now),
        Fate::Refused(RefusalReason::Invalid)
    );
    bench.in_flight.clear();
    bench.plan.rest(id, bench.now);
    bench.nothing_goes_for(SETTINGS.probe_wait);
    bench.pass(SETTINGS.probe_wait);
    assert_eq!(bench.send(), ["a"]);
}

#[test]
fn a_body_that_is_damaged_frees_its_place_and_another_probes() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.send();
    bench.answer_all(RETRY);
    bench.pass(SETTINGS.backoff.first);
    assert_eq!(bench.send(), ["a"]);
    bench.plan.forget(bench.id("a"));
    bench.in_flight.clear();
    assert_eq!(bench.send(), ["b"]);
}

#[test]
fn when_none_is_taken_for_hours_it_is_the_backend_and_no_data_is_condemned() {
    for verdict in [Verdict::TimedOut, Verdict::Failed] {
        let mut bench = Bench::with(&["-", "ab", "cd", "ef", "gh"]);
        // One was taken just before.
        bench.send();
        bench.answer("-", TAKEN);
        bench.answer_all(verdict);
        run(&mut bench, MINUTE * 60 * 12, |_| verdict);
        assert!(bench.plan.is_paused());
        assert_eq!(bench.dropped, []);
        assert_eq!(bench.outbox.status().batches, 4, "none was halved");
        run(&mut bench, MINUTE * 2, |_| TAKEN);
        assert_eq!(bench.taken.len(), 9, "{verdict:?}");
    }
}

#[test]
fn a_body_that_the_backend_fails_at_stands_in_nobodys_way_and_is_not_condemned() {
    for verdict in [Verdict::Failed, RETRY, Verdict::RefusedRoute] {
        let mut bench = Bench::with(&["x", "a", "b", "c", "d", "e"]);
        run(&mut bench, MINUTE * 30, |letters| {
            if letters == "x" { verdict } else { TAKEN }
        });
        assert_eq!(bench.taken.len(), 5, "{verdict:?}");
        assert_eq!(bench.dropped, []);
        assert_eq!(bench.outbox.status().batches, 1);
        run(&mut bench, MINUTE * 2, |_| TAKEN);
        assert_eq!(bench.taken.len(), 6);
    }
}

#[test]
fn a_backend_that_fails_is_probed_once_a_while() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    bench.send();
    bench.answer_all(Verdict::Failed);
    bench.nothing_goes_for(SETTINGS.probe_wait);
    bench.pass(SETTINGS.probe_wait);
    assert_eq!(bench.send(), ["d"]);
    bench.answer("d", Verdict::Failed);
    bench.nothing_goes_for(SETTINGS.probe_wait);
}

#[test]
fn while_others_pass_a_failure_makes_only_its_own_body_wait() {
    let mut bench = Bench::with(&["a", "b", "c", "d"]);
    bench.send();
    bench.answer("b", TAKEN);
    bench.answer("a", RETRY);
    assert!(!bench.plan.is_paused());
    assert_eq!(bench.send(), ["d"]);
    bench.answer_all(TAKEN);
    bench.pass(SETTINGS.backoff.first);
    assert_eq!(bench.send(), ["a"]);
}

#[test]
fn at_the_end_what_rests_is_tried_at_once() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.send();
    bench.answer_all(Verdict::Failed);
    bench.nothing_goes_for(SETTINGS.probe_wait);
    bench.plan.hurry(bench.now);
    assert_eq!(bench.send(), ["a"]);
    bench.answer("a", TAKEN);
    assert_eq!(bench.send(), ["b"]);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut bench = Bench::with(&["a"]);
    bench.send();
    let id = bench.id("a");
    bench.answer("a", TAKEN);
    assert_eq!(
        bench.plan.answered(id, &Verdict::RefusedRoute, bench.now),
        Fate::GivenBack
    );
    assert!(!bench.plan.is_paused());
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Send,
    Answer(usize, Verdict),
    Pass(u64),
    Hurry,
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(TAKEN),
        2 => Just(INVALID),
        1 => Just(Verdict::RefusedRoute),
        2 => Just(RETRY),
        1 => (0u64..100).prop_map(|s| Verdict::Retry { after: Some(Duration::from_secs(s)) }),
        3 => Just(Verdict::TimedOut),
        1 => Just(Verdict::Failed),
    ]
}

fn steps() -> impl Strategy<Value = VecDeque<Step>> {
    let step = prop_oneof![
        2 => (1usize..9).prop_map(Step::Push),
        4 => Just(Step::Send),
        6 => (any::<usize>(), verdicts()).prop_map(|(which, verdict)| Step::Answer(which, verdict)),
        3 => (0u64..100_000).prop_map(Step::Pass),
        1 => Just(Step::Hurry),
    ];
    prop::collection::vec_deque(step, 0..150)
}

proptest! {
    #[test]
    fn whatever_is_answered_each_span_is_taken_or_dropped_and_that_once(
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let mut bench = Bench::new(seed);
        let mut pushed = Vec::new();
        for step in steps {
            match step {
                Step::Push(count) => {
                    let names: Vec<_> = (0..count).map(|n| format!("{}.", pushed.len() + n)).collect();
                    bench.outbox.push(&body(&names), 0, true, bench.now).unwrap();
                    pushed.extend(names);
                }
                Step::Send => {
                    bench.send();
                }
                Step::Answer(which, verdict) => {
                    let on_their_way = bench.in_flight.len().max(1);
                    let id = bench.in_flight.keys().nth(which % on_their_way).copied();
                    if let Some(id) = id {
                        bench.answer_id(id, verdict);
                    }
                }
                Step::Pass(millis) => bench.pass(Duration::from_millis(millis)),
                Step::Hurry => bench.plan.hurry(bench.now),
            }
        }
        // Then all is well: nothing stays behind, and nothing takes for ever.
        bench.answer_all(TAKEN);
        run(&mut bench, RETRY_AFTER_MAX * 2, |_| TAKEN);
        prop_assert_eq!(bench.outbox.status().batches, 0);
        prop_assert!(!bench.plan.is_paused());
        let dropped = bench.dropped.into_iter().map(|(_, name)| name);
        let mut settled: Vec<_> = bench.taken.into_iter().chain(dropped).collect();
        settled.sort();
        pushed.sort();
        prop_assert_eq!(settled, pushed);
    }
}
