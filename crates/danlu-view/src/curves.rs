//! Learning curves: several quantities of one or more runs over epochs or iterations, one panel under another.

use std::collections::BTreeMap;

use crate::frame::{
    Area, Look, Mark, NORMAL, SMALL, X_AXIS, legend, runs, series_pen, tick_count, tick_width, whole_x_axis,
    x_axis, y_axis,
};
use crate::ink::Ink;
use crate::lang::{LEARNING_CURVES, SMOOTHED};
use crate::scale::{Kind, Scale};
use crate::svg::{Dash, Label, Pen, Svg};
use crate::text::{fit, text_width};

/// One line of a panel. Lines of the same name have the same colour in every panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Name in the legend (`train`, `validation`, or the run's name).
    pub name: String,
    /// `(x, y)`; a NaN or infinite y leaves a gap, and a cross at the upper edge shows where.
    pub points: Vec<(f64, f64)>,
    /// Weight of the past in the smoothed line, 0 (none, the default) up to 1: TensorBoard's debiased
    /// exponential average. Above 0 the raw line stays, faint.
    pub smoothing: f64,
    /// Draw steps instead of slopes: for a value that holds until the next one (a schedule by epochs).
    pub steps: bool,
}

/// One panel: lines that share a vertical axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Title of the vertical axis, with its unit (`loss (nats)`, `accuracy (%)`).
    pub title: String,
    /// Linear or logarithmic.
    pub scale: Kind,
    /// Height of the drawing area in px; 0 means 200.
    pub height: f64,
    /// The lines.
    pub curves: Vec<Curve>,
}

/// Something that happened at a place along the horizontal axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Where.
    pub x: f64,
    /// What, in a word or two (`best`, `lr / 10`, `resumed`).
    pub label: String,
    /// A fault (a divergence) rather than a fact.
    pub warning: bool,
}

/// Learning curves to draw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Title of the horizontal axis (`epoch`, `iteration`).
    pub x_title: String,
    /// What a screen reader says; empty means "learning curves".
    pub title: String,
    /// The panels, top to bottom.
    pub panels: Vec<Panel>,
    /// Marks through all panels.
    pub events: Vec<Event>,
}

/// The debiased exponential moving average that TensorBoard draws: `s = w s + (1 - w) y`, divided by `1 - w^n`.
/// Non-finite values pass through and leave the average as it was.
pub fn smooth(values: &[f64], weight: f64) -> Vec<f64> {
    let w = if weight.is_finite() { weight.clamp(0.0, 0.9999) } else { 0.0 };
    let (mut s, mut bias) = (0.0, 1.0);
    values
        .iter()
        .map(|&v| {
            if !v.is_finite() {
                return v;
            }
            s = w * s + (1.0 - w) * v;
            bias *= w;
            s / (1.0 - bias)
        })
        .collect()
}

/// Draws learning curves.
pub fn curves(input: &Curves, look: &Look) -> Svg {
    let width = look.width();
    let title = if input.title.is_empty() { LEARNING_CURVES.of(look.lang) } else { &input.title };
    let mut svg = Svg::new(width, 0.0, title);

    let mut colours: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names: Vec<&str> = Vec::new();
    for curve in input.panels.iter().flat_map(|p| &p.curves) {
        let next = colours.len();
        if !curve.name.is_empty() && !colours.contains_key(curve.name.as_str()) {
            colours.insert(&curve.name, next);
            names.push(&curve.name);
        }
    }
    let colour = |c: &Curve| colours.get(c.name.as_str()).copied().unwrap_or(0);

    // One left margin for all panels, so that the same epoch stands at the same place in each.
    let scales: Vec<(f64, Scale)> = input
        .panels
        .iter()
        .map(|p| {
            let h = if p.height > 0.0 { p.height.clamp(40.0, 2000.0) } else { 200.0 };
            let values = p.curves.iter().flat_map(|c| c.points.iter().map(|q| q.1));
            (h, Scale::around(p.scale, values, 0.04, h, 0.0))
        })
        .collect();
    let left = 10.0
        + scales.iter().map(|(h, s)| tick_width(&s.ticks(tick_count(*h, 38.0)))).fold(18.0, f64::max)
        + 6.0;
    let inner = width - left - 14.0;
    let xs = Scale::around(
        Kind::Linear,
        input.panels.iter().flat_map(|p| &p.curves).flat_map(|c| c.points.iter().map(|q| q.0)),
        0.0,
        left,
        left + inner,
    );

    let mut entries: Vec<(Mark, String)> = Vec::new();
    if names.len() > 1 || input.panels.len() == 1 {
        entries
            .extend(names.iter().enumerate().map(|(i, n)| (Mark::Line(series_pen(i, 2.2)), (*n).to_owned())));
    }
    let mut y = 6.0;
    y += legend(&mut svg, left, y, inner, &entries);
    if input.panels.iter().flat_map(|p| &p.curves).any(|c| c.smoothing > 0.0) {
        let note = fit(SMOOTHED.of(look.lang), SMALL, inner);
        svg.text(left, y + 12.0, Label::new(note).size(SMALL).muted());
        y += 18.0;
    }
    let (strip, marks) = event_labels(input, &xs, left, inner);
    let label_top = y;
    y += strip + if strip > 0.0 { 6.0 } else { 0.0 };

    let mut top = f64::NAN;
    let mut last = Area { x: left, y, w: inner, h: 0.0 };
    let mut lines = Vec::new();
    for (panel, (h, scale)) in input.panels.iter().zip(&scales) {
        y += 26.0;
        let area = Area { x: left, y, w: inner, h: *h };
        if top.is_nan() {
            top = y;
        }
        let (lo, hi) = scale.range();
        let ys = Scale::new(panel.scale, lo, hi, area.bottom(), area.y);
        y_axis(&mut svg, area, &ys.ticks(tick_count(*h, 38.0)), &ys, &panel.title);
        svg.line(area.x, area.bottom(), area.right(), area.bottom(), Pen::new(Ink::Muted, 1.0));
        for curve in &panel.curves {
            lines.push((curve, ys, area, colour(curve)));
        }
        y = area.bottom();
        last = area;
    }
    for (x, warning, _) in &marks {
        let ink = if *warning { Ink::Warn } else { Ink::Muted };
        svg.line(*x, top, *x, last.bottom(), Pen::new(ink, 1.0).dashed(Dash::Dashed));
    }
    let placed = |(x, warning, label): &Placed| {
        let base = |row: usize| label_top + 12.0 + row as f64 * 15.0;
        let ink = if *warning { Ink::Warn } else { Ink::Muted };
        label.clone().map(|(at, row, text)| (*x, ink, at, base(row), text))
    };
    for (x, ink, _, base, _) in marks.iter().filter_map(placed) {
        svg.line(x, base + 3.0, x, top, Pen::new(ink, 1.0).dashed(Dash::Dashed).faint(0.5));
    }
    // A label of a lower row lies over the line of a higher one: on a patch of ground it stays readable.
    for (_, ink, at, base, text) in marks.iter().filter_map(placed) {
        svg.rect(at - 2.0, base - 10.0, text_width(&text, SMALL) + 4.0, 13.0, Ink::Ground);
        svg.text(at, base, Label::new(text).size(SMALL).ink(ink));
    }
    for (curve, ys, area, n) in lines {
        draw_curve(&mut svg, curve, &xs, &ys, area, n);
    }
    if !input.panels.is_empty() {
        // Epochs and iterations are counted; a time or a share is not.
        let mut places = input.panels.iter().flat_map(|p| &p.curves).flat_map(|c| &c.points);
        let axis = if places.all(|p| p.0.fract() == 0.0) { whole_x_axis } else { x_axis };
        axis(&mut svg, last, &xs, &input.x_title, width);
        y = last.bottom() + X_AXIS;
    }
    svg.set_height(y.max(NORMAL));
    svg
}

fn draw_curve(svg: &mut Svg, curve: &Curve, xs: &Scale, ys: &Scale, area: Area, n: usize) {
    let stepped = |points: Vec<(f64, f64)>| {
        if !curve.steps {
            return points;
        }
        let mut out = Vec::with_capacity(points.len() * 2);
        for pair in points.windows(2) {
            out.extend([pair[0], (pair[1].0, pair[0].1)]);
        }
        out.extend(points.last());
        out
    };
    let smoothing = curve.smoothing > 0.0;
    let raw = stepped(curve.points.clone());
    let pen = series_pen(n, 2.2);
    let mut draw = |points: &[(f64, f64)], pen: Pen| {
        let (lines, dots): (Vec<_>, Vec<_>) =
            runs(points, xs, ys, area).into_iter().partition(|r| r.len() > 1);
        if !lines.is_empty() {
            svg.polyline_hint(lines, pen, &curve.name);
        }
        for p in dots.into_iter().flatten() {
            svg.disc(p.0, p.1, pen.width * 1.4, pen.ink);
        }
    };
    draw(&raw, if smoothing { Pen { width: 1.2, ..pen }.faint(0.35) } else { pen });
    if smoothing {
        let values: Vec<f64> = curve.points.iter().map(|p| p.1).collect();
        let smoothed = smooth(&values, curve.smoothing);
        let points = curve.points.iter().zip(smoothed).map(|(p, s)| (p.0, s)).collect();
        draw(&stepped(points), pen);
    }
    // At most a mark a px: a run that is lost for a thousand epochs needs no thousand crosses.
    let mut free = f64::NEG_INFINITY;
    for x in curve.points.iter().filter(|p| !p.1.is_finite()).filter_map(|p| xs.held(p.0)) {
        if x >= free {
            free = x + 9.0;
            let y = area.y + 5.0;
            let cross = vec![
                vec![(x - 3.5, y - 3.5), (x + 3.5, y + 3.5)],
                vec![(x - 3.5, y + 3.5), (x + 3.5, y - 3.5)],
            ];
            svg.polyline_hint(cross, Pen::new(Ink::Warn, 1.8), format!("{}: not finite", curve.name));
        }
    }
}

/// Rows that event labels may take before the rest stay lines without a label.
const EVENT_ROWS: usize = 4;

type Placed = (f64, bool, Option<(f64, usize, String)>);

/// Where each event's label stands: `(x, warning, (left, row, text))`, in rows so that none touches another.
fn event_labels(input: &Curves, xs: &Scale, left: f64, inner: f64) -> (f64, Vec<Placed>) {
    let mut events: Vec<&Event> = input.events.iter().collect();
    events.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut free = [f64::NEG_INFINITY; EVENT_ROWS];
    let mut used = 0;
    let mut out = Vec::new();
    for e in events {
        let Some(x) = xs.at(e.x).filter(|x| *x >= left - 0.5 && *x <= left + inner + 0.5) else { continue };
        let text = fit(&e.label, SMALL, inner.min(220.0));
        let w = text_width(&text, SMALL);
        let at = (x - w / 2.0).clamp(left, (left + inner - w).max(left));
        let row = (0..EVENT_ROWS).find(|r| free[*r] <= at);
        if let Some(r) = row {
            free[r] = at + w + 8.0;
            used = used.max(r + 1);
        }
        out.push((x, e.warning, row.filter(|_| !text.is_empty()).map(|r| (at, r, text))));
    }
    (used as f64 * 15.0, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_epoch_between_two_epochs() {
        let axis = |points: Vec<(f64, f64)>| {
            let curve = Curve { points, ..Curve::default() };
            let panel = Panel { curves: vec![curve], ..Panel::default() };
            let svg = curves(
                &Curves { x_title: "epoch".into(), panels: vec![panel], ..Curves::default() },
                &Look::default(),
            );
            svg.to_inline()
        };
        let three = axis(vec![(1.0, 0.5), (2.0, 0.4), (3.0, 0.3)]);
        assert!(["1", "2", "3"].iter().all(|t| three.contains(&format!(">{t}</text>"))), "{three}");
        assert!(!three.contains(">1.5</text>") && !three.contains(">2.0</text>"), "{three}");
        assert!(
            axis(vec![(0.0, 0.5), (0.5, 0.4), (1.0, 0.3)]).contains(">0.5</text>"),
            "a share keeps its parts"
        );
    }

    #[test]
    fn smoothing_is_tensorboards_debiased_average() {
        let s = smooth(&[1.0, 2.0, f64::NAN, 4.0], 0.5);
        assert_eq!(s[0], 1.0);
        assert!((s[1] - 5.0 / 3.0).abs() < 1e-12);
        assert!(s[2].is_nan());
        assert!((s[3] - (0.125 + 0.5 + 2.0) / 0.875).abs() < 1e-12);
        assert_eq!(smooth(&[3.0, 1.0], 0.0), [3.0, 1.0]);
    }

    #[test]
    fn empty_and_lost_runs_still_draw() {
        let look = Look::default();
        curves(&Curves::default(), &look).to_file();
        let nan = Curve {
            name: "train".into(),
            points: vec![(0.0, f64::NAN), (1.0, f64::NAN)],
            ..Curve::default()
        };
        let input = Curves {
            panels: vec![Panel { scale: Kind::Log, curves: vec![nan], ..Panel::default() }],
            ..Curves::default()
        };
        let text = curves(&input, &look).to_file();
        assert!(!text.contains("NaN") && text.contains("not finite"));
    }

    #[test]
    fn labels_of_near_events_take_different_rows() {
        let input = Curves {
            panels: vec![Panel {
                curves: vec![Curve { points: vec![(0.0, 1.0), (100.0, 0.0)], ..Curve::default() }],
                ..Panel::default()
            }],
            events: (0..30)
                .map(|i| Event { x: 50.0 + f64::from(i) * 0.1, label: format!("event {i}"), warning: i == 3 })
                .collect(),
            ..Curves::default()
        };
        let xs = Scale::new(Kind::Linear, 0.0, 100.0, 50.0, 700.0);
        let (_, marks) = event_labels(&input, &xs, 50.0, 650.0);
        assert_eq!(marks.len(), 30);
        let placed: Vec<_> = marks
            .iter()
            .filter_map(|m| m.2.as_ref())
            .map(|(at, row, t)| (*row, *at, at + text_width(t, SMALL)))
            .collect();
        assert_eq!(placed.len(), EVENT_ROWS);
        for (i, a) in placed.iter().enumerate() {
            for b in &placed[..i] {
                assert!(a.0 != b.0 || a.1 >= b.2 || b.1 >= a.2, "{a:?} touches {b:?}");
            }
        }
    }
}
