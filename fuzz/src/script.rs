//! An input is a feed with commands in it. A command is the byte FF, which no
//! text holds, and one or two bytes more. So a recorded feed is a script, and
//! the fuzzer finds its way from there.

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Bytes of the feed.
    Feed(&'a [u8]),
    /// A page of the log of the run that was last asked for.
    Page(&'a [u8]),
    /// The log is refused.
    Refuse,
    /// Something may have been lost.
    Gap,
    /// A new connection.
    Reconnect,
    /// Time goes by: so many times a power of two of milliseconds.
    Tick(u8),
    /// The server says how a run is.
    Status(u8),
    /// The input is at its end.
    EndOfInput,
}

/// The steps of a script. A cut (`FF c`) separates two pieces of a feed and is
/// no step of its own; what is no command is a byte of the feed.
pub fn steps(mut rest: &[u8]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut page = false;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0xFF);
        let (bytes, after) = rest.split_at(end.unwrap_or(rest.len()));
        if page {
            steps.push(Step::Page(bytes));
        } else if !bytes.is_empty() {
            steps.push(Step::Feed(bytes));
        }
        page = false;
        rest = match after {
            [] => &[],
            [_, b'c', rest @ ..] => rest,
            [_, b'p', rest @ ..] => {
                page = true;
                rest
            }
            [_, b'f', rest @ ..] => command(&mut steps, Step::Refuse, rest),
            [_, b'g', rest @ ..] => command(&mut steps, Step::Gap, rest),
            [_, b'r', rest @ ..] => command(&mut steps, Step::Reconnect, rest),
            [_, b'e', rest @ ..] => command(&mut steps, Step::EndOfInput, rest),
            [_, b't', by, rest @ ..] => command(&mut steps, Step::Tick(*by), rest),
            [_, b's', how, rest @ ..] => command(&mut steps, Step::Status(*how), rest),
            [_, rest @ ..] => command(&mut steps, Step::Feed(&after[..1]), rest),
        };
    }
    steps
}

/// The same steps, with the feed between two commands in other pieces.
pub fn recut<'a>(input: &'a [u8], piece_bytes: usize) -> Vec<Step<'a>> {
    steps(input)
        .into_iter()
        .flat_map(|step| match step {
            Step::Feed(bytes) => bytes.chunks(piece_bytes.max(1)).map(Step::Feed).collect(),
            other => vec![other],
        })
        .collect()
}

fn command<'a>(steps: &mut Vec<Step<'a>>, step: Step<'a>, rest: &'a [u8]) -> &'a [u8] {
    steps.push(step);
    rest
}
