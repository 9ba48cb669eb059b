//! What a run cost. The server's own figure counts where there is one, else the
//! configured prices do; zero is what a server says that does not know.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::finished::RunFacts;
use super::names;
use super::prices::{PriceTable, PricedTokens};
use crate::wire::event::Usage;
use crate::wire::rows::{CostOfTask, RowStatus};

/// Where a cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CostBasis {
    /// The server tells it.
    Server,
    /// The configured prices tell it.
    PriceTable,
}

/// What a run cost, as far as anybody knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunCost {
    /// The whole, where it is known.
    pub total: Option<TotalCost>,
    /// Tokens of models that have no price, while prices are what it goes by.
    pub unpriced_tokens: u64,
    /// The parts, which add up to the whole.
    pub by_model: Vec<ModelCost>,
    /// The models that have no price.
    pub unpriced: Vec<UnpricedModel>,
}

/// The cost of a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TotalCost {
    /// In US dollars.
    pub usd: f64,
    /// Who says so.
    pub basis: CostBasis,
}

/// What one model cost in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCost {
    /// Who served it.
    pub provider: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// In US dollars.
    pub usd: f64,
}

/// A model whose tokens have no price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpricedModel {
    /// Who served it.
    pub provider: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// Its tokens, in and out.
    pub tokens: u64,
}

/// What the cost of a run is made of when its server tells none: the tokens that
/// were counted of it, and what its end said. It follows what the metrics count,
/// so that cost by tokens is a price.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    by_model: BTreeMap<Model, PricedTokens>,
    told_usd: f64,
}

/// A provider and its model.
type Model = (Arc<str>, Arc<str>);

/// A provider or model that is not known, and those beyond a bound.
const UNKNOWN: &str = "unknown";
const OTHER: &str = "__other__";

/// A provider for tests, whose answers are made up and cost nothing.
const MOCK: &str = "mock";

/// How far a server's figures may be apart because it rounds each task's to a
/// millionth of a dollar.
const ROUNDING_USD: f64 = 1e-6;

impl CostBasis {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Server, Self::PriceTable];

    /// The value of the label `basis` and of the attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::PriceTable => "price_table",
        }
    }
}

impl RunCost {
    /// What is known of a run's cost at its end.
    pub(super) fn of(facts: Option<&RunFacts>, spent: &Spent, prices: Option<&PriceTable>) -> Self {
        let row = facts.and_then(|facts| facts.row.as_ref());
        let tasks = facts.map_or(&[][..], |facts| &facts.tasks);
        let parts = spent.parts(tasks);
        let sum: f64 = parts.values().sum();
        let told = [
            // While the server goes on with the run, its figure is a part.
            row.filter(|row| !matches!(row.status, RowStatus::Open { .. }))
                .and_then(|row| row.cost_usd),
            Some(sum),
            Some(spent.told_usd),
        ];
        let mut told = told.into_iter().flatten();
        match told.find(|usd| is_told(*usd)) {
            Some(usd) => Self::told(usd, spent.split(usd, parts, tasks.len())),
            None => prices.map_or_else(Self::default, |prices| spent.priced(prices)),
        }
    }

    /// The whole alone, for whoever counts no parts any more.
    pub(super) fn without_models(&self) -> Self {
        Self {
            total: self.total,
            unpriced_tokens: self.unpriced_tokens,
            ..Self::default()
        }
    }

    fn told(usd: f64, parts: BTreeMap<Model, f64>) -> Self {
        let basis = CostBasis::Server;
        Self {
            total: Some(TotalCost { usd, basis }),
            by_model: parts.into_iter().map(ModelCost::from).collect(),
            ..Self::default()
        }
    }
}

impl Spent {
    /// Counts what a task used.
    pub(super) fn add(&mut self, usage: &Usage<'_>, names_max: usize) {
        let mut model: Model = (Arc::from(&*usage.provider), Arc::from(&*usage.model));
        if self.by_model.len() >= names_max && !self.by_model.contains_key(&model) {
            model = (Arc::from(OTHER), Arc::from(OTHER));
        }
        let tokens = self.by_model.entry(model).or_default();
        tokens.add(&PricedTokens::of(usage));
    }

    /// The run's end told its cost.
    pub(super) const fn tell(&mut self, usd: f64) {
        self.told_usd = usd;
    }

    /// What it holds, roughly, in bytes.
    pub(super) fn bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 192;
        self.by_model.len() * ENTRY_BYTES
    }

    /// What the rows of the tasks say, by model.
    fn parts(&self, tasks: &[CostOfTask]) -> BTreeMap<Model, f64> {
        let mut parts = BTreeMap::new();
        for task in tasks {
            if let Some(usd) = task.cost_usd.filter(|usd| is_told(*usd)) {
                *parts.entry(self.model_of(task)).or_default() += usd;
            }
        }
        parts
    }

    /// The model of a task's row, under the names that its tokens have. What the
    /// row does not tell, the tokens may.
    fn model_of(&self, task: &CostOfTask) -> Model {
        let Some(model) = task.model.as_deref() else {
            return self.rest();
        };
        let model = names::kept(model);
        if let Some(provider) = task.provider.as_deref() {
            return (names::kept(provider), model);
        }
        let mut used = self.by_model.keys().filter(|(_, used)| *used == model);
        match (used.next(), used.next()) {
            (Some(only), None) => only.clone(),
            _ => (Arc::from(UNKNOWN), model),
        }
    }

    /// The model of what no row tells: the only one that was used, if it was one.
    fn rest(&self) -> Model {
        match self.by_model.first_key_value() {
            Some((only, _)) if self.by_model.len() == 1 => only.clone(),
            _ => (Arc::from(UNKNOWN), Arc::from(UNKNOWN)),
        }
    }

    /// Makes the parts add up to the whole. What is missing in them has its own
    /// place; parts that are too large, or hardly too small, are scaled.
    fn split(
        &self,
        whole: f64,
        mut parts: BTreeMap<Model, f64>,
        rows: usize,
    ) -> BTreeMap<Model, f64> {
        let sum: f64 = parts.values().sum();
        if sum <= 0.0 || whole - sum > ROUNDING_USD * rows as f64 {
            *parts.entry(self.rest()).or_default() += whole - sum;
            return parts;
        }
        for part in parts.values_mut() {
            *part *= whole / sum;
        }
        parts
    }

    /// What the tokens cost by these prices.
    fn priced(&self, prices: &PriceTable) -> RunCost {
        let mut cost = RunCost::default();
        for ((provider, model), tokens) in &self.by_model {
            if &**provider == MOCK {
                continue;
            }
            let (provider, model) = (Arc::clone(provider), Arc::clone(model));
            // What stands for several models has no price.
            let entry = match &*model == OTHER {
                true => None,
                false => prices.entry(&provider, &model),
            };
            match entry {
                Some(entry) => cost.by_model.push(ModelCost {
                    provider,
                    model,
                    usd: entry.cost_usd(tokens),
                }),
                None => cost.unpriced.push(UnpricedModel {
                    provider,
                    model,
                    tokens: tokens.sum(),
                }),
            }
        }
        let unpriced = cost.unpriced.iter().map(|model| model.tokens);
        cost.unpriced_tokens = unpriced.fold(0, u64::saturating_add);
        cost.total = (!cost.by_model.is_empty()).then(|| TotalCost {
            usd: cost.by_model.iter().map(|model| model.usd).sum(),
            basis: CostBasis::PriceTable,
        });
        cost
    }
}

impl From<(Model, f64)> for ModelCost {
    fn from(((provider, model), usd): (Model, f64)) -> Self {
        Self {
            provider,
            model,
            usd,
        }
    }
}

/// Zero is what is said when nobody knows.
fn is_told(usd: f64) -> bool {
    usd.is_finite() && usd > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::prices::PriceEntry;
    use crate::wire::rows::{RowOfRun, RowStatus};

    /// A run that used these models: provider, model, tokens in, tokens out.
    fn spent(used: &[(&'static str, &'static str, u64, u64)]) -> Spent {
        let mut spent = Spent::default();
        for (provider, model, input_tokens, output_tokens) in used.iter().copied() {
            let usage = Usage {
                provider: provider.into(),
                model: model.into(),
                input_tokens,
                output_tokens,
                ..Usage::default()
            };
            spent.add(&usage, 10);
        }
        spent
    }

    const TWO: &[(&str, &str, u64, u64)] = &[
        ("anthropic", "sonnet", 1_000_000, 0),
        ("openai", "gpt-5", 0, 1_000_000),
    ];

    /// What a server tells: of the run, and of each task its provider, model and cost.
    fn told(run: Option<f64>, tasks: &[(&str, &str, f64)]) -> RunFacts {
        let word = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let row = RowOfRun {
            id: "r".to_owned(),
            project: None,
            workflow: "w".to_owned(),
            status: RowStatus::Unknown,
            started_at: None,
            finished_at: None,
            cost_usd: run,
            input_tokens: None,
            output_tokens: None,
            parent: None,
            triggered_by: None,
            channel: None,
            version: None,
            error: None,
            error_kind: None,
        };
        let tasks = tasks.iter().map(|(provider, model, usd)| CostOfTask {
            task: "t".to_owned(),
            model: word(model),
            provider: word(provider),
            cost_usd: Some(*usd),
            input_tokens: None,
            output_tokens: None,
        });
        RunFacts {
            row: Some(row),
            tasks: tasks.collect(),
        }
    }

    /// Input 2 dollars a million tokens, output 8; of Anthropic's models only.
    fn prices() -> PriceTable {
        PriceTable {
            taken: "2026-05-01".to_owned(),
            entries: vec![PriceEntry {
                model: "*".to_owned(),
                provider: Some("anthropic".to_owned()),
                input: 2.0,
                output: 8.0,
                cache_read: 2.0,
                cache_write_5m: 2.0,
                cache_write_1h: 2.0,
            }],
        }
    }

    fn by_model(cost: &RunCost) -> Vec<(String, f64)> {
        let rounded = |usd: f64| (usd * 1e9).round() / 1e9;
        let parts = cost.by_model.iter();
        parts
            .map(|part| {
                (
                    format!("{} {}", part.provider, part.model),
                    rounded(part.usd),
                )
            })
            .collect()
    }

    /// Asserts the whole, its basis, and the parts.
    #[track_caller]
    fn is(cost: &RunCost, usd: f64, basis: CostBasis, parts: &[(&str, f64)]) {
        assert_eq!(cost.total, Some(TotalCost { usd, basis }));
        let parts: Vec<_> = parts
            .iter()
            .map(|(m, usd)| ((*m).to_owned(), *usd))
            .collect();
        assert_eq!(by_model(cost), parts);
    }

    #[test]
    fn the_row_counts_before_the_tasks_and_these_before_the_runs_end() {
        let mut spent = spent(TWO);
        spent.tell(0.7);
        let tasks = [("openai", "gpt-5", 0.2), ("anthropic", "sonnet", 0.1)];
        let whole = |row| RunCost::of(Some(&told(row, &tasks)), &spent, Some(&prices()));
        for nobody_knows in [Some(0.0), None] {
            let usd = 0.1 + 0.2;
            let parts = [("anthropic sonnet", 0.1), ("openai gpt-5", 0.2)];
            is(&whole(nobody_knows), usd, CostBasis::Server, &parts);
        }
        assert_eq!(whole(Some(0.5)).total.map(|total| total.usd), Some(0.5));
        let cost = RunCost::of(None, &spent, Some(&prices()));
        is(&cost, 0.7, CostBasis::Server, &[("unknown unknown", 0.7)]);
        assert_eq!(cost.unpriced_tokens, 0, "prices are not what it goes by");
    }

    #[test]
    fn where_no_server_tells_the_prices_do_and_say_what_they_leave_out() {
        let mut spent = spent(TWO);
        for nothing in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            spent.tell(nothing);
            let facts = told(Some(0.0), &[("openai", "gpt-5", 0.0)]);
            let cost = RunCost::of(Some(&facts), &spent, Some(&prices()));
            is(
                &cost,
                2.0,
                CostBasis::PriceTable,
                &[("anthropic sonnet", 2.0)],
            );
            assert_eq!(cost.unpriced_tokens, 1_000_000);
            let [unpriced] = &cost.unpriced[..] else {
                panic!("{cost:?}")
            };
            assert_eq!((&*unpriced.model, unpriced.tokens), ("gpt-5", 1_000_000));
        }
        assert_eq!(RunCost::of(None, &spent, None), RunCost::default());
    }

    #[test]
    fn a_run_of_models_without_a_price_has_no_cost_rather_than_none_to_pay() {
        let cost = RunCost::of(None, &spent(&TWO[1..]), Some(&prices()));
        assert_eq!((cost.total, cost.unpriced.len()), (None, 1));
        let nothing = RunCost::of(None, &Spent::default(), Some(&prices()));
        assert_eq!(nothing, RunCost::default());
    }

    #[test]
    fn a_model_that_is_free_by_the_table_costs_nothing_which_is_known() {
        let mut free = prices();
        free.entries[0].input = 0.0;
        let cost = RunCost::of(None, &spent(&TWO[..1]), Some(&free));
        is(
            &cost,
            0.0,
            CostBasis::PriceTable,
            &[("anthropic sonnet", 0.0)],
        );
    }

    #[test]
    fn a_provider_for_tests_costs_nothing_and_lacks_no_price() {
        let mut all = prices();
        all.entries[0].provider = None;
        let cost = RunCost::of(None, &spent(&[("mock", "mock", 50, 50)]), Some(&all));
        assert_eq!(cost, RunCost::default());
    }

    #[test]
    fn what_the_tasks_leave_out_has_its_own_place() {
        let facts = told(Some(1.0), &[("openai", "gpt-5", 0.25)]);
        let cost = RunCost::of(Some(&facts), &spent(TWO), None);
        let parts = [("openai gpt-5", 0.25), ("unknown unknown", 0.75)];
        is(&cost, 1.0, CostBasis::Server, &parts);
        // All of it is of the one model, where there is one.
        let cost = RunCost::of(Some(&facts), &spent(&TWO[1..]), None);
        is(&cost, 1.0, CostBasis::Server, &[("openai gpt-5", 1.0)]);
        let cost = RunCost::of(Some(&told(Some(1.0), &[])), &spent(&TWO[1..]), None);
        is(&cost, 1.0, CostBasis::Server, &[("openai gpt-5", 1.0)]);
    }

    #[test]
    fn tasks_that_cost_more_than_their_run_are_scaled_down_to_it() {
        let tasks = [("openai", "gpt-5", 1.5), ("anthropic", "sonnet", 0.5)];
        let cost = RunCost::of(Some(&told(Some(1.0), &tasks)), &spent(TWO), None);
        let parts = [("anthropic sonnet", 0.25), ("openai gpt-5", 0.75)];
        is(&cost, 1.0, CostBasis::Server, &parts);
    }

    #[test]
    fn what_a_server_rounds_is_nobodys_unknown_model() {
        let tasks = [("openai", "gpt-5", 0.499_999), ("anthropic", "sonnet", 0.5)];
        let cost = RunCost::of(Some(&told(Some(1.0), &tasks)), &spent(TWO), None);
        let sum: f64 = cost.by_model.iter().map(|part| part.usd).sum();
        assert_eq!(cost.by_model.len(), 2);
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_cost_stands_under_the_names_that_its_tokens_have() {
        let long = "m".repeat(1_000);
        let tasks = [
            ("", "gpt-5", 0.1),
            ("", "", 0.2),
            ("", "o3", 0.3),
            ("openai", &long, 0.4),
        ];
        let cost = RunCost::of(Some(&told(None, &tasks)), &spent(TWO), None);
        let cut = format!("openai {}", names::bounded(&long));
        let parts = [
            ("openai gpt-5", 0.1),
            (cut.as_str(), 0.4),
            ("unknown o3", 0.3),
            ("unknown unknown", 0.2),
        ];
        assert_eq!(cost.total.map(|total| total.basis), Some(CostBasis::Server));
        let parts: Vec<_> = parts
            .iter()
            .map(|(m, usd)| ((*m).to_owned(), *usd))
            .collect();
        assert_eq!(by_model(&cost), parts);
        // A name that two providers have is nobody's.
        let both = spent(&[("azure", "gpt-5", 1, 1), ("openai", "gpt-5", 1, 1)]);
        let cost = RunCost::of(Some(&told(None, &tasks[..1])), &both, None);
        assert_eq!(by_model(&cost), [("unknown gpt-5".to_owned(), 0.1)]);
    }

    #[test]
    fn models_beyond_the_bound_share_a_place() {
        let mut spent = Spent::default();
        for model in ["a", "b", "c", "a"] {
            let usage = Usage {
                provider: "anthropic".into(),
                model: model.into(),
                output_tokens: 1_000_000,
                ..Usage::default()
            };
            spent.add(&usage, 2);
        }
        let cost = RunCost::of(None, &spent, Some(&prices()));
        let parts = [("anthropic a", 16.0), ("anthropic b", 8.0)];
        is(&cost, 24.0, CostBasis::PriceTable, &parts);
        assert_eq!(cost.unpriced_tokens, 1_000_000);
        assert_eq!(&*cost.unpriced[0].model, OTHER);
    }
}
