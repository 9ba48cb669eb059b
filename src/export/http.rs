//! One attempt over HTTP: a POST of protobuf.

use http::header::{CONTENT_ENCODING, HeaderValue};
use reqwest::Response;

use super::cause::Cause;
use super::sender::Sender;
use super::verdict::Answer;
use super::{ANSWER_BYTES_MAX, Compression, Protocol};
use crate::store::outbox::Packed;
use crate::wire::time::Time;

pub(super) async fn send(sender: &Sender, packed: &Packed, now: fn() -> Time) -> Answer {
    let mut headers = sender.headers.clone();
    match packed.compression {
        Compression::Gzip => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Compression::None => {
            headers.remove(CONTENT_ENCODING);
        }
    }
    let request = sender.client().post(sender.url.clone()).headers(headers);
    let mut response = match request.body(packed.body.clone()).send().await {
        Ok(response) => response,
        Err(error) => return Answer::of_failure(Cause::of(error, Protocol::HttpProtobuf)),
    };
    let body = read(&mut response).await;
    Answer::of_http(response.status(), response.headers(), &body, now())
}

/// As much of the body as there is and may be. The status is the verdict, be the
/// rest cut, late or endless.
async fn read(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = ANSWER_BYTES_MAX - body.len();
        if chunk.len() > room {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}
