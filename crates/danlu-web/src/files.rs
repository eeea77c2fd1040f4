//! The files of a run that are served: report, pictures, recipe, metrics, and nothing else.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use danlu::train::RunFolder;

use crate::api::blocking;
use crate::error::Refusal;
use crate::server::App;

/// The pictures that the training left, by name.
pub(crate) fn pictures_of(run: &RunFolder) -> Vec<String> {
    let entries = std::fs::read_dir(run.pictures()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_picture(name))
        .collect();
    names.sort();
    names
}

fn is_picture(name: &str) -> bool {
    let stem = name.strip_suffix(".svg").unwrap_or_default();
    !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

pub(crate) async fn picture(
    State(app): State<Arc<App>>,
    Path((name, file)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    if !is_picture(&file) {
        return Err(Refusal::not_found("such picture"));
    }
    serve(app, name, format!("pictures/{file}"), "image/svg+xml").await
}

pub(crate) async fn report(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    serve(app, name, "report.html".to_owned(), "text/html; charset=utf-8").await
}

pub(crate) async fn recipe(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    serve(app, name, "recipe.toml".to_owned(), "text/plain; charset=utf-8").await
}

pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    serve(app, name, "metrics.csv".to_owned(), "text/csv; charset=utf-8").await
}

async fn serve(app: Arc<App>, name: String, file: String, kind: &'static str) -> Result<Response, Refusal> {
    let bytes = blocking(move || app.runs.file(&app.runs.find(&name)?, &file)).await?;
    let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, kind)];
    Ok((headers, bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pictures_are_served() {
        assert!(is_picture("grad-cam.svg") && is_picture("curves.svg"));
        for name in ["", ".svg", "../x.svg", "a.png", "A.svg", "a/b.svg", "curves.svg.tmp"] {
            assert!(!is_picture(name), "{name:?}");
        }
    }
}
