//! Prometheus, its tool and Alertmanager, as Debian ships them. Each runs in a
//! directory of its own until it is dropped.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{eventually, free_address, get};

/// Where they are.
pub(crate) struct Peers {
    prometheus: PathBuf,
    promtool: PathBuf,
    alertmanager: PathBuf,
}

impl Peers {
    /// `None` is a test that has to be skipped.
    pub(crate) fn find() -> Option<Self> {
        let found = Self::in_path();
        if found.is_none() {
            let required =
                std::env::var("RUNTRAIL_TEST_PEERS").is_ok_and(|peers| peers == "required");
            assert!(!required, "Prometheus and Alertmanager are not installed");
            eprintln!(
                "skipped: prometheus, promtool and prometheus-alertmanager are not installed; \
                 ./test installs them"
            );
        }
        found
    }

    fn in_path() -> Option<Self> {
        let find = |name: &str| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path)
                .map(|folder| folder.join(name))
                .find(|file| file.is_file())
        };
        Some(Self {
            prometheus: find("prometheus")?,
            promtool: find("promtool")?,
            // Upstream and Debian call it differently.
            alertmanager: find("prometheus-alertmanager").or_else(|| find("alertmanager"))?,
        })
    }

    /// Runs promtool with this file as its input.
    pub(crate) fn promtool(&self, arguments: &[&str], input: &Path) -> Output {
        Command::new(&self.promtool)
            .args(arguments)
            .stdin(File::open(input).unwrap())
            .output()
            .unwrap()
    }
}

/// A process that runs until it is dropped; what it said is shown when the test
/// fails.
struct Peer {
    child: Child,
    dir: TempDir,
    addr: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(20)..];
            eprintln!("{} said last:\n{}", self.addr, last.join("\n"));
        }
    }
}

impl Peer {
    /// Starts it at a free address, in the directory that holds its configuration.
    fn start(program: &Path, dir: TempDir, arguments: &[String]) -> Self {
        let addr = free_address();
        let log = File::create(dir.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .arg(format!("--web.listen-address={addr}"))
            .env_clear()
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut peer = Self { child, dir, addr };
        eventually("it is ready", || {
            let ended = peer.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", program.display());
            let listens = std::net::TcpStream::connect(addr).is_ok();
            (listens && get(addr, "/-/ready", "").0 == 200).then_some(())
        });
        peer
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

/// An Alertmanager that passes every alert on to a webhook, at once.
pub(crate) struct Alertmanager(Peer);

impl Alertmanager {
    pub(crate) fn start(peers: &Peers, webhook: SocketAddr) -> Self {
        let dir = TempDir::with_prefix("runtrail-alertmanager-").unwrap();
        let config = format!(
            "route:\n  receiver: test\n  group_by: ['...']\n  group_wait: 0s\n  \
             group_interval: 1s\n  repeat_interval: 1h\n\
             receivers:\n- name: test\n  webhook_configs:\n  - url: http://{webhook}/\n"
        );
        std::fs::write(dir.path().join("alertmanager.yml"), config).unwrap();
        let arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            // Empty: it has no others to talk to.
            "--cluster.listen-address=",
        ];
        let arguments = arguments.map(str::to_owned);
        Self(Peer::start(&peers.alertmanager, dir, &arguments))
    }
}

/// What a Prometheus is to do.
pub(crate) struct Duties<'a> {
    /// What it scrapes, each under the name of its instance.
    pub(crate) targets: &'a [(&'a str, SocketAddr)],
    /// What it computes, as a file of rules.
    pub(crate) rules: &'a str,
    /// To whom it sends alerts.
    pub(crate) alertmanager: &'a Alertmanager,
    /// How often it scrapes.
    pub(crate) every: &'a str,
}

/// A Prometheus that keeps exemplars.
pub(crate) struct Prometheus(Peer);

impl Prometheus {
    pub(crate) fn start(peers: &Peers, duties: &Duties<'_>) -> Self {
        let dir = TempDir::with_prefix("runtrail-prometheus-").unwrap();
        let Duties { every, .. } = duties;
        let target = |(name, addr): &(&str, SocketAddr)| {
            format!("  - targets: ['{addr}']\n    labels: {{instance: {name}}}\n")
        };
        let targets: String = duties.targets.iter().map(target).collect();
        let config = format!(
            "global:\n  scrape_interval: {every}\n  scrape_timeout: {every}\n  \
             evaluation_interval: {every}\nrule_files: [rules.yaml]\n\
             alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: ['{}']\n\
             scrape_configs:\n- job_name: runtrail\n  static_configs:\n{targets}",
            duties.alertmanager.0.addr
        );
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        std::fs::write(dir.path().join("rules.yaml"), duties.rules).unwrap();
        let arguments = [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--enable-feature=exemplar-storage",
        ];
        let arguments = arguments.map(str::to_owned);
        Self(Peer::start(&peers.prometheus, dir, &arguments))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// The data of an answer, or why there is none.
    pub(crate) fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let base = format!("http://{}/api/v1/{path}", self.0.addr);
        let url = reqwest::Url::parse_with_params(&base, parameters).unwrap();
        let path = match url.query() {
            Some(query) if !query.is_empty() => format!("{}?{query}", url.path()),
            _ => url.path().to_owned(),
        };
        let (_, body) = get(self.0.addr, &path, "");
        let mut answer: Value = serde_json::from_str(&body).map_err(|_| body)?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// The series that a query gives now.
    pub(crate) fn query(&self, query: &str) -> Vec<Value> {
        let mut data = self.ask("query", &[("query", query)]).unwrap();
        match data["result"].take() {
            Value::Array(series) => series,
            other => vec![other],
        }
    }
}
