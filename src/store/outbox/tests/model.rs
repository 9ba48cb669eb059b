//! Random work on the outbox against a plain list, with restarts, losses of
//! power, a disk that fills up and a program that is killed at any moment.

use proptest::prelude::*;

use super::*;

/// An outbox as a plain list.
#[derive(Debug, Clone, Default)]
struct Model {
    bodies: Vec<Body>,
    through: u64,
}

#[derive(Debug, Clone)]
struct Body {
    bytes: Vec<u8>,
    is_complete: bool,
    taken: Option<BodyId>,
}

#[derive(Debug, Clone)]
enum Step {
    Push {
        bytes: Vec<u8>,
        is_last: bool,
    },
    Complete,
    Take,
    GiveBack(usize),
    Acknowledge(usize),
    Halve(usize),
    /// The program ends and begins again; of what was not synced, by a seed,
    /// as much is left as the disk happened to take.
    LosePower(u64),
    Restart,
    /// The disk has so much room left, or enough.
    Bound(Option<u64>),
    /// The program is killed in the midst of the n-th change from now on.
    KillAt {
        change: u64,
        kept: usize,
        seed: u64,
    },
}

impl Model {
    fn complete(&mut self, through: u64) {
        for body in &mut self.bodies {
            body.is_complete = true;
        }
        self.through = through;
    }

    fn push(&mut self, bytes: &[u8], is_last: bool, through: u64) {
        self.bodies.push(Body {
            bytes: bytes.to_vec(),
            is_complete: false,
            taken: None,
        });
        if is_last {
            self.complete(through);
        }
    }

    fn halve(&mut self, place: usize) -> [Packed; 2] {
        let body = self.bodies.remove(place);
        let (first, second) = body.bytes.split_at(body.bytes.len() / 2);
        for half in [second, first] {
            let half = Body {
                bytes: half.to_vec(),
                is_complete: true,
                taken: None,
            };
            self.bodies.insert(place, half);
        }
        [first, second].map(packed)
    }

    fn restart(&mut self) {
        self.bodies.retain(|body| body.is_complete);
        for body in &mut self.bodies {
            body.taken = None;
        }
    }

    fn bytes(&self) -> u64 {
        self.bodies.iter().map(|body| body.bytes.len() as u64).sum()
    }

    /// Where the n-th of those that were taken stands.
    fn taken(&self, n: usize) -> Option<(usize, BodyId)> {
        let taken = self.bodies.iter().enumerate();
        let taken: Vec<_> = taken
            .filter_map(|(place, body)| Some((place, body.taken?)))
            .collect();
        (!taken.is_empty()).then(|| taken[n % taken.len()])
    }

    fn is(&self, outbox: &Outbox) -> bool {
        let bodies: Vec<_> = self.bodies.iter().map(|body| body.bytes.clone()).collect();
        offered(outbox) == bodies && *outbox.durable_through().borrow() == self.through
    }
}

/// An outbox at work, and what it should be.
struct Bench {
    files: Faulty,
    outbox: Outbox,
    model: Model,
    pushes: u64,
    is_bounded: bool,
    kill_seed: u64,
    had_holes: bool,
}

impl Bench {
    fn new() -> Self {
        let files = Faulty::new();
        Self {
            outbox: open(&files).0,
            files,
            model: Model::default(),
            pushes: 0,
            is_bounded: false,
            kill_seed: 0,
            had_holes: false,
        }
    }

    /// What was killed is told by the failure of the outbox.
    fn step(&mut self, step: &Step) {
        let mut after = self.model.clone();
        match step {
            Step::Push { bytes, is_last } => {
                self.pushes += 1;
                let through = self.pushes;
                after.push(bytes, *is_last, through);
                let pushed = self.outbox.push(&packed(bytes), through, *is_last, Time(1));
                self.refused_or_done(pushed, after);
            }
            Step::Complete => {
                self.pushes += 1;
                after.complete(self.pushes);
                let completed = self.outbox.complete(self.pushes);
                self.refused_or_done(completed, after);
            }
            Step::Take => {
                let id = self.outbox.oldest_waiting();
                let mut waiting = self.model.bodies.iter_mut();
                let oldest = waiting.find(|body| body.taken.is_none() && body.is_complete);
                assert_eq!(oldest.is_some(), id.is_some());
                if let (Some(oldest), Some(id)) = (oldest, id) {
                    let body = self.outbox.take(id).unwrap();
                    assert_eq!(body, Some(packed(&oldest.bytes)));
                    oldest.taken = Some(id);
                }
            }
            Step::GiveBack(n) => {
                if let Some((place, id)) = self.model.taken(*n) {
                    self.outbox.give_back(id);
                    self.model.bodies[place].taken = None;
                }
            }
            Step::Acknowledge(n) => {
                if let Some((place, id)) = self.model.taken(*n) {
                    after.bodies.remove(place);
                    let acknowledged = self.outbox.acknowledge(id);
                    self.refused_or_done(acknowledged.map_err(PushError::Failed), after);
                }
            }
            Step::Halve(n) => {
                let taken = self.model.taken(*n);
                let large = |(place, _): &(usize, _)| self.model.bodies[*place].bytes.len() > 1;
                if let Some((place, id)) = taken.filter(large) {
                    let halves = after.halve(place);
                    let replaced = self.outbox.replace(id, &halves);
                    self.refused_or_done(replaced, after);
                }
            }
            Step::LosePower(seed) => {
                self.record_what_is_not();
                self.files = self.files.crash(*seed);
                self.restart();
            }
            Step::Restart => {
                self.record_what_is_not();
                self.restart();
            }
            Step::Bound(room) => {
                self.files.heal();
                self.is_bounded = room.is_some();
                if let Some(room) = room {
                    self.files.bound(self.files.bytes_used() + room);
                }
            }
            Step::KillAt { change, kept, seed } => {
                self.kill_seed = *seed;
                // What a disk without room has left unrecorded would be lost with it.
                self.record_what_is_not();
                let fault = Fault::Die { kept: *kept };
                self.files.fail_change(*change, fault);
            }
        }
    }

    fn refused_or_done(&mut self, done: Result<(), PushError>, after: Model) {
        match done {
            Ok(()) => self.model = after,
            Err(PushError::Full) => {
                // One that is half full of what is settled makes room.
                let is_full = self.model.bytes() + 60 * self.model.bodies.len() as u64
                    > SETTINGS.limit_bytes / 4;
                assert!(self.is_bounded || is_full);
            }
            Err(PushError::Failed(_)) => self.recover(after),
            Err(error) => panic!("{error}"),
        }
    }

    /// It was killed: what it was doing is done, or is not, and nothing else.
    fn recover(&mut self, mut after: Model) {
        self.files.heal();
        self.is_bounded = false;
        self.files = match self.kill_seed % 3 {
            0 => self.files.crash(self.kill_seed),
            1 => {
                self.had_holes = true;
                self.files.crash_with_holes(self.kill_seed)
            }
            _ => self.files.clone(),
        };
        self.outbox = open(&self.files).0;
        self.model.restart();
        after.restart();
        if after.is(&self.outbox) {
            self.model = after;
        }
        assert!(self.model.is(&self.outbox), "{:?}", self.model);
    }

    /// With a full disk acknowledgements are in memory alone.
    fn record_what_is_not(&mut self) {
        self.files.heal();
        self.is_bounded = false;
        self.outbox.try_disk_again().unwrap();
        let mut writer = self.outbox.lock_writer();
        self.outbox.settle(&mut writer).unwrap();
        assert!(self.outbox.lock().unrecorded.is_empty());
    }

    fn restart(&mut self) {
        let (outbox, recovery) = open(&self.files);
        self.outbox = outbox;
        self.model.restart();
        assert_eq!(recovery.through, self.model.through);
        // A hole may be in what was not synced, before a mark.
        assert!(recovery.records_damaged == 0 || self.had_holes);
        assert!(self.model.is(&self.outbox), "{:?}", self.model);
    }

    fn check(&self) {
        let status = self.outbox.status();
        assert_eq!(status.batches, self.model.bodies.len());
        assert_eq!(status.bytes as u64, self.model.bytes());
        assert_eq!(status.disk_bytes, self.files.bytes_used());
        assert!(status.disk_bytes <= SETTINGS.limit_bytes, "{status:?}");
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let body = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..40),
        2 => prop::collection::vec(any::<u8>(), 200..400),
    ];
    let push = (body, prop::bool::weighted(0.7));
    let push = push.prop_map(|(bytes, is_last)| Step::Push { bytes, is_last });
    let kill = (1u64..12, 0usize..200, any::<u64>());
    let step = prop_oneof![
        60 => push,
        2 => Just(Step::Complete),
        60 => Just(Step::Take),
        4 => any::<usize>().prop_map(Step::GiveBack),
        50 => any::<usize>().prop_map(Step::Acknowledge),
        10 => any::<usize>().prop_map(Step::Halve),
        3 => any::<u64>().prop_map(Step::LosePower),
        2 => Just(Step::Restart),
        3 => prop::option::of(0u64..600).prop_map(Step::Bound),
        2 => kill.prop_map(|(change, kept, seed)| Step::KillAt { change, kept, seed }),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_plain_list_does_whatever_becomes_of_the_disk(steps in steps()) {
        let mut bench = Bench::new();
        for step in &steps {
            bench.step(step);
            bench.check();
        }
        bench.step(&Step::LosePower(7));
    }
}
