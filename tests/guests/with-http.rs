//! Asks the network for something, through `wasi:http`.

use exports::test::with_http::web::Guest;
use wasip2::http::outgoing_handler::{self, OutgoingRequest};
use wasip2::http::types::{Fields, Scheme};

wit_bindgen::generate!({
    inline: r#"
        package test:with-http;

        interface web {
            /// The status that a GET of this URL is answered with.
            get: func(url: string) -> result<u16, string>;
        }

        world guest {
            export web;
        }
    "#,
});

struct Web;

impl Guest for Web {
    fn get(url: String) -> Result<u16, String> {
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
        let request = OutgoingRequest::new(Fields::new());
        request.set_scheme(Some(&scheme)).map_err(|()| "bad scheme")?;
        request.set_authority(Some(authority)).map_err(|()| "bad authority")?;
        request.set_path_with_query(Some(path)).map_err(|()| "bad path")?;
        let response = outgoing_handler::handle(request, None).map_err(|error| format!("refused: {error:?}"))?;
        response.subscribe().block();
        let answer = response.get().ok_or("not ready")?.map_err(|()| "taken twice")?;
        answer.map(|answer| answer.status()).map_err(|error| format!("failed: {error:?}"))
    }
}

export!(Web);
