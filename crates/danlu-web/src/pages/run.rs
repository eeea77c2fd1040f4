//! The page of a run.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use danlu::doctor::{Examination, Severity, examine, picture};
use danlu::train::{Event, RunFolder, read_events};
use danlu::view::curves;

use super::{both, html, moving, number, percent};
use crate::api::blocking;
use crate::error::Refusal;
use crate::files::pictures_of;
use crate::page::{escape, in_url, page};
use crate::runs::RunRow;
use crate::server::App;
use crate::status::Status;

pub(crate) async fn run(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, Refusal> {
    blocking(move || {
        let (run, row) = app.runs.one(&name)?;
        let info = run.info()?;
        let url = in_url(&name);
        let training = row.status == Status::Training;
        let mut body = format!("<div id=\"run\" data-run=\"{url}\">\n");
        if let Some((study, _)) = name.split_once('/') {
            let _ = writeln!(
                body,
                "<p class=\"mu\">a trial of the study <a href=\"/studies/{}\">{}</a></p>",
                in_url(study),
                escape(study)
            );
        } else if training {
            body += "<p class=\"bar\"><button id=\"stop\" type=\"button\">Pause: stop after this update</button> \
                     <span id=\"stopped\" role=\"status\" class=\"mu\">a checkpoint is written; it can go on from there</span></p>\n";
        }
        let events = training.then(|| format!("/runs/{url}/live"));
        body += &moving(events.as_deref(), &format!("/runs/{url}/progress"), &now_of(&run, &row)?);
        body += TRY;
        body += &gallery(&run, &url)?;
        body += &files(&run, &url);
        let recipe = app.runs.file(&run, "recipe.toml")?;
        let _ = writeln!(
            body,
            "<section><h2>Recipe</h2>\n<p class=\"mu\"><code>{}</code></p>\n\
             <details><summary>every value</summary><pre tabindex=\"0\">{}</pre></details></section></div>",
            escape(&info.command),
            escape(&String::from_utf8_lossy(&recipe))
        );
        Ok(page(&name, &body))
    })
    .await
}

const TRY: &str = "<section><h2>Try an image</h2>\n<div id=\"drop\" class=\"drop\"><p><label for=\"image\">Drop an image here, \
                   or choose one:</label> <input id=\"image\" type=\"file\" accept=\"image/*\"></p>\n\
                   <div id=\"answer\" role=\"status\" aria-live=\"polite\"></div></div></section>\n";

/// What moves while it trains.
pub(crate) async fn progress(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let text = blocking(move || {
        let (run, row) = app.runs.one(&name)?;
        now_of(&run, &row)
    });
    Ok(html(text.await?))
}

fn now_of(run: &RunFolder, row: &RunRow) -> Result<String, Refusal> {
    let mut html = facts(row);
    if !matches!(row.status, Status::Finished | Status::Training) {
        let path = escape(&run.path().display().to_string());
        let _ = writeln!(html, "<p>Go on with <code>danlu resume {path}</code></p>");
    }
    let examination = examine(run);
    let findings = examination.as_ref().map_or(&[][..], |found| &found.findings[..]);
    html += "<section><h2>Curves</h2>\n";
    if row.epoch == 0 || !run.events().is_file() {
        html += "<p class=\"mu\">The first epoch is not complete yet.</p>";
    } else {
        let input = picture(run, findings)?;
        html += &both(|look| curves::curves(&input, look).to_inline());
    }
    html += "</section>\n";
    match &examination {
        Ok(examination) => html += &doctor(examination, row),
        Err(error) => {
            let _ = writeln!(
                html,
                "<section><h2>Doctor</h2><p class=\"warn\">{}</p></section>",
                escape(&error.to_string())
            );
        }
    }
    html += &notes(run);
    Ok(html)
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

/// Findings, causes before symptoms, and what the next recipe would be.
fn doctor(examination: &Examination, row: &RunRow) -> String {
    if row.epoch == 0 {
        return String::new();
    }
    let mut html = String::from("<section id=\"doctor\"><h2>Doctor</h2>\n");
    if examination.findings.is_empty() {
        return html + "<p class=\"mu\">Nothing found.</p></section>\n";
    }
    for finding in &examination.findings {
        let (class, word) = match finding.severity {
            Severity::Fault => ("fault", "fault"),
            Severity::Advice => ("advice", "advice"),
        };
        let _ = write!(
            html,
            "<article class=\"finding {class}\"><h3><span class=\"word\">{word}</span> {}</h3><p>{}</p>",
            escape(&finding.title),
            escape(&finding.evidence)
        );
        if !finding.advice.is_empty() {
            let _ = write!(html, "<p>{}</p>", escape(&finding.advice));
        }
        if !finding.proposals.is_empty() {
            html += "<ul>";
            for proposal in &finding.proposals {
                let _ = write!(
                    html,
                    "<li><code>{} = {}</code> {}</li>",
                    escape(&proposal.key),
                    escape(&proposal.value.to_string()),
                    escape(&proposal.reason)
                );
            }
            html += "</ul>";
        }
        let _ = writeln!(html, "<p class=\"mu\">{}</p></article>", escape(&finding.source));
    }
    if !examination.changes.is_empty() {
        html += "<details><summary>the next recipe as a difference to this one</summary><pre tabindex=\"0\">";
        for reasoned in &examination.changes {
            let _ =
                writeln!(html, "{}   # {}", escape(&reasoned.change.to_string()), escape(&reasoned.reason));
        }
        html += "</pre></details>";
    }
    html + "</section>\n"
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

/// Pictures that are drawn when someone looks, and those that the training left.
fn gallery(run: &RunFolder, url: &str) -> Result<String, Refusal> {
    let mut html = String::from("<section><h2>Pictures</h2>\n");
    let _ = write!(
        html,
        "<form id=\"draw\" class=\"bar\" action=\"/runs/{url}/draw\"><label>Draw <select name=\"what\">\
         <option value=\"updates\">every update: loss, gradient norm, learning rate</option>"
    );
    let layers = crate::draw::layers(run)?;
    for layer in &layers {
        let name = escape(layer);
        let _ = write!(html, "<option value=\"weights {name}\">weights: {name}</option>");
    }
    html += "<option value=\"memory\">memory of a step, layer by layer</option></select></label> \
             <button type=\"submit\">Show</button></form>\n<div id=\"drawn\" role=\"status\"></div>\n";
    let saved = pictures_of(run);
    if !saved.is_empty() {
        html += "<ul class=\"gallery\">\n";
        for file in saved {
            let name = file.trim_end_matches(".svg");
            let _ = writeln!(
                html,
                "<li><a href=\"/runs/{url}/pictures/{file}\"><img src=\"/runs/{url}/pictures/{file}\" \
                 loading=\"lazy\" alt=\"{name}\"><span aria-hidden=\"true\">{name}</span></a></li>"
            );
        }
        html += "</ul>\n";
    }
    Ok(html + "</section>\n")
}

fn files(run: &RunFolder, url: &str) -> String {
    let mut links = String::new();
    for (file, name) in
        [("report.html", "report"), ("metrics.csv", "metrics.csv"), ("recipe.toml", "recipe.toml")]
    {
        if run.path().join(file).is_file() {
            let _ = write!(links, "<li><a href=\"/runs/{url}/{file}\">{name}</a></li>");
        }
    }
    format!("<section><h2>Files</h2>\n<ul class=\"links\">{links}</ul></section>\n")
}
