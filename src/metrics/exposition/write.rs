//! How the two forms are written down: names, escapes, numbers.

use std::fmt::Write;

use memchr::memchr3;

use super::Form;
use crate::metrics::catalogue::Kind;
use crate::metrics::family::Shown;
use crate::metrics::histogram::HistogramState;

/// A page that grows. Each family is its head, and then its series, each its
/// labels and then its figures.
pub(super) struct Writer {
    form: Form,
    page: String,
    /// The full name of the metric that is being written.
    name: &'static str,
    /// Its labels, as they stand between the brackets.
    labels: String,
}

/// What the name of a metric ends in when it has a unit, but for `_total`.
const UNITS: [&str; 3] = ["seconds", "bytes", "usd"];

impl Writer {
    /// An empty page with this much room.
    pub(super) fn new(form: Form, room_bytes: usize) -> Self {
        Self {
            form,
            page: String::with_capacity(room_bytes),
            name: "",
            labels: String::new(),
        }
    }

    /// Which form it writes.
    pub(super) const fn form(&self) -> Form {
        self.form
    }

    /// A metric begins, and a series without labels.
    pub(super) fn head(&mut self, name: &'static str, help: &str, kind: Kind) {
        self.name = name;
        self.labels.clear();
        match self.form {
            Form::Classic => {
                self.put(&["# HELP ", name, " "]);
                self.help(help);
                self.put(&["\n# TYPE ", name, " ", kind.as_str(), "\n"]);
            }
            Form::OpenMetrics => {
                // A counter's family goes without what its samples end in.
                let family = name.strip_suffix("_total").unwrap_or(name);
                self.put(&["# TYPE ", family, " ", kind.as_str(), "\n"]);
                if let Some(unit) = unit(family) {
                    self.put(&["# UNIT ", family, " ", unit, "\n"]);
                }
                self.put(&["# HELP ", family, " "]);
                self.help(help);
                self.page.push('\n');
            }
        }
    }

    /// A series of the metric begins.
    pub(super) fn labels<'a>(&mut self, labels: impl Iterator<Item = (&'static str, &'a str)>) {
        self.labels.clear();
        for (name, value) in labels {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(name);
            self.labels.push_str("=\"");
            escape(&mut self.labels, value, true);
            self.labels.push('"');
        }
    }

    /// The figure of a counter or a gauge.
    pub(super) fn sample(&mut self, value: f64, shown: Option<&Shown>) {
        self.line("", None, value, shown);
    }

    /// The figures of a histogram. There are as many exemplars as buckets, or none.
    pub(super) fn histogram(
        &mut self,
        bounds: &[f64],
        state: &HistogramState,
        exemplars: &[Option<Shown>],
    ) {
        let mut count = 0u64;
        for (place, in_bucket) in state.counts.iter().enumerate() {
            count = count.saturating_add(*in_bucket);
            let bound = bounds.get(place).copied().unwrap_or(f64::INFINITY);
            let shown = exemplars.get(place).and_then(Option::as_ref);
            self.line("_bucket", Some(bound), count as f64, shown);
        }
        self.line("_sum", None, state.sum, None);
        self.line("_count", None, count as f64, None);
    }

    /// The whole page.
    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.page.push_str("# EOF\n");
        }
        self.page
    }

    fn line(&mut self, suffix: &str, bound: Option<f64>, value: f64, shown: Option<&Shown>) {
        self.put(&[self.name, suffix]);
        if !self.labels.is_empty() || bound.is_some() {
            self.page.push('{');
            self.page.push_str(&self.labels);
            if let Some(bound) = bound {
                let comma = if self.labels.is_empty() { "" } else { "," };
                self.put(&[comma, "le=\""]);
                self.bound(bound);
                self.page.push('"');
            }
            self.page.push('}');
        }
        self.page.push(' ');
        number(&mut self.page, value);
        if let Some(shown) = shown {
            self.exemplar(shown);
        }
        self.page.push('\n');
    }

    /// OpenMetrics has one way only to write a bound.
    fn bound(&mut self, bound: f64) {
        if self.form == Form::OpenMetrics && bound.is_finite() {
            // Writing into memory does not fail; here and below.
            let _ = write!(self.page, "{bound:?}");
        } else {
            number(&mut self.page, bound);
        }
    }

    fn exemplar(&mut self, shown: &Shown) {
        let Shown { exemplar, value } = shown;
        self.page.push_str(" # {trace_id=\"");
        hex(&mut self.page, &exemplar.trace_id);
        self.page.push_str("\",span_id=\"");
        hex(&mut self.page, &exemplar.span_id);
        self.page.push_str("\"} ");
        number(&mut self.page, *value);
        let milliseconds = exemplar.at.0 / 1_000_000;
        let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
        let _ = write!(self.page, " {seconds}.{rest:03}");
    }

    fn help(&mut self, help: &str) {
        escape(&mut self.page, help, self.form == Form::OpenMetrics);
    }

    fn put(&mut self, parts: &[&str]) {
        for part in parts {
            self.page.push_str(part);
        }
    }
}

fn unit(family: &str) -> Option<&'static str> {
    let ends_in = |unit: &&str| {
        let stem = family.strip_suffix(unit);
        stem.is_some_and(|stem| stem.ends_with('_'))
    };
    UNITS.into_iter().find(ends_in)
}

fn number(out: &mut String, value: f64) {
    /// Up to here every whole number is one of these.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    // Writing into memory does not fail.
    let _ = if value.is_nan() {
        out.write_str("NaN")
    } else if value.is_infinite() {
        out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else if (1.0..WHOLE_MAX).contains(&value) && value.fract() == 0.0 {
        // The same digits, in less time: most figures are counts.
        write!(out, "{}", value as u64)
    } else if value == 0.0 {
        out.write_str("0")
    } else {
        write!(out, "{value}")
    };
}

fn hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn escape(out: &mut String, mut text: &str, quotes_too: bool) {
    // All three are characters of one byte.
    while let Some(place) = memchr3(b'\\', b'\n', b'"', text.as_bytes()) {
        let (plain, rest) = text.split_at(place);
        out.push_str(plain);
        out.push_str(match rest.as_bytes()[0] {
            b'\\' => "\\\\",
            b'\n' => "\\n",
            _ if quotes_too => "\\\"",
            _ => "\"",
        });
        text = &rest[1..];
    }
    out.push_str(text);
}
