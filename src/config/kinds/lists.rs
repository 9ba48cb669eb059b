//! Lists, and names with a value each.

use http::{HeaderName, HeaderValue};

use super::{Kind, Raw, SECRET_SHOWN, Shape, shown};
use crate::net::secret::Secret;

/// Longer lists are none.
const LIST_VALUES_MAX: usize = 256;

/// Lists of expressions that hold more are none: each becomes an automaton.
const EXPRESSIONS_BYTES_MAX: usize = 64 << 10;

fn counted<T>(values: &[T]) -> Result<&[T], String> {
    if values.len() > LIST_VALUES_MAX {
        return Err(format!(
            "has {} values, but at most {LIST_VALUES_MAX} are taken",
            values.len()
        ));
    }
    Ok(values)
}

/// Patterns or regular expressions.
fn expressions(raw: &Raw) -> Result<Vec<String>, String> {
    let values = counted(raw.many())?;
    if values.iter().map(String::len).sum::<usize>() > EXPRESSIONS_BYTES_MAX {
        return Err("holds more than 64 KiB".to_owned());
    }
    Ok(values.to_vec())
}

/// Patterns of names.
#[derive(Debug, Clone, Copy)]
pub struct Patterns;

impl Kind for Patterns {
    type Value = Vec<String>;
    const SHAPE: Shape = Shape::Many;
    const HINT: &'static str = "PATTERNS";

    fn form(&self) -> String {
        "list of patterns".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Vec<String>, String> {
        expressions(raw)
    }
}

/// Regular expressions, which are read where they are used.
#[derive(Debug, Clone, Copy)]
pub struct Rules;

impl Kind for Rules {
    type Value = Vec<String>;
    const SHAPE: Shape = Shape::ManyFlags;
    const HINT: &'static str = "REGEX";

    fn form(&self) -> String {
        "list of regular expressions".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Vec<String>, String> {
        expressions(raw)
    }
}

/// Projects, each of which has a feed of its own; or all in one feed.
#[derive(Debug, Clone, Copy)]
pub struct Projects;

impl Kind for Projects {
    /// Of each feed the project; of the one of all `None`.
    type Value = Vec<Option<i64>>;
    const SHAPE: Shape = Shape::Many;
    const HINT: &'static str = "IDS";

    fn form(&self) -> String {
        "list of project ids, or `all`".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Self::Value, String> {
        const ALL: &str = "all";
        let words = counted(raw.many())?;
        if let [only] = words
            && only.eq_ignore_ascii_case(ALL)
        {
            return Ok(vec![None]);
        }
        let mut projects = Vec::new();
        for word in words {
            let id = word.parse().ok().filter(|id| *id >= 0);
            let wrong = || {
                format!(
                    "{} is no project id: write a number, several, or all",
                    shown(word)
                )
            };
            let project = Some(id.ok_or_else(wrong)?);
            // One that is read twice would be counted twice.
            if !projects.contains(&project) {
                projects.push(project);
            }
        }
        if projects.is_empty() {
            return Err("names no project: write a number, several, or all".to_owned());
        }
        Ok(projects)
    }
}

/// Conventions for attributes; whether OpenInference is among them.
#[derive(Debug, Clone, Copy)]
pub struct Conventions;

impl Kind for Conventions {
    type Value = bool;
    const SHAPE: Shape = Shape::Many;
    const HINT: &'static str = "LIST";

    fn form(&self) -> String {
        "list of `gen_ai`, `openinference`".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<bool, String> {
        let mut openinference = false;
        for word in raw.many() {
            match word.as_str() {
                // Always there.
                "gen_ai" | "gen-ai" => {}
                "openinference" => openinference = true,
                other => {
                    return Err(format!(
                        "{} is no convention that is known: known are `gen_ai` and `openinference`",
                        shown(other)
                    ));
                }
            }
        }
        Ok(openinference)
    }
}

/// Attributes.
#[derive(Debug, Clone, Copy)]
pub struct Attributes;

impl Kind for Attributes {
    type Value = Vec<(String, String)>;
    const SHAPE: Shape = Shape::Pairs;
    const HINT: &'static str = "LIST";

    fn form(&self) -> String {
        "names with values".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Self::Value, String> {
        counted(raw.pairs()).map(<[_]>::to_vec)
    }
}

/// Headers, whose values are not repeated.
#[derive(Debug, Clone, Copy)]
pub struct Headers;

impl Kind for Headers {
    type Value = Vec<(HeaderName, Secret)>;
    const SHAPE: Shape = Shape::Pairs;
    const HINT: &'static str = "LIST";
    const SECRET: bool = true;

    fn form(&self) -> String {
        "names with secrets".to_owned()
    }

    fn read(&self, raw: &Raw) -> Result<Self::Value, String> {
        let pairs = counted(raw.pairs())?;
        let headers = pairs.iter().enumerate().map(|(i, (name, value))| {
            let place = i + 1;
            // What is no name may be part of a value that was cut in the wrong place.
            let name = HeaderName::try_from(name.as_str())
                .map_err(|_| format!("entry {place} has a name that no header can have"))?;
            if let Some(ours) = ours_to_set(&name) {
                return Err(format!(
                    "sets `{ours}`, which is the exporter's own affair: leave it out"
                ));
            }
            HeaderValue::try_from(value.as_str())
                .map_err(|_| format!("the value of `{name}` holds what no header can carry"))?;
            Ok((name, Secret::new(value.as_str())))
        });
        headers.collect()
    }

    fn show(&self, raw: &Raw) -> String {
        let names = raw.pairs().iter();
        let shown: Vec<_> = names
            .map(|(name, _)| format!("{name}={SECRET_SHOWN}"))
            .collect();
        shown.join(", ")
    }
}

/// Headers that say how a request is made, not what for.
fn ours_to_set(name: &HeaderName) -> Option<&'static str> {
    const OURS: [&str; 8] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "grpc-encoding",
        "host",
        "te",
        "transfer-encoding",
    ];
    OURS.into_iter().find(|ours| name == ours)
}
