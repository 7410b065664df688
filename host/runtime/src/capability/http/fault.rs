//! Errors of what is below, as errors of `wasi:http`. No text of the host's reaches a guest.

use std::{error::Error as StdError, io};

use tokio_rustls::rustls;
use wasmtime_wasi_http::Error;

use super::connect::MAX_RESPONSE_HEAD;

/// Why a request body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyFault {
    /// It is larger than it may be; the bound in bytes.
    #[error("the request body is larger than {0} bytes")]
    Large(u64),
    /// It was handed over in more pieces than it may be; their bound.
    #[error("the request body has more than {0} pieces")]
    Pieces(u64),
    /// It is not as long as its `Content-Length`, which is this.
    #[error("the request body is not of the {0} bytes that were announced")]
    Length(u64),
    /// The guest gave it up, or is gone.
    #[error("the request body was given up")]
    Abandoned,
}

impl From<BodyFault> for Error {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Large(limit) | BodyFault::Length(limit) => Self::HttpRequestBodySize(Some(limit)),
            BodyFault::Pieces(_) => Self::InternalError(Some(fault.to_string())),
            BodyFault::Abandoned => Self::HttpProtocolError,
        }
    }
}

/// What a failure of a connection in use means.
pub(super) fn of_hyper(error: &hyper::Error) -> Error {
    if let Some(fault) = find::<BodyFault>(error) {
        return (*fault).into();
    }
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(u32::try_from(MAX_RESPONSE_HEAD).ok())
    } else if error.is_parse() {
        Error::HttpProtocolError
    } else if error.is_incomplete_message() || find(error).is_some_and(is_early_end) {
        Error::HttpResponseIncomplete
    } else if let Some(error) = find::<rustls::Error>(error) {
        of_rustls(error)
    } else if error.is_user() {
        Error::HttpProtocolError
    } else {
        Error::ConnectionTerminated
    }
}

fn is_early_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// What a failure to connect means.
pub(super) fn of_connect(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationIpUnroutable,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        _ => Error::DestinationUnavailable,
    }
}

/// What a failure of the handshake of TLS means.
pub(super) fn of_tls(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(error) => of_rustls(error),
        None if is_early_end(error) => Error::ConnectionTerminated,
        None => of_connect(error),
    }
}

fn of_rustls(error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => Error::TlsCertificateError,
        rustls::Error::AlertReceived(alert) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: None }
        }
        _ => Error::TlsProtocolError,
    }
}

/// The first of this type among `error` and what caused it. An error of I/O holds its cause out of sight of `source`.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        if let Some(found) = error.downcast_ref().or_else(|| inner?.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
