//! What was chosen, of all keys: file < environment < flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::default_file;
use super::environment::{Environment, NoText};
use super::error::{ConfigError, Origin};
use super::file;
use super::keys::{self, AnyKey, FILE_VARIABLE, Key, Preset, Translated, VARIABLE_PREFIX};
use super::kinds::{Field, Kind, Raw, Shape};
use super::near::nearest;
use super::pairs::pairs;

/// What the command line says.
#[derive(Clone, Default)]
pub struct Flags {
    /// The file to read.
    pub file: Option<PathBuf>,
    /// Keys with what was given for each, once or often.
    pub values: Vec<(&'static dyn AnyKey, Vec<String>)>,
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter();
        f.debug_map()
            .entry(&"config", &self.file)
            .entries(values.map(|(key, given)| (key.about().path, given)))
            .finish()
    }
}

/// What was chosen, not yet understood.
pub(super) struct Choices {
    chosen: BTreeMap<&'static str, Chosen>,
    warnings: Vec<String>,
}

struct Chosen {
    raw: Raw,
    origin: Origin,
}

impl Choices {
    /// From the file, the environment and the flags.
    pub(super) fn gather(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let mut choices = Self::new();
        if let Some(path) = file_of(flags, environment)? {
            choices.add_file(&path)?;
        }
        choices.add_environment(environment, |_| true)?;
        choices.add_flags(flags)?;
        Ok(choices)
    }

    /// From the flags, and from the environment for these keys; there is no file.
    pub(super) fn gather_some(
        flags: &Flags,
        environment: &Environment,
        is_one: impl Fn(&str) -> bool,
    ) -> Result<Self, ConfigError> {
        let mut choices = Self::new();
        choices.add_environment(environment, is_one)?;
        choices.add_flags(flags)?;
        Ok(choices)
    }

    const fn new() -> Self {
        Self {
            chosen: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        for entry in file::read(path)? {
            let about = entry.key.about();
            if entry.key.is_secret() && entry.key.shape() == Shape::One {
                self.warnings.push(format!(
                    "{} (from {}): whoever reads the file has the token: put it into a file of its own, and name that in `{}_file`",
                    about.path, entry.place, about.path
                ));
            }
            self.set(entry.key, entry.raw, Origin::File(entry.place));
        }
        Ok(())
    }

    fn add_environment(
        &mut self,
        environment: &Environment,
        is_one: impl Fn(&str) -> bool,
    ) -> Result<(), ConfigError> {
        for key in keys::all().filter(|key| is_one(key.about().path)) {
            if let Some((raw, name)) = self.in_environment(key, environment)? {
                self.set(key, raw, Origin::Variable(name));
            }
        }
        self.warn_of_near_misses(environment);
        Ok(())
    }

    /// The first variable of a key that says something.
    fn in_environment(
        &mut self,
        key: &dyn AnyKey,
        environment: &Environment,
    ) -> Result<Option<(Raw, String)>, ConfigError> {
        let about = key.about();
        let ours = (about.variable(), None);
        let others = about.also.iter();
        let others = others.map(|also| (also.name.to_owned(), Some(also.translate)));
        for (name, translate) in std::iter::once(ours).chain(others) {
            let wrong = |problem: String| ConfigError::Value {
                key: about.path,
                origin: Origin::Variable(name.clone()),
                problem,
            };
            let text = environment
                .text(&name)
                .map_err(|NoText| wrong("is no UTF-8 text".to_owned()))?;
            let Some(text) = text else {
                continue;
            };
            let text = match translate.map(|translate| translate(text)) {
                None => text.to_owned(),
                Some(Translated::Text(text)) => text,
                Some(Translated::Wrong(problem)) => return Err(wrong(problem)),
                Some(Translated::Ignored(warning)) => {
                    self.warnings.push(format!("{name} {warning}"));
                    continue;
                }
            };
            let raw = from_text(key.shape(), &text).map_err(wrong)?;
            return Ok(Some((raw, name)));
        }
        Ok(None)
    }

    /// Not every variable that looks like ours is meant for us: Kubernetes names
    /// some after services. One that is nearly ours was probably meant to be.
    fn warn_of_near_misses(&mut self, environment: &Environment) {
        let known: Vec<String> = keys::all()
            .flat_map(|key| key.about().variables())
            .chain([FILE_VARIABLE.to_owned()])
            .collect();
        let of_families = |name: &&str| {
            [VARIABLE_PREFIX, "AKRIBES_", "OTEL_"]
                .iter()
                .any(|family| name.starts_with(family))
        };
        for name in environment.names().filter(of_families) {
            if known.iter().any(|known| known == name) {
                continue;
            }
            if let Some(meant) = nearest(name, known.iter().map(String::as_str)) {
                self.warnings.push(format!(
                    "the variable {name} means nothing here: did you mean {meant}?"
                ));
            }
        }
    }

    fn add_flags(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        for (key, given) in &flags.values {
            let about = key.about();
            let origin = Origin::Flag(about.flag.unwrap_or(about.path));
            let raw = from_flags(key.shape(), given).map_err(|problem| ConfigError::Value {
                key: about.path,
                origin: origin.clone(),
                problem,
            })?;
            if let Some(raw) = raw {
                self.set(*key, raw, origin);
            }
        }
        Ok(())
    }

    /// What a key is when nobody says, here instead of its default.
    pub(super) fn preset(&mut self, key: &dyn AnyKey, text: &str) {
        let preset = Chosen {
            raw: Raw::One(text.to_owned()),
            origin: Origin::Default,
        };
        self.chosen.entry(key.about().path).or_insert(preset);
    }

    fn set(&mut self, key: &dyn AnyKey, raw: Raw, origin: Origin) {
        let path = key.about().path;
        self.chosen.insert(path, Chosen { raw, origin });
    }

    /// What a key is, if somebody said so or there is a default.
    pub(super) fn value<K: Kind>(
        &self,
        key: &'static Key<K>,
    ) -> Result<Option<K::Value>, ConfigError> {
        let read = |raw: &Raw| key.read(raw).map_err(|problem| self.wrong(key, problem));
        match (self.chosen.get(key.path()), key.about().default) {
            (Some(chosen), _) => read(&chosen.raw).map(Some),
            (None, Preset::Value(text)) => {
                let raw = from_text(key.shape(), text);
                read(&raw.map_err(|problem| self.wrong(key, problem))?).map(Some)
            }
            (None, Preset::Nothing(_)) => Ok(None),
        }
    }

    /// What a key is that has a default, or has to be set.
    pub(super) fn needed<K: Kind>(&self, key: &'static Key<K>) -> Result<K::Value, ConfigError> {
        self.value(key)?.ok_or_else(|| {
            let about = key.about();
            let variable = about
                .also
                .first()
                .map_or_else(|| about.variable(), |also| also.name.to_owned());
            let flag = about
                .flag
                .map_or_else(String::new, |flag| format!("{flag}, "));
            ConfigError::Missing {
                key: about.path,
                advice: format!("give it with {flag}{variable}, or in the file"),
            }
        })
    }

    /// Where the value of a key comes from.
    pub(super) fn origin(&self, key: &dyn AnyKey) -> Origin {
        let chosen = self.chosen.get(key.about().path);
        chosen.map_or(Origin::Default, |chosen| chosen.origin.clone())
    }

    /// What was written for a key; without it it has its default.
    pub(super) fn raw(&self, key: &dyn AnyKey) -> Option<&Raw> {
        let chosen = self.chosen.get(key.about().path);
        chosen.map(|chosen| &chosen.raw)
    }

    /// Something is wrong with the value of a key.
    pub(super) fn wrong(&self, key: &dyn AnyKey, problem: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            key: key.about().path,
            origin: self.origin(key),
            problem: problem.into(),
        }
    }

    /// Something should be told that is no error.
    pub(super) fn warn(&mut self, key: &dyn AnyKey, warning: &str) {
        let origin = self.origin(key);
        let path = key.about().path;
        self.warnings
            .push(format!("{path} (from {origin}): {warning}"));
    }

    /// What should be told.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }
}

/// The file to read: the one that is named, else the one at the default place
/// when there is one.
fn file_of(flags: &Flags, environment: &Environment) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(path) = &flags.file {
        return Ok(Some(path.clone()));
    }
    let named = environment.text(FILE_VARIABLE).map_err(|NoText| {
        let problem = "is no UTF-8 text".to_owned();
        ConfigError::Value {
            key: "the configuration file",
            origin: Origin::Variable(FILE_VARIABLE.to_owned()),
            problem,
        }
    })?;
    let at_default_place = || Some(default_file()).filter(|path| path.exists());
    Ok(named.map(PathBuf::from).or_else(at_default_place))
}

/// A value as it stands in a variable, or as a default.
fn from_text(shape: Shape, text: &str) -> Result<Raw, String> {
    Ok(match shape {
        Shape::One => Raw::One(text.to_owned()),
        Shape::Many | Shape::ManyFlags => Raw::Many(split(text)),
        Shape::Pairs => Raw::Pairs(pairs(text).map_err(no_pair)?),
        Shape::Entries => Raw::Entries(entries(text)?),
    })
}

/// Maps between semicolons. An empty one is none.
fn entries(text: &str) -> Result<Vec<Vec<Field>>, String> {
    let maps = text.split(';').map(str::trim);
    let maps = maps.filter(|map| !map.is_empty());
    maps.map(|map| {
        let fields = pairs(map).map_err(no_pair)?.into_iter();
        Ok(fields.map(Field::from).collect())
    })
    .collect()
}

/// A value as it stands behind a flag, or behind several. An empty one is unset.
fn from_flags(shape: Shape, given: &[String]) -> Result<Option<Raw>, String> {
    Ok(match shape {
        Shape::One => {
            let last = given.last().map(|text| text.trim());
            let last = last.filter(|text| !text.is_empty());
            last.map(|text| Raw::One(text.to_owned()))
        }
        Shape::Many => {
            let values: Vec<_> = given.iter().flat_map(|text| split(text)).collect();
            (!values.is_empty()).then_some(Raw::Many(values))
        }
        Shape::ManyFlags => Some(Raw::Many(given.to_vec())),
        Shape::Pairs => {
            let list = pairs(&given.join(",")).map_err(no_pair)?;
            (!list.is_empty()).then_some(Raw::Pairs(list))
        }
        Shape::Entries => {
            let list = entries(&given.join(";"))?;
            (!list.is_empty()).then_some(Raw::Entries(list))
        }
    })
}

fn split(text: &str) -> Vec<String> {
    let values = text.split(',').map(str::trim);
    let values = values.filter(|value| !value.is_empty());
    values.map(str::to_owned).collect()
}

fn no_pair(place: usize) -> String {
    format!("entry {place} is no `key=value`, percent-encoded")
}
