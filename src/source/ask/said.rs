//! How loud trouble is told: once, and again only when it is another one, or is
//! over.

use std::collections::BTreeMap;

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no way to the server, or no token to go with.
    Away,
    /// It wants to be left alone.
    Busy,
    /// It answers with this status, which is no answer.
    Refused(u16),
    /// What it answers is not what was asked for.
    Strange,
}

/// What the trouble is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum With {
    /// The server as a whole.
    Server,
    /// How much it has to do.
    Busy,
    /// The lists of runs of a project.
    Lists(Option<i64>),
    /// What is asked of single runs of a project.
    Runs(Option<i64>),
}

/// Projects beyond this many are told of as one.
const PROJECTS_MAX: usize = 64;

/// What was told last, while it lasts.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<With, Trouble>);

impl Said {
    /// There is trouble: whether to tell it.
    pub(super) fn trouble(&mut self, with: With, trouble: Trouble) -> bool {
        self.0.insert(self.known(with), trouble) != Some(trouble)
    }

    /// There is none: whether to tell that it is over.
    pub(super) fn fine(&mut self, with: With) -> bool {
        self.0.remove(&with).is_some()
    }

    fn known(&self, with: With) -> With {
        let has_room = self.0.len() < PROJECTS_MAX || self.0.contains_key(&with);
        match with {
            With::Lists(_) if !has_room => With::Lists(None),
            With::Runs(_) if !has_room => With::Runs(None),
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_and_again_when_it_is_another_or_was_over() {
        let mut said = Said::default();
        let lists = With::Lists(Some(7));
        assert!(said.trouble(lists, Trouble::Refused(404)));
        assert!(!said.trouble(lists, Trouble::Refused(404)));
        assert!(said.trouble(lists, Trouble::Refused(403)));
        assert!(said.fine(lists));
        assert!(!said.fine(lists));
        assert!(said.trouble(lists, Trouble::Refused(403)));
    }

    #[test]
    fn each_project_has_its_own_trouble_and_their_number_is_bounded() {
        let mut said = Said::default();
        for project in 0..1_000 {
            let told = said.trouble(With::Runs(Some(project)), Trouble::Strange);
            assert_eq!(told, project <= PROJECTS_MAX as i64, "{project}");
        }
        assert!(said.0.len() <= PROJECTS_MAX + 1);
        assert!(said.trouble(With::Server, Trouble::Away));
        assert!(said.fine(With::Runs(Some(3))));
        assert!(!said.fine(With::Runs(Some(3))));
    }
}
