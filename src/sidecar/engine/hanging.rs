//! The main loop over a disk that hangs: it still says that it lives.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::outlive::{Life, frames};
use crate::admin::{Ask, RunsQuery};
use crate::source::FeedNews;
use crate::store::files::{Files, Memory, StoreFile};

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

#[tokio::test]
async fn it_lives_while_the_disk_hangs_at_a_checkpoint_and_answers_the_rest_afterwards() {
    for step in [Step::Create, Step::Rename] {
        let files = Gated::default();
        let mut life = Life::begin(&files).await.unwrap();
        let (asks, mut asked) = mpsc::channel(1);
        life.hear_one(FeedNews::Connected).await.unwrap();
        // As many as it takes for a run to be open.
        for (_, frame) in frames().into_iter().take(5) {
            life.hear_one(FeedNews::Bytes(frame)).await.unwrap();
        }
        // Something that no checkpoint holds yet.
        life.engine
            .parts
            .core
            .handle_clock_set(crate::net::clock::now());
        files.shut(step);
        let questions = async {
            files.0.reached.notified().await;
            let (reply, page) = oneshot::channel();
            let query = RunsQuery {
                state: None,
                workflow: None,
                limit: 1,
            };
            asks.send(Ask::Runs(query, reply)).await.unwrap();
            for _ in 0..3 {
                let (reply, alive) = oneshot::channel();
                asks.send(Ask::Alive(reply)).await.unwrap();
                alive.await.unwrap();
            }
            files.open_up();
            page.await.unwrap()
        };
        let settled = life.engine.settle(&mut asked);
        let both = timeout(PATIENCE, async { tokio::join!(settled, questions) }).await;
        files.open_up();
        let (settled, page) = both.expect("it does not wait for the disk");
        settled.unwrap();
        assert_eq!(page.runs.len(), 1, "{step:?}");
    }
}
