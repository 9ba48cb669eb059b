//! The shipped rules, in a hurry.
//!
//! Nobody waits three days for a burn rate in a test. So every duration in the
//! rules, and nothing else, is divided by one factor: how long an alert has to
//! hold, how far a query looks back, how often a group is computed. Names,
//! labels, thresholds and the shape of the queries stay as they are shipped.

use std::fmt::Write as _;

/// A minute of the rules passes in a second.
pub(crate) const FACTOR: u64 = 60;

/// A window has to hold a few scrapes.
const WINDOW_MS_MIN: u64 = 4_000;

/// A group is computed as often as the targets are scraped.
const INTERVAL_MS: u64 = 1_000;

/// The rules with all durations shortened.
pub(crate) fn hurried(rules: &str) -> String {
    let mut hurried = String::new();
    for line in rules.lines() {
        let bare = line.trim_start().trim_start_matches("- ");
        let line = if let Some(wait) = bare.strip_prefix("for:") {
            let milliseconds = parsed(wait.trim()).unwrap() / FACTOR;
            line.replace(wait, &format!(" {milliseconds}ms"))
        } else if let Some(interval) = bare.strip_prefix("interval:") {
            line.replace(interval, &format!(" {INTERVAL_MS}ms"))
        } else {
            windows(line)
        };
        writeln!(hurried, "{line}").unwrap();
    }
    hurried
}

/// The line with what stands in brackets or behind `offset` shortened.
fn windows(line: &str) -> String {
    let mut shortened = String::new();
    let mut rest = line;
    let borders: [char; 4] = ['[', ']', ':', ' '];
    while let Some(end) = rest.find(borders) {
        let (word, after) = rest.split_at(end);
        let is_window = shortened.ends_with(['[', ':']) && after.starts_with([']', ':'])
            || shortened.ends_with("offset ");
        shortened.push_str(&window(word, is_window));
        let border = after.chars().next().map_or(0, char::len_utf8);
        shortened.push_str(&after[..border]);
        rest = &after[border..];
    }
    let is_window = shortened.ends_with("offset ");
    shortened.push_str(&window(rest, is_window));
    shortened
}

fn window(word: &str, is_window: bool) -> String {
    let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    match parsed(bare).filter(|_| is_window) {
        Some(whole) => {
            let short = (whole / FACTOR).max(WINDOW_MS_MIN);
            word.replacen(bare, &format!("{short}ms"), 1)
        }
        None => word.to_owned(),
    }
}

/// A duration of Prometheus in milliseconds: `1h30m`.
fn parsed(duration: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 7] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    let mut rest = duration;
    let mut sum = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit());
        let (unit, after) = rest.split_at(letters.unwrap_or(rest.len()));
        sum += number * UNITS.iter().find(|(name, _)| *name == unit)?.1;
        rest = after;
    }
    (!duration.is_empty()).then_some(sum)
}

#[test]
fn durations_are_shortened_and_nothing_else() {
    let rules = "\
groups:
- name: a:b
  interval: 30s
  rules:
  - record: a:ratio_rate5m
    expr: sum by (x) (rate(a_total{m=\"5m\"}[5m])) / 3 offset 1w
  - alert: A
    for: 1h30m
    expr: |
      max_over_time(b[6h:1m]) > 600 and rate(c[2m] offset 1d) > 0
      description: 'waits 5m: see [here]'
";
    let expected = "\
groups:
- name: a:b
  interval: 1000ms
  rules:
  - record: a:ratio_rate5m
    expr: sum by (x) (rate(a_total{m=\"5m\"}[5000ms])) / 3 offset 10080000ms
  - alert: A
    for: 90000ms
    expr: |
      max_over_time(b[360000ms:4000ms]) > 600 and rate(c[4000ms] offset 1440000ms) > 0
      description: 'waits 5m: see [here]'
";
    assert_eq!(hurried(rules), expected);
}
