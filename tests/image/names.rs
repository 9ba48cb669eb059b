//! The name server of a cluster, as far as a client sees it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// Resolvers ask at no other port than 53; that of the machine is elsewhere.
const ADDRESS: &str = "127.0.0.2:53";

const HEAD_BYTES: usize = 12;
const NO_SUCH_NAME: u8 = 3;
/// The kind of a question that wants an address of version 4.
const KIND_A: [u8; 4] = [0, 1, 0, 1];

/// A name server that knows some names, all of which are this machine's.
pub(crate) struct Names {
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Names {
    /// Answers until the test is over.
    pub(crate) fn serve(known: &[&str]) -> Self {
        let socket = UdpSocket::bind(ADDRESS).expect("root may have port 53");
        let known: BTreeSet<String> = known.iter().map(|&name| name.to_owned()).collect();
        let asked = Arc::<Mutex<BTreeSet<String>>>::default();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut question) {
                let Some((name, end)) = name(&question[..len]) else {
                    continue;
                };
                let answer = answer(&question[..len], end, known.contains(&name));
                heard.lock().unwrap().insert(name);
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { asked }
    }

    /// What a cluster writes into each pod of the namespace `flows`.
    pub(crate) fn resolver(&self) -> String {
        let address: SocketAddr = ADDRESS.parse().unwrap();
        format!(
            "search flows.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver {}\noptions ndots:5\n",
            address.ip()
        )
    }

    /// All names that were asked for.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The name of a question, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEAD_BYTES;
    loop {
        let len = usize::from(*question.get(at)?);
        at += 1;
        if len == 0 {
            return Some((labels.join("."), at));
        }
        let label = question.get(at..at + len)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += len;
    }
}

fn answer(question: &[u8], end_of_name: usize, known: bool) -> Vec<u8> {
    let end = end_of_name + KIND_A.len();
    let Some(kind) = question.get(end_of_name..end) else {
        return Vec::new();
    };
    let has_address = known && kind == KIND_A;
    let code = if known { 0 } else { NO_SUCH_NAME };
    // The id of the question; that this is an answer, with authority, of a server
    // that asks others; one question, and one answer or none.
    let mut answer = question[..2].to_vec();
    answer.extend([
        0x85,
        0x80 | code,
        0,
        1,
        0,
        u8::from(has_address),
        0,
        0,
        0,
        0,
    ]);
    answer.extend(&question[HEAD_BYTES..end]);
    if has_address {
        // The name of the question, for five seconds.
        answer.extend([0xc0, HEAD_BYTES as u8]);
        answer.extend(KIND_A);
        answer.extend([0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
