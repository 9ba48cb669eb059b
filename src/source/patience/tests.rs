use super::*;
use crate::source::testkit;

const SECOND: Duration = Duration::from_secs(1);

fn patience(seed: u64) -> Patience {
    Patience::new(&testkit::settings(None), seed)
}

/// A connection that greeted and closed.
const GREETED: Ended = Ended {
    kind: LossKind::Ended,
    lived: Duration::from_millis(5),
    bytes: 13,
    cursor_moved: false,
    asked: None,
};

/// The longest wait after so many of these, over many seeds.
fn longest_after(times: usize, ended: &Ended) -> Duration {
    let waits = (0..200).map(|seed| {
        let mut patience = patience(seed);
        for _ in 1..times {
            patience.after(ended);
        }
        patience.after(ended).time
    });
    waits.max().unwrap_or_default()
}

#[test]
fn a_server_that_greets_and_closes_is_asked_ever_less_often() {
    assert!(longest_after(1, &GREETED) <= SECOND);
    assert!(longest_after(20, &GREETED) > 25 * SECOND);
    assert!(longest_after(20, &GREETED) <= 30 * SECOND);
}

#[test]
fn after_a_connection_that_worked_the_next_comes_soon() {
    for worked in [
        Ended {
            cursor_moved: true,
            ..GREETED
        },
        Ended {
            lived: 10 * SECOND,
            ..GREETED
        },
        Ended {
            bytes: 2_000,
            ..GREETED
        },
    ] {
        assert!(longest_after(20, &worked) <= SECOND, "{worked:?}");
    }
}

#[test]
fn what_the_server_asks_for_is_the_least_wait_within_reason() {
    for kind in [LossKind::Busy(503), LossKind::Ended, LossKind::Refused(403)] {
        let asked = |seconds| Ended {
            kind,
            asked: Some(seconds * SECOND),
            ..GREETED
        };
        for seed in 0..50 {
            let wait = patience(seed).after(&asked(60)).time;
            assert!(wait >= 60 * SECOND && wait <= 70 * SECOND, "{wait:?}");
            let wait = patience(seed).after(&asked(86_400)).time;
            assert!(wait >= 300 * SECOND && wait <= 310 * SECOND, "{wait:?}");
        }
    }
}

#[test]
fn a_refusal_waits_long_from_the_first_and_not_all_alike_until_the_token_changes() {
    for kind in [LossKind::Refused(401), LossKind::Token] {
        let waits = [1, 2, 3, 4].map(|seed| patience(seed).after(&Ended { kind, ..GREETED }));
        for wait in waits {
            assert!(wait.for_token);
            assert!(wait.time >= 30 * SECOND && wait.time <= 36 * SECOND);
        }
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
    for kind in [
        LossKind::Ended,
        LossKind::Silent,
        LossKind::Unreachable,
        LossKind::Busy(500),
    ] {
        assert!(!patience(1).after(&Ended { kind, ..GREETED }).for_token);
    }
}

#[test]
fn a_refusal_between_losses_does_not_hide_them() {
    let refused = Ended {
        kind: LossKind::Refused(401),
        ..GREETED
    };
    let longest = (0..200).map(|seed| {
        let mut patience = patience(seed);
        for _ in 0..10 {
            patience.after(&GREETED);
            patience.after(&refused);
        }
        patience.after(&GREETED).time
    });
    assert!(longest.max().unwrap_or_default() > 25 * SECOND);
}
