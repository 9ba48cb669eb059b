//! The main loop over a disk that hangs: it still says that it lives.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::outlive::{Life, frames};
use crate::admin::{Ask, RunsPage, RunsQuery};
use crate::source::FeedNews;
use crate::store::files::{Files, Memory, StoreFile};
use crate::trace::batch::Batch;

/// Longer than this nothing takes, unless it hangs for good.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a disk may hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A checkpoint is begun.
    Create,
    /// A checkpoint comes to count.
    Rename,
}

/// Files in memory, behind a gate that may be shut.
#[derive(Debug, Clone, Default)]
struct Gated(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    files: Memory,
    shut: Mutex<Option<Step>>,
    opened: Condvar,
    reached: Notify,
}

impl Gated {
    fn shut(&self, step: Step) {
        *self.0.shut.lock().unwrap() = Some(step);
    }

    fn open_up(&self) {
        *self.0.shut.lock().unwrap() = None;
        self.0.opened.notify_all();
    }

    fn pass(&self, step: Step) {
        let mut shut = self.0.shut.lock().unwrap();
        while *shut == Some(step) {
            self.0.reached.notify_one();
            shut = self.0.opened.wait(shut).unwrap();
        }
    }
}

impl Files for Gated {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.files.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        if name.starts_with("checkpoint") {
            self.pass(Step::Create);
        }
        self.0.files.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        self.0.files.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.pass(Step::Rename);
        self.0.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.files.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.files.sync_dir()
    }
}

/// A life of which a run is open, and everything so far is safe.
async fn with_an_open_run(files: &Gated) -> Life {
    let mut life = Life::begin(files).await.unwrap();
    life.hear_one(FeedNews::Connected).await.unwrap();
    // As many as it takes for a run to be open.
    for (_, frame) in frames().into_iter().take(5) {
        life.hear_one(FeedNews::Bytes(frame)).await.unwrap();
    }
    // No checkpoint waits for spans that are not stored yet.
    let (_, mut nobody) = mpsc::channel(1);
    life.engine.parts.core.handle_drain();
    life.engine.give_all(&mut nobody).await;
    let through = life.engine.given_through;
    let export = life.engine.parts.export.as_mut().unwrap();
    let stored = export.durable_through.wait_for(|stored| *stored >= through);
    drop(timeout(PATIENCE, stored).await.unwrap().unwrap());
    life.engine.settle(&mut nobody).await.unwrap();
    life
}

/// A life with something that no checkpoint holds yet, at a disk that will hang at
/// this step of the next one.
async fn about_to_hang_at(step: Step) -> (Gated, Life) {
    let files = Gated::default();
    let mut life = with_an_open_run(&files).await;
    let core = &mut life.engine.parts.core;
    core.handle_clock_set(crate::net::clock::now());
    files.shut(step);
    (files, life)
}

async fn is_told_thrice_that_it_lives(asks: &mpsc::Sender<Ask>) {
    for _ in 0..3 {
        let (reply, alive) = oneshot::channel();
        asks.send(Ask::Alive(reply)).await.unwrap();
        alive.await.unwrap();
    }
}

async fn ask_for_runs(asks: &mpsc::Sender<Ask>) -> oneshot::Receiver<RunsPage> {
    let (reply, page) = oneshot::channel();
    let query = RunsQuery {
        state: None,
        workflow: None,
        limit: 1,
    };
    asks.send(Ask::Runs(query, reply)).await.unwrap();
    page
}

/// What came of both, unless the one waits for the disk and the other for it.
async fn both<A, B>(
    files: &Gated,
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
) -> (A, B) {
    let both = timeout(PATIENCE, async { tokio::join!(a, b) }).await;
    files.open_up();
    both.expect("it does not wait for the disk")
}

#[tokio::test]
async fn it_lives_while_the_disk_hangs_at_a_checkpoint_and_answers_the_rest_afterwards() {
    for step in [Step::Create, Step::Rename] {
        let (files, mut life) = about_to_hang_at(step).await;
        let (asks, mut asked) = mpsc::channel(1);
        let questions = async {
            files.0.reached.notified().await;
            let page = ask_for_runs(&asks).await;
            is_told_thrice_that_it_lives(&asks).await;
            files.open_up();
            page.await.unwrap()
        };
        let settled = life.engine.settle(&mut asked);
        let (settled, page) = both(&files, settled, questions).await;
        settled.unwrap();
        assert_eq!(page.runs.len(), 1, "{step:?}");
    }
}

#[tokio::test]
async fn it_lives_while_the_disk_hangs_at_the_last_checkpoint() {
    for step in [Step::Create, Step::Rename] {
        let (files, mut life) = about_to_hang_at(step).await;
        let (asks, mut asked) = mpsc::channel(1);
        let questions = async {
            files.0.reached.notified().await;
            is_told_thrice_that_it_lives(&asks).await;
            files.open_up();
        };
        let saved = life.engine.save_last(&mut asked);
        both(&files, saved, questions).await.0.unwrap();
    }
}

#[tokio::test]
async fn it_lives_while_the_last_batches_wait_to_be_packed_and_answers_the_rest_afterwards() {
    let files = Gated::default();
    let mut life = with_an_open_run(&files).await;
    let (asks, mut asked) = mpsc::channel(1);
    // A packer that has one, and waits for the disk with another.
    let (batches, mut packer) = mpsc::channel(1);
    batches.try_send(Batch::new(Vec::new(), 0)).unwrap();
    life.engine.parts.export.as_mut().unwrap().batches = Some(batches);
    for (_, frame) in frames().into_iter().skip(5) {
        life.hear_one(FeedNews::Bytes(frame)).await.unwrap();
    }
    life.engine.parts.core.handle_drain();
    let questions = async {
        let page = ask_for_runs(&asks).await;
        is_told_thrice_that_it_lives(&asks).await;
        // Its own, and then as many as there are.
        packer.recv().await.unwrap();
        packer.recv().await.unwrap();
        packer.close();
        page.await.unwrap()
    };
    let given = life.engine.give_all(&mut asked);
    let ((), page) = both(&files, given, questions).await;
    assert_eq!(page.runs.len(), 1);
}
