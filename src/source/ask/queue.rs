//! Who is asked for next. Knows no clock: what time it is comes in.
//!
//! Facts come first, since somebody waits for them; then rows and lists; then
//! pages of logs. But nobody waits for ever while others are served: every
//! kind has its turn. A run has one page asked for at a time, so first come,
//! first served goes round all runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::net::backoff::Backoff;
use crate::run::outputs::Wish;

/// A wish on its way to its answer.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) wish: Wish,
    /// It is given up then.
    pub(super) deadline: Instant,
    /// Facts are two answers: this is the first, once it has been asked for.
    pub(super) row: Option<Row>,
    /// The waits, once it has failed.
    pub(super) backoff: Option<Backoff>,
}

/// The row of a run, if it could be used.
#[derive(Debug)]
pub(super) struct Row(pub(super) Option<Bytes>);

impl Ask {
    pub(super) const fn new(wish: Wish, deadline: Instant) -> Self {
        Self {
            wish,
            deadline,
            row: None,
            backoff: None,
        }
    }

    const fn line(&self) -> usize {
        match self.wish {
            Wish::AskFacts { .. } => FACTS,
            Wish::AskRow { .. } | Wish::ListRuns { .. } => ROWS,
            Wish::ReadLog { .. } => LOGS,
        }
    }
}

const FACTS: usize = 0;
const ROWS: usize = 1;
const LOGS: usize = 2;

/// Whose turn it is, round and round. Who is not there leaves it to the others.
const TURNS: [usize; 4] = [FACTS, ROWS, FACTS, LOGS];

/// The wishes that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    asks: BTreeMap<u64, Ask>,
    /// Those that may begin. Some of them may have been given up since.
    lines: [VecDeque<u64>; 3],
    /// Those that have to wait first.
    later: BTreeSet<(Instant, u64)>,
    deadlines: BTreeSet<(Instant, u64)>,
    added: u64,
    turn: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    /// Behind all of its kind.
    pub(super) fn add(&mut self, ask: Ask) {
        let line = ask.line();
        let id = self.keep(ask);
        self.lines[line].push_back(id);
    }

    /// Before all of its kind.
    pub(super) fn put_back(&mut self, ask: Ask) {
        let line = ask.line();
        let id = self.keep(ask);
        self.lines[line].push_front(id);
    }

    /// Not before this time.
    pub(super) fn put_off(&mut self, ask: Ask, until: Instant) {
        let id = self.keep(ask);
        self.later.insert((until, id));
    }

    fn keep(&mut self, ask: Ask) -> u64 {
        let id = self.added;
        self.added += 1;
        self.deadlines.insert((ask.deadline, id));
        self.asks.insert(id, ask);
        id
    }

    /// The next one to ask for.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Ask> {
        self.bring_forward(now);
        let turn = TURNS[self.turn];
        self.turn = (self.turn + 1) % TURNS.len();
        [turn, FACTS, ROWS, LOGS]
            .into_iter()
            .find_map(|line| self.pop_of(line))
    }

    fn pop_of(&mut self, line: usize) -> Option<Ask> {
        loop {
            let id = self.lines[line].pop_front()?;
            if let Some(ask) = self.asks.remove(&id) {
                self.deadlines.remove(&(ask.deadline, id));
                return Some(ask);
            }
        }
    }

    fn bring_forward(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.later.first()
            && until <= now
        {
            self.later.pop_first();
            if let Some(ask) = self.asks.get(&id) {
                self.lines[ask.line()].push_back(id);
            }
        }
    }

    /// One that has been waited for long enough.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Ask> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        self.asks.remove(&id)
    }

    /// When something is given up next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// How long until there may be one to ask for.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.lines.iter().any(|line| !line.is_empty()) {
            return Some(Duration::ZERO);
        }
        let (until, _) = self.later.first()?;
        Some(until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rows::OpenStatus;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn facts(id: &str) -> Wish {
        Wish::AskFacts {
            project: None,
            run_id: id.into(),
        }
    }

    fn row(id: &str) -> Wish {
        Wish::AskRow {
            project: None,
            run_id: id.into(),
        }
    }

    fn log(id: &str) -> Wish {
        Wish::ReadLog {
            project: None,
            run_id: id.into(),
            after: 0,
        }
    }

    fn list() -> Wish {
        Wish::ListRuns {
            project: 1,
            since: None,
            status: Some(OpenStatus::Running),
            offset: 0,
        }
    }

    fn queue(begin: Instant, wishes: impl IntoIterator<Item = Wish>) -> Queue {
        let mut queue = Queue::default();
        for wish in wishes {
            queue.add(Ask::new(wish, begin + seconds(100)));
        }
        queue
    }

    fn popped(queue: &mut Queue, now: Instant) -> Vec<Wish> {
        std::iter::from_fn(|| queue.pop(now).map(|ask| ask.wish)).collect()
    }

    #[test]
    fn facts_come_first_and_yet_every_kind_has_its_turn() {
        let now = Instant::now();
        let many = ["a", "b", "c", "d", "e"];
        let wishes = many.map(log).into_iter().chain(many.map(facts));
        let mut queue = queue(now, wishes.chain([row("r"), list()]));
        let order = popped(&mut queue, now);
        let expected = [
            facts("a"),
            row("r"),
            facts("b"),
            log("a"),
            facts("c"),
            list(),
            facts("d"),
            log("b"),
            facts("e"),
            log("c"),
            log("d"),
            log("e"),
        ];
        assert_eq!(order, expected);
        assert_eq!((queue.len(), queue.next_deadline()), (0, None));
        assert_eq!(queue.wait(now), None);
    }

    #[test]
    fn what_is_put_back_goes_before_its_kind_and_what_is_put_off_after_its_time() {
        let now = Instant::now();
        let mut queue = queue(now, [log("a"), log("b"), log("c")]);
        let a = queue.pop(now).unwrap();
        let b = queue.pop(now).unwrap();
        queue.put_off(a, now + seconds(5));
        queue.put_back(b);
        assert_eq!(popped(&mut queue, now), [log("b"), log("c")]);
        assert_eq!(queue.wait(now + seconds(2)), Some(seconds(3)));
        assert_eq!(popped(&mut queue, now + seconds(4)), []);
        assert_eq!(popped(&mut queue, now + seconds(5)), [log("a")]);
    }

    #[test]
    fn what_was_waited_for_too_long_is_given_up_wherever_it_waits() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add(Ask::new(log("slow"), now + seconds(20)));
        queue.add(Ask::new(facts("soon"), now + seconds(10)));
        queue.put_off(Ask::new(row("off"), now + seconds(15)), now + seconds(18));
        assert_eq!(queue.next_deadline(), Some(now + seconds(10)));
        let mut expired = |time| queue.pop_expired(now + seconds(time)).map(|ask| ask.wish);
        assert_eq!(expired(9), None);
        assert_eq!(expired(10), Some(facts("soon")));
        assert_eq!(expired(19), Some(row("off")));
        assert_eq!(expired(19), None);
        assert_eq!(popped(&mut queue, now + seconds(19)), [log("slow")]);
        assert_eq!(queue.len(), 0);
    }
}
