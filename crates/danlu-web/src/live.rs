//! What moves: an event (server-sent) whenever a run or a study has changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;

use crate::api::blocking;
use crate::error::Refusal;
use crate::server::App;

/// How often files are looked at; an epoch rarely takes less.
const EVERY: Duration = Duration::from_secs(1);

/// A run, as in the list, whenever that line changed.
pub(crate) async fn run(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    app.runs.find(&name)?;
    let shared = app.clone();
    events(&app, "run", move || {
        let row = shared.runs.one(&name).ok()?.1;
        serde_json::to_string(&row).ok()
    })
}

/// A study, as in the list, whenever that line changed.
pub(crate) async fn study(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let (shared, wanted) = (app.clone(), name.clone());
    blocking(move || shared.studies.find(&wanted)).await?;
    let shared = app.clone();
    events(&app, "study", move || {
        let row = shared.studies.find(&name).ok()?.row();
        serde_json::to_string(&row).ok()
    })
}

/// Looks again and again, until it finds nothing any more: what was removed has no more to tell.
fn events(
    app: &App,
    kind: &'static str,
    look: impl Fn() -> Option<String> + Send + Sync + 'static,
) -> Result<Response, Refusal> {
    let full = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages watch already");
    // Held as long as the stream lives.
    let place: OwnedSemaphorePermit = app.watchers.clone().try_acquire_owned().map_err(full)?;
    let begin = (Arc::new(look), None::<String>, place);
    let stream = unfold(begin, move |(look, before, place)| async move {
        loop {
            let looking = look.clone();
            let now = blocking(move || Ok(looking())).await.ok()??;
            if before.as_ref() != Some(&now) {
                let event = Event::default().event(kind).data(&now);
                return Some((Ok::<_, Infallible>(event), (look, Some(now), place)));
            }
            tokio::time::sleep(EVERY).await;
        }
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(stream).keep_alive(keep_alive).into_response())
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
