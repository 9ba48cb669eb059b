//! The configured prices of models: what tokens cost when no server says it.

use serde::{Deserialize, Serialize};

use crate::wire::event::Usage;

/// Prices, as somebody took them from price lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceTable {
    /// The day on which they were taken, such as `2026-05-01`.
    pub taken: String,
    /// The prices; of those that fit a model the first one counts.
    pub entries: Vec<PriceEntry>,
}

/// What the models that fit a pattern cost, in US dollars for a million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceEntry {
    /// Which models: `*` is any text and `?` any character.
    pub model: String,
    /// Of which providers, likewise; without it of all.
    pub provider: Option<String>,
    /// Tokens in that no cache has to do with.
    pub input: f64,
    /// Tokens out.
    pub output: f64,
    /// Tokens in that were read from a cache.
    pub cache_read: f64,
    /// Tokens in that were written to a cache for five minutes, or for who knows how long.
    pub cache_write_5m: f64,
    /// Tokens in that were written to a cache for an hour.
    pub cache_write_1h: f64,
}

/// Tokens, sorted by price: no token is in two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PricedTokens {
    /// In, without those below.
    pub fresh: u64,
    /// In, read from a cache.
    pub cache_read: u64,
    /// In, written to a cache for five minutes, or for who knows how long.
    pub cache_write_5m: u64,
    /// In, written to a cache for an hour.
    pub cache_write_1h: u64,
    /// Out, reasoning included.
    pub output: u64,
}

impl PriceTable {
    /// The prices of a model, if there are any.
    pub fn entry(&self, provider: &str, model: &str) -> Option<&PriceEntry> {
        self.entries
            .iter()
            .find(|entry| entry.fits(provider, model))
    }
}

impl PriceEntry {
    /// What tokens cost, in US dollars.
    pub fn cost_usd(&self, tokens: &PricedTokens) -> f64 {
        let microdollars = tokens.fresh as f64 * self.input
            + tokens.cache_read as f64 * self.cache_read
            + tokens.cache_write_5m as f64 * self.cache_write_5m
            + tokens.cache_write_1h as f64 * self.cache_write_1h
            + tokens.output as f64 * self.output;
        microdollars / 1e6
    }

    fn fits(&self, provider: &str, model: &str) -> bool {
        let of_provider = |pattern: &String| fits(pattern, provider);
        fits(&self.model, model) && self.provider.as_ref().is_none_or(of_provider)
    }
}

impl PricedTokens {
    /// The input holds what was read from a cache and what was written to one; the
    /// output holds the reasoning. Parts that exceed their whole are cut: a server
    /// that counts otherwise must not be paid for twice.
    pub(super) fn of(usage: &Usage<'_>) -> Self {
        let hour = usage.cache_write_1h_tokens;
        let by_age = hour.saturating_add(usage.cache_write_5m_tokens);
        let left = usage.input_tokens;
        let cache_read = usage.cache_read_tokens.min(left);
        let left = left - cache_read;
        let written = usage.cache_write_tokens.max(by_age).min(left);
        let cache_write_1h = hour.min(written);
        Self {
            fresh: left - written,
            cache_read,
            cache_write_5m: written - cache_write_1h,
            cache_write_1h,
            output: usage.output_tokens,
        }
    }

    pub(super) const fn add(&mut self, more: &Self) {
        self.fresh = self.fresh.saturating_add(more.fresh);
        self.cache_read = self.cache_read.saturating_add(more.cache_read);
        self.cache_write_5m = self.cache_write_5m.saturating_add(more.cache_write_5m);
        self.cache_write_1h = self.cache_write_1h.saturating_add(more.cache_write_1h);
        self.output = self.output.saturating_add(more.output);
    }

    /// All of them, in and out.
    pub(super) fn sum(&self) -> u64 {
        let Self {
            fresh,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
        } = *self;
        [fresh, cache_read, cache_write_5m, cache_write_1h, output]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// Whether a whole name fits a pattern. Goes back to the last `*` only, which is
/// enough, and keeps the time within the product of the lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut star = None;
    loop {
        match (pattern.next(), name.clone().next()) {
            (Some('*'), _) => star = Some((pattern.clone(), name.clone())),
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                name.next();
            }
            (None, None) => return true,
            _ => {
                let Some((behind, rest)) = &mut star else {
                    return false;
                };
                if rest.next().is_none() {
                    return false;
                }
                pattern = behind.clone();
                name = rest.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(model: &str) -> PriceEntry {
        PriceEntry {
            model: model.to_owned(),
            provider: None,
            input: 3.0,
            output: 15.0,
            cache_read: 0.3,
            cache_write_5m: 3.75,
            cache_write_1h: 6.0,
        }
    }

    /// Input, read, written, of these for 5 minutes and for an hour; output, reasoning.
    fn usage(input: [u64; 5], output: [u64; 2]) -> Usage<'static> {
        let [input_tokens, read, written, written_5m, written_1h] = input;
        Usage {
            input_tokens,
            cache_read_tokens: read,
            cache_write_tokens: written,
            cache_write_5m_tokens: written_5m,
            cache_write_1h_tokens: written_1h,
            output_tokens: output[0],
            reasoning_tokens: output[1],
            ..Usage::default()
        }
    }

    /// Worked by hand, in millionths of a dollar: input 3, read 0.3, write 3.75
    /// and 6, output 15.
    #[test]
    fn no_part_is_counted_on_top_of_its_whole() {
        for (what, usage, microdollars) in [
            // 1000·3 + 200·15 = 3000 + 3000
            ("plain", usage([1_000, 0, 0, 0, 0], [200, 0]), 6_000.0),
            // 600·3 + 400·0.3 + 200·15 = 1800 + 120 + 3000
            (
                "a cache read",
                usage([1_000, 400, 0, 0, 0], [200, 0]),
                4_920.0,
            ),
            // 500·3 + 500·3.75 + 100·15 = 1500 + 1875 + 1500
            (
                "a write of 5m",
                usage([1_000, 0, 500, 500, 0], [100, 0]),
                4_875.0,
            ),
            // 500·3 + 500·6 + 100·15 = 1500 + 3000 + 1500
            (
                "a write of 1h",
                usage([1_000, 0, 500, 0, 500], [100, 0]),
                6_000.0,
            ),
            // 4000·3 + 4000·0.3 + 1500·3.75 + 500·6 + 1000·15
            // = 12000 + 1200 + 5625 + 3000 + 15000
            (
                "all of it",
                usage([10_000, 4_000, 2_000, 1_500, 500], [1_000, 300]),
                36_825.0,
            ),
            // An age of 300 of the 500 is not told: 500·3 + 300·3.75 + 200·6 = 1500 + 1125 + 1200
            (
                "writes of unknown age",
                usage([1_000, 0, 500, 0, 200], [0, 0]),
                3_825.0,
            ),
            // Only the ages are told, not their sum: 400·3 + 400·3.75 + 200·6 = 1200 + 1500 + 1200
            (
                "ages without their sum",
                usage([1_000, 0, 0, 400, 200], [0, 0]),
                3_900.0,
            ),
            // 200·15, of which 150 were reasoning
            ("reasoning", usage([0, 0, 0, 0, 0], [200, 150]), 3_000.0),
            // All of the input came from the cache: 1000·0.3
            (
                "nothing fresh",
                usage([1_000, 1_000, 0, 0, 0], [0, 0]),
                300.0,
            ),
            // Parts beyond the whole: 1000·0.3, and nothing is left for the writes
            (
                "more read than there was",
                usage([1_000, 1_500, 500, 0, 500], [0, 0]),
                300.0,
            ),
            // 400·0.3 + 600·6, and nothing fresh
            (
                "more written than was left",
                usage([1_000, 400, 900, 0, 900], [0, 0]),
                3_720.0,
            ),
            // More of an hour than was written at all: the ages count. 500·3 + 500·6
            (
                "more aged than written",
                usage([1_000, 0, 100, 0, 500], [0, 0]),
                4_500.0,
            ),
            ("nothing", usage([0; 5], [0, 0]), 0.0),
        ] {
            let tokens = PricedTokens::of(&usage);
            let cost = entry("*").cost_usd(&tokens);
            assert!((cost * 1e6 - microdollars).abs() < 1e-6, "{what}: {cost}");
            let whole = usage.input_tokens + usage.output_tokens;
            assert_eq!(tokens.sum(), whole, "{what}: each token stands once");
        }
    }

    #[test]
    fn the_largest_counts_there_are_add_up_to_no_less() {
        let most = usage([u64::MAX; 5], [u64::MAX; 2]);
        let mut tokens = PricedTokens::of(&most);
        tokens.add(&PricedTokens::of(&most));
        assert_eq!(tokens.sum(), u64::MAX);
        assert!(entry("*").cost_usd(&tokens).is_finite());
    }

    #[test]
    fn the_first_entry_that_fits_counts() {
        let of = |model: &str, provider: Option<&str>, input| PriceEntry {
            provider: provider.map(str::to_owned),
            input,
            ..entry(model)
        };
        let table = PriceTable {
            taken: "2026-05-01".to_owned(),
            entries: vec![
                of("gpt-5-mini*", None, 1.0),
                of("gpt-5*", Some("azure*"), 2.0),
                of("gpt-5*", None, 3.0),
                of("gpt-5-nano", None, 4.0),
            ],
        };
        let input = |provider, model| table.entry(provider, model).map(|entry| entry.input);
        assert_eq!(input("openai", "gpt-5-mini-2026"), Some(1.0));
        assert_eq!(input("azure.openai", "gpt-5"), Some(2.0));
        assert_eq!(input("openai", "gpt-5"), Some(3.0));
        assert_eq!(input("openai", "gpt-5-nano"), Some(3.0));
        assert_eq!(input("openai", "o3"), None);
    }

    #[test]
    fn a_pattern_fits_the_whole_name() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "anything"),
            ("claude-*", "claude-"),
            ("claude-*-5", "claude-sonnet-4-5-5"),
            ("*a*b*", "xxaxxbxx"),
            ("gpt-?", "gpt-5"),
            ("gpt-?", "gpt-ü"),
            ("a.b", "a.b"),
            ("", ""),
            ("a**", "a"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("claude", "claude-3"),
            ("claude", "my-claude"),
            ("gpt-?", "gpt-"),
            ("gpt-?", "gpt-55"),
            ("a.b", "axb"),
            ("*a*b", "xxaxxbxx"),
            ("*ab", "aab b"),
            ("", "a"),
            ("Claude", "claude"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
