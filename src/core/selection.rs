//! Which runs are told of: by the workflow's name, and of those a share by
//! trace id.

use regex::Regex;

/// Which runs are told of.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    include: Option<Regex>,
    exclude: Option<Regex>,
    /// Traces whose random part is below this are left out.
    threshold: u64,
}

/// A selection that cannot be meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SelectionError {
    /// A share that is none.
    #[error("trace_ratio is {0}, but must be between 0 and 1")]
    Ratio(f64),
    /// More or longer patterns than make sense.
    #[error("the patterns of workflows are too many or too long")]
    Patterns,
}

/// The random bits of a trace id that decide, as OpenTelemetry's consistent
/// sampling has it: the last 56.
const RANDOM_BITS: u32 = 56;

impl Selection {
    /// Runs of workflows that fit a pattern of `include` (or any, when there is
    /// none) and none of `exclude`; of those, traces for this share. In a
    /// pattern `*` is any text and `?` any character.
    pub fn new(
        include: &[String],
        exclude: &[String],
        trace_ratio: f64,
    ) -> Result<Self, SelectionError> {
        if !(0.0..=1.0).contains(&trace_ratio) {
            return Err(SelectionError::Ratio(trace_ratio));
        }
        let whole = (1u64 << RANDOM_BITS) as f64;
        Ok(Self {
            include: any_of(include)?,
            exclude: any_of(exclude)?,
            threshold: ((1.0 - trace_ratio) * whole).round() as u64,
        })
    }

    /// Whether runs of this workflow are looked at.
    pub fn has_workflow(&self, workflow: &str) -> bool {
        self.include
            .as_ref()
            .is_none_or(|any| any.is_match(workflow))
            && !self
                .exclude
                .as_ref()
                .is_some_and(|any| any.is_match(workflow))
    }

    /// Whether the spans of this trace are sent.
    pub fn has_trace(&self, trace_id: &[u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g] = *trace_id;
        u64::from_be_bytes([0, a, b, c, d, e, f, g]) >= self.threshold
    }
}

fn any_of(patterns: &[String]) -> Result<Option<Regex>, SelectionError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let each: Vec<_> = patterns.iter().map(|pattern| expression(pattern)).collect();
    let all = format!("(?s)^(?:{})$", each.join("|"));
    Regex::new(&all)
        .map(Some)
        .map_err(|_| SelectionError::Patterns)
}

fn expression(pattern: &str) -> String {
    let mut expression = String::new();
    for character in pattern.chars() {
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(include), &owned(exclude), 1.0).unwrap()
    }

    #[test]
    fn a_pattern_fits_the_whole_name() {
        let only = selection(&["review*", "a?c", "x.y"], &[]);
        for name in ["review", "review_code", "abc", "x.y"] {
            assert!(only.has_workflow(name), "{name}");
        }
        for name in ["prereview", "abbc", "xzy", ""] {
            assert!(!only.has_workflow(name), "{name}");
        }
    }

    #[test]
    fn what_is_excluded_is_out_even_when_it_is_included() {
        let some = selection(&["review*"], &["*_test"]);
        assert!(some.has_workflow("review"));
        assert!(!some.has_workflow("review_test"));
        let all_but = selection(&[], &["health"]);
        assert!(all_but.has_workflow("review"));
        assert!(!all_but.has_workflow("health"));
    }

    #[test]
    fn a_share_of_traces_is_that_share_and_a_larger_one_holds_the_smaller() {
        let of = |ratio| Selection::new(&[], &[], ratio).unwrap();
        let (none, tenth, half, all) = (of(0.0), of(0.1), of(0.5), of(1.0));
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = [0; 4];
        for _ in 0..20_000 {
            let id = random.u128(..).to_be_bytes();
            for (count, some) in counts.iter_mut().zip([&none, &tenth, &half, &all]) {
                *count += u32::from(some.has_trace(&id));
            }
            assert!(!tenth.has_trace(&id) || half.has_trace(&id));
        }
        assert_eq!((counts[0], counts[3]), (0, 20_000));
        assert!((1_700..2_300).contains(&counts[1]), "{counts:?}");
        assert!((9_500..10_500).contains(&counts[2]), "{counts:?}");
        assert!(!none.has_trace(&[0xFF; 16]));
        assert!(all.has_trace(&[0; 16]));
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(Selection::new(&[], &[], ratio).is_err());
        }
    }
}
