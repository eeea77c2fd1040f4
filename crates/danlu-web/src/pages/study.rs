//! The page of a study: what mattered, how the trials lie, every trial.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use danlu::tune::{best, trials_of, verdicts};
use danlu::tuner::importance::importance;
use danlu::tuner::{State as Standing, Trial, View};
use danlu::view::{Curve, Curves, Panel, curves, parallel_coordinates, slices};

use super::{both, html, moving};
use crate::api::blocking;
use crate::error::Refusal;
use crate::page::{escape, in_url, page};
use crate::server::App;
use crate::studies::Study;

/// Rows of the table: the best ones, more than anyone reads.
const MOST_ROWS: usize = 500;
/// Trials whose curves have a name and a colour of their own.
const NAMED: usize = 6;
/// Curves that are drawn behind them.
const BEHIND: usize = 60;

pub(crate) async fn study(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    blocking(move || {
        let study = app.studies.find(&name)?;
        let url = in_url(&name);
        let moves = study.view.trials().iter().any(|trial| !trial.state.is_finished());
        let events = moves.then(|| format!("/studies/{url}/live"));
        let now = now_of(&app, &study)?;
        Ok(page(
            &format!("Study {name}"),
            &moving(events.as_deref(), &format!("/studies/{url}/progress"), &now),
        ))
    })
    .await
}

pub(crate) async fn study_progress(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let text = blocking(move || {
        let study = app.studies.find(&name)?;
        now_of(&app, &study)
    });
    Ok(html(text.await?))
}

fn now_of(app: &App, study: &Study) -> Result<String, Refusal> {
    let (view, name) = (&study.view, &study.spec.name);
    let row = study.row();
    let fact =
        |label: &str, value: String| format!("<div><dt>{label}</dt><dd>{}</dd></div>\n", escape(&value));
    let mut html = String::from("<dl class=\"facts\">\n");
    html += &fact(&format!("best {}", row.metric), row.best.map_or("-".to_owned(), |best| study.show(best)));
    html += &fact("trials", row.trials.to_string());
    for (count, state) in
        [(row.complete, "complete"), (row.running, "running"), (row.paused, "paused"), (row.failed, "failed")]
    {
        if count > 0 {
            html += &fact(state, count.to_string());
        }
    }
    html += &fact("epochs of all trials", row.epochs.to_string());
    html += &fact("epochs of a full trial", view.max_steps.to_string());
    html += "</dl>\n";
    let best = best(view, app.runs.root(), name);
    if study.plan.is_some() {
        html += "<ul>\n";
        for verdict in verdicts(view, study.metric(), best.as_ref(), &[]) {
            let _ = writeln!(html, "<li>{}</li>", escape(&verdict));
        }
        html += "</ul>\n";
    }
    html += &what_mattered(view);
    html += &pictures(study);
    html += &table(app, study);
    Ok(html)
}

fn what_mattered(view: &View) -> String {
    let found = importance(view);
    if found.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<section id=\"importance\"><h2>What mattered</h2>\n<p class=\"mu\">Share of the variation in the trials' ranks that each \
         hyper-parameter explains alone (functional ANOVA), and its standard deviation over the trees.</p>\n\
         <table class=\"short\"><tbody>\n",
    );
    for one in found {
        let share = 100.0 * one.share;
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td><meter min=\"0\" max=\"100\" value=\"{share:.1}\" aria-hidden=\"true\"></meter></td>\
             <td class=\"n\">{share:.0} % ± {:.0}</td></tr>",
            escape(&one.name),
            100.0 * one.uncertainty
        );
    }
    html + "</tbody></table></section>\n"
}

fn pictures(study: &Study) -> String {
    let mut trials = trials_of(&study.view, study.metric());
    trials.objective_name = study.metric_name().to_owned();
    trials.maximize = study.spec.direction == danlu::tuner::Direction::Maximize;
    let mut html = String::new();
    if !trials.params.is_empty() && trials.objective.iter().any(|value| value.is_finite()) {
        let _ = writeln!(
            html,
            "<section id=\"parallel\"><h2>Trials in parallel coordinates</h2>\n<p class=\"mu\">A line a trial, yellow the best; the best \
             tenth is drawn strong.</p>\n{}</section>",
            both(|look| parallel_coordinates(&trials, look).map_or(String::new(), |svg| svg.to_inline()))
        );
        let _ = writeln!(
            html,
            "<section id=\"slices\"><h2>Each hyper-parameter alone</h2>\n{}</section>",
            both(|look| slices(&trials, look).map_or(String::new(), |svg| svg.to_inline()))
        );
    }
    let ranked = ranked(&study.view);
    let line = |trial: &Trial, name: String| Curve {
        name,
        points: trial.curve.iter().map(|report| (report.step as f64, report.value)).collect(),
        ..Curve::default()
    };
    // The named ones last, so that they lie in front; their colours are given first, by their order.
    let mut lines: Vec<Curve> =
        ranked.iter().take(NAMED).map(|trial| line(trial, format!("#{}", trial.number))).collect();
    lines.extend(ranked.iter().skip(NAMED).take(BEHIND).map(|trial| line(trial, "other trials".to_owned())));
    if lines.iter().any(|line| !line.points.is_empty()) {
        let panel =
            Panel { title: study.metric_name().to_owned(), curves: lines, height: 260.0, ..Panel::default() };
        let all = Curves {
            x_title: "epoch".into(),
            title: "Curves of the trials".into(),
            panels: vec![panel],
            ..Curves::default()
        };
        let _ = writeln!(
            html,
            "<section id=\"curves\"><h2>Curves of the best trials</h2>\n{}</section>",
            both(|look| curves::curves(&all, look).to_inline())
        );
    }
    html
}

/// The best value of a trial at any step.
fn peak(view: &View, trial: &Trial) -> Option<(u64, f64)> {
    let loss = |value: f64| view.loss(value);
    let best = trial.curve.iter().min_by(|a, b| loss(a.value).total_cmp(&loss(b.value)))?;
    Some((best.step, best.value))
}

/// The trials, the best first; those without a value last.
fn ranked(view: &View) -> Vec<&Trial> {
    let mut trials: Vec<&Trial> = view.trials().iter().collect();
    let loss = |trial: &Trial| peak(view, trial).map_or(f64::INFINITY, |(_, value)| view.loss(value));
    trials.sort_by(|a, b| loss(a).total_cmp(&loss(b)).then(a.number.cmp(&b.number)));
    trials
}

fn table(app: &App, study: &Study) -> String {
    let view = &study.view;
    let all = ranked(view);
    let mut html = String::from("<section><h2>Trials</h2>\n");
    if all.len() > MOST_ROWS {
        let _ = writeln!(html, "<p class=\"mu\">the best {MOST_ROWS} of {}</p>", all.len());
    }
    html += "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Trials\"><table id=\"trials\"><thead><tr><th scope=\"col\">trial</th>\
             <th scope=\"col\">state</th>";
    let _ = write!(
        html,
        "<th scope=\"col\" class=\"n\">{}</th><th scope=\"col\" class=\"n\">at epoch</th>\
         <th scope=\"col\" class=\"n\">epochs</th>",
        study.metric_name()
    );
    for parameter in view.space.parameters() {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(&parameter.name));
    }
    html += "</tr></thead><tbody>\n";
    for trial in all.into_iter().take(MOST_ROWS) {
        let folder = format!("{}/trial-{}", study.spec.name, trial.number);
        let name = if app.runs.find(&folder).is_ok() {
            format!("<a href=\"/runs/{}\">#{}</a>", in_url(&folder), trial.number)
        } else {
            format!("#{}", trial.number)
        };
        let peak = peak(view, trial);
        let _ = write!(
            html,
            "<tr><td>{name}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
            state(trial),
            peak.map_or("-".to_owned(), |(_, value)| study.show(value)),
            peak.map_or("-".to_owned(), |(step, _)| step.to_string()),
            trial.steps(),
        );
        let values = view.space.to_external(&trial.values);
        for parameter in view.space.parameters() {
            let text = match values.get(&parameter.name) {
                None => "-".to_owned(),
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => value.as_f64().map_or_else(|| value.to_string(), danlu::view::scale::number),
            };
            let _ = write!(html, "<td>{}</td>", escape(&text));
        }
        html += "</tr>\n";
    }
    html + "</tbody></table></div></section>\n"
}

fn state(trial: &Trial) -> String {
    let word = match trial.state {
        Standing::Waiting => "waiting",
        Standing::Running => "running",
        Standing::Paused => "paused",
        Standing::Released => "paused, first to go on",
        Standing::Complete => "complete",
        Standing::Pruned => "pruned",
        Standing::Failed => "failed",
    };
    match &trial.error {
        Some(error) => {
            let error: String = error.lines().next().unwrap_or_default().chars().take(80).collect();
            format!("{word}: {}", escape(&error))
        }
        None => word.to_owned(),
    }
}
