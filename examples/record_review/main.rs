//! Writes the recording that ships with the project:
//!
//! ```text
//! cargo run --example record_review > examples/feeds/review.sse
//! ```

mod recording;
mod runs;

use std::io::Write;

fn main() -> anyhow::Result<()> {
    let recording = recording::write(runs::all())?;
    std::io::stdout().write_all(recording.as_bytes())?;
    Ok(())
}
