//! The reference of all keys, as Markdown, written from the one table.

use super::keys::{self, AnyKey, Preset};

/// All keys: what each does, what it is when nobody says, and who changes it.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (section, title) in SECTIONS {
        let mut keys = keys::all()
            .filter(|key| key.about().section() == section)
            .peekable();
        if keys.peek().is_some() {
            text.push_str(&format!("\n## {title}\n\n"));
            text.push_str("| key | variable, flag | value | default | effect | who changes it |\n");
            text.push_str("|---|---|---|---|---|---|\n");
            keys.for_each(|key| text.push_str(&row(key)));
        }
    }
    text
}

const INTRODUCTION: &str = "\
<!-- Written from the table of keys in src/config/keys: change it there, then
     UPDATE_DOCS=1 cargo test --test configuration -->

# Configuration

A key is looked for in the flags first, then in the environment, then in the
file; else it has its default. The file is the one that `--config` or
`RUNTRAIL_CONFIG` names, else `/etc/runtrail/config.yaml` if it is there. The
common case needs no file.

- Every key has a variable: `RUNTRAIL_` and its path in capitals. Variables of
  others that mean the same stand below it, the one that counts first in front;
  its own comes before them. An empty variable is an unset one.
- In a variable or flag the values of a list stand between commas.
- Sizes are written `64MiB`, `512KiB`, `1GB` or as plain bytes; times `250ms`,
  `10s`, `5m`, `1h30m` or `14d`.
- In the file, a key that is not known is an error. A variable that is nearly one
  of these is told at start, and one that is not means nothing.
- A secret has no flag: every process of the machine could read it.

`runtrail check` says what was chosen and where each value comes from.
";

/// In the order of the reference. A section without a title here is missing from
/// it, which a test notices.
const SECTIONS: [(Option<&str>, &str); 8] = [
    (Some("source"), "Where events come from (`source`)"),
    (Some("export"), "Where traces go (`export`)"),
    (Some("store"), "What is kept on disk (`store`)"),
    (None, "What leaves, and the process (top level)"),
    (Some("prices"), "What models cost (`prices`)"),
    (Some("listen"), "The listeners (`listen`)"),
    (Some("log"), "Logs (`log`)"),
    (Some("limits"), "Bounds (`limits`)"),
];

fn row(key: &dyn AnyKey) -> String {
    let about = key.about();
    let code = |text: &str| format!("`{text}`");
    let names = about.variables().chain(about.flag.map(str::to_owned));
    let names: Vec<_> = names.map(|name| code(&name)).collect();
    let default = match about.default {
        Preset::Value(value) => code(value),
        Preset::Nothing(meaning) => meaning.to_owned(),
    };
    let cells = [
        code(about.path),
        names.join("<br>"),
        key.form(),
        default,
        about.effect.to_owned(),
        about.changed_by.to_owned(),
    ];
    format!(
        "| {} |\n",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}
