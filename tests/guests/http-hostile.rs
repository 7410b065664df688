//! Uses `wasi:http` as no client would.

use exports::test::http_hostile::egress::Guest;
use wasip2::http::outgoing_handler::{self, FutureIncomingResponse};
use wasip2::http::types::{Fields, OutgoingBody, OutgoingRequest, RequestOptions, Scheme};
use wasip2::io::streams::StreamError;

wit_bindgen::generate!({
    inline: r#"
        package test:http-hostile;

        interface egress {
            /// A GET with these parts as they are.
            raw: func(authority: string, path: string) -> result<u16, string>;
            /// A POST with a body of pieces of this size, and trailers.
            upload: func(authority: string, pieces: u64, size: u32, announced: option<string>, trailer: option<string>) -> result<u16, string>;
            /// A POST whose body never ends: a return when it was answered, with the body open.
            abandon: func(authority: string, path: string, announced: option<string>) -> result<u16, string>;
            /// So many GETs at one time, their responses unread, with so many nanoseconds to connect: how each ended.
            flood: func(authority: string, path: string, count: u32, patience: option<u64>) -> list<string>;
            /// One map of fields with so many entries.
            fields: func(count: u32) -> result<u32, string>;
            /// So many maps of 15 KiB.
            maps: func(count: u32) -> result<u32, string>;
            /// So many requests that are never sent, with as much of a body as goes in: how much that is.
            bodies: func(count: u32) -> u64;
        }

        world guest {
            export egress;
        }
    "#,
});

struct Egress;

fn request(authority: &str, path: &str, fields: Fields) -> Result<OutgoingRequest, String> {
    let request = OutgoingRequest::new(fields);
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| "bad scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "bad authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "bad path")?;
    Ok(request)
}

fn answer(response: &FutureIncomingResponse) -> Result<u16, String> {
    response.subscribe().block();
    let answer = response.get().ok_or("not ready")?.map_err(|()| "taken twice")?;
    answer.map(|answer| answer.status()).map_err(|error| format!("failed: {error:?}"))
}

fn post(
    authority: &str,
    path: &str,
    announced: Option<String>,
) -> Result<(FutureIncomingResponse, OutgoingBody), String> {
    let fields = Fields::new();
    if let Some(length) = announced {
        fields.append("content-length", length.as_bytes()).map_err(|error| format!("header: {error:?}"))?;
    }
    let request = request(authority, path, fields)?;
    request.set_method(&wasip2::http::types::Method::Post).map_err(|()| "bad method")?;
    let body = request.body().map_err(|()| "no body")?;
    Ok((outgoing_handler::handle(request, None).map_err(|error| format!("refused: {error:?}"))?, body))
}

impl Guest for Egress {
    fn raw(authority: String, path: String) -> Result<u16, String> {
        let request = request(&authority, &path, Fields::new())?;
        answer(&outgoing_handler::handle(request, None).map_err(|error| format!("refused: {error:?}"))?)
    }

    fn upload(
        authority: String,
        pieces: u64,
        size: u32,
        announced: Option<String>,
        trailer: Option<String>,
    ) -> Result<u16, String> {
        let (response, body) = post(&authority, "/", announced)?;
        let stream = body.write().map_err(|()| "written twice")?;
        let piece = vec![b'x'; size as usize];
        for _ in 0..pieces {
            let ready = stream.subscribe();
            while stream.check_write().is_ok_and(|bytes| bytes == 0) {
                ready.block();
            }
            match stream.write(&piece) {
                Ok(()) => {}
                Err(StreamError::Closed) => break,
                Err(error) => return Err(format!("write: {error:?}")),
            }
        }
        drop(stream);
        let trailers = match trailer {
            None => None,
            Some(name) => {
                let fields = Fields::new();
                fields.append(&name, b"1").map_err(|error| format!("trailer: {error:?}"))?;
                Some(fields)
            }
        };
        let finished = OutgoingBody::finish(body, trailers);
        answer(&response).map_err(|error| format!("{error}, {finished:?}"))
    }

    fn abandon(authority: String, path: String, announced: Option<String>) -> Result<u16, String> {
        let (response, body) = post(&authority, &path, announced)?;
        let stream = body.write().map_err(|()| "written twice")?;
        stream.blocking_write_and_flush(b"begun").map_err(|error| format!("write: {error:?}"))?;
        let status = answer(&response);
        // Given up with the call, and neither finished nor dropped before.
        std::mem::forget((stream, body, response));
        status
    }

    fn flood(authority: String, path: String, count: u32, patience: Option<u64>) -> Vec<String> {
        let send = |_| {
            let request = request(&authority, &path, Fields::new())?;
            let options = RequestOptions::new();
            options.set_connect_timeout(patience).unwrap();
            outgoing_handler::handle(request, Some(options)).map_err(|error| format!("refused: {error:?}"))
        };
        let responses: Vec<_> = (0..count).map(send).collect();
        let mut answers = Vec::new();
        let mut told = Vec::new();
        for response in responses {
            let answer = response.and_then(|response| {
                response.subscribe().block();
                let answer = response.get().ok_or("not ready")?.map_err(|()| "taken twice")?;
                answer.map_err(|error| format!("failed: {error:?}"))
            });
            told.push(answer.as_ref().map_or_else(Clone::clone, |answer| answer.status().to_string()));
            answers.push(answer);
        }
        told
    }

    fn fields(count: u32) -> Result<u32, String> {
        let fields = Fields::new();
        for index in 0..count {
            fields.append(&format!("x-{index}"), b"").map_err(|error| format!("{index}: {error:?}"))?;
        }
        Ok(count)
    }

    fn maps(count: u32) -> Result<u32, String> {
        let mut maps = Vec::new();
        for index in 0..count {
            let fields = Fields::new();
            fields.append("x", &[b'x'; 15 << 10]).map_err(|error| format!("{index}: {error:?}"))?;
            maps.push(fields);
        }
        Ok(count)
    }

    fn bodies(count: u32) -> u64 {
        let mut held = Vec::new();
        let mut bytes = 0;
        for _ in 0..count {
            let request = request("a.example", "/", Fields::new()).unwrap();
            let body = request.body().unwrap();
            let stream = body.write().unwrap();
            while let Ok(room @ 1..) = stream.check_write() {
                stream.write(&vec![b'x'; room as usize]).unwrap();
                bytes += room;
            }
            held.push((stream, body, request));
        }
        bytes
    }
}

export!(Egress);
