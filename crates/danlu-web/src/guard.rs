//! Who may ask: the host's own users on loopback, and holders of the token beyond it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Refusal;
use crate::page::{escape, page};
use crate::server::App;

/// Everything that a page may do: our own script and style, our own addresses, pictures inside the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const COOKIE: &str = "danlu_token";

/// Longest time that an answer may take to begin, its request's body included: who sends slower gives up a place.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let wants_page = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let mut response = match refuse(&app, &request) {
        Some(answer) => answer,
        None => match tokio::time::timeout(PATIENCE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
        },
    };
    if wants_page && let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let hint = refusal.hint.map_or(String::new(), |hint| format!("<p>{}</p>", escape(&hint)));
        let body =
            format!("<p>{}</p>{hint}<p><a href=\"/\">to the list of runs</a></p>", escape(&refusal.message));
        let title = refusal.status.canonical_reason().unwrap_or("Error");
        response = (refusal.status, page(title, &body)).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refuse(app: &App, request: &Request) -> Option<Response> {
    if let Err(seconds) = app.requests.take() {
        return Some(too_many(seconds).into_response());
    }
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if request.method() != Method::GET && !same_origin(headers, host) {
        let text = "this request came from another site's page";
        return Some(Refusal::new(StatusCode::FORBIDDEN, text).into_response());
    }
    let Some(token) = &app.token else {
        // A page of another site whose name was made to point here (DNS rebinding) gives itself away by its name.
        return (!is_loopback_name(host)).then(|| {
            let text = format!("this server answers on this machine only, not as `{host}`");
            Refusal::new(StatusCode::FORBIDDEN, text).into_response()
        });
    };
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if bearer.is_some_and(|given| same(given, token))
        || cookie(headers).is_some_and(|given| same(given, token))
    {
        return None;
    }
    if let Some(given) = asked_token(request.uri().query().unwrap_or_default())
        && same(given, token)
    {
        // The address with the token is left at once: addresses are kept in histories and logs.
        let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
        let place = request.uri().path().to_owned();
        return Some(
            (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, place)], Body::empty())
                .into_response(),
        );
    }
    let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, "this server wants its token");
    refusal.hint =
        Some("open the address that `danlu serve` printed, or send `Authorization: Bearer TOKEN`".into());
    Some(refusal.into_response())
}

pub(crate) fn too_many(seconds: u64) -> Refusal {
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests at once");
    refusal.hint = Some(format!("try again in {seconds} s"));
    refusal
}

/// Browsers send `Origin` with every request that changes something; programs send none.
fn same_origin(headers: &HeaderMap, host: &str) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    origin.to_str().is_ok_and(|origin| {
        let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        name == Some(host)
    })
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn asked_token(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// Compares in a time that does not tell how many characters were right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.1.2.3"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in
            ["", "evil.example:8000", "localhost.evil.example", "10.0.0.1:80", "127.0.0.1.evil.example"]
        {
            assert!(!is_loopback_name(host), "{host}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("ab", "abc") && !same("", "abc"));
    }
}
