//! Pictures that are drawn when someone asks, from the run's own files.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use danlu::pictures::{WeightsView, memory, memory_of, network_of};
use danlu::train::RunFolder;
use danlu::view::{Look, Svg, curves};

use crate::api::{blocking, query_values};
use crate::error::Refusal;
use crate::server::App;

/// Filters that are drawn of a layer.
const MOST_FILTERS: usize = 128;
/// Weight of the past in the smoothed lines, as TensorBoard's slider begins.
const SMOOTHING: f64 = 0.6;

/// The convolutions of a run that has weights, by layer.
pub(crate) fn layers(run: &RunFolder) -> Result<Vec<String>, Refusal> {
    if !run.best_weights().is_file() {
        return Ok(Vec::new());
    }
    let Some(network) = network_of(run)? else { return Ok(Vec::new()) };
    let convolutions = network.graph.params().iter().filter(|param| param.shape.len() == 4);
    Ok(convolutions.map(|param| param.name.trim_end_matches(".weight").to_owned()).collect())
}

pub(crate) async fn draw(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    app.hard_work()?;
    let svg = blocking(move || {
        let run = app.runs.find(&name)?;
        let query = query.unwrap_or_default();
        let value = |key: &str| query_values(&query, key).into_iter().next();
        let width = value("width").and_then(|width| width.parse().ok()).unwrap_or(880.0);
        picture(&run, &value("what").unwrap_or_default(), &Look { width, ..Look::default() })
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg.to_file()).into_response())
}

fn picture(run: &RunFolder, what: &str, look: &Look) -> Result<Svg, Refusal> {
    let missing = |text: &str| Err(Refusal::new(StatusCode::CONFLICT, text));
    match what.split_once(' ').unwrap_or((what, "")) {
        ("updates", "") if run.events().is_file() => {
            Ok(curves::curves(&danlu::curves::updates(run, SMOOTHING)?, look))
        }
        ("updates", "") => missing("this run has no updates yet"),
        ("memory", "") => match memory_of(run)? {
            Some((report, batch_size)) => Ok(memory(&report, batch_size, look)?),
            None => missing("the recipe of this run does not hold the size of its images"),
        },
        ("weights", layer) if run.best_weights().is_file() => {
            let layer = Some(layer).filter(|layer| !layer.is_empty());
            Ok(WeightsView::open(run.path(), None)?.picture(layer, MOST_FILTERS, look)?)
        }
        ("weights", _) => missing("this run has no weights yet: its first epoch is not complete"),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "expected `what=updates`, `what=memory` or `what=weights LAYER`",
        )),
    }
}
