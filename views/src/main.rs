//! Writes every file that is made here.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in runtrail_views::files()? {
        let path = repository.join(&file.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, &file.text)?;
        println!("{}", file.path.display());
    }
    Ok(())
}
