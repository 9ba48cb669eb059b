//! The cell of a histogram. That of `prometheus` cannot go on from counts of
//! before, which a restart needs; all else is the same, and a test holds the
//! two against each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::proto;
use serde::{Deserialize, Serialize};

/// One histogram.
pub(super) struct Histogram {
    bounds: &'static [f64],
    state: Mutex<HistogramState>,
}

/// What it has counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HistogramState {
    /// For each bucket, what lies in it and in none before; the last has no bound.
    pub(super) counts: Box<[u64]>,
    /// All values together.
    pub(super) sum: f64,
}

impl Histogram {
    /// An empty one with these upper bounds, which rise.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let state = HistogramState {
            counts: vec![0; bounds.len() + 1].into(),
            sum: 0.0,
        };
        Self {
            bounds,
            state: Mutex::new(state),
        }
    }

    /// Counts a value. A bound belongs to its bucket.
    pub(super) fn observe(&self, value: f64) {
        let place = self.place(value);
        let mut state = self.state();
        // The places are those of the bounds, and one more.
        state.counts[place] = state.counts[place].saturating_add(1);
        state.sum += value;
    }

    /// The bucket of a value.
    pub(super) fn place(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    /// The upper bounds of its buckets, but for the last, which has none.
    pub(super) const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// What it has counted.
    pub(super) fn read(&self) -> HistogramState {
        self.state().clone()
    }

    /// Adds what another one with these bounds had counted; whether it fits.
    pub(super) fn restore(&self, counted: &HistogramState) -> bool {
        let mut state = self.state();
        let fits = counted.counts.len() == state.counts.len() && counted.sum.is_finite();
        if fits {
            for (count, more) in state.counts.iter_mut().zip(&counted.counts) {
                *count = count.saturating_add(*more);
            }
            state.sum += counted.sum;
        }
        fits
    }

    /// It as it is exposed: each bucket holds those before it, and the one
    /// without bound is left to the text format.
    pub(super) fn metric(&self) -> proto::Metric {
        let HistogramState { counts, sum } = self.read();
        let mut cumulative = 0u64;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (bound, count) in self.bounds.iter().zip(&counts) {
            cumulative = cumulative.saturating_add(*count);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(
            counts
                .iter()
                .fold(0, |all, count| all.saturating_add(*count)),
        );
        histogram.set_sample_sum(sum);
        histogram.set_bucket(buckets);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        metric
    }

    /// A thread that panicked while it held the lock cannot have left much
    /// undone: a count without its value at most.
    fn state(&self) -> MutexGuard<'_, HistogramState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;
    use prometheus::core::Metric as _;
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: &[f64] = &[0.1, 0.25, 1.0];

    proptest! {
        #[test]
        fn it_is_exposed_as_that_of_the_library_is(
            values in prop::collection::vec(
                prop_oneof![Just(0.0), Just(0.1), Just(0.25), Just(1.0), 0.0..2.0f64],
                0..40,
            ),
        ) {
            let opts = HistogramOpts::new("x", "x").buckets(BOUNDS.to_vec());
            let theirs = prometheus::Histogram::with_opts(opts).unwrap();
            let ours = Histogram::new(BOUNDS);
            for value in values {
                theirs.observe(value);
                ours.observe(value);
            }
            prop_assert_eq!(
                format!("{:?}", ours.metric()),
                format!("{:?}", theirs.metric())
            );
        }

        #[test]
        fn one_that_goes_on_is_to_the_bit_as_one_that_never_stopped(
            values in prop::collection::vec(0.0..2.0f64, 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let (before, after) = values.split_at(cut.index(values.len() + 1));
            let [whole, first, second] = [(); 3].map(|()| Histogram::new(BOUNDS));
            values.iter().for_each(|value| whole.observe(*value));
            before.iter().for_each(|value| first.observe(*value));
            prop_assert!(second.restore(&first.read()));
            after.iter().for_each(|value| second.observe(*value));
            prop_assert_eq!(whole.read(), second.read());
        }
    }

    #[test]
    fn counts_of_other_buckets_and_a_sum_that_is_none_are_not_taken() {
        let histogram = Histogram::new(BOUNDS);
        for (buckets, sum) in [(3, 1.0), (5, 1.0), (4, f64::NAN), (4, f64::INFINITY)] {
            let counted = HistogramState {
                counts: vec![1; buckets].into(),
                sum,
            };
            assert!(!histogram.restore(&counted));
        }
        assert_eq!(histogram.read(), Histogram::new(BOUNDS).read());
    }
}
