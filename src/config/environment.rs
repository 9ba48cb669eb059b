//! The variables of the process, as a value: what reads them can be tested
//! without touching the process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// Variables and their values.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    /// The value of a variable, without white space around it. An empty one is
    /// unset. The error is a value that is no text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, NoText> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let text = value.to_str().ok_or(NoText)?.trim();
        Ok((!text.is_empty()).then_some(text))
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// A value is not UTF-8.
#[derive(Debug)]
pub(super) struct NoText;

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let owned = |(name, value): (N, V)| (name.into(), value.into());
        Self(variables.into_iter().map(owned).collect())
    }
}

/// Values may be secret: only names are shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_unset_and_white_space_is_none_of_the_value() {
        let variables = Environment::from_iter([("EMPTY", ""), ("BLANK", " \n"), ("A", " b\n")]);
        for name in ["EMPTY", "BLANK", "MISSING"] {
            assert_eq!(variables.text(name).unwrap(), None, "{name}");
        }
        assert_eq!(variables.text("A").unwrap(), Some("b"));
    }

    #[test]
    fn values_are_not_shown() {
        let variables = Environment::from_iter([("AKRIBES_TOKEN", "hunter2")]);
        assert_eq!(format!("{variables:?}"), r#"{"AKRIBES_TOKEN"}"#);
    }
}
