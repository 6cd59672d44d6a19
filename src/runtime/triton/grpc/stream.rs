//! Requests over one stream (`ModelStreamInfer`): the call is made once, and carries a request and its answer after the other.

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;

use super::{PREFIX, Target, is_grpc, push, status};
use crate::error::{Error, Result};

/// A stream that is open.
pub(super) struct Stream {
    requests: SendStream<Bytes>,
    /// What the server sends; known once it has sent the head.
    answers: Option<RecvStream>,
    head: Option<h2::client::ResponseFuture>,
    /// What came of the next message.
    rest: BytesMut,
}

/// The stream that a message goes over.
pub(super) enum Begun {
    /// One that is open.
    Open(Box<Stream>),
    /// One that this call opens.
    New(Box<Request<()>>),
}

/// What became of a message: the connection and the stream, where they can be used again, and the answer or the status that the
/// server ended the stream with.
pub(super) type Streamed = (SendRequest<Bytes>, Option<Stream>, Result<Bytes>);

/// Sends `body`, a message with its prefix, and waits for the next message, which may have `most` bytes. The outer error is of the
/// connection, which is not used again.
pub(super) async fn exchange(
    connection: Option<SendRequest<Bytes>>,
    stream: Begun,
    target: &Target,
    body: Bytes,
    most: u64,
) -> Result<Streamed> {
    let authority = target.address.authority.as_str();
    let broken = |error: h2::Error| Error::invalid(format!("no answer from `{authority}`")).because(error);
    let mut connection = match connection {
        Some(connection) => connection,
        None => target.connect().await?,
    };
    let mut stream = match stream {
        Begun::Open(stream) => *stream,
        Begun::New(request) => {
            connection = connection.ready().await.map_err(broken)?;
            let (head, requests) = connection.send_request(*request, false).map_err(broken)?;
            Stream { requests, answers: None, head: Some(head), rest: BytesMut::new() }
        }
    };
    push(&mut stream.requests, body, false).await.map_err(broken)?;
    if let Some(head) = stream.head.take() {
        let (parts, answers) = head.await.map_err(broken)?.into_parts();
        is_grpc(&parts, authority)?;
        if let Some(error) = status(&parts.headers) {
            return Ok((connection, None, Err(error)));
        }
        stream.answers = Some(answers);
    }
    let Some(answers) = &mut stream.answers else {
        return Err(Error::failed(format!("the stream to `{authority}` has no answers")));
    };
    loop {
        if let Some(message) = next(&mut stream.rest, most)? {
            return Ok((connection, Some(stream), Ok(message)));
        }
        match answers.data().await {
            Some(part) => {
                let part = part.map_err(broken)?;
                answers.flow_control().release_capacity(part.len()).map_err(broken)?;
                stream.rest.extend_from_slice(&part);
            }
            None => {
                let trailers = answers.trailers().await.map_err(broken)?.unwrap_or_default();
                let ended = || Error::invalid(format!("`{authority}` ended the stream without an answer"));
                return Ok((connection, None, Err(status(&trailers).unwrap_or_else(ended))));
            }
        }
    }
}

/// The first message of `rest`, once it is whole; with its prefix.
fn next(rest: &mut BytesMut, most: u64) -> Result<Option<Bytes>> {
    let Some((head, _)) = rest.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [_, length @ ..] = *head;
    let length = u32::from_be_bytes(length);
    if u64::from(length) > most {
        return Err(Error::invalid(format!("the answer has {length} bytes, and may have {most}")));
    }
    let whole = PREFIX + length as usize;
    Ok((rest.len() >= whole).then(|| rest.split_to(whole).freeze()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages_are_cut_by_their_lengths() {
        let mut rest = BytesMut::from(&[0, 0, 0, 0, 2, 7][..]);
        assert_eq!(next(&mut rest, 9).unwrap(), None);
        rest.extend_from_slice(&[8, 0, 0, 0, 0, 0, 1]);
        assert_eq!(next(&mut rest, 9).unwrap().unwrap(), [0, 0, 0, 0, 2, 7, 8][..]);
        assert_eq!(next(&mut rest, 9).unwrap().unwrap(), [0, 0, 0, 0, 0][..]);
        assert_eq!((next(&mut rest, 9).unwrap(), rest.len()), (None, 1));
        // What is too long is not waited for.
        let mut long = BytesMut::from(&[0, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(next(&mut long, 9).unwrap_err().message.contains("may have 9"));
    }
}
