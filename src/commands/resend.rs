//! `resend`: what the backend refused for good goes once more.

use anyhow::anyhow;
use runtrail::cli::Resend;
use runtrail::config::Environment;
use runtrail::export::resend::{Resent, resend as resend_all};
use runtrail::logs;
use runtrail::store::StoreDir;
use runtrail::store::quarantine::{Quarantine, QuarantineSettings};

use super::{Failure, runtime, warn};

/// Sends what is in quarantine, and says what was taken.
pub(crate) fn resend(arguments: &Resend, environment: &Environment) -> Result<(), Failure> {
    let settings = arguments.settings(environment)?;
    let _logs = logs::start(&settings.log, None)?;
    warn(&settings.warnings);
    let Some(dir) = settings.store.dir else {
        return Err(Failure::asked_wrongly(anyhow!(
            "there is no store: name its directory with --store-dir"
        )));
    };
    let export = settings
        .export
        .map_err(|why| Failure::asked_wrongly(anyhow!("nothing can be sent again: {why}")))?;
    let error = |error| Failure::from(anyhow::Error::from(error));
    let (files, _lock) = StoreDir::open(&dir).map_err(error)?;
    let bounds = settings.store.quarantine_bytes_max as u64;
    let bounds = QuarantineSettings::new(bounds, &settings.limits);
    let quarantine = Quarantine::open(files, bounds).map_err(anyhow::Error::from)?;
    let resent = runtime()?.block_on(resend_all(&export, &quarantine));
    let resent = resent.map_err(anyhow::Error::from)?;
    eprintln!("runtrail: {resent}");
    match resent {
        Resent { left: 0, .. } => Ok(()),
        Resent {
            left, why: None, ..
        } => Err(anyhow!("not all was taken: {left} stay in quarantine").into()),
        Resent {
            left,
            why: Some(why),
            ..
        } => Err(anyhow!("not all was taken: {left} stay in quarantine: {why}").into()),
    }
}
