//! What a server says when it cannot start, and what a client is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use danlu::train::TrainError;
use danlu::tuner::TuneError;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The runs are not there.
    #[error("there is no folder `{}`", path.display())]
    NoRuns {
        /// Where they should be.
        path: PathBuf,
    },
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others on the network could look, and nothing keeps them out.
    #[error("`--host {host}` can be reached by others, and there is no token")]
    NeedsToken {
        /// The address asked for.
        host: std::net::IpAddr,
    },
    /// The token would not survive an address or a cookie.
    #[error("the token has a `{0}`, expected letters, digits, `-`, `.`, `_` and `~`")]
    OddToken(char),
    /// The system gave no thread or socket.
    #[error("the server stopped: {0}")]
    System(#[from] std::io::Error),
}

impl WebError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            WebError::NoRuns { .. } => "give the folder that `danlu train` wrote its runs into".to_owned(),
            WebError::Listen { .. } => "another `--port` may be free; `--port 0` takes any".to_owned(),
            WebError::NeedsToken { .. } => {
                "choose one of 16 characters or more: `--token SECRET`; or stay with the default, this machine only"
                    .to_owned()
            }
            WebError::OddToken(_) => {
                "it is part of an address; `openssl rand -hex 16` makes a good one".to_owned()
            }
            WebError::System(_) => return None,
        })
    }

    /// Whether the request was wrong (exit code 2).
    pub fn is_request_error(&self) -> bool {
        !matches!(self, WebError::System(_))
    }
}

/// What a client is told; the text is for people, in the style of the command line.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Refusal { status, message: message.into(), hint: None }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }
}

impl From<TrainError> for Refusal {
    fn from(error: TrainError) -> Self {
        let status = match &error {
            TrainError::Data(_) | TrainError::NotInModel { .. } | TrainError::NoFeatureMaps => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            TrainError::NotARun { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal { status, message: error.to_string(), hint: error.hint() }
    }
}

impl From<TuneError> for Refusal {
    fn from(error: TuneError) -> Self {
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, message: error.to_string(), hint: error.hint() }
    }
}

impl IntoResponse for Refusal {
    /// JSON for programs; it goes along as it is, so that the guard can make a page of it for a browser.
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.message, "hint": self.hint });
        let mut response =
            (self.status, [("content-type", "application/json")], body.to_string()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
