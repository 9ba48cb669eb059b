//! What can be wrong with what people choose, in one sentence that says what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no YAML, or not of the shape that it should have.
    #[error("{place}: {problem}")]
    File {
        /// Where.
        place: Place,
        /// What is wrong there.
        problem: String,
    },
    /// A key that there is not.
    #[error("{place}: there is no key `{key}`{}", did_you_mean(*meant))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// A value that cannot be meant.
    #[error("{key} (from {origin}): {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// Where its value comes from.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that has to be set, and is not.
    #[error("{key} is not set: {advice}")]
    Missing {
        /// The key.
        key: &'static str,
        /// How to set it.
        advice: String,
    },
}

fn did_you_mean(meant: Option<&'static str>) -> String {
    meant.map_or_else(String::new, |meant| format!(": did you mean `{meant}`?"))
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: Arc<Path>,
    /// Its line, from one; nought when it is not known.
    pub line: u64,
    /// The column, from one.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The file.
    File(Place),
    /// A variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl Origin {
    /// Of two layers the higher one counts.
    pub(super) const fn layer(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Variable(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}
