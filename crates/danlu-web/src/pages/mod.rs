//! The pages: the list of runs and studies, a run, a comparison, a study.

mod compare;
mod list;
mod run;
mod study;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use danlu::view::Look;

pub(crate) use compare::compare;
pub(crate) use list::list;
pub(crate) use run::{progress, run};
pub(crate) use study::{study, study_progress};

use crate::live::now;

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
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// A picture twice, laid out for a wide window and for a phone; the style sheet shows one.
fn both(draw: impl Fn(&Look) -> String) -> String {
    let at = |width| draw(&Look { width, ..Look::default() });
    format!("<div class=\"wide\">{}</div><div class=\"narrow\">{}</div>", at(880.0), at(360.0))
}

/// A part of a page that moves by itself: our script asks for it again after every event.
fn moving(events: Option<&str>, fragment: &str, html: &str) -> String {
    let events = events.map_or(String::new(), |events| format!(" data-events=\"{events}\""));
    format!("<div id=\"progress\" data-fragment=\"{fragment}\"{events}>\n{html}</div>\n")
}

fn html(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}
