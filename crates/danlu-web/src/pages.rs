//! The pages: the list of runs, a run, a comparison.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use danlu::train::{Event, RunFolder, read_events};
use danlu::view::{Look, curves};

use crate::api::{MOST_COMPARED, blocking, named_runs, recipe_diffs};
use crate::error::Refusal;
use crate::live::now;
use crate::page::{escape, in_url, page};
use crate::runs::RunRow;
use crate::server::App;
use crate::status::Status;

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share))
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// `3 min ago`.
fn ago(then: u64) -> String {
    match now().saturating_sub(then) {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let shared = app.clone();
    let rows = blocking(move || Ok(shared.runs.list())).await?;
    let mut body =
        format!("<p class=\"mu\">{} in {}</p>\n", rows.len(), escape(&app.runs.root().display().to_string()));
    if rows.is_empty() {
        body += "<p>No runs yet: <code>danlu train DATA</code> makes one.</p>\n";
        return Ok(page("Runs", &body));
    }
    body += "<form action=\"/compare\"><p class=\"bar\"><label>Find <input id=\"find\" type=\"search\" \
             placeholder=\"name, data or network\"></label> \
             <button type=\"submit\">Compare the chosen runs</button></p>\n<div class=\"scroll\"><table id=\"runs\">\n\
             <thead><tr><th scope=\"col\"><span class=\"hidden\">choose</span></th><th scope=\"col\">run</th>\
             <th scope=\"col\">status</th><th scope=\"col\">network</th><th scope=\"col\">data</th>\
             <th scope=\"col\" class=\"n\">epoch</th><th scope=\"col\" class=\"n\">val loss</th>\
             <th scope=\"col\" class=\"n\">val top-1</th><th scope=\"col\" class=\"n\">changed</th></tr></thead>\n<tbody>\n";
    for row in &rows {
        let (name, url) = (escape(&row.name), in_url(&row.name));
        let word = row.status.word();
        let _ = writeln!(
            body,
            "<tr data-run=\"{name}\"><td><input type=\"checkbox\" name=\"run\" value=\"{name}\" \
             aria-label=\"choose {name}\"></td><td><a href=\"/runs/{url}\">{name}</a></td>\
             <td><span class=\"status {word}\">{word}</span></td><td>{}</td><td>{}</td>\
             <td class=\"n\">{}/{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&row.network),
            escape(short(&row.data)),
            row.epoch,
            row.epochs,
            number(row.val_loss),
            percent(row.val_top1),
            ago(row.changed),
        );
    }
    body += "</tbody></table></div></form>\n";
    Ok(page("Runs", &body))
}

/// The last part of a path: the whole one is on the run's page.
fn short(data: &str) -> &str {
    data.rsplit('/').next().filter(|part| !part.is_empty()).unwrap_or(data)
}

pub(crate) async fn run(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    blocking(move || {
        let (run, row) = app.runs.one(&name)?;
        let info = run.info()?;
        let url = in_url(&name);
        let mut body = format!("<div id=\"run\" data-run=\"{}\" data-live=\"{}\">\n", escape(&url), row.status == Status::Training);
        body += &facts(&row);
        if row.status == Status::Training {
            body += "<p class=\"bar\"><button id=\"stop\" type=\"button\">Stop after this update</button> \
                     <span id=\"stopped\" role=\"status\" class=\"mu\"></span></p>\n";
        } else if row.status != Status::Finished {
            let _ = writeln!(
                body,
                "<p>Go on with <code>danlu resume {}</code></p>",
                escape(&run.path().display().to_string())
            );
        }
        let _ = writeln!(body, "<section><h2>Curves</h2>\n<div id=\"curves\">{}</div></section>", drawn(&run)?);
        body += "<section><h2>Try an image</h2>\n<div id=\"drop\" class=\"drop\"><p><label for=\"image\">Drop an image here, \
                 or choose one:</label> <input id=\"image\" type=\"file\" accept=\"image/*\"></p>\n\
                 <div id=\"answer\" role=\"status\" aria-live=\"polite\"></div></div></section>\n";
        body += &notes(&run);
        body += &files(&run, &url);
        let recipe = app.runs.file(&run, "recipe.toml")?;
        let _ = writeln!(
            body,
            "<section><h2>Recipe</h2>\n<p class=\"mu\"><code>{}</code></p>\n<details><summary>every value</summary><pre>{}</pre></details></section></div>",
            escape(&info.command),
            escape(&String::from_utf8_lossy(&recipe))
        );
        Ok(page(&name, &body))
    })
    .await
}

fn facts(row: &RunRow) -> String {
    let fact = |id: &str, label: &str, value: String| {
        format!("<div><dt>{label}</dt><dd id=\"{id}\">{}</dd></div>\n", escape(&value))
    };
    [
        "<dl class=\"facts\">\n".to_owned(),
        fact("status", "status", row.status.word().to_owned()),
        fact("epoch", "epoch", format!("{} of {}", row.epoch, row.epochs)),
        fact("val_top1", "validation top-1", percent(row.val_top1)),
        fact("val_loss", "validation loss", number(row.val_loss)),
        fact("network", "network", row.network.clone()),
        fact("data", "data", row.data.clone()),
        "</dl>\n".to_owned(),
    ]
    .concat()
}

/// The curves, wide and for a phone.
fn drawn(run: &RunFolder) -> Result<String, Refusal> {
    if !run.events().is_file() {
        return Ok("<p class=\"mu\">Nothing yet.</p>".to_owned());
    }
    let input = danlu::curves::of_runs(std::slice::from_ref(run))?;
    if input.panels.iter().all(|panel| panel.curves.iter().all(|curve| curve.points.is_empty())) {
        return Ok("<p class=\"mu\">The first epoch is not complete yet.</p>".to_owned());
    }
    Ok(both(|look| curves::curves(&input, look).to_inline()))
}

fn both(draw: impl Fn(&Look) -> String) -> String {
    let at = |width| draw(&Look { width, ..Look::default() });
    format!("<div class=\"wide\">{}</div><div class=\"narrow\">{}</div>", at(860.0), at(360.0))
}

pub(crate) async fn curves_fragment(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let html = blocking(move || drawn(&app.runs.find(&name)?)).await?;
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response())
}

/// What happened on the way.
fn notes(run: &RunFolder) -> String {
    let events = read_events(&run.events()).unwrap_or_default();
    let notes: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Note { epoch, message, .. } => {
                Some(format!("<li>epoch {epoch}: {}</li>", escape(message)))
            }
            _ => None,
        })
        .collect();
    if notes.is_empty() {
        return String::new();
    }
    format!("<section><h2>Notes</h2>\n<ul>{}</ul></section>\n", notes.concat())
}

fn files(run: &RunFolder, url: &str) -> String {
    let mut links = String::new();
    if run.report().is_file() {
        let _ = write!(links, "<li><a href=\"/runs/{url}/report.html\">report</a></li>");
    }
    for file in ["metrics.csv", "recipe.toml"] {
        if run.path().join(file).is_file() {
            let _ = write!(links, "<li><a href=\"/runs/{url}/{file}\">{file}</a></li>");
        }
    }
    let mut pictures: Vec<String> = std::fs::read_dir(run.pictures())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_picture(name))
        .collect();
    pictures.sort();
    for name in pictures {
        let _ = write!(
            links,
            "<li><a href=\"/runs/{url}/pictures/{name}\">{}</a></li>",
            name.trim_end_matches(".svg")
        );
    }
    if links.is_empty() {
        links
    } else {
        format!("<section><h2>Files</h2>\n<ul class=\"links\">{links}</ul></section>\n")
    }
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

pub(crate) async fn compare(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    blocking(move || {
        let runs = match named_runs(&app, query.as_deref()) {
            Ok(runs) => runs,
            Err(refusal) if refusal.status == axum::http::StatusCode::BAD_REQUEST => {
                let text = format!("<p>Choose one to {MOST_COMPARED} runs in <a href=\"/\">the list</a>.</p>");
                return Ok(page("Comparison", &text));
            }
            Err(refusal) => return Err(refusal),
        };
        let folders: Vec<RunFolder> = runs.iter().map(|(_, run)| run.clone()).collect();
        let started: Vec<RunFolder> = folders.into_iter().filter(|run| run.events().is_file()).collect();
        let input = danlu::curves::of_runs(&started)?;
        let mut body = String::from(
            "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">run</th><th scope=\"col\">status</th>\
             <th scope=\"col\" class=\"n\">epoch</th><th scope=\"col\" class=\"n\">val loss</th>\
             <th scope=\"col\" class=\"n\">val top-1</th></tr></thead><tbody>\n",
        );
        for (name, _) in &runs {
            let row = app.runs.one(name)?.1;
            let _ = writeln!(
                body,
                "<tr><td><a href=\"/runs/{}\">{}</a></td><td>{}</td><td class=\"n\">{}/{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td></tr>",
                in_url(name),
                escape(name),
                row.status.word(),
                row.epoch,
                row.epochs,
                number(row.val_loss),
                percent(row.val_top1)
            );
        }
        body += "</tbody></table></div>\n";
        let _ = writeln!(
            body,
            "<section><h2>Curves</h2>\n{}</section>",
            both(|look| curves::curves(&input, look).to_inline())
        );
        let first = runs.first().map(|(name, _)| escape(name)).unwrap_or_default();
        for (name, changes) in recipe_diffs(&runs)? {
            let _ = writeln!(body, "<section><h2>Recipe: {first} → {}</h2>", escape(&name));
            if changes.is_empty() {
                body += "<p>The same.</p>";
            } else {
                let lines: Vec<String> = changes.iter().map(|change| escape(&change.to_string())).collect();
                let _ = write!(body, "<pre>{}</pre>", lines.join("\n"));
            }
            body += "</section>\n";
        }
        Ok(page("Comparison", &body))
    })
    .await
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
