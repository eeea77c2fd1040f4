//! The list of studies and runs.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::{ago, number, percent};
use crate::api::blocking;
use crate::error::Refusal;
use crate::live::now;
use crate::page::{escape, in_url, page};
use crate::runs::RunRow;
use crate::server::App;
use crate::studies::Study;

pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    blocking(move || {
        let rows = app.runs.list();
        let mut body = format!(
            "<p class=\"mu\">{} in {}</p>\n",
            counted(rows.len(), "run"),
            escape(&app.runs.root().display().to_string())
        );
        match app.studies.list() {
            Ok(studies) => body += &studies_table(&studies),
            // The runs are there all the same.
            Err(refusal) => {
                let _ = writeln!(body, "<p class=\"warn\">studies: {}</p>", escape(&refusal.message));
            }
        }
        if rows.is_empty() {
            body += "<p>No runs yet: <code>danlu train DATA</code> makes one.</p>\n";
        } else {
            body += &runs_table(&rows);
        }
        Ok(page("Runs", &body))
    })
    .await
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn studies_table(studies: &[Study]) -> String {
    if studies.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<section><h2>Studies</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Studies\"><table id=\"studies\">\
         <thead><tr><th scope=\"col\">study</th><th scope=\"col\" class=\"n\">trials</th>\
         <th scope=\"col\" class=\"n\">running</th><th scope=\"col\" class=\"n\">epochs</th><th scope=\"col\">objective</th>\
         <th scope=\"col\" class=\"n\">best</th></tr></thead>\n<tbody>\n",
    );
    for study in studies {
        let row = study.row();
        let _ = writeln!(
            html,
            "<tr><td><a href=\"/studies/{}\">{}</a></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            in_url(&row.name),
            escape(&row.name),
            row.trials,
            row.running,
            row.epochs,
            row.metric,
            row.best.map_or("-".to_owned(), |best| study.show(best)),
        );
    }
    html + "</tbody></table></div></section>\n"
}

/// Rows that are laid out before the page is first seen; our script shows the others right after.
const AT_ONCE: usize = 60;

fn runs_table(rows: &[RunRow]) -> String {
    let mut html = format!(
        "<noscript><style>tbody[hidden]{{display:table-row-group}}</style></noscript>\n<section><h2>Runs</h2>\n<form action=\"/compare\"><p class=\"bar\"><label>Find <input id=\"find\" type=\"search\" \
         placeholder=\"name, status, network, data\"></label> <span id=\"found\" class=\"mu\" role=\"status\"></span> \
         <button type=\"submit\">Compare the chosen runs</button></p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\"><table id=\"runs\" data-now=\"{}\">\n\
         <thead><tr><th scope=\"col\"><span class=\"hidden\">choose</span></th><th scope=\"col\">run</th>\
         <th scope=\"col\">status</th><th scope=\"col\" class=\"n\">epoch</th><th scope=\"col\" class=\"n\">val top-1</th>\
         <th scope=\"col\" class=\"n\">val loss</th><th scope=\"col\">network</th><th scope=\"col\">data</th>\
         <th scope=\"col\" class=\"n\">changed</th></tr></thead>\n<tbody>\n",
        now()
    );
    for (place, row) in rows.iter().enumerate() {
        if place == AT_ONCE {
            html += "</tbody>\n<tbody hidden>\n";
        }
        let (name, url) = (escape(&row.name), in_url(&row.name));
        let word = row.status.word();
        let _ = writeln!(
            html,
            "<tr data-run=\"{name}\"><td><input type=\"checkbox\" name=\"run\" value=\"{name}\" \
             aria-label=\"choose {name}\"></td><td><a href=\"/runs/{url}\">{name}</a></td>\
             <td><span class=\"status {word}\">{word}</span></td><td class=\"n\">{}/{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            row.epoch,
            row.epochs,
            percent(row.val_top1),
            number(row.val_loss),
            escape(&row.network),
            escape(short(&row.data)),
            ago(row.changed),
        );
    }
    html + "</tbody></table></div></form></section>\n"
}

/// The last part of a path: the whole one is on the run's page.
fn short(data: &str) -> &str {
    data.rsplit('/').find(|part| !part.is_empty()).unwrap_or(data)
}
