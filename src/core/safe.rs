//! What always leaves may hold a secret all the same: a message, a phrase, a URL.
//! It is made fit to leave before it is written down, so that nothing stands on
//! disk that would not be sent.

use std::borrow::Cow;

use crate::trace::content::ContentPolicy;
use crate::trace::url::Url;
use crate::wire::event::{Event, Fact, FactKey, FactValue, Fault, What};

/// Takes out of an event what must not leave. Once more changes nothing.
pub(super) fn make_safe(event: &mut Event<'_>, policy: &ContentPolicy) {
    match &mut event.what {
        What::RunEnded(end) => fault(&mut end.error, policy),
        What::NodeEnded(end) => {
            fault(&mut end.error, policy);
            facts(&mut end.facts, policy);
        }
        What::NodeStarted(start) => facts(&mut start.facts, policy),
        What::Note(note) => facts(&mut note.facts, policy),
        What::RunStarted | What::Chunk(_) | What::RunLinked { .. } | What::Counted => {}
    }
}

fn fault(fault: &mut Option<Fault<'_>>, policy: &ContentPolicy) {
    if let Some(fault) = fault {
        message(&mut fault.message, policy);
    }
}

fn facts(facts: &mut [Fact<'_>], policy: &ContentPolicy) {
    for fact in facts {
        let FactValue::Text(text) = &mut fact.value else {
            continue;
        };
        if fact.key == FactKey::Url {
            let leaves = Url::new(text).parts(policy.captures()).concat();
            if leaves != **text {
                *text = Cow::Owned(leaves);
            }
        }
        if matches!(fact.key, FactKey::Url | FactKey::Reason) {
            message(text, policy);
        }
    }
}

fn message(text: &mut Cow<'_, str>, policy: &ContentPolicy) {
    let safe = policy.message(text);
    if *safe != **text {
        *text = Cow::Owned(safe.into_owned());
    }
}
