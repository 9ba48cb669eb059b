//! Every key that there is: the one table from which files, variables and flags
//! are read, and the reference is written.

mod limits;
mod table;

pub use self::limits::*;
pub use self::table::*;

use super::kinds::{Kind, Raw, Shape, Switch};
use super::near::nearest;

/// A key, and the kind of value that it takes.
pub struct Key<K> {
    about: About,
    kind: K,
}

/// What there is to know of a key, whatever its kind.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Where it stands in the file: `listen.metrics`.
    pub path: &'static str,
    /// Its flag, with the dashes.
    pub flag: Option<&'static str>,
    /// Variables of others that mean the same; the first that is set counts,
    /// behind its own.
    pub also: &'static [Also],
    /// What it is when nobody says.
    pub default: Preset,
    /// What it does.
    pub effect: &'static str,
    /// Who changes it.
    pub changed_by: &'static str,
}

/// What a key is when nobody says.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// This, as it would be written.
    Value(&'static str),
    /// Nothing; and what that means.
    Nothing(&'static str),
}

/// A variable of somebody else.
#[derive(Debug, Clone, Copy)]
pub struct Also {
    /// Its name.
    pub name: &'static str,
    /// What it says in our words.
    pub translate: fn(&str) -> Translated,
}

/// What a variable of somebody else says.
pub enum Translated {
    /// This.
    Text(String),
    /// Nothing that concerns us; and a warning.
    Ignored(String),
    /// Nothing that can be meant.
    Wrong(String),
}

/// A key of any kind.
pub trait AnyKey: Sync {
    /// What there is to know of it.
    fn about(&self) -> &About;
    /// How its values are written.
    fn shape(&self) -> Shape;
    /// What stands for a value in the help of a flag.
    fn hint(&self) -> &'static str;
    /// What may be written, in a few words.
    fn form(&self) -> String;
    /// Whether its value must not be shown.
    fn is_secret(&self) -> bool;
    /// Whether it is on or off.
    fn is_switch(&self) -> bool {
        self.hint() == Switch::HINT
    }
    /// A value as people may see it.
    fn show(&self, raw: &Raw) -> String;
}

impl<K: Kind> AnyKey for Key<K> {
    fn about(&self) -> &About {
        &self.about
    }

    fn shape(&self) -> Shape {
        K::SHAPE
    }

    fn hint(&self) -> &'static str {
        K::HINT
    }

    fn form(&self) -> String {
        self.kind.form()
    }

    fn is_secret(&self) -> bool {
        K::SECRET
    }

    fn show(&self, raw: &Raw) -> String {
        self.kind.show(raw)
    }
}

impl<K: Kind> Key<K> {
    /// What a value means. The error is a sentence that stands behind the key.
    pub fn read(&self, raw: &Raw) -> Result<K::Value, String> {
        self.kind.read(raw)
    }

    /// Where it stands in the file.
    pub const fn path(&self) -> &'static str {
        self.about.path
    }
}

impl About {
    /// Its variable.
    pub fn variable(&self) -> String {
        let path = self.path.replace('.', "_");
        format!("{VARIABLE_PREFIX}{}", path.to_ascii_uppercase())
    }

    /// The section of the file that it stands in; none at the top.
    pub fn section(&self) -> Option<&'static str> {
        self.path.split_once('.').map(|(section, _)| section)
    }

    /// All variables that it is read from, the ones that count first in front.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        let others = self.also.iter().map(|also| also.name.to_owned());
        std::iter::once(self.variable()).chain(others)
    }
}

/// What all our own variables begin with.
pub const VARIABLE_PREFIX: &str = "RUNTRAIL_";

/// The variable that names the file.
pub const FILE_VARIABLE: &str = "RUNTRAIL_CONFIG";

/// All keys, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static dyn AnyKey> {
    table::ALL.iter().chain(limits::ALL).copied()
}

/// The key at this place of the file.
pub fn find(path: &str) -> Option<&'static dyn AnyKey> {
    all().find(|key| key.about().path == path)
}

/// Whether there are keys in a section of this name.
pub fn is_section(name: &str) -> bool {
    all().any(|key| key.about().section() == Some(name))
}

/// Whether `replay` takes the key at this path: what spans say, and how they are
/// sent, if they are.
pub fn is_of_replay(path: &str) -> bool {
    const OTHERS: [&str; 11] = [
        "capture_content",
        "conventions",
        "exclude",
        "include",
        "prices.models",
        "prices.taken",
        "redact",
        "resource_attributes",
        "service_name",
        "source.name",
        "trace_ratio",
    ];
    OTHERS.contains(&path) || path.starts_with("export.")
}

/// Whether `demo` takes the key at this path: what is worth trying out.
pub fn is_of_demo(path: &str) -> bool {
    ["export.", "listen.", "log."]
        .iter()
        .any(|section| path.starts_with(section))
        || ["capture_content", "conventions"].contains(&path)
}

/// What somebody may have meant who wrote this path: a name that looks like it,
/// or one that ends alike in another section.
pub fn meant(path: &str) -> Option<&'static str> {
    let paths = || all().map(|key| key.about().path);
    let sections = all().filter_map(|key| key.about().section());
    let last = |path: &'static str| path.rsplit('.').next();
    let elsewhere = || {
        let name = path.rsplit('.').next();
        paths().find(|known| last(known) == name)
    };
    nearest(path, paths().chain(sections)).or_else(elsewhere)
}

const fn key<K>(path: &'static str, kind: K) -> Builder<K> {
    Builder {
        about: About {
            path,
            flag: None,
            also: &[],
            default: Preset::Nothing(""),
            effect: "",
            changed_by: "",
        },
        kind,
    }
}

/// A key that is being described.
struct Builder<K> {
    about: About,
    kind: K,
}

impl<K: Copy> Builder<K> {
    const fn flag(mut self, flag: &'static str) -> Self {
        self.about.flag = Some(flag);
        self
    }

    const fn also(mut self, also: &'static [Also]) -> Self {
        self.about.also = also;
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.about.default = Preset::Value(value);
        self
    }

    const fn unset(mut self, meaning: &'static str) -> Self {
        self.about.default = Preset::Nothing(meaning);
        self
    }

    const fn effect(mut self, effect: &'static str) -> Self {
        self.about.effect = effect;
        self
    }

    /// Who changes it; with that all is said.
    const fn changed_by(mut self, who: &'static str) -> Key<K> {
        self.about.changed_by = who;
        Key {
            about: self.about,
            kind: self.kind,
        }
    }
}

/// Defines keys, and lists them, so that none is left out.
macro_rules! keys {
    ($($name:ident: $kind:ty = $value:expr;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`: what it does stands in it.")]
            pub static $name: Key<$kind> = $value;
        )*
        /// The keys of this file.
        pub(super) static ALL: &[&dyn AnyKey] = &[$(&$name),*];
    };
}
use keys;

/// Who sets up the sidecar and its pod.
const DEPLOYER: &str = "whoever deploys it";
/// Who answers for what leaves the process.
const GUARDIAN: &str = "whoever answers for the data";
/// Who pays for the models.
const PAYER: &str = "whoever pays the model bill";
/// Who reads the traces.
const READER: &str = "whoever reads the traces";
/// Who gives the store its volume.
const STORER: &str = "whoever sizes the volume";
/// Who looks at the metrics of runtrail itself.
const TUNER: &str = "whoever sizes the pod, when a metric says so";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_says_what_it_does_what_it_is_and_who_changes_it() {
        for key in all() {
            let about = key.about();
            assert!(about.effect.ends_with('.'), "{}: no effect", about.path);
            assert!(!about.changed_by.is_empty(), "{}: nobody", about.path);
            assert!(!key.form().is_empty(), "{}", about.path);
            if let Preset::Nothing(meaning) = about.default {
                assert!(!meaning.is_empty(), "{}: unset means nothing", about.path);
            }
        }
    }

    #[test]
    fn no_two_keys_share_a_name() {
        let names = |name: fn(&About) -> Vec<String>| {
            let all: Vec<_> = all().flat_map(|key| name(key.about())).collect();
            let distinct: BTreeSet<_> = all.iter().cloned().collect();
            assert_eq!(all.len(), distinct.len(), "{all:?}");
        };
        names(|about| vec![about.path.to_owned()]);
        names(|about| about.variables().collect());
        names(|about| about.flag.iter().map(|flag| (*flag).to_owned()).collect());
    }

    #[test]
    fn no_secret_is_a_flag_where_every_process_could_see_it() {
        for key in all().filter(|key| key.is_secret()) {
            assert_eq!(key.about().flag, None, "{}", key.about().path);
        }
    }

    #[test]
    fn a_key_in_the_wrong_section_is_found() {
        assert_eq!(meant("listen.metric"), Some("listen.metrics"));
        assert_eq!(meant("url"), Some("source.url"));
        assert_eq!(meant("limits.memory_max"), Some("memory_max"));
        assert_eq!(meant("sorce"), Some("source"));
        assert_eq!(meant("colour"), None);
    }
}
