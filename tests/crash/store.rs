//! A directory that cannot be the store, or not for now.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::load::Pace;
use crate::program::{BINARY, Ended, Program, eventually, get, run};
use crate::world::{World, start, sum};

/// Beside a server that is not there.
fn variables(store: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("AKRIBES_URL", "http://127.0.0.1:1".to_owned()),
        ("RUNTRAIL_LISTEN_METRICS", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_LISTEN_LOCAL", "127.0.0.1:0".to_owned()),
        ("RUNTRAIL_STORE_DIR", store.display().to_string()),
    ]
}

fn run_with(store: &Path) -> Ended {
    let variables = variables(store);
    run(&["run"], &crate::world::borrowed(&variables))
}

/// It ended with one sentence, which names the directory and holds these words.
fn is_refused(ended: &Ended, store: &Path, words: &str) {
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let sentence = ended
        .text
        .lines()
        .find(|line| line.starts_with("runtrail: "));
    let sentence = sentence.unwrap_or_else(|| panic!("no sentence:\n{}", ended.text));
    assert!(sentence.contains(words), "{sentence}");
    assert!(
        sentence.contains(&store.display().to_string()),
        "{sentence}"
    );
    assert!(!ended.text.contains("panicked"), "{}", ended.text);
}

fn is_alive(program: &Program) {
    let [metrics, _] = program.listeners();
    assert_eq!(get(metrics, "/healthz", "").0, 200);
}

#[test]
fn two_programs_do_not_use_one_store() {
    let dir = TempDir::new().unwrap();
    let first = start(&variables(dir.path()));
    first.listeners();
    let who = format!("in use by process {}", first.id());
    is_refused(&run_with(dir.path()), dir.path(), &who);
    is_alive(&first);
    first.kill();
    let next = start(&variables(dir.path()));
    is_alive(&next);
}

#[test]
fn a_store_of_a_newer_format_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let format = dir.path().join("format");
    std::fs::write(&format, "runtrail store 99\n").unwrap();
    is_refused(&run_with(dir.path()), dir.path(), "format 99");
    assert_eq!(
        std::fs::read_to_string(&format).unwrap(),
        "runtrail store 99\n"
    );
}

#[test]
fn a_store_must_be_a_directory() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    is_refused(&run_with(&file), &file, "not a directory");
}

#[test]
fn a_store_must_be_writable() {
    // Not even root makes a directory there.
    let path = Path::new("/sys/runtrail-store");
    is_refused(&run_with(path), path, "store.dir");
}

/// A command in namespaces of its own, with a file system at `disk` in this
/// directory, of this size or kind. It needs no rights, but a system that lets
/// everybody do so: not all do.
fn on_a_disk(dir: &Path, options: &str, command: &[&str]) -> Command {
    let mut unshare = Command::new("/usr/bin/unshare");
    let mount = format!("mount -t tmpfs -o {options} runtrail \"$0\" && exec \"$@\"");
    unshare.args([
        "--user",
        "--map-root-user",
        "--mount",
        "/bin/sh",
        "-c",
        &mount,
    ]);
    unshare.arg(dir.join("disk")).args(command);
    unshare
}

fn has_disks() -> bool {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("disk")).unwrap();
    let status = on_a_disk(dir.path(), "size=1m", &["/bin/true"]).status();
    let has = status.is_ok_and(|status| status.success());
    if !has {
        println!("skipped: this system has no small disks for everybody (unshare, mount)");
    }
    has
}

#[test]
fn a_store_on_a_read_only_disk_is_refused() {
    if !has_disks() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let variables = variables(&disk);
    let command = on_a_disk(dir.path(), "ro", &[BINARY, "run"]);
    let ended = Program::spawn(command, &crate::world::borrowed(&variables)).ended();
    is_refused(&ended, &disk, "read-only");
}

/// Writes until the disk of a process takes nothing more.
fn fill(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    let mut file = File::create(&ballast).unwrap();
    for piece in [1 << 20, 4 << 10, 1] {
        let piece = vec![1; piece];
        let error = loop {
            if let Err(error) = file.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    }
    ballast
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_and_has_room_again_costs_nothing() {
    if !has_disks() {
        return;
    }
    let pace = Pace {
        seed: 11,
        speed: 60.0,
        chunks_per_second: 300.0,
        chunk_bytes_min: 0,
        open_most: 10,
    };
    let mut world = World::new(pace).await;
    std::fs::create_dir(world.dir().join("disk")).unwrap();
    let store = world.dir().join("disk/store").display().to_string();
    world.more = vec![("RUNTRAIL_STORE_DIR", store)];
    world.launcher = Some(|dir| on_a_disk(dir, "size=64m", &[BINARY, "run"]));
    let program = world.begin(pace).await;
    let disk = format!("/proc/{}/root{}/disk", program.id(), world.dir().display());
    for _ in 0..2 {
        let ballast = fill(Path::new(&disk));
        eventually("it says that the disk is full", || {
            (sum(&program, "runtrail_store_suspended") == 1.0).then_some(())
        });
        is_alive(&program);
        std::fs::remove_file(ballast).unwrap();
        eventually("it goes on", || {
            (sum(&program, "runtrail_store_suspended") == 0.0).then_some(())
        });
        let before = sum(&program, "runtrail_runs_finished_total");
        eventually("runs are counted", || {
            (sum(&program, "runtrail_runs_finished_total") > before).then_some(())
        });
    }
    world.calm_down().await;
    let outcome = world.settle(program).await;
    println!("{}", outcome.numbers());
    outcome.is_as_undisturbed("the disk was full");
}
