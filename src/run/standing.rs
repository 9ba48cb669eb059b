//! How an open run stands: since when it has been open, and since when it has
//! waited for what.

use crate::wire::time::Time;

/// What a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitKind {
    /// Somebody is to say something.
    Person,
    /// Somebody is to allow something.
    Approval,
    /// Somebody looks at it in a debugger.
    Breakpoint,
    /// A batch of a model's provider.
    Batch,
    /// Something that is not known here.
    Unknown,
}

impl WaitKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Person,
        Self::Approval,
        Self::Breakpoint,
        Self::Batch,
        Self::Unknown,
    ];

    /// The value of the label `kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Approval => "approval",
            Self::Breakpoint => "breakpoint",
            Self::Batch => "batch",
            Self::Unknown => "unknown",
        }
    }

    /// The kind that is told so. A wait of which no kind is told is for a person.
    pub fn told_as(text: Option<&str>) -> Self {
        let Some(text) = text else {
            return Self::Person;
        };
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.unwrap_or(Self::Unknown)
    }
}

/// Since when a run has waited: for each kind, the oldest wait that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits([Option<Time>; WaitKind::ALL.len()]);

impl Waits {
    /// Takes in a wait that is open since then.
    pub fn add(&mut self, kind: WaitKind, since: Time) {
        let oldest = &mut self.0[kind as usize];
        *oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
    }

    /// Since when there has been a wait of this kind.
    pub const fn since(&self, kind: WaitKind) -> Option<Time> {
        self.0[kind as usize]
    }

    /// Whether nothing is being waited for.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// How an open run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// When it started, or was first seen.
    pub start: Time,
    /// Since when it has waited.
    pub waits: Waits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_waits_of_a_kind_the_oldest_counts() {
        let mut waits = Waits::default();
        assert!(waits.is_empty());
        for time in [5, 3, 9] {
            waits.add(WaitKind::Approval, Time(time));
        }
        assert!(!waits.is_empty());
        assert_eq!(waits.since(WaitKind::Approval), Some(Time(3)));
        assert_eq!(waits.since(WaitKind::Person), None);
    }

    #[test]
    fn a_wait_without_a_kind_is_for_a_person_and_one_of_a_strange_kind_is_unknown() {
        for kind in WaitKind::ALL {
            assert_eq!(WaitKind::told_as(Some(kind.as_str())), kind);
        }
        assert_eq!(WaitKind::told_as(None), WaitKind::Person);
        assert_eq!(WaitKind::told_as(Some("moon")), WaitKind::Unknown);
    }
}
