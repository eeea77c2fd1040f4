//! Runs side by side.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use danlu::train::RunFolder;
use danlu::view::curves;
use serde_json::Value;

use super::{both, number, percent};
use crate::api::{MOST_COMPARED, blocking, named_runs, recipe_diffs};
use crate::error::Refusal;
use crate::page::{escape, in_url, page};
use crate::server::App;

pub(crate) async fn compare(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    blocking(move || {
        let runs = match named_runs(&app, query.as_deref()) {
            Ok(runs) => runs,
            Err(refusal) if refusal.status == StatusCode::BAD_REQUEST => {
                let text =
                    format!("<p>Choose one to {MOST_COMPARED} runs in <a href=\"/\">the list</a>.</p>");
                return Ok(page("Comparison", &text));
            }
            Err(refusal) => return Err(refusal),
        };
        let mut body = scores(&app, &runs)?;
        let started: Vec<RunFolder> =
            runs.iter().map(|(_, run)| run.clone()).filter(|run| run.events().is_file()).collect();
        if !started.is_empty() {
            let input = danlu::curves::of_runs(&started)?;
            let _ = writeln!(
                body,
                "<section><h2>Curves</h2>\n{}</section>",
                both(|look| curves::curves(&input, look).to_inline())
            );
        }
        body += &recipes(&runs)?;
        Ok(page("Comparison", &body))
    })
    .await
}

fn scores(app: &App, runs: &[(String, RunFolder)]) -> Result<String, Refusal> {
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Scores\"><table><thead><tr><th scope=\"col\">run</th>\
         <th scope=\"col\">status</th><th scope=\"col\" class=\"n\">epoch</th><th scope=\"col\" class=\"n\">val top-1</th>\
         <th scope=\"col\" class=\"n\">val loss</th><th scope=\"col\" class=\"n\">train loss</th></tr></thead><tbody>\n",
    );
    for (name, _) in runs {
        let row = app.runs.one(name)?.1;
        let word = row.status.word();
        let _ = writeln!(
            html,
            "<tr><td><a href=\"/runs/{}\">{}</a></td><td><span class=\"status {word}\">{word}</span></td>\
             <td class=\"n\">{}/{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            in_url(name),
            escape(name),
            row.epoch,
            row.epochs,
            percent(row.val_top1),
            number(row.val_loss),
            number(row.train_loss),
        );
    }
    Ok(html + "</tbody></table></div>\n")
}

/// A row for every key in which the recipes differ, a column a run; what differs from the first run is marked.
fn recipes(runs: &[(String, RunFolder)]) -> Result<String, Refusal> {
    let diffs = recipe_diffs(runs)?;
    if diffs.is_empty() {
        return Ok(String::new());
    }
    let mut keys: Vec<(&str, &Option<Value>)> = Vec::new();
    for change in diffs.iter().flat_map(|(_, changes)| changes) {
        if !keys.iter().any(|(key, _)| *key == change.key) {
            keys.push((&change.key, &change.before));
        }
    }
    let mut html = String::from("<section><h2>What differs in the recipes</h2>\n");
    if keys.is_empty() {
        return Ok(html + "<p>Nothing: the recipes are the same.</p></section>\n");
    }
    html += "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Recipes\"><table id=\"recipes\"><thead><tr><th scope=\"col\">key</th>";
    for (name, _) in runs {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
    }
    html += "</tr></thead><tbody>\n";
    for (key, first) in keys {
        let _ = write!(html, "<tr><th scope=\"row\">{}</th><td>{}</td>", escape(key), shown(first));
        for (_, changes) in &diffs {
            match changes.iter().find(|change| change.key == key) {
                Some(change) => {
                    let _ = write!(html, "<td><b>{}</b></td>", shown(&change.after));
                }
                None => {
                    let _ = write!(html, "<td>{}</td>", shown(first));
                }
            }
        }
        html += "</tr>\n";
    }
    Ok(html + "</tbody></table></div></section>\n")
}

fn shown(value: &Option<Value>) -> String {
    let text = match value {
        None => return "<span class=\"mu\">none</span>".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    // A network of many blocks is a long value; the whole one is in the recipes themselves.
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    escape(&short)
}
