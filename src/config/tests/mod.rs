//! What a configuration comes to.

mod layers;
mod parts;
mod prices;
mod wrong;

use super::*;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::export::{Compression, Protocol};
use crate::limits::PRICE_ENTRIES_MAX;

/// A place for files, and what the three layers say.
struct Said {
    folder: TempDir,
    flags: Flags,
    variables: Vec<(String, String)>,
}

impl Said {
    /// No more than a server's address.
    fn new() -> Self {
        Self::nothing().variable("AKRIBES_URL", "http://akribes:3001")
    }

    fn nothing() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = Self {
            folder,
            flags: Flags::default(),
            variables: Vec::new(),
        };
        // Whatever stands at the default place of the machine is none of ours.
        said.file("")
    }

    fn file(self, content: &str) -> Self {
        self.bytes(content.as_bytes())
    }

    fn bytes(mut self, content: &[u8]) -> Self {
        let path = self.written("runtrail.yaml", content);
        self.flags.file = Some(path);
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        let mut keys = keys::all();
        let key = keys.find(|key| key.about().flag == Some(name)).unwrap();
        self.flags.values.push((key, vec![value.to_owned()]));
        self
    }

    fn written(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let environment = self.variables.iter().cloned().collect();
        Config::load(&self.flags, &environment)
    }

    fn config(&self) -> Config {
        self.load().unwrap()
    }

    /// What is said of it, without the path of its folder.
    fn problem(&self) -> String {
        let problem = self.load().map(|_| ()).unwrap_err().to_string();
        problem.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// What a key was told to be, and by whom.
    fn setting(&self, key: &str) -> (String, String) {
        let config = self.config();
        let setting = config.describe().iter().find(|setting| setting.key == key);
        let setting = setting.unwrap();
        let origin = setting.origin.to_string();
        let folder = format!("{}/", self.folder.path().display());
        (setting.value.clone(), origin.replace(&folder, ""))
    }
}

/// A certificate that signs itself, and its key.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
