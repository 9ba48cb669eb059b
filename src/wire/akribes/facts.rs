//! A list of facts in the making. What is empty is left out.

use super::content::{content, json_content, string_body};
use super::forms::{Json, Num, Str};
use crate::limits::FACT_VALUES_MAX;
use crate::wire::event::{Fact, FactKey, FactValue, Text};

/// Facts, in the order in which they are told.
pub(super) struct Facts<'a>(Vec<Fact<'a>>);

impl<'a> Facts<'a> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn put(mut self, key: FactKey, value: FactValue<'a>) -> Self {
        self.0.push(Fact { key, value });
        self
    }

    pub(super) fn text(self, key: FactKey, text: Str<'a>) -> Self {
        match present(text) {
            Some(text) => self.put(key, FactValue::Text(text)),
            None => self,
        }
    }

    pub(super) fn word(self, key: FactKey, word: &'static str) -> Self {
        self.put(key, FactValue::Text(Text::Borrowed(word)))
    }

    pub(super) fn texts(self, key: FactKey, texts: Vec<Str<'a>>) -> Self {
        if texts.is_empty() {
            return self;
        }
        let texts = texts
            .into_iter()
            .take(FACT_VALUES_MAX)
            .map(|text| text.0)
            .collect();
        self.put(key, FactValue::Texts(texts))
    }

    pub(super) fn number(self, key: FactKey, n: Num) -> Self {
        self.put(key, FactValue::Int(i64::try_from(n.0).unwrap_or(i64::MAX)))
    }

    pub(super) fn maybe(self, key: FactKey, n: Option<Num>) -> Self {
        match n {
            Some(n) => self.number(key, n),
            None => self,
        }
    }

    pub(super) fn truth(self, key: FactKey, truth: bool) -> Self {
        self.put(key, FactValue::Bool(truth))
    }

    /// A number or a text that is an id, as text.
    pub(super) fn scalar(self, key: FactKey, json: Option<Json<'a>>) -> Self {
        match json.map(|json| json.0) {
            Some(raw) if !raw.starts_with(['{', '[']) => self.put(
                key,
                FactValue::Text(Text::Borrowed(string_body(raw).unwrap_or(raw))),
            ),
            _ => self,
        }
    }

    pub(super) fn content(self, key: FactKey, json: Option<Json<'a>>, capture: bool) -> Self {
        match json {
            Some(json) => self.put(key, FactValue::Content(content(json, capture))),
            None => self,
        }
    }

    pub(super) fn json(self, key: FactKey, json: Option<Json<'a>>, capture: bool) -> Self {
        match json {
            Some(json) => self.put(key, FactValue::Content(json_content(json, capture))),
            None => self,
        }
    }

    pub(super) fn done(self) -> Vec<Fact<'a>> {
        self.0
    }
}

/// A text that is there.
pub(super) fn present(text: Str<'_>) -> Option<Text<'_>> {
    (!text.0.is_empty()).then_some(text.0)
}
