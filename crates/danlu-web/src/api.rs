//! JSON for programs: `/api/`, described by `/api/openapi.json`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use danlu::recipe::{Change, Layer, Recipe, Resolved, diff, resolve};
use danlu::train::{Event, RunFolder, TrainError, read_events};
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::server::App;
use crate::status::Status;

/// Most runs in one comparison: beyond that colours no longer tell them apart.
pub(crate) const MOST_COMPARED: usize = 12;

pub(crate) fn reply(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Reads files outside the thread that answers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let broken = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "this request failed inside the server");
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

/// Every run, or with `changed_since=SECONDS` those that changed at that time or later.
pub(crate) async fn runs(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let since: u64 = match query_values(query.as_deref().unwrap_or_default(), "changed_since").first() {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            let text = format!("`changed_since={text}`: expected seconds since 1970");
            Refusal::new(StatusCode::BAD_REQUEST, text)
        })?,
    };
    let value = blocking(move || {
        let now = crate::live::now();
        let mut rows = app.runs.list();
        rows.retain(|row| row.changed >= since);
        Ok(json!({ "now": now, "runs": rows }))
    })
    .await?;
    Ok(reply(&value))
}

/// What the doctor says of a run.
pub(crate) async fn findings(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let value = blocking(move || Ok(json!(danlu::doctor::examine(&app.runs.find(&name)?)?)));
    Ok(reply(&value.await?))
}

pub(crate) async fn studies(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let studies = blocking(move || app.studies.list()).await?;
    let rows: Vec<_> = studies.iter().map(|study| study.row()).collect();
    Ok(reply(&json!({ "studies": rows })))
}

/// A study with every trial and what mattered.
pub(crate) async fn study(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let value = blocking(move || {
        let study = app.studies.find(&name)?;
        let view = &study.view;
        let trials = view.trials().iter().map(|trial| {
            json!({
                "number": trial.number, "state": trial.state, "values": view.space.to_external(&trial.values),
                "curve": trial.curve, "value": trial.value, "error": trial.error,
            })
        });
        let importance = danlu::tuner::importance::importance(view);
        let importance = importance
            .iter()
            .map(|one| json!({ "name": one.name, "share": one.share, "uncertainty": one.uncertainty }));
        Ok(json!({
            "study": study.row(), "space": view.space.parameters(), "direction": view.direction,
            "epochs": view.max_steps, "importance": importance.collect::<Vec<_>>(),
            "trials": trials.collect::<Vec<_>>(),
        }))
    });
    Ok(reply(&value.await?))
}

/// The values of a key in a query, decoded, in their order.
pub(crate) fn query_values(query: &str, key: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| decoded(value)).collect()
}

pub(crate) async fn run(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let value = blocking(move || {
        let (run, row) = app.runs.one(&name)?;
        let info = run.info()?;
        let events = read_events(&run.events()).unwrap_or_default();
        let epochs: Vec<_> = events
            .into_iter()
            .filter_map(|event| if let Event::Epoch(epoch) = event { Some(epoch) } else { None })
            .collect();
        let result = danlu::train::read_result(&run).ok();
        Ok(json!({
            "run": row, "command": info.command, "classes": info.classes, "choices": info.choices,
            "epochs": epochs, "result": result,
        }))
    })
    .await?;
    Ok(reply(&value))
}

/// The runs named by `run=` in a query, checked.
pub(crate) fn named_runs(app: &App, query: Option<&str>) -> Result<Vec<(String, RunFolder)>, Refusal> {
    let mut names = query_values(query.unwrap_or_default(), "run");
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    if names.is_empty() || names.len() > MOST_COMPARED {
        let text = format!("expected `run=NAME` once to {MOST_COMPARED} times");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    }
    names.into_iter().map(|name| Ok((name.clone(), app.runs.find(&name)?))).collect()
}

/// Percent and plus signs of a query undone; what is no UTF-8 then names no run.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(b'%'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What differs between the first run's recipe and each other's.
pub(crate) fn recipe_diffs(runs: &[(String, RunFolder)]) -> Result<Vec<(String, Vec<Change>)>, Refusal> {
    let tree = |run: &RunFolder| -> Result<Value, Refusal> {
        let layer = Layer::from_file(&run.recipe()).map_err(TrainError::from)?;
        let recipe: Resolved<Recipe> = resolve(&[layer]).map_err(TrainError::from)?;
        Ok(recipe.tree())
    };
    let Some(((_, first), others)) = runs.split_first() else { return Ok(Vec::new()) };
    let first = tree(first)?;
    others.iter().map(|(name, run)| Ok((name.clone(), diff(&first, &tree(run)?)))).collect()
}

pub(crate) async fn compare(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let value = blocking(move || {
        let runs = named_runs(&app, query.as_deref())?;
        let rows: Vec<_> =
            runs.iter().filter_map(|(name, _)| app.runs.one(name).ok()).map(|one| one.1).collect();
        let diffs: Vec<Value> = recipe_diffs(&runs)?
            .into_iter()
            .map(|(run, changes)| json!({ "run": run, "changes": changes }))
            .collect();
        Ok(json!({ "runs": rows, "recipe_changes_from_the_first": diffs }))
    })
    .await?;
    Ok(reply(&value))
}

/// Asks a training to stop after its next update, with a checkpoint, as Ctrl-C does.
pub(crate) async fn stop(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let value = blocking(move || {
        let (run, row) = app.runs.one(&name)?;
        if row.status != Status::Training {
            let text = format!("`{name}` is not training: it is {}", row.status.word());
            return Err(Refusal::new(StatusCode::CONFLICT, text));
        }
        run.request_stop()?;
        Ok(json!({ "run": name, "stop": "requested" }))
    })
    .await?;
    Ok(reply(&value))
}

pub(crate) async fn openapi() -> Response {
    let text = Bytes::from_static(include_bytes!("assets/openapi.json"));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn a_query_is_decoded_and_broken_escapes_do_no_harm() {
        assert_eq!(decoded("a%20b+c"), "a b c");
        assert_eq!(decoded("%E4%B8%AD"), "中");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%2"), "%\u{2}");
    }
}
