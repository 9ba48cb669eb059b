//! What models are given, what they cost, and how quick they are.

use super::model::{Colour, Dashboard, Look, Panel, Row, Thresholds, Unit, Variable};
use super::query::with_project_name;

const SOME: Thresholds = &[(1.0, Colour::Uneasy)];
/// More than a quarter more than a week ago; twice as much.
const GROWTH: Thresholds = &[(0.25, Colour::Uneasy), (1.0, Colour::Bad)];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: "models",
        title: "runtrail: models",
        question: "Which models get how many tokens, what they cost, how quick they are, and how often they are asked again.",
        variables: Variable::of_runs(),
        rows: vec![tokens(), cost(), speed(), retries()],
    }
}

fn tokens() -> Row {
    Row {
        title: "Tokens",
        panels: vec![
            Panel::new(
                Look::Numbers,
                "Into models",
                "Tokens that went into models in the time shown, those from a cache included.",
            )
            .nothing("no model was asked")
            .query("input", r#"sum(increase(runtrail_tokens_total{OF_RUNS, direction="input"}[$__range]))"#),
            Panel::new(
                Look::Numbers,
                "Out of models",
                "Tokens that came out of models in the time shown, reasoning included.",
            )
            .nothing("no model was asked")
            .query("output", r#"sum(increase(runtrail_tokens_total{OF_RUNS, direction="output"}[$__range]))"#),
            Panel::new(
                Look::Numbers,
                "From the provider's cache",
                "The share of the tokens into models that the provider had cached, which cost a fraction. Near zero with long prompts: their beginnings differ from call to call.",
            )
            .unit(Unit::Share)
            .nothing("no model was asked")
            .query("cached", &cached("", "[$__range]")),
            Panel::new(
                Look::Numbers,
                "Reasoning",
                "The share of the tokens out of models that is reasoning, which nobody reads and everybody pays.",
            )
            .unit(Unit::Share)
            .nothing("no model was asked")
            .query(
                "reasoning",
                r#"(sum(increase(runtrail_token_details_total{OF_RUNS, direction="output", detail="reasoning"}[$__range])) or vector(0))
                / (sum(increase(runtrail_tokens_total{OF_RUNS, direction="output"}[$__range])) > 0)"#,
            ),
            Panel::new(
                Look::Numbers,
                "Tokens of a run, on average",
                "Tokens into and out of models for each run that ended in the time shown.",
            )
            .nothing("no run ended")
            .query(
                "tokens",
                "sum(increase(runtrail_tokens_total{OF_RUNS}[$__range]))
                / (sum(increase(runtrail_runs_finished_total{OF_RUNS}[$__range])) > 0)",
            ),
            Panel::new(
                Look::Numbers,
                "Tasks from a cache",
                "Tasks in the time shown whose result the server had kept, so that no model was asked.",
            )
            .nothing("no task ended")
            .query("cached", "round(sum(increase(runtrail_task_cache_hits_total{OF_RUNS}[$__range])))"),
            Panel::new(
                Look::Stacked,
                "Tokens by model and direction",
                "Tokens a minute into and out of each model. A step without more runs: a prompt has grown, or a loop goes round more often.",
            )
            .unit(Unit::PerMinute)
            .nothing("no model was asked")
            .query(
                "{{model}} {{direction}}",
                "sum by (model, direction) (rate(runtrail_tokens_total{OF_RUNS}EACH)) * 60",
            ),
            Panel::new(
                Look::Lines,
                "From the provider's cache, by model",
                "The share of the tokens into a model that its provider had cached. A fall after a release: the beginning of a prompt has changed, and is no longer the same for all calls.",
            )
            .unit(Unit::Share)
            .max(1.0)
            .nothing("no model was asked")
            .query("{{model}}", &cached("by (model) ", "EACH")),
            by_workflow(),
        ],
    }
}

/// The share of the cache in the input.
fn cached(by: &str, range: &str) -> String {
    let function = if range == "EACH" { "rate" } else { "increase" };
    let input = format!(
        r#"sum {by}({function}(runtrail_tokens_total{{OF_RUNS, direction="input"}}{range}))"#
    );
    let read = format!(
        r#"sum {by}({function}(runtrail_token_details_total{{OF_RUNS, direction="input", detail="cache_read"}}{range}))"#
    );
    // Where nothing was ever cached, nothing is: that is zero, not unknown.
    format!("({read} or {input} * 0) / ({input} > 0)")
}

fn by_workflow() -> Panel {
    let tokens = "sum by (project, workflow) (increase(runtrail_tokens_total{OF_RUNS}[$__range]))";
    Panel::new(
        Look::Table { worst_by: 0 },
        "Workflows, by their tokens",
        "Tokens in the time shown by workflow, and for each run that ended. Click a workflow to see only its models.",
    )
    .size(24, 8)
    .nothing("no model was asked")
    .column("Tokens", Unit::Count, &with_project_name(tokens))
    .column(
        "Into models",
        Unit::Count,
        r#"sum by (project, workflow) (increase(runtrail_tokens_total{OF_RUNS, direction="input"}[$__range]))"#,
    )
    .column(
        "Out of models",
        Unit::Count,
        r#"sum by (project, workflow) (increase(runtrail_tokens_total{OF_RUNS, direction="output"}[$__range]))"#,
    )
    .column("From the provider's cache", Unit::Share, &cached("by (project, workflow) ", "[$__range]"))
    .column(
        "A run",
        Unit::Count,
        "sum by (project, workflow) (increase(runtrail_tokens_total{OF_RUNS}[$__range]))
        / (sum by (project, workflow) (increase(runtrail_runs_finished_total{OF_RUNS}[$__range])) > 0)",
    )
}

fn cost() -> Row {
    let mut panels = cost_numbers();
    panels.extend([
        Panel::new(
            Look::Stacked,
            "Cost an hour, by model",
            "What models cost, at the pace of each moment. A step that stays is a new price of every day.",
        )
        .unit(Unit::Dollars)
        .nothing(NO_COST)
        .query("{{model}}", "sum by (model) (rate(runtrail_cost_usd_total{OF_RUNS}EACH)) * 3600"),
        Panel::new(
            Look::Lines,
            "Cost of a run, by workflow",
            "What a run costs on average, of the ten busiest workflows. It rises without a release: prompts grow with the data, or tasks are tried again.",
        )
        .unit(Unit::Dollars)
        .nothing(NO_COST)
        .query(
            "{{workflow}} ({{project}})",
            "sum by (project, workflow) (rate(runtrail_cost_usd_total{OF_RUNS}EACH))
            / (sum by (project, workflow) (rate(runtrail_runs_finished_total{OF_RUNS}EACH)) > 0)
            and on (project, workflow) BUSIEST_WORKFLOWS",
        ),
        Panel::new(
            Look::Bars,
            "Cost of the day before, by model",
            "At each moment, what models cost in the 24 hours before it: the trend without the swing of the day. Choose a time of some weeks to see where it goes.",
        )
        .unit(Unit::Dollars)
        .nothing(NO_COST)
        .query("{{model}}", "sum by (model) (increase(runtrail_cost_usd_total{OF_RUNS}[1d]))"),
        dearest_models(),
        dearest_workflows(),
        unpriced(),
    ]);
    Row {
        title: "Cost",
        panels,
    }
}

const NO_COST: &str = "no cost is known";

fn cost_numbers() -> Vec<Panel> {
    let numbers = |title, says| {
        Panel::new(Look::Numbers, title, says)
            .unit(Unit::Dollars)
            .nothing(NO_COST)
    };
    vec![
        numbers(
            "Cost",
            "What models cost in the time shown, as the server says or by the configured prices. Nothing here: the server tells no cost, and no prices are configured.",
        )
        .query("cost", "sum(increase(runtrail_cost_usd_total{OF_RUNS}[$__range]))"),
        numbers("In the last 24 hours", "What models cost in the last 24 hours, whatever time is shown.")
            .query("cost", "sum(increase(runtrail_cost_usd_total{OF_RUNS}[1d]))"),
        numbers(
            "A month at this pace",
            "What this month would cost if all its days were like the last 24 hours. It needs a day of data to be right.",
        )
        .query(
            "cost",
            "sum(increase(runtrail_cost_usd_total{OF_RUNS}[1d])) * scalar(days_in_month())",
        ),
        numbers(
            "Against a week ago",
            "The last 24 hours against the same 24 hours a week before: 25 % is a quarter more. It needs eight days of costs, since part of a day is no day.",
        )
        .unit(Unit::Share)
        .thresholds(GROWTH)
        .nothing("no whole day of costs a week ago")
        .query(
            "more",
            "sum(increase(runtrail_cost_usd_total{OF_RUNS}[1d]))
            / (sum(increase(runtrail_cost_usd_total{OF_RUNS}[1d] offset 1w)) > 0) - 1
            and on () count(runtrail_cost_usd_total{OF_RUNS} offset 8d)",
        ),
        numbers("Cost of a run, on average", "What a run that ended in the time shown cost on average.").query(
            "cost",
            "sum(increase(runtrail_cost_usd_total{OF_RUNS}[$__range]))
            / (sum(increase(runtrail_runs_finished_total{OF_RUNS}[$__range])) > 0)",
        ),
        numbers(
            "Tokens without a price",
            "Tokens in the time shown of models that the configured prices leave out: the cost above is too low by theirs. The table below names the models; add them to the prices.",
        )
        .unit(Unit::Count)
        .thresholds(SOME)
        .nothing("none")
        .query("tokens", "sum(increase(runtrail_tokens_unpriced_total{OF_RUNS}[$__range])) or vector(0)"),
    ]
}

fn dearest_models() -> Panel {
    Panel::new(
        Look::Table { worst_by: 0 },
        "Models, dearest first",
        "What each model cost in the time shown, what a million of its tokens came to, both directions together, and how much of the cost comes from the configured prices, not from the server. Two models of one quality: this tells which to take.",
    )
    .nothing(NO_COST)
    .column(
        "Cost",
        Unit::Dollars,
        "sum by (provider, model) (increase(runtrail_cost_usd_total{OF_RUNS}[$__range])) > 0",
    )
    .column(
        "A million tokens",
        Unit::Dollars,
        "sum by (provider, model) (increase(runtrail_cost_usd_total{OF_RUNS}[$__range])) * 1000000
        / (sum by (provider, model) (increase(runtrail_tokens_total{OF_RUNS}[$__range])) > 0)",
    )
    .column(
        "By configured prices",
        Unit::Dollars,
        "sum by (provider, model) (increase(runtrail_cost_usd_total{OF_RUNS, basis=\"price_table\"}[$__range])) > 0",
    )
}

fn dearest_workflows() -> Panel {
    let cost =
        "(sum by (project, workflow) (increase(runtrail_cost_usd_total{OF_RUNS}[$__range])) > 0)";
    Panel::new(
        Look::Table { worst_by: 0 },
        "Workflows, dearest first",
        "What each workflow cost in the time shown, and a run of it on average. Click a workflow to see which of its models cost it.",
    )
    .nothing(NO_COST)
    .column("Cost", Unit::Dollars, &with_project_name(cost))
    .column(
        "Runs",
        Unit::Count,
        "round(sum by (project, workflow) (increase(runtrail_runs_finished_total{OF_RUNS}[$__range])))",
    )
    .column(
        "A run",
        Unit::Dollars,
        "sum by (project, workflow) (increase(runtrail_cost_usd_total{OF_RUNS}[$__range]))
        / (sum by (project, workflow) (increase(runtrail_runs_finished_total{OF_RUNS}[$__range])) > 0)",
    )
}

fn unpriced() -> Panel {
    Panel::new(
        Look::Table { worst_by: 0 },
        "Models without a price",
        "Tokens in the time shown of models that the configured prices leave out. Add a price for each, or a pattern that fits them.",
    )
    .nothing("every model has a price, or none is configured")
    .column(
        "Tokens",
        Unit::Count,
        "round(sum by (provider, model) (increase(runtrail_tokens_unpriced_total{OF_RUNS}[$__range]))) > 0",
    )
}

fn speed() -> Row {
    let first_chunk = |quantile: &str| {
        format!(
            "histogram_quantile({quantile}, sum by (le, model) (rate(runtrail_time_to_first_chunk_seconds_bucket{{OF_RUNS}}EACH)))"
        )
    };
    let output_speed = |quantile: &str| {
        format!(
            "1 / (histogram_quantile({quantile}, sum by (le, model) (rate(runtrail_time_per_output_token_seconds_bucket{{OF_RUNS}}EACH))) > 0)"
        )
    };
    let lines = |title, says| {
        Panel::new(Look::Lines, title, says).nothing("no model has answered in pieces")
    };
    Row {
        title: "Speed",
        panels: vec![
            lines(
                "First chunk: half of the answers begin within",
                "From the start of a task to the first piece of the model's answer, cache hits left out. What somebody who watches feels. Diamonds are single tasks, each with its run's trace.",
            )
            .size(8, 8)
            .unit(Unit::Seconds)
            .query("{{model}}", &first_chunk("0.5"))
            .exemplars(),
            lines(
                "First chunk: 95 of 100 answers begin within",
                "The slow ones. All models of one provider at once: the provider is busy. One model: its prompts have grown.",
            )
            .size(8, 8)
            .unit(Unit::Seconds)
            .query("{{model}}", &first_chunk("0.95"))
            .exemplars(),
            Panel::new(
                Look::Heatmap,
                "First chunk",
                "How many answers began after how long, of all models together. Two bands are two kinds of models or prompts.",
            )
            .size(8, 8)
            .unit(Unit::Seconds)
            .nothing("no model has answered in pieces")
            .query(
                "{{le}}",
                "sum by (le) (increase(runtrail_time_to_first_chunk_seconds_bucket{OF_RUNS}EACH))",
            )
            .exemplars(),
            lines(
                "Output: half of the answers are quicker than",
                "Tokens a second once an answer has begun. With the length of an answer it makes most of a task's duration.",
            )
            .unit(Unit::TokensPerSecond)
            .query("{{model}}", &output_speed("0.5")),
            lines(
                "Output: 95 of 100 answers are quicker than",
                "The slow answers. A fall at one provider only: think of another for the time being.",
            )
            .unit(Unit::TokensPerSecond)
            .query("{{model}}", &output_speed("0.95")),
        ],
    }
}

fn retries() -> Row {
    let again =
        "sum by (project, workflow, task) (RATE(runtrail_task_attempts_total{OF_RUNS}RANGE))
        - sum by (project, workflow, task) (RATE(runtrail_tasks_finished_total{OF_RUNS}RANGE))";
    let over = |function: &str, range: &str| {
        format!(
            "clamp_min({}, 0)",
            again.replace("RATE", function).replace("RANGE", range)
        )
    };
    Row {
        title: "Asked again",
        panels: vec![
            Panel::new(
                Look::Bars,
                "Further attempts",
                "Attempts a minute beyond the first of each task: each costs the tokens of the task again.",
            )
            .size(8, 8)
            .unit(Unit::PerMinute)
            .nothing("no task was tried again")
            .query("{{workflow}} / {{task}} ({{project}})", &format!("{} * 60 > 0", over("rate", "EACH"))),
            Panel::new(
                Look::Bars,
                "Answers that did not fit",
                "Answers a minute that did not fit the task's schema. One task: its schema asks for what the prompt does not say. Diamonds lead to the traces.",
            )
            .size(8, 8)
            .unit(Unit::PerMinute)
            .nothing("all answers fitted")
            .query(
                "{{workflow}} / {{task}} ({{project}})",
                "sum by (project, workflow, task) (rate(runtrail_validation_failures_total{OF_RUNS}EACH)) * 60 > 0",
            )
            .exemplars(),
            Panel::new(
                Look::Bars,
                "Taken over by a stronger agent",
                "Tasks a minute that were given to a stronger agent, which costs more. If most ends of a task are, give it to that agent at once.",
            )
            .size(8, 8)
            .unit(Unit::PerMinute)
            .nothing("no task was taken over")
            .query(
                "{{workflow}} / {{task}} ({{project}})",
                "sum by (project, workflow, task) (rate(runtrail_task_escalations_total{OF_RUNS}EACH)) * 60 > 0",
            ),
            Panel::new(
                Look::Table { worst_by: 0 },
                "Tasks asked again, worst first",
                "Further attempts, answers that did not fit, and tasks taken over, in the time shown.",
            )
            .size(24, 8)
            .nothing("no task ended")
            .column("Further attempts", Unit::Count, &with_project_name(&format!("round({})", over("increase", "[$__range]"))))
            .column_thresholds(SOME)
            .column(
                "Did not fit",
                Unit::Count,
                "round(sum by (project, workflow, task) (increase(runtrail_validation_failures_total{OF_RUNS}[$__range])))",
            )
            .column_thresholds(SOME)
            .column(
                "Taken over",
                Unit::Count,
                "round(sum by (project, workflow, task) (increase(runtrail_task_escalations_total{OF_RUNS}[$__range])))",
            )
            .column(
                "Ended",
                Unit::Count,
                "round(sum by (project, workflow, task) (increase(runtrail_tasks_finished_total{OF_RUNS}[$__range])))",
            ),
        ],
    }
}
