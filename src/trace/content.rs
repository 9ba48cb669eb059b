//! What may leave the process of the texts that people and models write.
//!
//! Secrets are looked for in the whole text first, and the text is cut second, so
//! a secret that straddles the cut is still seen. When the text in hand is itself
//! only a beginning, a secret may straddle its end: nothing from the last
//! [`REDACTION_MARGIN_BYTES`] of it leaves.
//!
//! Rules mark ranges of the text as it came, and do not see each other's work.

use std::borrow::Cow;
use std::ops::Range;

use regex::Regex;
use thiserror::Error;

use crate::limits::{MESSAGE_BYTES_MAX, REDACTION_MARGIN_BYTES};
use crate::wire::event::Content;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// Whether content leaves, and how it is made safe.
#[derive(Debug, Clone)]
pub struct ContentPolicy {
    capture: bool,
    rules: Vec<Rule>,
    content_bytes_max: usize,
}

/// One kind of secret.
#[derive(Debug, Clone)]
pub struct Rule {
    pattern: Regex,
    /// Whether the pattern has a group called `secret`, which is then all that goes.
    has_group: bool,
}

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// It is no regular expression.
    #[error(
        "the redaction rule `{pattern}` is not a regular expression in the syntax of Rust's `regex` crate: {reason}"
    )]
    Syntax {
        /// The rule as it was written.
        pattern: String,
        /// What the parser says.
        reason: String,
    },
    /// It finds secrets where there is nothing.
    #[error(
        "the redaction rule `{pattern}` matches the empty text; write it so that it matches at least one character"
    )]
    MatchesNothing {
        /// The rule as it was written.
        pattern: String,
    },
}

impl Rule {
    /// Reads a rule. Where the pattern has a group called `secret`, only that
    /// group is replaced, else all that matches.
    pub fn parse(pattern: &str) -> Result<Self, RuleError> {
        let regex = Regex::new(pattern).map_err(|error| RuleError::Syntax {
            pattern: pattern.to_owned(),
            reason: last_line(&error.to_string()),
        })?;
        if regex.is_match("") {
            return Err(RuleError::MatchesNothing {
                pattern: pattern.to_owned(),
            });
        }
        Ok(Self {
            has_group: regex.capture_names().flatten().any(|name| name == SECRET),
            pattern: regex,
        })
    }

    fn mark(&self, text: &str, secrets: &mut Vec<Range<usize>>) {
        if self.has_group {
            let found = self.pattern.captures_iter(text);
            secrets.extend(found.filter_map(|found| Some(found.name(SECRET)?.range())));
        } else {
            secrets.extend(self.pattern.find_iter(text).map(|found| found.range()));
        }
    }
}

impl ContentPolicy {
    /// The built-in rules, and the user's after them.
    pub fn new(
        capture: bool,
        user_rules: &[impl AsRef<str>],
        content_bytes_max: usize,
    ) -> Result<Self, RuleError> {
        let user_rules = user_rules.iter().map(AsRef::as_ref);
        let rules = BUILT_IN.iter().copied().chain(user_rules).map(Rule::parse);
        Ok(Self {
            capture,
            rules: rules.collect::<Result<_, _>>()?,
            content_bytes_max,
        })
    }

    /// Whether content leaves at all.
    pub fn captures(&self) -> bool {
        self.capture
    }

    /// The text without its secrets.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.redact_and_cut(text, text.len(), usize::MAX).0
    }

    /// An error message, which always leaves: redacted, and cut.
    pub fn message<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.leaving(text, false, MESSAGE_BYTES_MAX).0
    }

    /// A piece of content, redacted and cut, and whether anything was cut off.
    /// `truncated` says that the text in hand is only a beginning. This does not
    /// ask whether content leaves at all.
    pub fn content<'t>(&self, text: &'t str, truncated: bool) -> (Cow<'t, str>, bool) {
        self.leaving(text, truncated, self.content_bytes_max)
    }

    /// The text of a [`Content`] as it may leave, if it may.
    pub fn captured<'t>(&self, content: &'t Content<'_>) -> Option<(Cow<'t, str>, bool)> {
        let text = content.text.as_deref().filter(|_| self.capture)?;
        Some(self.content(text, (text.len() as u64) < content.bytes))
    }

    /// Looks at no more than it needs. A text that fills all the room there is
    /// may have been cut by whoever made the room.
    fn leaving<'t>(
        &self,
        text: &'t str,
        truncated: bool,
        bytes_max: usize,
    ) -> (Cow<'t, str>, bool) {
        const CHAR_BYTES_MAX: usize = 4;
        let room = bytes_max.saturating_add(REDACTION_MARGIN_BYTES);
        let truncated = truncated || text.len().saturating_add(CHAR_BYTES_MAX) > room;
        let seen = cut(text, room);
        let safe = if truncated {
            cut(seen, seen.len().saturating_sub(REDACTION_MARGIN_BYTES)).len()
        } else {
            seen.len()
        };
        let (text, cut) = self.redact_and_cut(seen, safe, bytes_max);
        (text, cut || truncated)
    }

    /// Secrets are looked for in all of `text`; what leaves comes from its first
    /// `safe` bytes, and is at most `bytes_max` long.
    fn redact_and_cut<'t>(
        &self,
        text: &'t str,
        safe: usize,
        bytes_max: usize,
    ) -> (Cow<'t, str>, bool) {
        let mut secrets = Vec::new();
        for rule in &self.rules {
            rule.mark(text, &mut secrets);
        }
        secrets.retain(|secret| secret.start < safe && !secret.is_empty());
        if secrets.is_empty() {
            let kept = cut(&text[..safe], bytes_max);
            return (Cow::Borrowed(kept), kept.len() < text.len());
        }
        secrets.sort_unstable_by_key(|secret| (secret.start, secret.end));
        let mut out = String::with_capacity(safe.min(bytes_max));
        let mut from = 0;
        for secret in secrets {
            if secret.start >= from {
                out.push_str(&text[from..secret.start]);
                out.push_str(REDACTED);
            }
            from = from.max(secret.end);
        }
        out.push_str(text.get(from..safe).unwrap_or_default());
        let kept = cut(&out, bytes_max).len();
        let was_cut = kept < out.len() || safe < text.len();
        out.truncate(kept);
        (Cow::Owned(out), was_cut)
    }
}

/// The longest beginning of a text within a size, ending between characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The name of the group that holds the secret.
const SECRET: &str = "secret";

/// A pattern after a name that says that its value is secret.
macro_rules! named {
    ($plural:literal, $rest:literal) => {
        concat!(
            "(?i)(?:password|passwd|passphrase|pwd|secret|credential|token",
            "|(?:api|access|private|auth)[_-]?key)",
            $plural,
            "(?:[_-](?:key|value))?",
            $rest
        )
    };
}

/// The kinds of secrets that are known by their looks. A letter after a backslash
/// may stand before one: contents are often JSON, with its escapes.
const BUILT_IN: [&str; 13] = [
    // A private key, to its end or to the end of the text.
    concat!(
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?",
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    // What follows `authorization`, with or without its scheme.
    concat!(
        r#"(?i)authorization["'\\]*\s*[:=]\s*["'\\]*"#,
        r#"(?P<secret>(?:(?:bearer|basic|digest|token|negotiate|apikey)\s+)?[^\s"'\\,;]+)"#,
    ),
    // The cookies of a header.
    r#"(?i)cookie["'\\]*\s*:\s*["'\\]*(?P<secret>[^"'\\\r\n]+)"#,
    // A bearer token anywhere.
    r"(?i)(?:\b|\\[nrt])bearer\s+(?P<secret>[a-z0-9._~+/=-]{6,})",
    // Basic credentials anywhere, told from a plain word by their letters.
    r"(?:\b|\\[nrt])(?i:basic)\s+(?P<secret>[A-Za-z0-9+/][a-z]*[A-Z0-9+/=][A-Za-z0-9+/=]{4,})",
    // A JSON web token; its signature may be missing.
    r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*",
    // Keys of OpenAI, Anthropic, Stripe and those who copied them.
    r"(?:\b|\\[nrt])(?P<secret>[spr]k[-_][A-Za-z0-9_-]{10,})",
    // AWS key ids; GitHub, GitLab, Slack, Google, Hugging Face, npm.
    concat!(
        r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}",
        r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}",
        r"|xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]+",
        r"|AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{10,}",
        r"|hf_[A-Za-z0-9]{16,}|npm_[A-Za-z0-9]{30,}",
    ),
    // The user and password of a URL.
    r#"(?i)[a-z][a-z0-9+.-]*://(?P<secret>[^\s/?#"'<>]+)@"#,
    // A value in double quotes whose name says that it is secret.
    named!("s?", r#"["']?\s*[:=]\s*"(?P<secret>(?:[^"\\]|\\.)+)"#),
    // The same, in JSON that stands in a JSON string.
    named!(
        "s?",
        r#"(?:\\+")?\s*[:=]\s*\\+"(?P<secret>(?:[^"\\]|\\\\(?:\\.|[^\\])|\\[^"\\])+)"#
    ),
    // The same, in single quotes.
    named!("s?", r#"["']?\s*[:=]\s*'(?P<secret>[^']+)"#),
    // The same, without quotes. `tokens: 512` is a count, not a secret.
    named!("", r#"["'\\]*\s*[:=]\s*(?P<secret>[^\s"'\\,;&(){}\[\]]+)"#),
];

/// The parser draws the pattern over several lines; what is wrong stands in the last.
fn last_line(error: &str) -> String {
    let line = error.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    const NO_RULES: &[&str] = &[];
    const CONTENT_BYTES_MAX: usize = 512;

    fn policy() -> &'static ContentPolicy {
        static POLICY: LazyLock<ContentPolicy> =
            LazyLock::new(|| ContentPolicy::new(true, NO_RULES, CONTENT_BYTES_MAX).unwrap());
        &POLICY
    }

    #[test]
    fn the_common_secrets_go_and_what_names_them_stays() {
        let policy = policy();
        for (text, redacted) in [
            ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
            (
                r#"{"authorization":"Basic dXNlcjpwYXNz","a":1}"#,
                r#"{"authorization":"[redacted]","a":1}"#,
            ),
            (
                r#""said\nBearer abcdef123""#,
                r#""said\nBearer [redacted]""#,
            ),
            ("sent basic dXNlcjpwYXNz", "sent basic [redacted]"),
            ("Set-Cookie: sid=31; Secure", "Set-Cookie: [redacted]"),
            ("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln rest", "[redacted] rest"),
            ("the key sk-ant-api03-AbCdEf123456!", "the key [redacted]!"),
            (r#""see\nsk-proj-0123456789""#, r#""see\n[redacted]""#),
            ("sk_live_0123456789abcdef", "[redacted]"),
            ("id=AKIAIOSFODNN7EXAMPLE.", "id=[redacted]."),
            ("ghp_0123456789abcdefABCDEF", "[redacted]"),
            ("github_pat_11ABCDEFG0123456789", "[redacted]"),
            ("xoxb-123456789012-abcdef", "[redacted]"),
            ("AIzaSyA-0123456789_0123456789_012345678", "[redacted]"),
            (
                "postgres://me:p@ss@db:5432/x",
                "postgres://[redacted]@db:5432/x",
            ),
            (
                "password = hunter2, user = me",
                "password = [redacted], user = me",
            ),
            (
                r#"{"db_password": "a \"b\" c", "n": 1}"#,
                r#"{"db_password": "[redacted]", "n": 1}"#,
            ),
            (
                r#""{\"client_secret\":\"a\\\"b\",\"n\":1}""#,
                r#""{\"client_secret\":\"[redacted]\",\"n\":1}""#,
            ),
            ("{'api_key': 'x y z'}", "{'api_key': '[redacted]'}"),
            ("?token=abc&x=1", "?token=[redacted]&x=1"),
            ("X-Api-Key: 0a1b2c", "X-Api-Key: [redacted]"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend",
                "[redacted]\nend",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMIIE and no end", "[redacted]"),
        ] {
            assert_eq!(policy.redact(text), redacted);
        }
    }

    #[test]
    fn plain_words_and_counts_stay_and_nothing_is_copied() {
        for text in [
            "basic validation failed for the task-management-system",
            "max_tokens: 4096 exceeded, input_tokens=12",
            "a risk-assessment-of-everything at https://example.com/a@b",
            "Basic Validation",
            "",
        ] {
            let redacted = policy().redact(text);
            assert_eq!(redacted, text);
            assert!(matches!(redacted, Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_rule_of_the_users_own_replaces_its_group_or_all_that_it_matches() {
        let rules = [r"customer-\d+", r"iban (?P<secret>\w+)"];
        let policy = ContentPolicy::new(true, &rules, 100).unwrap();
        assert_eq!(
            policy.redact("customer-17, iban DE89"),
            "[redacted], iban [redacted]"
        );
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_refused_with_a_sentence_that_names_it() {
        let error = Rule::parse("a(b").unwrap_err().to_string();
        assert_eq!(
            error,
            "the redaction rule `a(b` is not a regular expression in the syntax of Rust's `regex` crate: unclosed group"
        );
        let error = Rule::parse("x*").unwrap_err().to_string();
        assert!(error.contains("`x*` matches the empty text"), "{error}");
    }

    #[test]
    fn secrets_that_overlap_become_one_mark_and_leave_no_rest() {
        let rules = ["bcd", "cde", "c"];
        let policy = ContentPolicy::new(true, &rules, 100).unwrap();
        assert_eq!(policy.redact("abcdef"), "a[redacted]f");
    }

    #[test]
    fn content_is_cut_between_characters_and_says_so() {
        let text = "é".repeat(CONTENT_BYTES_MAX);
        let policy = ContentPolicy::new(true, NO_RULES, 5).unwrap();
        assert_eq!(policy.content(&text, false), (Cow::Borrowed("éé"), true));
        assert_eq!(policy.content("éé", false), (Cow::Borrowed("éé"), false));
    }

    #[test]
    fn of_a_beginning_the_end_never_leaves() {
        let text = "x".repeat(REDACTION_MARGIN_BYTES + 3);
        assert_eq!(policy().content(&text, true), (Cow::Borrowed("xxx"), true));
        assert_eq!(policy().content("short", true), (Cow::Borrowed(""), true));
    }

    #[test]
    fn content_leaves_only_with_capture() {
        let content = Content {
            bytes: 5,
            text: Some("hello".into()),
        };
        let closed = ContentPolicy::new(false, NO_RULES, 10).unwrap();
        assert_eq!(closed.captured(&content), None);
        assert_eq!(policy().captured(&content), Some(("hello".into(), false)));
        let beginning = Content {
            bytes: 6,
            ..content
        };
        assert_eq!(policy().captured(&beginning), Some(("".into(), true)));
    }

    fn secrets() -> impl Strategy<Value = (String, String)> {
        let body = "[A-Za-z0-9]{24,60}";
        prop_oneof![
            ("Authorization: (Bearer |Basic |)", body),
            ("Bearer ", body),
            ("", "sk-(ant-|proj-|)[A-Za-z0-9]{24,60}"),
            ("", "AKIA[0-9A-Z]{16}"),
            ("", "gh[po]_[A-Za-z0-9]{36}"),
            ("", "xoxb-[0-9]{12}-[A-Za-z0-9]{24}"),
            ("", "AIza[A-Za-z0-9_-]{35}"),
            (
                "",
                "eyJ[A-Za-z0-9]{20}\\.eyJ[A-Za-z0-9]{40}\\.[A-Za-z0-9]{30}"
            ),
            (
                "(password|db_secret|api_key|access-token)(=|: |\": \"|': ')",
                body
            ),
            (
                "-----BEGIN (RSA |)PRIVATE KEY-----\n",
                "[A-Za-z0-9+/\n]{1000}"
            ),
        ]
    }

    proptest! {
        #[test]
        fn no_planted_secret_survives_wherever_it_stands(
            (name, secret) in secrets(),
            // Before the cut, across it, in the margin, across the end of what is held.
            before in prop_oneof![
                0usize..CONTENT_BYTES_MAX,
                CONTENT_BYTES_MAX - 80..CONTENT_BYTES_MAX + 80,
                CONTENT_BYTES_MAX + REDACTION_MARGIN_BYTES - 1_100..CONTENT_BYTES_MAX + REDACTION_MARGIN_BYTES + 10,
            ],
            after in 0usize..6_000,
            held in prop_oneof![
                Just(usize::MAX),
                Just(CONTENT_BYTES_MAX + REDACTION_MARGIN_BYTES),
                1usize..6_000,
            ],
        ) {
            let filler = |n: usize| "läuft gut; ".chars().cycle().take(n).collect::<String>();
            let whole = format!("{} {name}{secret} {}", filler(before), filler(after));
            let text = cut(&whole, held);
            let truncated = text.len() < whole.len();
            let policy = policy();
            let (leaves, was_cut) = policy.content(text, truncated);
            prop_assert!(leaves.len() <= CONTENT_BYTES_MAX);
            prop_assert!(was_cut || !truncated);
            // Nothing of it, beyond what a prefix such as `sk-proj-` gives away.
            for part in secret.as_bytes().windows(8).step_by(3) {
                let part = std::str::from_utf8(part).unwrap();
                prop_assert!(!leaves.contains(part), "{part} of {secret} is in {leaves}");
            }
            let message = policy.message(text);
            prop_assert!(message.len() <= MESSAGE_BYTES_MAX);
            if !truncated {
                prop_assert!(!message.contains(&secret[..12]), "{message}");
                prop_assert!(!policy.redact(text).contains(&secret[..12]));
            }
        }

        #[test]
        fn any_text_is_bounded_and_a_text_without_secrets_keeps_its_beginning(text in "[ a-z\\n]{0,2000}", truncated in any::<bool>()) {
            let policy = policy();
            prop_assume!(policy.redact(&text) == text);
            let (leaves, was_cut) = policy.content(&text, truncated);
            prop_assert!(text.starts_with(&*leaves));
            prop_assert_eq!(was_cut, truncated || leaves.len() < text.len());
        }

        #[test]
        fn redaction_takes_any_text(text in any::<String>(), truncated in any::<bool>()) {
            policy().content(&text, truncated);
        }
    }
}
