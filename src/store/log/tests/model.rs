//! The log against a plain map, with failures and crashes at any moment.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::files::Disk;
use crate::store::files::faulty::{Fault, Faulty, Operation};

#[derive(Debug, Clone)]
enum Step {
    Append { len: usize },
    Commit,
    Discard,
    Roll,
    Skip { by: u64 },
    Delete { back: u64 },
    Fail { nth: u64, fault: Fault },
    FailSync { fault: Fault },
    Bound { room_bytes: u64 },
    Heal,
    Restart,
    Crash { seed: u64, with_holes: bool },
}

/// What the log should hold.
#[derive(Debug, Default)]
struct Model {
    durable: BTreeMap<u64, Vec<u8>>,
    /// All that ever was durable, to notice a number that is given twice.
    ever: BTreeMap<u64, Vec<u8>>,
    pending: Vec<(u64, Vec<u8>)>,
    /// Below it, records may have been deleted.
    wanted_from: u64,
    /// What the next number is, once nothing is pending.
    next_number: u64,
    /// The log is of no more use, and it is not known what of the last call happened.
    is_in_doubt: bool,
    /// How large the log will be after the commit.
    foretold_bytes: u64,
    /// For contents that differ.
    serial: u64,
}

struct World {
    files: Arc<dyn Files>,
    /// The same, if it can fail.
    faulty: Option<Faulty>,
    log: Log,
    model: Model,
}

impl World {
    fn new(files: Arc<dyn Files>, faulty: Option<Faulty>) -> Self {
        let (log, _) = Log::open(Arc::clone(&files), "test", settings()).unwrap();
        let model = Model {
            next_number: 1,
            ..Model::default()
        };
        Self {
            files,
            faulty,
            log,
            model,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append { len } => self.append(*len),
            Step::Commit => self.commit(),
            Step::Discard => {
                self.log.discard();
                if !self.model.is_in_doubt {
                    self.model.pending.clear();
                }
            }
            Step::Roll => self.skip(0),
            Step::Skip { by } => self.skip(*by),
            Step::Delete { back } => self.delete(*back),
            Step::Restart => self.reopen(0),
            _ => self.disturb(step),
        }
        if !self.model.is_in_doubt {
            self.check();
        }
    }

    fn disturb(&mut self, step: &Step) {
        let Some(faulty) = self.faulty.clone() else {
            return;
        };
        match step {
            Step::Fail { nth, fault } => faulty.fail_change(*nth, *fault),
            Step::FailSync { fault } => faulty.fail(Operation::SyncData, 1, *fault),
            Step::Bound { room_bytes } => faulty.bound(faulty.bytes_used() + room_bytes),
            Step::Heal => faulty.heal(),
            Step::Crash { seed, with_holes } => self.crash(&faulty, *seed, *with_holes),
            _ => unreachable!(),
        }
    }

    fn append(&mut self, len: usize) {
        self.model.serial += 1;
        let mut record = self.model.serial.to_le_bytes().to_vec();
        record.resize(len.max(8), 7);
        let foretold = self.log.disk_bytes_with(record.len());
        match self.log.append(&record) {
            Ok(number) => {
                let model = &mut self.model;
                assert_eq!(number, model.next_number + model.pending.len() as u64);
                model.pending.push((number, record));
                model.foretold_bytes = foretold;
            }
            Err(LogError::Stopped) => assert!(self.model.is_in_doubt),
            Err(error) => panic!("{error}"),
        }
    }

    fn commit(&mut self) {
        match self.log.commit() {
            Ok(()) => {
                let pending = std::mem::take(&mut self.model.pending);
                if !pending.is_empty() {
                    assert_eq!(self.log.disk_bytes(), self.model.foretold_bytes);
                }
                self.model.next_number += pending.len() as u64;
                for (number, record) in pending {
                    self.model.keep(number, record);
                }
                assert_eq!(self.log.committed(), self.model.next_number - 1);
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Unless the log has to stop, nothing has happened.
    fn failed(&mut self, error: &LogError) {
        let stays = !self.log.is_stopped;
        let is_fatal = matches!(error, LogError::Sync(_) | LogError::Stopped);
        assert!(!(stays && is_fatal), "{error}");
        if stays {
            self.model.pending.clear();
        } else {
            assert!(!matches!(error, LogError::Full));
            self.model.is_in_doubt = true;
            assert!(matches!(self.log.commit(), Err(LogError::Stopped)));
            assert!(matches!(self.log.append(&[]), Err(LogError::Stopped)));
            assert!(matches!(self.log.delete_before(1), Err(LogError::Stopped)));
        }
    }

    fn skip(&mut self, by: u64) {
        self.commit();
        if self.model.is_in_doubt {
            return;
        }
        let number = self.model.next_number + by;
        match self.log.skip_to(number) {
            Ok(()) => self.model.next_number = number,
            Err(error) => self.failed(&error),
        }
    }

    fn delete(&mut self, back: u64) {
        let number = self.model.next_number.saturating_sub(back);
        let before = self.log.disk_bytes();
        let deleted = self.log.delete_before(number);
        let freed = before - self.log.disk_bytes();
        self.model.foretold_bytes = self.model.foretold_bytes.saturating_sub(freed);
        match deleted {
            Ok(told) => assert_eq!(told, freed),
            Err(_) if !self.log.is_stopped => {}
            Err(error) => self.failed(&error),
        }
        self.model.wanted_from = self.model.wanted_from.max(number);
    }

    fn crash(&mut self, faulty: &Faulty, seed: u64, with_holes: bool) {
        let crashed = if with_holes {
            faulty.crash_with_holes(seed)
        } else {
            faulty.crash(seed)
        };
        self.files = Arc::new(crashed.clone());
        self.faulty = Some(crashed);
        self.reopen(seed);
    }

    /// If opening fails too, the program is killed, or the power goes once more.
    fn reopen(&mut self, seed: u64) {
        let opened = Log::open(Arc::clone(&self.files), "test", settings());
        let Ok((log, recovery)) = opened else {
            let faulty = self.faulty.clone().unwrap();
            faulty.heal();
            return match seed % 2 {
                0 => self.reopen(1),
                _ => self.crash(&faulty, seed / 2, true),
            };
        };
        self.log = log;
        self.adopt(recovery);
    }

    /// Holds what recovery found against what there should be.
    fn adopt(&mut self, recovery: Recovery) {
        let found: BTreeMap<_, _> = records(&self.log, 0).into_iter().collect();
        let model = &mut self.model;
        let pending = std::mem::take(&mut model.pending);
        if !model.is_in_doubt {
            assert_eq!(self.log.next_number(), model.next_number);
        }
        assert!(self.log.next_number() >= model.next_number);
        for (number, record) in &found {
            let known = model.durable.get(number);
            let maybe = pending.iter().find(|(maybe, _)| maybe == number);
            let maybe = maybe.filter(|_| model.is_in_doubt);
            let expected = known.or(maybe.map(|(_, record)| record));
            assert_eq!(Some(record), expected, "{number} is invented or changed");
        }
        let oldest = found.keys().next().copied().unwrap_or(u64::MAX);
        for number in model.durable.keys() {
            let is_wanted = *number >= model.wanted_from || *number > oldest;
            assert!(!is_wanted || found.contains_key(number), "{number} is lost");
        }
        assert_eq!(recovery.records, found.len() as u64);
        if recovery.broken_segments == 0 {
            let numbers = self.log.next_number() - self.log.first_number();
            assert_eq!(recovery.corrupt, numbers - recovery.records);
        }
        assert_eq!(recovery.bytes, self.log.disk_bytes());
        model.durable.clear();
        for (number, record) in found {
            model.keep(number, record);
        }
        model.next_number = self.log.next_number();
        model.is_in_doubt = false;
    }

    fn check(&mut self) {
        if self.faulty.as_ref().is_some_and(Faulty::is_dead) {
            return;
        }
        let found = records(&self.log, 0);
        let oldest = self.log.first_number();
        let model = &mut self.model;
        let lost = model.wanted_from..oldest.max(model.wanted_from);
        assert_eq!(model.durable.range(lost).next(), None);
        model.durable.retain(|number, _| *number >= oldest);
        assert_eq!(found, model.durable.clone().into_iter().collect::<Vec<_>>());
        let next = model.next_number + model.pending.len() as u64;
        assert_eq!(self.log.next_number(), next);
        if let Some(faulty) = &self.faulty {
            assert_eq!(faulty.bytes_used(), self.log.disk_bytes());
        }
    }
}

impl Model {
    fn keep(&mut self, number: u64, record: Vec<u8>) {
        let before = self.ever.insert(number, record.clone());
        assert!(
            before.is_none_or(|before| before == record),
            "{number} was given twice"
        );
        self.durable.insert(number, record);
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let kept = prop_oneof![Just(0), 0..200_usize, Just(usize::MAX)];
    (kept, any::<bool>()).prop_map(|(kept, dies)| match dies {
        true => Fault::Die { kept },
        false => Fault::Fail { kept },
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0..=100_usize).prop_map(|len| Step::Append { len }),
        6 => Just(Step::Commit),
        1 => Just(Step::Discard),
        1 => Just(Step::Roll),
        1 => (1..5_u64).prop_map(|by| Step::Skip { by }),
        3 => (0..12_u64).prop_map(|back| Step::Delete { back }),
        3 => (1..8_u64, fault()).prop_map(|(nth, fault)| Step::Fail { nth, fault }),
        1 => fault().prop_map(|fault| Step::FailSync { fault }),
        1 => (0..300_u64).prop_map(|room_bytes| Step::Bound { room_bytes }),
        2 => Just(Step::Heal),
        2 => Just(Step::Restart),
        2 => (any::<u64>(), any::<bool>())
            .prop_map(|(seed, with_holes)| Step::Crash { seed, with_holes }),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_fails_what_was_committed_is_there_and_nothing_is_invented(steps in steps()) {
        let files = Faulty::new();
        let mut world = World::new(Arc::new(files.clone()), Some(files));
        for step in &steps {
            world.step(step);
        }
        world.faulty.iter().for_each(Faulty::heal);
        world.reopen(1);
        world.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn it_is_the_same_on_a_disk(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path()).unwrap();
        let mut world = World::new(Arc::new(disk), None);
        for step in &steps {
            world.step(step);
        }
        world.reopen(1);
        world.check();
    }
}
