//! What tasks used is paid once, however often it is told.
//!
//! A server that begins a run again after a crash goes over old ground: tasks that
//! had ended end once more, with the usage that they told before, and their models
//! are not called for it. It says so, by a note for each answer that came from its
//! log. Such an end is a repeat of an earlier one.
//!
//! The end of a task in a later life repeats one of an earlier life when a replayed
//! answer was told while it was open, and a task of the same path told the very
//! same usage before; each earlier end is repeated once a life. An end that was
//! never heard of is repeated by none: then the second telling is the first that
//! counts. A task that was open at the crash told nothing yet, and counts as a
//! whole, replayed answers and all.
//!
//! A task that had ended may also go further than before: it failed as the server
//! went down, say. It then tells more than before, and the difference counts. That
//! is said only where there is no doubt whose the replayed answers are, and which
//! of its namesakes it is; what is in doubt counts as a whole.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::identity::{Identity, Path};
use super::measure::table_bytes;
use crate::limits::TOLD_ENDS_MAX;
use crate::wire::event::Usage;
use crate::wire::time::Time;

/// What is remembered of a run's tasks to know a repeat. Many runs are open whose
/// tasks have told of no usage yet: these hold next to nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Replays(Option<Box<Known>>);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// How often the server began the run again.
    life: u32,
    /// In their order. It is looked through only when an answer was replayed.
    told: Vec<Told>,
    /// Tasks that were open when the last life ended.
    left_open: FxHashSet<Path>,
    /// Open tasks that a replayed answer may be of, and whether it must be.
    replayed: FxHashMap<Identity, bool>,
}

/// The end of a task with its usage. There may be many: nothing in it is larger than
/// it has to be.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    path: [u8; 16],
    at: Time,
    ordinal: u32,
    /// The last life in which it was told.
    life: u32,
    used: Used,
}

/// A usage, as far as it can be held against another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    /// A hash of the provider and the model.
    by: u64,
    tokens: [u32; 7],
}

/// What the end of a task repeats.
#[derive(Debug, PartialEq)]
pub(super) struct Repeat {
    /// The end that told it first.
    pub(super) of: Identity,
    /// What it used beyond that.
    pub(super) beyond: Option<Usage<'static>>,
}

impl Replays {
    /// The server begins the run, or begins it again while these tasks are open.
    pub(super) fn begin(&mut self, open: impl Iterator<Item = Path>) {
        if let Some(known) = &mut self.0 {
            known.replayed = FxHashMap::default();
            known.life = known.life.saturating_add(1);
            known.left_open = open.collect();
        }
    }

    /// Whether there is anything that could be repeated.
    pub(super) fn may_come(&self) -> bool {
        self.0.as_ref().is_some_and(|known| known.life > 0)
    }

    /// An answer came from the server's log; it is of one of these open tasks.
    pub(super) fn replayed(&mut self, of: &[Identity]) {
        let Some(known) = &mut self.0 else { return };
        let certain = of.len() == 1;
        for task in of {
            *known.replayed.entry(*task).or_default() |= certain;
        }
    }

    /// A task is closed whose end was not seen.
    pub(super) fn closed(&mut self, task: &Identity) {
        if let Some(known) = &mut self.0 {
            known.take_replayed(task);
        }
    }

    /// A task ends. Tells what of its usage was told before, if anything was. Without
    /// room it is not remembered.
    pub(super) fn ended(
        &mut self,
        task: Identity,
        usage: &Usage<'static>,
        room: bool,
    ) -> Option<Repeat> {
        if self.0.is_none() && !room {
            return None;
        }
        self.0.get_or_insert_default().ended(task, usage, room)
    }

    /// Forgets all of it: what is told once more counts once more.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// What it holds beside itself, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.bytes())
    }
}

impl Known {
    fn ended(&mut self, task: Identity, usage: &Usage<'static>, room: bool) -> Option<Repeat> {
        let replayed = self.take_replayed(&task);
        let used = Used::of(usage)?;
        let repeat = replayed.and_then(|certain| self.repeat(task.path, usage, used, certain));
        if repeat.is_none() && room && self.told.len() < TOLD_ENDS_MAX {
            if self.told.len() == self.told.capacity() {
                self.told.reserve_exact(growth(self.told.len()));
            }
            self.told.push(Told {
                path: task.path.0.to_be_bytes(),
                at: task.at,
                ordinal: task.ordinal,
                life: self.life,
                used,
            });
        }
        repeat
    }

    fn take_replayed(&mut self, task: &Identity) -> Option<bool> {
        let replayed = self.replayed.remove(task);
        if self.replayed.is_empty() {
            // It gives its room back.
            self.replayed = FxHashMap::default();
        }
        replayed
    }

    fn repeat(
        &mut self,
        path: Path,
        usage: &Usage<'static>,
        used: Used,
        certain: bool,
    ) -> Option<Repeat> {
        let life = self.life;
        let continues = certain && usage.cost_usd.is_none() && !self.left_open.contains(&path);
        let key = path.0.to_be_bytes();
        let untold = |told: &Told| told.path == key && told.life < life;
        let same = (self.told.iter()).position(|told| untold(told) && told.used == used);
        let less = || {
            let less = |told: &Told| untold(told) && told.used.is_part_of(used);
            self.told.iter().position(less).filter(|_| continues)
        };
        let place = same.or_else(less)?;
        let told = &mut self.told[place];
        let beyond = same.is_none().then(|| told.used.beyond(usage));
        told.life = life;
        told.used = used;
        Some(Repeat {
            of: Identity {
                path,
                at: told.at,
                ordinal: told.ordinal,
            },
            beyond,
        })
    }

    fn bytes(&self) -> usize {
        let ends = match self.told.len() {
            0 => 0,
            ends => ends + growth(ends),
        };
        size_of::<Self>()
            + ends * size_of::<Told>()
            + table_bytes(self.left_open.len(), size_of::<Path>())
            + table_bytes(self.replayed.len(), size_of::<(Identity, bool)>())
    }
}

/// How much room a list of so many ends gets more when it is full. Twofold, as lists
/// grow by themselves, half of it might never be used.
const fn growth(ends: usize) -> usize {
    ends / 4 + 1
}

impl Used {
    /// Nothing, if it is more than any task uses.
    fn of(usage: &Usage<'_>) -> Option<Self> {
        let mut by = Xxh3::new();
        for name in [&usage.provider, &usage.model] {
            by.update(&(name.len() as u64).to_be_bytes());
            by.update(name.as_bytes());
        }
        let mut tokens = [0; 7];
        for (kept, told) in tokens.iter_mut().zip(usage.tokens()) {
            *kept = u32::try_from(told).ok()?;
        }
        let by = by.digest();
        Some(Self { by, tokens })
    }

    /// Whether the whole has all of it, and it is not nothing.
    fn is_part_of(self, whole: Self) -> bool {
        let mut both = self.tokens.iter().zip(&whole.tokens);
        self.by == whole.by && self.tokens[..2] != [0, 0] && both.all(|(part, whole)| part <= whole)
    }

    /// What the whole has beyond it.
    fn beyond(self, whole: &Usage<'static>) -> Usage<'static> {
        let mut beyond = whole.clone();
        for (tokens, told) in beyond.tokens_mut().into_iter().zip(self.tokens) {
            *tokens = tokens.saturating_sub(told.into());
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: u128 = 7;

    fn task(path: u128, at: u64) -> Identity {
        Identity {
            path: Path(path),
            at: Time(at),
            ordinal: 0,
        }
    }

    fn usage(input_tokens: u64, output_tokens: u64) -> Usage<'static> {
        Usage {
            provider: "anthropic".into(),
            model: "sonnet".into(),
            input_tokens,
            output_tokens,
            ..Usage::default()
        }
    }

    /// Tasks of one path that ended in the first life, each with such a usage, at
    /// 1, 2, and so on; the server has begun again.
    fn after(ends: &[Usage<'static>]) -> Replays {
        let mut replays = Replays::default();
        replays.begin(std::iter::empty());
        for (at, usage) in (1..).zip(ends) {
            assert_eq!(replays.ended(task(TASK, at), usage, true), None);
        }
        replays.begin(std::iter::empty());
        replays
    }

    /// The end of a task for which an answer was replayed while it alone was open.
    fn replay(replays: &mut Replays, task: Identity, usage: &Usage<'static>) -> Option<Repeat> {
        replays.replayed(&[task]);
        replays.ended(task, usage, true)
    }

    fn whole(of: Identity) -> Option<Repeat> {
        Some(Repeat { of, beyond: None })
    }

    #[test]
    fn an_end_that_is_told_once_more_is_a_repeat_of_the_first() {
        let mut replays = after(&[usage(100, 10)]);
        let again = replay(&mut replays, task(TASK, 50), &usage(100, 10));
        assert_eq!(again, whole(task(TASK, 1)));
    }

    #[test]
    fn without_a_replayed_answer_the_model_was_called_again() {
        let mut replays = after(&[usage(100, 10)]);
        assert!(replays.may_come());
        assert_eq!(replays.ended(task(TASK, 50), &usage(100, 10), true), None);
        // One that was told of another task, or before the server began again, is none.
        let mut replays = after(&[usage(100, 10)]);
        replays.replayed(&[task(8, 50)]);
        assert_eq!(replays.ended(task(TASK, 51), &usage(100, 10), true), None);
        replays.replayed(&[task(TASK, 52)]);
        replays.begin(std::iter::empty());
        assert_eq!(replays.ended(task(TASK, 52), &usage(100, 10), true), None);
    }

    #[test]
    fn in_one_life_nothing_is_a_repeat() {
        let mut replays = Replays::default();
        replays.begin(std::iter::empty());
        for at in 1..=3 {
            assert_eq!(
                replay(&mut replays, task(TASK, at), &usage(100, 10)),
                None,
                "{at}"
            );
        }
        assert!(!replays.may_come());
    }

    #[test]
    fn an_end_that_was_never_heard_of_counts_when_it_is_told_again() {
        let mut replays = after(&[usage(1, 1)]);
        assert_eq!(replay(&mut replays, task(8, 50), &usage(100, 10)), None);
        replays.begin(std::iter::empty());
        let again = replay(&mut replays, task(8, 90), &usage(100, 10));
        assert_eq!(again, whole(task(8, 50)), "and once only");
    }

    #[test]
    fn of_equal_ends_as_many_are_repeats_as_there_were_in_each_life() {
        let mut replays = after(&[usage(100, 10), usage(100, 10)]);
        for life in 1..3 {
            let again =
                [60, 61].map(|at| replay(&mut replays, task(TASK, at * life), &usage(100, 10)));
            assert_eq!(again, [whole(task(TASK, 1)), whole(task(TASK, 2))]);
            if life == 1 {
                replays.begin(std::iter::empty());
            }
        }
        let third = replay(&mut replays, task(TASK, 900), &usage(100, 10));
        assert_eq!(third, None, "a turn that was not taken before");
    }

    #[test]
    fn whichever_of_two_open_tasks_is_replayed_the_one_that_says_the_same_is_the_repeat() {
        let mut replays = after(&[usage(100, 10)]);
        let (new, old) = (task(TASK, 50), task(TASK, 51));
        replays.replayed(&[new, old]);
        assert_eq!(
            replays.ended(new, &usage(120, 15), true),
            None,
            "more, but whose?"
        );
        assert_eq!(
            replays.ended(old, &usage(100, 10), true),
            whole(task(TASK, 1))
        );
    }

    #[test]
    fn another_model_or_another_count_is_another_spending() {
        let other_model = Usage {
            model: "haiku".into(),
            ..usage(100, 10)
        };
        let cached = Usage {
            cache_read_tokens: 5,
            ..usage(100, 10)
        };
        for (first, then) in [
            (usage(100, 10), other_model),
            (usage(100, 10), usage(90, 10)),
            (cached, usage(100, 10)),
        ] {
            let mut replays = after(&[first]);
            assert_eq!(
                replay(&mut replays, task(TASK, 50), &then),
                None,
                "{then:?}"
            );
        }
    }

    #[test]
    fn a_task_that_goes_further_than_before_counts_what_is_new() {
        let mut replays = after(&[usage(100, 10)]);
        let further = replay(&mut replays, task(TASK, 50), &usage(180, 25));
        let beyond = Some(usage(80, 15));
        assert_eq!(
            further,
            Some(Repeat {
                of: task(TASK, 1),
                beyond
            })
        );
        replays.begin(std::iter::empty());
        let again = replay(&mut replays, task(TASK, 90), &usage(180, 25));
        assert_eq!(again, whole(task(TASK, 1)), "all of it was told by now");
    }

    #[test]
    fn a_task_that_was_open_at_the_crash_counts_as_a_whole() {
        // A loop: one turn had ended, the next was open.
        let mut replays = after(&[]);
        assert_eq!(replays.ended(task(TASK, 1), &usage(100, 10), true), None);
        replays.begin([Path(TASK)].into_iter());
        let open = replay(&mut replays, task(TASK, 50), &usage(180, 25));
        assert_eq!(open, None);
        let ended = replay(&mut replays, task(TASK, 51), &usage(100, 10));
        assert_eq!(ended, whole(task(TASK, 1)));
    }

    #[test]
    fn an_end_that_told_no_tokens_is_no_beginning_of_another() {
        let mut replays = after(&[usage(0, 0)]);
        assert_eq!(replay(&mut replays, task(TASK, 50), &usage(80, 15)), None);
    }

    #[test]
    fn beyond_the_bound_an_end_is_not_remembered_and_counts_again() {
        let mut replays = Replays::default();
        for at in 0..=TOLD_ENDS_MAX as u64 {
            replays.ended(task(u128::from(at % 50), at), &usage(at, 1), true);
        }
        assert!(replays.bytes() < TOLD_ENDS_MAX * 100, "{}", replays.bytes());
        replays.begin(std::iter::empty());
        let mut again = |at: u64| {
            let path = u128::from(at % 50);
            replay(&mut replays, task(path, 1_000_000 + at), &usage(at, 1)).is_some()
        };
        assert!(again(0));
        assert!(again(TOLD_ENDS_MAX as u64 - 1));
        let last = TOLD_ENDS_MAX as u64;
        let used = replay(&mut replays, task(99, last), &usage(last, 1));
        assert_eq!(used, None);
    }

    #[test]
    fn what_a_task_that_was_closed_had_replayed_is_forgotten() {
        let mut replays = after(&[usage(100, 10)]);
        replays.replayed(&[task(TASK, 50)]);
        replays.closed(&task(TASK, 50));
        assert_eq!(replays.ended(task(TASK, 50), &usage(100, 10), true), None);
    }

    #[test]
    fn without_room_an_end_is_not_remembered_and_those_that_were_are_known() {
        let mut replays = after(&[usage(100, 10)]);
        let mut short = |at, usage: &Usage<'static>| {
            replays.replayed(&[task(TASK, at)]);
            replays.ended(task(TASK, at), usage, false)
        };
        assert_eq!(short(50, &usage(30, 3)), None);
        assert_eq!(short(51, &usage(100, 10)), whole(task(TASK, 1)));
        replays.begin(std::iter::empty());
        let again = replay(&mut replays, task(TASK, 90), &usage(30, 3));
        assert_eq!(again, None);
        let mut replays = Replays::default();
        assert_eq!(replays.ended(task(TASK, 1), &usage(100, 10), false), None);
        assert_eq!(replays.bytes(), 0);
    }

    #[test]
    fn what_was_forgotten_counts_again_and_is_known_from_then_on() {
        let mut replays = after(&[usage(100, 10)]);
        replays.forget();
        assert_eq!((replays.bytes(), replays.may_come()), (0, false));
        for repeat in [None, whole(task(TASK, 50))] {
            let at = if repeat.is_none() { 50 } else { 90 };
            let again = replay(&mut replays, task(TASK, at), &usage(100, 10));
            assert_eq!(again, repeat);
            replays.begin(std::iter::empty());
        }
    }

    #[test]
    fn more_tokens_than_any_task_uses_are_not_remembered() {
        let much = usage(u64::from(u32::MAX) + 1, 1);
        let mut replays = after(std::slice::from_ref(&much));
        assert_eq!(replay(&mut replays, task(TASK, 50), &much), None);
    }

    #[test]
    fn a_list_of_ends_holds_no_more_than_it_is_said_to_hold() {
        let mut replays = Replays::default();
        for at in 1..=1_000 {
            replays.ended(task(TASK, at), &usage(at, 1), true);
            let known = replays.0.as_ref().unwrap();
            let held = known.told.capacity() * size_of::<Told>();
            assert!(held <= known.bytes() - size_of::<Known>(), "{at}");
        }
    }

    #[test]
    fn what_is_read_from_disk_holds_what_it_held() {
        let mut replays = after(&[usage(100, 10), usage(50, 5), usage(3, 1)]);
        let same = |replays: &Replays| {
            let kept = postcard::to_stdvec(replays).unwrap();
            let read: Replays = postcard::from_bytes(&kept).unwrap();
            assert_eq!(read.bytes(), replays.bytes(), "{replays:?}");
        };
        replays.begin((0..20).map(Path));
        let open: Vec<Identity> = (0..30).map(|path| task(path, 50)).collect();
        replays.replayed(&open);
        for task in &open {
            same(&replays);
            replays.closed(task);
        }
        same(&replays);
        replays.replayed(&open);
        replays.begin(std::iter::empty());
        same(&replays);
    }
}
