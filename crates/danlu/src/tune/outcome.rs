//! What a study found: the best recipe, what mattered, and how far the answer can be trusted.

use std::path::{Path, PathBuf};

use danlu_train::RunFolder;
use danlu_tune::importance::{Importance, importance};
use danlu_tune::{Distribution, State, StudySpec, Trial, View};
use danlu_view::{
    Curve, Curves, Look, Panel, Trials, Values, curves, parallel_coordinates, slices, stylesheet,
};

use super::drive::study_folder;
use super::{Confirmed, Metric, Plan, StudyError};

/// The best trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Its number.
    pub number: u64,
    /// The best value that it reported.
    pub value: f64,
    /// The epoch of that value.
    pub epoch: u64,
    /// Whether it has trained to its last epoch.
    pub complete: bool,
    /// Its run folder.
    pub run: PathBuf,
}

/// What is said and written at the end of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The best trial; none where no epoch was ever completed.
    pub best: Option<Best>,
    /// What matters, the most important first.
    pub importance: Vec<Importance>,
    /// Sentences on boundaries, budget and failures.
    pub verdicts: Vec<String>,
    /// The best recipe as TOML.
    pub recipe: Option<PathBuf>,
    /// The page.
    pub page: PathBuf,
}

/// The best trial of a study: the best value at any epoch, since the weights of the best epoch are what is kept.
pub fn best(view: &View, runs: &Path, study: &str) -> Option<Best> {
    let trial = view.best_observed()?;
    let loss = |value: f64| view.loss(value);
    let report = trial.curve.iter().min_by(|a, b| loss(a.value).total_cmp(&loss(b.value)))?;
    Some(Best {
        number: trial.number,
        value: report.value,
        epoch: report.step,
        complete: trial.state == State::Complete,
        run: study_folder(runs, study).join(format!("trial-{}", trial.number)),
    })
}

/// Writes `best.toml` and `study.html` into the study's folder.
///
/// # Errors
/// Where they cannot be written.
pub fn write_report(
    plan: &Plan,
    spec: &StudySpec,
    view: &View,
    runs: &Path,
    confirmed: &[Confirmed],
) -> Result<Report, StudyError> {
    let folder = study_folder(runs, &spec.name);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StudyError::Io { path, source }
    };
    std::fs::create_dir_all(&folder).map_err(io(&folder))?;
    let best = best(view, runs, &spec.name);
    let importance = importance(view);
    let verdicts = verdicts(view, plan.metric, best.as_ref(), confirmed);
    let mut recipe = None;
    if let Some(best) = &best
        && let Ok(run) = RunFolder::open(&best.run)
        && let Ok(text) = std::fs::read_to_string(run.recipe())
    {
        let path = folder.join("best.toml");
        let head = format!(
            "# The best recipe of the study `{}`: trial {}, {} {} at epoch {}.\n",
            spec.name,
            best.number,
            plan.metric.name(),
            plan.metric.show(best.value),
            best.epoch
        );
        write(&path, &format!("{head}{text}"))?;
        recipe = Some(path);
    }
    let page = folder.join("study.html");
    write(&page, &html(plan, spec, view, best.as_ref(), &importance, &verdicts, confirmed))?;
    Ok(Report { best, importance, verdicts, recipe, page })
}

fn write(path: &Path, text: &str) -> Result<(), StudyError> {
    let done = danlu_weights::write_atomic(path, |writer| std::io::Write::write_all(writer, text.as_bytes()));
    done.map_err(|error| StudyError::Train(error.into()))
}

fn count(view: &View, state: State) -> usize {
    view.in_state(state).len()
}

/// Sentences that a person should read before using the result.
pub fn verdicts(view: &View, metric: Metric, best: Option<&Best>, confirmed: &[Confirmed]) -> Vec<String> {
    let mut said = Vec::new();
    let Some(best) = best else {
        said.push("no trial has completed an epoch: give the study a larger budget".into());
        return said;
    };
    let Some(trial) = view.trial(best.number) else { return said };
    for (parameter, value) in view.space.parameters().iter().zip(&trial.values) {
        let domain = &parameter.distribution;
        let (Some(value), false) = (value, domain.is_categorical() || domain.is_single()) else { continue };
        let place = domain.to_unit(*value);
        // Half a cell of a discrete domain, or 3 % of a continuous one.
        let margin = domain.cardinality().map_or(0.03, |n| 0.51 / n as f64).min(0.25);
        let side = if place <= margin {
            "lower"
        } else if place >= 1.0 - margin {
            "upper"
        } else {
            continue;
        };
        let shown = domain.to_external(*value);
        said.push(format!(
            "the best `{}` = {shown} lies at the {side} end of its range: widen the range and go on",
            parameter.name
        ));
    }
    if !best.complete {
        said.push(format!(
            "the best trial ({}) stands at epoch {} of {} and was still in the race: more budget is likely to help",
            best.number, trial.steps(), view.max_steps
        ));
    }
    if best.epoch == view.max_steps && view.max_steps > 1 && best.complete {
        said.push("the best trial was best at its last epoch: more epochs (`train.epochs`) may help".into());
    } else if best.complete && best.epoch * 2 < view.max_steps {
        said.push(format!(
            "the best trial was best at epoch {} of {}: fewer epochs do",
            best.epoch, view.max_steps
        ));
    }
    // The best trial found late means that the search had not levelled off.
    let tried = view.trials().len() as u64;
    if tried >= 8 && best.number * 5 >= tried * 4 {
        said.push(format!(
            "the best of {tried} trials is number {}: the search had not levelled off",
            best.number
        ));
    }
    for trial in view.in_state(State::Released).iter().filter_map(|&n| view.trial(n)) {
        said.push(format!(
            "trial {} was stopped at epoch {} of {} by the end of a session and is checkpointed: the same command goes on with it",
            trial.number, trial.steps(), view.max_steps
        ));
    }
    let failed = count(view, State::Failed);
    if failed > 0 {
        let first =
            view.in_state(State::Failed).iter().filter_map(|&n| view.trial(n)).find_map(|t| t.error.clone());
        said.push(format!(
            "{failed} trials failed; the first: {}",
            first.unwrap_or_default().lines().next().unwrap_or_default()
        ));
    }
    match confirmed {
        [first, second, ..] => said.push(super::confirm::verdict(first, second, metric)),
        _ => said.push("one run each cannot tell luck from merit: `--confirm` trains the best 3 again with 3 other seeds".into()),
    }
    said
}

fn html(
    plan: &Plan,
    spec: &StudySpec,
    view: &View,
    best: Option<&Best>,
    importance: &[Importance],
    verdicts: &[String],
    confirmed: &[Confirmed],
) -> String {
    let metric = plan.metric;
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Study {0}</title><style>{1}\nbody{{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse}}td,th{{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #8884}}</style></head><body>\n\
         <h1>Study {0}</h1>\n",
        escape(&spec.name),
        stylesheet()
    );
    if let Some(best) = best {
        page += &format!(
            "<p>Best: trial {}, {} <b>{}</b> at epoch {} of {}. The test set was not opened.</p>\n",
            best.number,
            metric.name(),
            metric.show(best.value),
            best.epoch,
            view.max_steps
        );
    }
    let states = [
        (State::Complete, "complete"),
        (State::Paused, "paused"),
        (State::Released, "stopped by the end of a session, first to go on"),
        (State::Running, "running"),
        (State::Pruned, "pruned"),
        (State::Failed, "failed"),
        (State::Waiting, "waiting"),
    ];
    let counts: Vec<String> = states
        .iter()
        .filter(|(state, _)| count(view, *state) > 0)
        .map(|(state, name)| format!("{} {name}", count(view, *state)))
        .collect();
    let epochs: u64 = view.trials().iter().map(Trial::steps).sum();
    page += &format!(
        "<p>{} trials ({}), {epochs} epochs in all.</p>\n<ul>\n",
        view.trials().len(),
        counts.join(", ")
    );
    for verdict in verdicts {
        page += &format!("<li>{}</li>\n", escape(verdict));
    }
    page += "</ul>\n";
    if !confirmed.is_empty() {
        page += "<h2>Confirmation</h2><table><tr><th>trial</th><th>mean</th><th>standard deviation</th><th>runs</th></tr>\n";
        for c in confirmed {
            page += &format!(
                "<tr><td>{}</td><td>{}</td><td>{:.4}</td><td>{}</td></tr>\n",
                c.number,
                metric.show(c.mean()),
                c.deviation(),
                c.values.len()
            );
        }
        page += "</table>\n";
    }
    if !importance.is_empty() {
        page += "<h2>What mattered</h2><p>Share of the variation in the trials' ranks that each hyper-parameter explains alone \
                 (functional ANOVA), with its standard deviation.</p><table>\n";
        for i in importance {
            page += &format!(
                "<tr><td>{}</td><td>{:.0} % ± {:.0}</td></tr>\n",
                escape(&i.name),
                100.0 * i.share,
                100.0 * i.uncertainty
            );
        }
        page += "</table>\n";
    }
    let look = Look { width: 900.0, ..Look::default() };
    let trials = trials_of(view, metric);
    if !trials.params.is_empty() && trials.objective.iter().any(|v| v.is_finite()) {
        for svg in [parallel_coordinates(&trials, &look), slices(&trials, &look)].into_iter().flatten() {
            page += &svg.to_inline();
            page.push('\n');
        }
    }
    let lines = view.trials().iter().filter(|t| !t.curve.is_empty()).map(|t| Curve {
        name: format!("#{}", t.number),
        points: t.curve.iter().map(|r| (r.step as f64, r.value)).collect(),
        ..Curve::default()
    });
    let panel = Panel { title: metric.name().into(), curves: lines.collect(), ..Panel::default() };
    if !panel.curves.is_empty() {
        let all = Curves {
            x_title: "epoch".into(),
            title: "Curves of all trials".into(),
            panels: vec![panel],
            ..Curves::default()
        };
        page += "<h2>Curves</h2>\n";
        page += &curves(&all, &look).to_inline();
    }
    page += "\n</body></html>\n";
    page
}

/// The trials that have values, for the pictures of a study.
pub fn trials_of(view: &View, metric: Metric) -> Trials {
    let trials: Vec<&Trial> = view.trials().iter().filter(|t| t.values.iter().any(Option::is_some)).collect();
    let params = view.space.parameters().iter().enumerate().map(|(i, p)| {
        let values = match &p.distribution {
            Distribution::Categorical { choices } => Values::Choices {
                names: choices
                    .iter()
                    .map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned))
                    .collect(),
                values: trials.iter().map(|t| t.values[i].map(|v| v as usize)).collect(),
            },
            domain => Values::Numbers {
                values: trials.iter().map(|t| t.values[i].unwrap_or(f64::NAN)).collect(),
                log: matches!(
                    domain,
                    Distribution::Float { log: true, .. } | Distribution::Int { log: true, .. }
                ),
            },
        };
        (p.name.clone(), values)
    });
    let objective = trials.iter().map(|t| {
        let best = t.curve.iter().min_by(|a, b| view.loss(a.value).total_cmp(&view.loss(b.value)));
        best.map_or(f64::NAN, |r| r.value)
    });
    Trials {
        params: params.collect(),
        objective: objective.collect(),
        objective_name: metric.name().into(),
        maximize: metric != Metric::Loss,
    }
}
