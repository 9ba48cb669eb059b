//! Providers of models, and what they cost.
//!
//! A provider's error is known by the code that the run ended with, or by its kind
//! where a server gives no code: those of Akribes. A further system adds its own.
//!
//! The count of a code begins with its first error, and `increase()` does not see
//! how a series begins: a key that is refused once in each of many workflows would
//! be no increase at all. So what was not there at the window's beginning counts as
//! a whole, if runtrail was there: what happened unseen is not of the window.

use super::{Alert, Severity};

/// Runs that ended in one of these errors within this time are at least so many:
/// those that a count rose by, and those that it began with.
macro_rules! risen {
    ($codes:literal, $window:literal, $least:literal) => {
        concat!(
            "sum by ($job, system, project, error_type) (\n",
            "  (\n",
            "    sum by ($run, error_type) (runtrail_run_errors_total{error_type=~\"",
            $codes,
            "\"})\n",
            "    unless sum by ($run, error_type) (runtrail_run_errors_total{error_type=~\"",
            $codes,
            "\"} offset ",
            $window,
            ")\n",
            "    and on ($job) count by ($job) (runtrail_build_info offset ",
            $window,
            ")\n",
            "  )\n",
            "  or sum by ($run, error_type) (increase(runtrail_run_errors_total{error_type=~\"",
            $codes,
            "\"}[",
            $window,
            "]))\n",
            ") >= ",
            $least
        )
    };
}

pub(super) const ALERTS: &[Alert] = &[
    Alert {
        name: "RuntrailProviderRefusesKey",
        expr: risen!(
            "AKRIBES-E-PROVIDER-AUTH|AuthError",
            "15m",
            "3"
        ),
        lasts: "0m",
        severity: Severity::Page,
        summary: "A model provider refuses our key: runs of project {{ $labels.project }} fail",
        description: "{{ $value | printf \"%.0f\" }} runs of project {{ $labels.project }} ({{ $labels.system }}) ended with {{ $labels.error_type }} in the last 15 minutes. The provider does not take the key, and will not until it is replaced.",
    },
    Alert {
        name: "RuntrailProviderRateLimited",
        expr: risen!(
            "AKRIBES-E-PROVIDER-RATE-LIMIT|RateLimit",
            "30m",
            "5"
        ),
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "A model provider limits us: runs of project {{ $labels.project }} fail",
        description: "{{ $value | printf \"%.0f\" }} runs of project {{ $labels.project }} ({{ $labels.system }}) ended with {{ $labels.error_type }} in the last 30 minutes: more was asked of the provider than it allows.",
    },
    Alert {
        name: "RuntrailProviderUnavailable",
        expr: risen!(
            "AKRIBES-E-PROVIDER-(SERVER|SERVER-500|BAD-GATEWAY-502|SERVICE-UNAVAILABLE-503|GATEWAY-TIMEOUT-504|NETWORK)|ServerError|ServerError500|BadGateway502|ServiceUnavailable503|GatewayTimeout504|NetworkError",
            "30m",
            "5"
        ),
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "A model provider is failing: runs of project {{ $labels.project }} fail with it",
        description: "{{ $value | printf \"%.0f\" }} runs of project {{ $labels.project }} ({{ $labels.system }}) ended with {{ $labels.error_type }} in the last 30 minutes: the provider fails, or cannot be reached.",
    },
    Alert {
        name: "RuntrailProviderRefusesRequests",
        expr: risen!(
            "AKRIBES-E-PROVIDER-(TOKEN-LIMIT|PARSE|OTHER)|TokenLimit|ParseError",
            "1h",
            "5"
        ),
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "A model provider and project {{ $labels.project }} do not understand each other",
        description: "{{ $value | printf \"%.0f\" }} runs of project {{ $labels.project }} ({{ $labels.system }}) ended with {{ $labels.error_type }} in the last hour: what was asked was too long, or the answer could not be read.",
    },
    Alert {
        name: "RuntrailCostRunaway",
        expr: "
            sum by ($job) (increase(runtrail_cost_usd_total[1h])) > scalar(runtrail:cost_usd_per_day:ceiling) / 4
            ",
        lasts: "5m",
        severity: Severity::Page,
        summary: "Models cost ${{ $value | printf \"%.2f\" }} in the last hour",
        description: "Models cost ${{ $value | printf \"%.2f\" }} in the last hour: more than a quarter of what they may cost in a whole day.",
    },
    Alert {
        name: "RuntrailCostAboveCeiling",
        expr: "
            sum by ($job) (increase(runtrail_cost_usd_total[1d])) > scalar(runtrail:cost_usd_per_day:ceiling)
            ",
        lasts: "5m",
        severity: Severity::Ticket,
        summary: "Models cost ${{ $value | printf \"%.2f\" }} in a day",
        description: "Models cost ${{ $value | printf \"%.2f\" }} in the last 24 hours, which is more than they may.",
    },
    Alert {
        // Twice last week's is worth a look only where it is money: a pace of at
        // least a tenth of what a day may cost. And those hours must have been seen
        // as a whole: 174 hours are a week and six hours.
        name: "RuntrailCostAboveLastWeek",
        expr: "
            sum by ($job, system, project) (increase(runtrail_cost_usd_total[6h]))
            /
            (sum by ($job, system, project) (increase(runtrail_cost_usd_total[6h] offset 1w)) > 0)
            > 2
            and count by ($job, system, project) (runtrail_cost_usd_total offset 174h)
            and sum by ($job, system, project) (increase(runtrail_cost_usd_total[6h])) > scalar(runtrail:cost_usd_per_day:ceiling) / 40
            ",
        lasts: "30m",
        severity: Severity::Ticket,
        summary: "Project {{ $labels.project }} costs {{ $value | printf \"%.1f\" }} times what it did a week ago",
        description: "In the last six hours models cost project {{ $labels.project }} ({{ $labels.system }}) {{ $value | printf \"%.1f\" }} times what they did in the same hours a week ago.",
    },
    Alert {
        name: "RuntrailTokensUnpriced",
        expr: "sum by ($job, provider, model) (increase(runtrail_tokens_unpriced_total[1d])) > 0",
        lasts: "15m",
        severity: Severity::Info,
        summary: "The price table does not know {{ $labels.model }}",
        description: "{{ $value | humanize }} tokens of {{ $labels.model }} ({{ $labels.provider }}) were used in the last day, and the price table has no price for them: the costs shown are too low.",
    },
];
