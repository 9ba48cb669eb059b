//! Flags that stand for keys of the configuration, made from the table of keys:
//! a command takes those of its part of it.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::Flags;
use crate::config::keys::{self, AnyKey, FILE_VARIABLE, Preset};
use crate::config::kinds::Shape;

/// What of the configuration a command takes as flags.
pub trait Part {
    /// Whether it reads a file.
    const HAS_FILE: bool;
    /// Whether it takes the key at this path, if that has a flag.
    fn has(path: &str) -> bool;
}

/// All of it: `run` and `check`.
#[derive(Debug, Clone, Copy)]
pub enum OfSidecar {}

/// Where events come from, and how we log: `record`.
#[derive(Debug, Clone, Copy)]
pub enum OfSource {}

/// Where spans go and where they are kept, and how we log: `resend`.
#[derive(Debug, Clone, Copy)]
pub enum OfResend {}

/// Where a sidecar listens: `health`.
#[derive(Debug, Clone, Copy)]
pub enum OfHealth {}

/// What spans say, and where they go: `replay`.
#[derive(Debug, Clone, Copy)]
pub enum OfReplay {}

/// What may be chosen of a demo.
#[derive(Debug, Clone, Copy)]
pub enum OfDemo {}

impl Part for OfSidecar {
    const HAS_FILE: bool = true;

    fn has(_: &str) -> bool {
        true
    }
}

impl Part for OfSource {
    const HAS_FILE: bool = true;

    fn has(path: &str) -> bool {
        path.starts_with("source.") || path.starts_with("log.")
    }
}

impl Part for OfResend {
    const HAS_FILE: bool = true;

    fn has(path: &str) -> bool {
        ["export.", "store.", "log."]
            .iter()
            .any(|section| path.starts_with(section))
    }
}

impl Part for OfHealth {
    const HAS_FILE: bool = true;

    fn has(path: &str) -> bool {
        path == keys::LISTEN_METRICS.path()
    }
}

impl Part for OfReplay {
    const HAS_FILE: bool = false;

    fn has(path: &str) -> bool {
        keys::is_of_replay(path)
    }
}

impl Part for OfDemo {
    const HAS_FILE: bool = false;

    fn has(path: &str) -> bool {
        keys::is_of_demo(path)
    }
}

/// What was given of a part of the configuration.
pub struct Chosen<P> {
    flags: Flags,
    part: PhantomData<P>,
}

impl<P> Chosen<P> {
    /// What was given.
    pub const fn flags(&self) -> &Flags {
        &self.flags
    }
}

impl<P> fmt::Debug for Chosen<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flags.fmt(f)
    }
}

impl<P> Clone for Chosen<P> {
    fn clone(&self) -> Self {
        Self {
            flags: self.flags.clone(),
            part: PhantomData,
        }
    }
}

/// The keys of a part that have a flag, with its name.
fn flags_of<P: Part>() -> impl Iterator<Item = (&'static dyn AnyKey, &'static str)> {
    keys::all().filter_map(|key| {
        let about = key.about();
        let name = about.flag?.trim_start_matches('-');
        P::has(about.path).then_some((key, name))
    })
}

const FILE: &str = "config";

impl<P: Part> Args for Chosen<P> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("FILE")
            .value_parser(ValueParser::path_buf())
            .help("The configuration file")
            .long_help(format!(
                "The configuration file. Without it the one that {FILE_VARIABLE} names, else /etc/runtrail/config.yaml if it is there"
            ));
        let command = command.args(P::HAS_FILE.then_some(file));
        command.args(flags_of::<P>().map(|(key, name)| argument(key, name, P::HAS_FILE)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// `whole_environment` says that no variable is passed over: what is no live feed
/// is sent only when a flag says so.
fn argument(key: &dyn AnyKey, name: &'static str, whole_environment: bool) -> Arg {
    let about = key.about();
    let argument = Arg::new(about.path)
        .long(name)
        .value_name(key.hint())
        .help_heading(heading(about.path, about.section()))
        .help(first_sentence(about.effect))
        .long_help(long_help(key, whole_environment));
    match key.shape() {
        // On by its name alone.
        Shape::One if key.is_switch() => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .action(ArgAction::Set),
        Shape::One => argument.action(ArgAction::Set),
        Shape::Many | Shape::ManyFlags | Shape::Pairs | Shape::Entries => {
            argument.action(ArgAction::Append)
        }
    }
}

fn heading(path: &str, section: Option<&str>) -> &'static str {
    match section {
        Some("source") => "Where events come from",
        Some("export") => "Where traces go",
        Some("store") => "What is kept on disk",
        Some("listen") => "The listeners",
        Some("log") => "Logs and limits",
        _ if ["log_runs", "memory_max", "drain_max"].contains(&path) => "Logs and limits",
        _ => "What traces say",
    }
}

fn first_sentence(effect: &'static str) -> &'static str {
    effect
        .split_once(". ")
        .map_or(effect, |(first, _)| first)
        .trim_end_matches('.')
}

fn long_help(key: &dyn AnyKey, whole_environment: bool) -> String {
    let about = key.about();
    let effect = wrapped(about.effect);
    if about.path == keys::EXPORT_ENDPOINT.path() && !whole_environment {
        return format!("{effect}\n\n[default: nothing is sent]");
    }
    let default = match about.default {
        Preset::Value(value) => value,
        Preset::Nothing(meaning) => meaning,
    };
    let variables: Vec<_> = about.variables().collect();
    format!(
        "{effect}\n\n[default: {default}]\n[env: {}]",
        variables.join(", ")
    )
}

/// A text in lines that a terminal shows whole, behind the margin of a help.
fn wrapped(text: &str) -> String {
    const LINE_BYTES_MAX: usize = 80;
    let mut out = String::new();
    let mut line = 0;
    for word in text.split(' ') {
        let fits = line + word.len() < LINE_BYTES_MAX;
        match line {
            0 => {}
            _ if fits => out.push(' '),
            _ => {
                out.push('\n');
                line = 0;
            }
        }
        out.push_str(word);
        line += word.len() + 1;
    }
    out
}

impl<P: Part> FromArgMatches for Chosen<P> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let file = P::HAS_FILE.then(|| matches.get_one::<PathBuf>(FILE).cloned());
        let values = flags_of::<P>().filter_map(|(key, _)| {
            let given = matches.get_many::<String>(key.about().path)?;
            Some((key, given.cloned().collect()))
        });
        Ok(Self {
            flags: Flags {
                file: file.flatten(),
                values: values.collect(),
            },
            part: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
