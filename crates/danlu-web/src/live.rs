//! A run while it trains: an event (server-sent) whenever its files change.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;

use crate::api::blocking;
use crate::error::Refusal;
use crate::runs::RunRow;
use crate::server::App;

/// How often the files are looked at; an epoch rarely takes less.
const EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn live(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    app.runs.find(&name)?;
    let stream = unfold((app, name, None::<RunRow>), |(app, name, before)| async move {
        loop {
            let (app2, name2) = (app.clone(), name.clone());
            let now = blocking(move || Ok(app2.runs.one(&name2)?.1)).await;
            // A run that was removed has no more to tell.
            let now = now.ok()?;
            if before.as_ref() != Some(&now) {
                let data = serde_json::to_string(&now).ok()?;
                let event = Event::default().event("run").data(data);
                return Some((Ok(event), (app, name, Some(now))));
            }
            tokio::time::sleep(EVERY).await;
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
