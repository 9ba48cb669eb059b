//! Attributes under the policy: what is bounded is cut here, what is private is
//! held back here, and nowhere else.

use std::borrow::Cow;

use super::content::cut;
use super::otlp::Attributes;
use super::semconv::{self, FactNames};
use super::settings::TraceSettings;
use super::url::Url;
use crate::limits::{FACT_VALUES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, SPAN_CONTENT_BYTES_MAX};
use crate::run::finished::Marks;
use crate::wire::event::{Content, Fact, FactKey, FactValue};

/// The attributes of one span or event.
#[derive(Debug)]
pub struct Sheet<'a> {
    to: Attributes<'a>,
    settings: &'a TraceSettings,
    dropped: u32,
}

/// Content as it may leave, and whether it is only a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured<'a> {
    /// The text, redacted and cut.
    pub text: Cow<'a, str>,
    /// Whether something was cut off.
    pub cut: bool,
}

impl<'a> Sheet<'a> {
    /// An empty one.
    pub fn new(to: Attributes<'a>, settings: &'a TraceSettings) -> Self {
        Self {
            to,
            settings,
            dropped: 0,
        }
    }

    /// A name, unless it is empty.
    pub fn name(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.to.text(name, cut(value, NAME_BYTES_MAX));
        }
    }

    /// A name of ours.
    pub fn word(&mut self, name: &str, value: &'static str) {
        self.to.text(name, value);
    }

    /// A message that is redacted and cut already.
    pub fn redacted(&mut self, name: &str, value: &str) {
        self.to.text(name, value);
    }

    /// A message for a person, redacted and cut.
    pub fn message(&mut self, name: &str, value: &str) {
        let value = self.settings.content.message(value);
        self.to.text(name, &value);
    }

    /// A URL, without user and password; without its query unless content leaves.
    pub fn url(&mut self, url: &Url<'_>) {
        let leaves = url.parts(self.settings.content.captures()).concat();
        self.message(semconv::URL_FULL, &leaves);
    }

    /// A number.
    pub fn int(&mut self, name: &str, value: i64) {
        self.to.int(name, value);
    }

    /// A count or a size.
    pub fn count(&mut self, name: &str, value: u64) {
        self.to.count(name, value);
    }

    /// A count or a size that says nothing when it is zero.
    pub fn count_if_any(&mut self, name: &str, value: u64) {
        if value > 0 {
            self.to.count(name, value);
        }
    }

    /// A truth that says nothing when it is false.
    pub fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.to.bool(name, true);
        }
    }

    /// A number with a fraction. One that is no number is left out: JSON has none.
    pub fn double(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.to.double(name, value);
        }
    }

    /// A list of names.
    pub fn names<'t>(&mut self, name: &str, values: impl Iterator<Item = &'t str> + Clone) {
        let values = values.take(FACT_VALUES_MAX);
        self.to
            .texts(name, values.map(|value| cut(value, NAME_BYTES_MAX)));
    }

    /// What was inferred.
    pub fn marks(&mut self, marks: Marks) {
        self.flag(semconv::START_INFERRED, marks.start_inferred);
        self.flag(semconv::END_INFERRED, marks.end_inferred);
        self.flag(semconv::TIME_ADJUSTED, marks.time_adjusted);
        self.flag(semconv::INCOMPLETE, marks.incomplete);
    }

    /// Text that was captured, if there is room for it. Its size stands elsewhere.
    pub fn captured(&mut self, name: &str, text: &str) {
        if self.to.len() + text.len() <= SPAN_CONTENT_BYTES_MAX {
            self.to.text(name, text);
        } else {
            self.dropped += 1;
        }
    }

    /// Private content: always its size, its text only with capture. Gives the
    /// text, for those who write it once more.
    pub fn private<'t>(
        &mut self,
        names: FactNames,
        content: &'t Content<'_>,
    ) -> Option<Captured<'t>> {
        self.count(names.bytes, content.bytes);
        let captured = self.capture(content)?;
        self.captured(names.value, &captured.text);
        Some(captured)
    }

    /// All facts but those that are told in another way. Of two with one key the
    /// later one counts.
    pub fn facts(&mut self, facts: &[Fact<'_>], told: impl Fn(FactKey) -> bool) {
        for (place, fact) in facts.iter().enumerate() {
            let later = &facts[place + 1..];
            if !told(fact.key) && later.iter().all(|other| other.key != fact.key) {
                self.fact(fact);
            }
        }
    }

    /// Content as it may leave, if it may.
    pub fn capture<'t>(&self, content: &'t Content<'_>) -> Option<Captured<'t>> {
        let (text, cut) = self.settings.content.captured(content)?;
        Some(Captured { text, cut })
    }

    /// What was left out for want of room.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The settings.
    pub fn settings(&self) -> &'a TraceSettings {
        self.settings
    }

    fn fact(&mut self, fact: &Fact<'_>) {
        let names = semconv::fact(fact.key);
        match &fact.value {
            FactValue::Int(value) => self.to.int(names.value, *value),
            FactValue::Bool(value) => self.to.bool(names.value, *value),
            // A reason is a phrase, and may quote what it is about.
            FactValue::Text(value) if fact.key == FactKey::Reason => {
                self.message(names.value, value);
            }
            FactValue::Text(value) if fact.key == FactKey::Url => self.url(&Url::new(value)),
            FactValue::Text(value) => self.to.text(names.value, cut(value, MESSAGE_BYTES_MAX)),
            FactValue::Texts(values) => self.names(names.value, values.iter().map(AsRef::as_ref)),
            FactValue::Content(content) => {
                self.private(names, content);
            }
        }
    }
}
