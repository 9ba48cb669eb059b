//! The models that the scripts use, and what they cost.

use fastrand::Rng;

use super::event::Usage;

/// A model of a provider. Prices are in US dollars for a million tokens.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) provider: &'static str,
    pub(super) name: &'static str,
    input_price: f64,
    cached_price: f64,
    output_price: f64,
    /// How this provider says that an answer is complete.
    pub(super) stop_reason: &'static str,
    /// Whether it thinks aloud before it answers.
    pub(super) thinks: bool,
}

pub(super) const SONNET: Model = Model {
    provider: "anthropic",
    name: "claude-sonnet-4-5",
    input_price: 3.0,
    cached_price: 0.3,
    output_price: 15.0,
    stop_reason: "end_turn",
    thinks: true,
};
pub(super) const HAIKU: Model = Model {
    provider: "anthropic",
    name: "claude-haiku-4-5",
    input_price: 1.0,
    cached_price: 0.1,
    output_price: 5.0,
    stop_reason: "end_turn",
    thinks: false,
};
pub(super) const GPT: Model = Model {
    provider: "openai",
    name: "gpt-5",
    input_price: 1.25,
    cached_price: 0.125,
    output_price: 10.0,
    stop_reason: "stop",
    thinks: true,
};
pub(super) const GPT_MINI: Model = Model {
    provider: "openai",
    name: "gpt-5-mini",
    input_price: 0.25,
    cached_price: 0.025,
    output_price: 2.0,
    stop_reason: "stop",
    thinks: false,
};
pub(super) const PRO: Model = Model {
    provider: "gemini",
    name: "gemini-2.5-pro",
    input_price: 1.25,
    cached_price: 0.31,
    output_price: 10.0,
    stop_reason: "STOP",
    thinks: true,
};
pub(super) const FLASH: Model = Model {
    provider: "gemini",
    name: "gemini-2.5-flash",
    input_price: 0.3,
    cached_price: 0.075,
    output_price: 2.5,
    stop_reason: "STOP",
    thinks: false,
};
pub(super) const MISTRAL: Model = Model {
    provider: "mistral",
    name: "mistral-medium-latest",
    input_price: 0.4,
    cached_price: 0.4,
    output_price: 2.0,
    stop_reason: "stop",
    thinks: false,
};

const MODELS: [&Model; 7] = [&SONNET, &HAIKU, &GPT, &GPT_MINI, &PRO, &FLASH, &MISTRAL];

impl Model {
    /// What a call with so many tokens used: a part of the input was cached, and
    /// Anthropic tells what was written to its cache.
    pub(super) fn usage(&self, rng: &mut Rng, input: u64, output: u64, thought: u64) -> Usage {
        let cached = match rng.u8(..3) {
            0 => 0,
            _ => input * rng.u64(40..85) / 100 / 64 * 64,
        };
        let caches_aloud = self.provider == "anthropic";
        let written = if caches_aloud && cached == 0 && input > 1_500 {
            input / 2
        } else {
            0
        };
        Usage {
            input_tokens: input,
            output_tokens: output + thought,
            model: self.name,
            provider: self.provider,
            cached_input_tokens: cached,
            cache_write_input_tokens: written,
            cache_write_5m_input_tokens: written,
            cache_write_1h_input_tokens: 0,
            stop_reason: Some(self.stop_reason),
            raw_stop_reason: Some(self.stop_reason),
            reasoning_tokens: thought,
        }
    }
}

/// What it cost, in US dollars.
pub(in crate::sim) fn cost_usd(usage: &Usage) -> f64 {
    let Some(model) = MODELS.iter().find(|model| model.name == usage.model) else {
        return 0.0;
    };
    let fresh = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_input_tokens;
    let microdollars = fresh as f64 * model.input_price
        + usage.cached_input_tokens as f64 * model.cached_price
        + usage.cache_write_input_tokens as f64 * model.input_price * 1.25
        + usage.output_tokens as f64 * model.output_price;
    microdollars.round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_counts_each_token_once_and_at_its_own_price() {
        let usage = Usage {
            input_tokens: 10_000,
            cached_input_tokens: 4_000,
            cache_write_input_tokens: 2_000,
            output_tokens: 1_000,
            ..SONNET.usage(&mut Rng::with_seed(1), 0, 0, 0)
        };
        let expected = 4_000.0 * 3.0 + 4_000.0 * 0.3 + 2_000.0 * 3.75 + 1_000.0 * 15.0;
        assert_eq!(cost_usd(&usage), expected / 1e6);
    }

    #[test]
    fn parts_of_the_input_never_exceed_it() {
        let mut rng = Rng::with_seed(7);
        for model in MODELS {
            for _ in 0..200 {
                let input = rng.u64(..20_000);
                let usage = model.usage(&mut rng, input, 100, 20);
                assert!(usage.cached_input_tokens + usage.cache_write_input_tokens <= input);
                assert!(usage.reasoning_tokens <= usage.output_tokens);
            }
        }
    }
}
