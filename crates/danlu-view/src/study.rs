//! Pictures of a study: parallel coordinates and slices of its trials.

use crate::bitmap::ColorMap;
use crate::error::ViewError;
use crate::frame::{Area, Look, NORMAL, SMALL, note, tick_count, tick_width, x_axis, y_axis};
use crate::ink::Ink;
use crate::lang::{BEST, OBJECTIVE, PARALLEL, SLICES};
use crate::scale::{Kind, Scale, number};
use crate::svg::{Fill, Label, Pen, Svg};
use crate::text::{fit, text_width};

/// The values that one hyper-parameter took.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers, one a trial; NaN where the trial did not have it.
    Numbers {
        /// The values.
        values: Vec<f64>,
        /// Draw on a logarithmic axis.
        log: bool,
    },
    /// Choices, as indices into their names; `None` where the trial did not have it.
    Choices {
        /// Names of the choices.
        names: Vec<String>,
        /// The chosen index of each trial.
        values: Vec<Option<usize>>,
    },
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Numbers { values, .. } => values.len(),
            Values::Choices { values, .. } => values.len(),
        }
    }

    /// The number drawn for a trial: itself, or the index of the choice.
    fn get(&self, i: usize) -> f64 {
        match self {
            Values::Numbers { values, .. } => values[i],
            Values::Choices { values, names } => {
                values[i].filter(|k| *k < names.len()).map_or(f64::NAN, |k| k as f64)
            }
        }
    }

    fn scale(&self, from: f64, to: f64) -> Scale {
        match self {
            Values::Numbers { values, log } => {
                let kind = if *log { Kind::Log } else { Kind::Linear };
                Scale::around(kind, values.iter().copied(), 0.02, from, to)
            }
            Values::Choices { names, .. } => {
                Scale::new(Kind::Linear, -0.5, names.len().max(1) as f64 - 0.5, from, to)
            }
        }
    }

    fn ticks(&self, scale: &Scale, count: usize) -> Vec<(f64, String)> {
        match self {
            Values::Numbers { .. } => scale.ticks(count),
            Values::Choices { names, .. } => {
                names.iter().enumerate().map(|(i, n)| (i as f64, n.clone())).collect()
            }
        }
    }
}

/// The trials of a study.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trials {
    /// `(name, values)` of each hyper-parameter, one value a trial.
    pub params: Vec<(String, Values)>,
    /// Objective of each trial; NaN for a trial that failed or was pruned before its first value.
    pub objective: Vec<f64>,
    /// Name of the objective (`validation accuracy`); empty means "objective".
    pub objective_name: String,
    /// Greater is better.
    pub maximize: bool,
}

impl Trials {
    fn check(&self) -> Result<(), ViewError> {
        if self.params.is_empty() {
            return Err(ViewError::Empty("the list of hyper-parameters"));
        }
        for (_, v) in &self.params {
            ViewError::check_count(
                "the values of a hyper-parameter",
                v.len(),
                self.objective.len(),
                "trial",
            )?;
        }
        Ok(())
    }

    fn name<'a>(&'a self, look: &Look) -> &'a str {
        if self.objective_name.is_empty() { OBJECTIVE.of(look.lang) } else { &self.objective_name }
    }

    /// Trials from worst to best, so that the best is drawn last; each with its rank from 0 (worst) to 1 (best).
    fn ranked(&self) -> Vec<(usize, f64)> {
        let mut order: Vec<usize> =
            (0..self.objective.len()).filter(|i| self.objective[*i].is_finite()).collect();
        let sign = if self.maximize { 1.0 } else { -1.0 };
        order.sort_by(|a, b| (sign * self.objective[*a]).total_cmp(&(sign * self.objective[*b])));
        let n = (order.len() as f64 - 1.0).max(1.0);
        order.into_iter().enumerate().map(|(rank, i)| (i, rank as f64 / n)).collect()
    }
}

/// Draws parallel coordinates: an axis a hyper-parameter and the objective last, a line a trial. Colour is the rank
/// (yellow best), the best tenth is drawn strong. On a narrow picture the axes lie one under another.
///
/// # Errors
/// [`ViewError::Count`] when a hyper-parameter has not one value a trial; [`ViewError::Empty`] without any.
pub fn parallel_coordinates(input: &Trials, look: &Look) -> Result<Svg, ViewError> {
    input.check()?;
    let width = look.width();
    let mut svg = Svg::new(width, 0.0, PARALLEL.of(look.lang));
    let objective = Values::Numbers { values: input.objective.clone(), log: false };
    let mut axes: Vec<(&str, &Values)> = input.params.iter().map(|(n, v)| (n.as_str(), v)).collect();
    axes.push((input.name(look), &objective));
    let n = axes.len();
    // Room for the labels decides whether the axes stand or lie.
    let upright = width / n as f64 >= 84.0;
    let (top, height) = (34.0, 260.0);
    let gap = 58.0;
    let span = if upright { (top + height, top) } else { (16.0, width - 16.0) };
    let scales: Vec<Scale> = axes.iter().map(|(_, v)| v.scale(span.0, span.1)).collect();
    let labels: Vec<Vec<(f64, String)>> =
        axes.iter().zip(&scales).map(|((_, v), s)| v.ticks(s, if upright { 6 } else { 4 })).collect();
    let left = 12.0 + labels.first().map_or(0.0, |t| tick_width(t).min(80.0));
    let step = (width - left - 30.0) / (n as f64 - 1.0);
    let place = |axis: usize, v: f64| {
        let p = scales[axis].held(v)?;
        Some(if upright { (left + axis as f64 * step, p) } else { (p, 30.0 + axis as f64 * gap) })
    };
    for (i, rank) in input.ranked() {
        let mut runs = vec![Vec::new()];
        for (a, (_, v)) in axes.iter().enumerate() {
            match place(a, v.get(i)) {
                Some(p) => {
                    if let Some(run) = runs.last_mut() {
                        run.push(p);
                    }
                }
                None => runs.push(Vec::new()),
            }
        }
        runs.retain(|r| r.len() > 1);
        let strong = rank >= 0.9;
        // The map's brightest yellow has no contrast on white: it ends at 0.9.
        let [r, g, b] = ColorMap::Viridis.rgb(rank * 0.9);
        let pen = Pen::new(Ink::Rgb(r, g, b), if strong { 2.4 } else { 1.2 }).faint(if strong {
            1.0
        } else {
            0.45
        });
        svg.polyline_hint(runs, pen, format!("#{i}: {}", number(input.objective[i])));
    }
    for (a, ((name, _), ticks)) in axes.iter().zip(&labels).enumerate() {
        if upright {
            let x = left + a as f64 * step;
            svg.line(x, top, x, top + height, Pen::new(Ink::Muted, 1.2));
            let name = fit(name, NORMAL, step.min(180.0) - 8.0);
            // Bold letters are wider than those that were measured.
            let half = 0.57 * text_width(&name, NORMAL);
            let at = x.clamp(half + 2.0, width - half - 2.0);
            svg.text(at, 16.0, Label::new(name).bold().middle());
            for (v, text) in ticks {
                if let Some(y) = scales[a].at(*v).filter(|y| *y >= top - 0.5 && *y <= top + height + 0.5) {
                    svg.line(x - 3.0, y, x, y, Pen::new(Ink::Muted, 1.0));
                    tag(&mut svg, x - 5.0, y + 4.0, Label::new(fit(text, SMALL, 78.0)).size(SMALL).end());
                }
            }
        } else {
            let y = 30.0 + a as f64 * gap;
            svg.line(16.0, y, width - 16.0, y, Pen::new(Ink::Muted, 1.2));
            tag(&mut svg, 16.0, y - 9.0, Label::new(fit(name, NORMAL, width - 32.0)).bold());
            let mut free = f64::NEG_INFINITY;
            for (v, text) in ticks {
                let Some(x) = scales[a].at(*v).filter(|x| *x >= 15.5 && *x <= width - 15.5) else { continue };
                let half = text_width(text, SMALL) / 2.0;
                let x = x.clamp(half + 2.0, width - half - 2.0);
                if x - half > free {
                    free = x + half + 6.0;
                    tag(&mut svg, x, y + 14.0, Label::new(text).size(SMALL).middle());
                }
            }
        }
    }
    let end = if upright { top + height + 14.0 } else { 30.0 + (n as f64 - 1.0) * gap + 26.0 };
    svg.set_height(end);
    Ok(svg)
}

/// A label on a patch of ground, so that lines behind it do not cross it.
fn tag(svg: &mut Svg, x: f64, y: f64, label: Label) {
    let w = text_width(&label.text, label.size);
    let left = match label.anchor {
        crate::svg::Anchor::Start => x,
        crate::svg::Anchor::Middle => x - w / 2.0,
        crate::svg::Anchor::End => x - w,
    };
    svg.rect(
        left - 1.0,
        y - label.size * 0.82,
        w + 2.0,
        label.size * 1.05,
        Fill { ink: Ink::Ground, opacity: 0.8 },
    );
    svg.text(x, y, label);
}

/// Draws slices: for every hyper-parameter, the objective of each trial against its value, the best one marked.
///
/// # Errors
/// As [`parallel_coordinates`].
pub fn slices(input: &Trials, look: &Look) -> Result<Svg, ViewError> {
    input.check()?;
    let width = look.width();
    let mut svg = Svg::new(width, 0.0, SLICES.of(look.lang));
    let ranked = input.ranked();
    let best = ranked.last().map(|(i, _)| *i);
    let said = best.map_or(String::new(), |i| {
        format!("{}: #{i}, {} {}", BEST.of(look.lang), input.name(look), number(input.objective[i]))
    });
    let mut y = 2.0 + note(&mut svg, 8.0, 2.0, width - 16.0, &said);
    let columns = ((width / 230.0) as usize).clamp(1, input.params.len());
    let cell = width / columns as f64;
    let height = 150.0;
    for row in input.params.chunks(columns) {
        for (k, (name, values)) in row.iter().enumerate() {
            let mut panel = Svg::new(cell, 0.0, "");
            let probe = Scale::around(Kind::Linear, input.objective.iter().copied(), 0.05, 0.0, 1.0);
            let (low, high) = probe.range();
            let top = 26.0;
            let ys = Scale::new(Kind::Linear, low, high, top + height, top);
            let ticks = ys.ticks(tick_count(height, 38.0));
            let left = 16.0 + tick_width(&ticks);
            let area = Area { x: left, y: top, w: cell - left - 14.0, h: height };
            y_axis(&mut panel, area, &ticks, &ys, input.name(look));
            let xs = values.scale(area.x, area.right());
            match values {
                Values::Numbers { .. } => x_axis(&mut panel, area, &xs, name, cell),
                Values::Choices { names, .. } => {
                    panel.line(area.x, area.bottom(), area.right(), area.bottom(), Pen::new(Ink::Muted, 1.0));
                    let room = area.w / names.len().max(1) as f64;
                    for (i, n) in names.iter().enumerate() {
                        if let Some(x) = xs.at(i as f64) {
                            let label = Label::new(fit(n, SMALL, room - 4.0)).size(SMALL).muted().middle();
                            panel.text(x, area.bottom() + 16.0, label);
                        }
                    }
                    let title = Label::new(fit(name, NORMAL, area.w)).muted().end();
                    panel.text(area.right(), area.bottom() + 32.0, title);
                }
            }
            for &(i, _) in &ranked {
                let v = match values {
                    // Spread trials of one choice sideways, by their number, so that none hides another.
                    Values::Choices { .. } => values.get(i) + ((i * 37 % 41) as f64 / 41.0 - 0.5) * 0.5,
                    Values::Numbers { .. } => values.get(i),
                };
                let Some((x, y)) = xs.held(v).zip(ys.held(input.objective[i])) else { continue };
                let hint = format!("#{i}: {}", number(input.objective[i]));
                if Some(i) == best {
                    panel.disc_hint(x, y, 6.0, Ink::Series(1), hint);
                } else {
                    panel.disc_hint(x, y, 3.2, Fill { ink: Ink::Series(0), opacity: 0.7 }, hint);
                }
            }
            svg.place(k as f64 * cell, y, panel);
        }
        y += 26.0 + height + 44.0;
    }
    svg.set_height(y);
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_with_gaps_and_failures_draw_at_any_width() {
        let n = 40;
        let input = Trials {
            params: vec![
                (
                    "lr".into(),
                    Values::Numbers {
                        values: (0..n).map(|i| 10f64.powf(-f64::from(i) / 10.0)).collect(),
                        log: true,
                    },
                ),
                ("width".into(), Values::Numbers { values: vec![f64::NAN; n as usize], log: false }),
                (
                    "optimizer".into(),
                    Values::Choices {
                        names: vec!["sgd".into(), "adamw".into()],
                        values: (0..n as usize).map(|i| [Some(0), Some(1), None, Some(9)][i % 4]).collect(),
                    },
                ),
            ],
            objective: (0..n).map(|i| if i % 7 == 0 { f64::NAN } else { f64::from(i) }).collect(),
            maximize: true,
            ..Trials::default()
        };
        assert_eq!(input.ranked().last().map(|r| r.0), Some(39));
        for width in [240.0, 360.0, 1000.0] {
            let look = Look { width, ..Look::default() };
            for svg in [parallel_coordinates(&input, &look), slices(&input, &look)] {
                assert!(!svg.expect("draws").to_file().contains("NaN"));
            }
        }
        let wrong = Trials { objective: vec![1.0], ..input };
        assert!(slices(&wrong, &Look::default()).is_err());
    }
}
