//! What was chosen, for people to read.

use super::choices::Choices;
use super::error::Origin;
use super::keys::{self, AnyKey, Preset};
use crate::export::ExportSettings;
use crate::export::advice::shown;
use crate::source::SourceSettings;

/// A key, what it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Its value, as it would be written; a secret is `[secret]`. What is not set
    /// says what that means.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

pub(super) fn settings(
    choices: &Choices,
    source: &SourceSettings,
    export: Option<&ExportSettings>,
) -> Vec<Setting> {
    let setting = |key: &'static dyn AnyKey| {
        let about = key.about();
        let written = choices.raw(key).map(|raw| key.show(raw));
        let effective = match about.path {
            "source.url" => Some(shown(&source.url)),
            // With the path that was added to it; a query may hold a key.
            "export.endpoint" => export.map(|export| {
                let mut endpoint = export.endpoint.clone();
                if endpoint.query().is_some() {
                    endpoint.set_query(Some("[secret]"));
                }
                endpoint.to_string()
            }),
            _ => None,
        };
        let preset = match about.default {
            Preset::Value(value) => value.to_owned(),
            Preset::Nothing(meaning) => format!("({meaning})"),
        };
        Setting {
            key: about.path,
            value: written.map_or(preset, |written| effective.unwrap_or(written)),
            origin: choices.origin(key),
        }
    };
    keys::all().map(setting).collect()
}

/// What was chosen, a line each, and how much was left as it is.
pub(super) fn render(settings: &[Setting]) -> String {
    let is_chosen = |setting: &&Setting| setting.origin != Origin::Default;
    let chosen: Vec<_> = settings.iter().filter(is_chosen).collect();
    let keys = chosen.iter().map(|setting| setting.key.len()).max();
    let width = keys.unwrap_or_default();
    let mut text = String::new();
    for Setting { key, value, origin } in &chosen {
        let value = value.escape_debug();
        text.push_str(&format!("{key:width$}  {value}  (from {origin})\n"));
    }
    let others = settings.len() - chosen.len();
    text.push_str(&format!("{others} other keys have their defaults.\n"));
    text
}
