//! `health`: the sidecar that runs here is asked whether it lives.

use anyhow::Context;
use runtrail::cli::Health;
use runtrail::config::Environment;
use runtrail::health;

use super::Failure;

/// Asks, and says nothing when all is well. Whatever else comes of it is the same
/// to who runs health checks: 1, since Docker keeps 2 for itself.
pub(crate) fn health(arguments: &Health, environment: &Environment) -> Result<(), Failure> {
    let listener = arguments.listener(environment);
    let listener = listener.map_err(anyhow::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of the program")?;
    let asked = runtime.block_on(health::ask(listener));
    Ok(asked.map_err(anyhow::Error::from)?)
}
