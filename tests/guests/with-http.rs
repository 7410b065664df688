//! Asks the network for something, through `wasi:http`.

use exports::test::with_http::web::{Guest, Options, Response};
use wasip2::http::outgoing_handler::{self, OutgoingRequest};
use wasip2::http::types::{Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, RequestOptions, Scheme};
use wasip2::io::streams::StreamError;

wit_bindgen::generate!({
    inline: r#"
        package test:with-http;

        interface web {
            record options {
                connect: option<u64>,
                first-byte: option<u64>,
                between-bytes: option<u64>,
            }
            record response {
                status: u16,
                headers: list<string>,
                body: string,
            }
            /// The status that a GET of this URL is answered with. The body is not read.
            get: func(url: string) -> result<u16, string>;
            /// The whole response. Headers are `name: value`, times are nanoseconds.
            send: func(method: string, url: string, headers: list<string>, body: option<string>, options: option<options>) -> result<response, string>;
            /// How many bytes the response has.
            count: func(url: string) -> result<u64, string>;
            /// A GET, and a GET of where its answer points to.
            follow: func(url: string) -> result<u16, string>;
        }

        world guest {
            export web;
        }
    "#,
});

struct Web;

impl Guest for Web {
    fn get(url: String) -> Result<u16, String> {
        Ok(fetch("GET", &url, &[], None, None)?.status())
    }

    fn send(
        method: String,
        url: String,
        headers: Vec<String>,
        body: Option<String>,
        options: Option<Options>,
    ) -> Result<Response, String> {
        let response = fetch(&method, &url, &headers, body, options)?;
        let shown = |(name, value): (String, Vec<u8>)| format!("{name}: {}", String::from_utf8_lossy(&value));
        let headers = response.headers().entries().into_iter().map(shown).collect();
        let mut body = Vec::new();
        let trailers = read(&response, |piece| body.extend_from_slice(piece))?;
        let mut headers: Vec<String> = headers;
        headers.extend(trailers.into_iter().map(shown));
        headers.sort();
        Ok(Response { status: response.status(), headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn count(url: String) -> Result<u64, String> {
        let mut bytes = 0;
        read(&fetch("GET", &url, &[], None, None)?, |piece| bytes += piece.len() as u64)?;
        Ok(bytes)
    }

    fn follow(url: String) -> Result<u16, String> {
        let response = fetch("GET", &url, &[], None, None)?;
        let location = response.headers().get("location").pop().ok_or("no location")?;
        Self::get(String::from_utf8_lossy(&location).into_owned())
    }
}

fn fetch(
    method: &str,
    url: &str,
    headers: &[String],
    body: Option<String>,
    options: Option<Options>,
) -> Result<IncomingResponse, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let fields = Fields::new();
    for header in headers {
        let (name, value) = header.split_once(": ").ok_or("no header")?;
        fields.append(name, value.as_bytes()).map_err(|error| format!("header: {error:?}"))?;
    }
    let request = OutgoingRequest::new(fields);
    let method = if method == "GET" { Method::Get } else { Method::Other(method.to_owned()) };
    request.set_method(&method).map_err(|()| "bad method")?;
    request.set_scheme(Some(&scheme)).map_err(|()| "bad scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "bad authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "bad path")?;
    let options = options.map(|options| {
        let made = RequestOptions::new();
        made.set_connect_timeout(options.connect).unwrap();
        made.set_first_byte_timeout(options.first_byte).unwrap();
        made.set_between_bytes_timeout(options.between_bytes).unwrap();
        made
    });
    let outgoing = body.as_ref().map(|_| request.body().map_err(|()| "no body")).transpose()?;
    let response = outgoing_handler::handle(request, options).map_err(|error| format!("refused: {error:?}"))?;
    if let Some((body, outgoing)) = body.zip(outgoing) {
        let stream = outgoing.write().map_err(|()| "written twice")?;
        for piece in body.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(piece).map_err(|error| format!("write: {error:?}"))?;
        }
        drop(stream);
        OutgoingBody::finish(outgoing, None).map_err(|error| format!("finish: {error:?}"))?;
    }
    response.subscribe().block();
    let answer = response.get().ok_or("not ready")?.map_err(|()| "taken twice")?;
    answer.map_err(|error| format!("failed: {error:?}"))
}

/// Reads to the end, and returns the trailers.
fn read(response: &IncomingResponse, mut piece: impl FnMut(&[u8])) -> Result<Vec<(String, Vec<u8>)>, String> {
    let body = response.consume().map_err(|()| "consumed twice")?;
    let stream = body.stream().map_err(|()| "streamed twice")?;
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(bytes) => piece(&bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(format!("broke off: {}", error.to_debug_string()));
            }
        }
    }
    drop(stream);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    match trailers.get() {
        Some(Ok(Ok(trailers))) => Ok(trailers.map(|trailers| trailers.entries()).unwrap_or_default()),
        other => Err(format!("trailers: {other:?}")),
    }
}

export!(Web);
