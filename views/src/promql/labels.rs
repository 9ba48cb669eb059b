//! The labels of what an expression gives, from the inside out.

use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};

use super::known::{Known, Sort};

type Labels = BTreeSet<String>;

/// Functions that want something which only rises.
const OF_COUNTERS: [&str; 4] = ["rate", "increase", "irate", "resets"];
/// Functions that a restart of what is measured would lead astray.
const OF_GAUGES: [&str; 4] = ["delta", "idelta", "deriv", "predict_linear"];

/// The labels, or none where it gives a number or a text.
pub(super) fn of(known: &Known, expression: &Expr) -> Result<Option<Labels>, String> {
    match expression {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(None),
        Expr::VectorSelector(selector) => of_selector(known, selector).map(Some),
        Expr::MatrixSelector(matrix) => of_selector(known, &matrix.vs).map(Some),
        Expr::Paren(paren) => of(known, &paren.expr),
        Expr::Unary(unary) => of(known, &unary.expr),
        Expr::Subquery(subquery) => of(known, &subquery.expr),
        Expr::Aggregate(aggregate) => of_aggregate(known, aggregate).map(Some),
        Expr::Binary(binary) => of_binary(known, binary),
        Expr::Call(call) => of_call(known, call),
        Expr::Extension(_) => Err("it has a part that is no PromQL".to_owned()),
    }
}

fn of_selector(known: &Known, selector: &VectorSelector) -> Result<Labels, String> {
    let Some(name) = &selector.name else {
        return Err("a selector has no name of a metric".to_owned());
    };
    let Some(metric) = known.metric(name) else {
        return Err(format!("{name} is not exported"));
    };
    let matchers = &selector.matchers;
    for matcher in matchers
        .matchers
        .iter()
        .chain(matchers.or_matchers.iter().flatten())
    {
        let Some(values) = metric.labels.get(&matcher.name) else {
            return Err(format!("{name} has no label {}", matcher.name));
        };
        if let Some(values) = values {
            for wanted in wanted(matcher) {
                if !wanted.is_empty() && !values.contains(&wanted) {
                    let label = &matcher.name;
                    return Err(format!("{label} of {name} never has the value {wanted}"));
                }
            }
        }
    }
    Ok(metric.labels.keys().cloned().collect())
}

/// The values that a matcher names, if it names any.
fn wanted(matcher: &Matcher) -> Vec<&str> {
    match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let choices = matcher.value.split('|');
            choices.filter(|choice| choice.chars().all(plain)).collect()
        }
    }
}

fn of_aggregate(known: &Known, aggregate: &AggregateExpr) -> Result<Labels, String> {
    let inner = vector(known, &aggregate.expr)?;
    if let Some(modifier) = &aggregate.modifier {
        all_in(&modifier.labels().labels, &inner, "what is summed up")?;
    }
    let operator = aggregate.op.to_string();
    if operator == "topk" || operator == "bottomk" {
        return Ok(inner);
    }
    let mut labels = match &aggregate.modifier {
        Some(LabelModifier::Include(kept)) => kept.labels.iter().cloned().collect(),
        Some(LabelModifier::Exclude(gone)) => without(&inner, &gone.labels),
        None => Labels::new(),
    };
    if operator == "count_values" {
        labels.extend(aggregate.param.as_deref().and_then(text));
    }
    Ok(labels)
}

fn of_binary(known: &Known, binary: &BinaryExpr) -> Result<Option<Labels>, String> {
    let (left, right) = match (of(known, &binary.lhs)?, of(known, &binary.rhs)?) {
        (Some(left), Some(right)) => (left, right),
        (left, right) => return Ok(left.or(right)),
    };
    let matching = binary.modifier.as_ref().and_then(|m| m.matching.as_ref());
    if let Some(LabelModifier::Include(on)) = matching {
        all_in(&on.labels, &left, "the left side")?;
        all_in(&on.labels, &right, "the right side")?;
    }
    let operator = binary.op.to_string();
    if operator == "or" {
        return Ok(Some(left.union(&right).cloned().collect()));
    }
    let compared = |side: &Labels| match matching {
        Some(LabelModifier::Include(on)) => on.labels.iter().cloned().collect(),
        Some(LabelModifier::Exclude(gone)) => without(side, &gone.labels),
        None => side.clone(),
    };
    let (left_compared, right_compared) = (compared(&left), compared(&right));
    if left_compared != right_compared {
        return Err(format!(
            "the two sides of {operator} never match: {left_compared:?} and {right_compared:?}"
        ));
    }
    if operator == "and" || operator == "unless" {
        return Ok(Some(left));
    }
    let (mut many, one, taken) = match binary.modifier.as_ref().map(|m| &m.card) {
        Some(VectorMatchCardinality::ManyToOne(taken)) => (left, right, taken),
        Some(VectorMatchCardinality::OneToMany(taken)) => (right, left, taken),
        _ => return Ok(Some(left_compared)),
    };
    all_in(&taken.labels, &one, "the side that is taken once")?;
    many.extend(taken.labels.iter().cloned());
    Ok(Some(many))
}

fn of_call(known: &Known, call: &Call) -> Result<Option<Labels>, String> {
    let name = call.func.name;
    let arguments = &call.args.args;
    let mut given = Vec::new();
    for argument in arguments {
        given.push(of(known, argument)?);
        is_of_its_sort(known, name, argument)?;
    }
    let text_at = |place: usize| {
        arguments
            .get(place)
            .and_then(|a| text(a))
            .unwrap_or_default()
    };
    let labels = given.into_iter().flatten().next();
    match (name, labels) {
        ("scalar" | "time" | "pi", _) => Ok(None),
        ("absent" | "absent_over_time", _) => Ok(Some(fixed(arguments.first().map(Box::as_ref)))),
        // What makes a vector of a number, or of the time.
        (_, None) => Ok(Some(Labels::new())),
        ("histogram_quantile", Some(mut labels)) => {
            all_in(&["le".to_owned()], &labels, "what a quantile is made of")?;
            labels.remove("le");
            Ok(Some(labels))
        }
        ("label_replace", Some(mut labels)) => {
            all_in(&[text_at(3)], &labels, "what is relabelled")?;
            labels.insert(text_at(1));
            Ok(Some(labels))
        }
        (_, labels) => Ok(labels),
    }
}

/// Refuses the rate of a gauge and the trend of a counter.
fn is_of_its_sort(known: &Known, function: &str, argument: &Expr) -> Result<(), String> {
    let Expr::MatrixSelector(matrix) = argument else {
        return Ok(());
    };
    let name = matrix.vs.name.as_deref().unwrap_or_default();
    match known.metric(name).map(|metric| metric.sort) {
        Some(Sort::Gauge) if OF_COUNTERS.contains(&function) => {
            Err(format!("{name} is a gauge: it has no {function}"))
        }
        Some(Sort::Counter) if OF_GAUGES.contains(&function) => {
            Err(format!("{name} is a counter: {function} is for gauges"))
        }
        _ => Ok(()),
    }
}

/// The labels that an absent series is known to have.
fn fixed(selector: Option<&Expr>) -> Labels {
    let matchers = match selector {
        Some(Expr::VectorSelector(selector)) => &selector.matchers.matchers,
        Some(Expr::MatrixSelector(matrix)) => &matrix.vs.matchers.matchers,
        _ => return Labels::new(),
    };
    let equal = matchers
        .iter()
        .filter(|matcher| matches!(matcher.op, MatchOp::Equal));
    equal.map(|matcher| matcher.name.clone()).collect()
}

fn vector(known: &Known, expression: &Expr) -> Result<Labels, String> {
    of(known, expression)?.ok_or_else(|| "a number is summed up".to_owned())
}

fn all_in(wanted: &[String], there: &Labels, what: &str) -> Result<(), String> {
    match wanted.iter().find(|label| !there.contains(*label)) {
        Some(label) => Err(format!("{what} has no label {label}")),
        None => Ok(()),
    }
}

fn without(labels: &Labels, gone: &[String]) -> Labels {
    labels
        .iter()
        .filter(|label| !gone.contains(label))
        .cloned()
        .collect()
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::StringLiteral(literal) => Some(literal.val.clone()),
        _ => None,
    }
}
