//! What the core asks of the allocator. A piece of a stream is what a feed mostly
//! consists of: once its task's record has its room, taking one asks for nothing.
#![allow(
    unsafe_code,
    reason = "a global allocator cannot be written without; the library forbids it"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use runtrail::core::Core;
use runtrail::limits::Limits;

use self::common::{
    batch, chunk_of, core, core_that_captures, event, hub, start, task_end, task_start,
};

/// The system's allocator; it counts what the thread asks for.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        held(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(more: usize, less: usize) {
    // A thread that ends may free after its locals are gone.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    held(more, less);
}

fn held(more: usize, less: usize) {
    let _ = LIVE_BYTES.try_with(|live| {
        live.set(live.get() + more as i64 - less as i64);
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

/// What some work keeps, and the most that it held, in bytes.
fn memory(work: impl FnOnce()) -> (i64, i64) {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    work();
    (LIVE_BYTES.get() - before, PEAK_BYTES.get() - before)
}

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

fn chunk(i: u32, text: &str) -> String {
    hub(1, 10 + i, &chunk_of("write", text))
}

fn frames(texts: &[&str], from: u32, to: u32) -> Vec<Vec<u8>> {
    let frame = |i| {
        let elements: Vec<String> = texts.iter().map(|text| chunk(i, text)).collect();
        batch(&elements).into_bytes()
    };
    (from..to).map(frame).collect()
}

/// A core with an open task that has had many pieces.
fn warm(texts: &[&str], feed: impl Fn(&mut Core, &[u8])) -> Core {
    let mut core = core(Limits::default(), false);
    let opening = batch(&[hub(1, 0, &start()), hub(1, 1, &task_start("write"))]);
    core.handle_bytes(0, opening.as_bytes(), None);
    for frame in frames(texts, 0, 128) {
        feed(&mut core, &frame);
    }
    core
}

fn none_is_made(texts: &[&str], feed: impl Fn(&mut Core, &[u8])) {
    let mut core = warm(texts, &feed);
    for frame in frames(texts, 128, 4_000) {
        let made = allocations(|| feed(&mut core, &frame));
        assert_eq!(made, 0, "{}", String::from_utf8_lossy(&frame));
    }
    let seen: u64 = core.deltas().events_by_type.iter().sum();
    assert_eq!(seen, 2 + 4_000 * texts.len() as u64);
    assert_eq!(core.deltas().rejected.iter().sum::<u64>(), 0);
}

const PLAIN: &str = "The press spread from Mainz through Europe within decades";
const ESCAPED: &str = r##"\n\n# What changed\n\nCaf\u00e9 \ud83d\ude00 \"so\""##;

#[test]
fn a_chunk_allocates_nothing() {
    none_is_made(&[PLAIN], |core, frame| core.handle_bytes(0, frame, None));
}

#[test]
fn a_chunk_with_escapes_in_its_text_allocates_nothing() {
    none_is_made(&[ESCAPED], |core, frame| core.handle_bytes(0, frame, None));
}

#[test]
fn a_batch_of_chunks_allocates_nothing() {
    let texts = [PLAIN, ESCAPED].repeat(10);
    none_is_made(&texts, |core, frame| core.handle_bytes(0, frame, None));
}

#[test]
fn a_chunk_that_is_split_over_two_reads_allocates_nothing() {
    for part in [1, 3, 10, 40] {
        none_is_made(&[PLAIN, ESCAPED], |core, frame| {
            let (head, tail) = frame.split_at(frame.len() * part / 41);
            core.handle_bytes(0, head, None);
            core.handle_bytes(0, tail, None);
        });
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_holds_no_more_than_its_bound_and_leaves_little() {
    let limits = Limits::default();
    let line_bytes_max = i64::try_from(limits.line_bytes_max).unwrap();
    let mut core = core(limits, false);
    let piece = vec![b'['; 64 << 10];
    let (kept, peak) = memory(|| {
        core.handle_bytes(0, b"data: ", None);
        for _ in 0..(100 << 20) / piece.len() {
            core.handle_bytes(0, &piece, None);
        }
        core.handle_bytes(0, b"\n\n", None);
    });
    assert!(peak <= 2 * line_bytes_max, "{peak}");
    assert!(kept <= 512 << 10, "{kept}");
}

/// A core in which so many runs are open, all of which have said this.
fn with_open_runs(runs: u32, capture: bool, events: &dyn Fn(u32) -> Vec<String>) -> Core {
    let mut core = core_that_captures(Limits::default(), capture);
    for run in 0..runs {
        let events: Vec<String> = events(run).iter().map(|e| hub(run, 1, e)).collect();
        core.handle_bytes(0, batch(&events).as_bytes(), None);
        core.deltas().clear();
        while core.poll_batch().is_some() {}
    }
    core
}

#[test]
fn open_runs_hold_about_what_they_are_said_to_hold() {
    let say = |text: &str, times: usize| vec![chunk_of("write", text); times];
    let opening = || vec![start(), task_start("write")];
    let tools = |count: u32| {
        let tool = |i| {
            event(
                "ToolCallStart",
                &format!(
                    r#"{{"task_name":"write","tool_name":"search{i}","server_name":"web","input":{{"q":"{}"}},"tool_use_id":"tool-{i}"}}"#,
                    "q".repeat(300)
                ),
            )
        };
        (0..count).map(tool).collect::<Vec<_>>()
    };
    type Events<'e> = &'e dyn Fn(u32) -> Vec<String>;
    let shapes: [(&str, bool, Events<'_>); 9] = [
        ("that began", false, &|_| vec![start()]),
        ("with a task", false, &|_| opening()),
        ("with a few chunks", false, &|_| {
            [opening(), say("x", 5)].concat()
        }),
        ("with many chunks", false, &|_| {
            [opening(), say("x", 300)].concat()
        }),
        ("with texts", true, &|_| {
            [opening(), say(&"x".repeat(700), 9)].concat()
        }),
        ("with texts cut off", true, &|_| {
            [opening(), say(&"x".repeat(7_000), 9)].concat()
        }),
        ("with tools", false, &|_| [opening(), tools(20)].concat()),
        ("with tools and their inputs", true, &|_| {
            [opening(), tools(20)].concat()
        }),
        ("with many ended tasks", false, &|_| {
            let task = |i| {
                [
                    task_start(&format!("task{i}")),
                    task_end(&format!("task{i}")),
                ]
            };
            [vec![start()], (0..50).flat_map(task).collect()].concat()
        }),
    ];
    for (what, capture, events) in shapes {
        let runs = 500;
        let mut said = 0;
        let mut kept = None;
        // What else grows with a core is in both.
        let (empty, _) = memory(|| kept = Some(with_open_runs(1, capture, events)));
        kept = None;
        let (held, _) = memory(|| {
            let core = with_open_runs(1 + runs, capture, events);
            said = core.open_runs_bytes() as i64;
            kept = Some(core);
        });
        drop(kept);
        let (said, held) = (said / i64::from(1 + runs), (held - empty) / i64::from(runs));
        println!("a run {what}: {held} bytes, said to be {said}");
        assert!(held <= said + said / 10, "{what}: {held} instead of {said}");
        assert!(said <= 2 * held, "{what}: {held} instead of {said}");
    }
}
