//! What the charts share: a panel with axes, grid, legend and clipped lines.

use crate::ink::{Ink, SERIES};
use crate::lang::Lang;
use crate::scale::{Kind, Scale};
use crate::svg::{Dash, Fill, Label, Pen, Svg};
use crate::text::{fit, text_width, wrap};

/// The size and the language of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Width in px. Text keeps its size: a narrow picture (360) is laid out anew for a phone, not shrunk.
    pub width: f64,
    /// Language of the axes and notes.
    pub lang: Lang,
}

impl Default for Look {
    fn default() -> Self {
        Look { width: 720.0, lang: Lang::En }
    }
}

impl Look {
    /// This width, held to what can be laid out (240 to 4000 px).
    pub(crate) fn width(&self) -> f64 {
        if self.width.is_finite() { self.width.clamp(240.0, 4000.0) } else { 720.0 }
    }
}

/// Font size of ticks and legends.
pub(crate) const SMALL: f64 = 11.0;
/// Font size of axis titles and notes.
pub(crate) const NORMAL: f64 = 12.0;

/// A rectangle of the picture, in px.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) w: f64,
    pub(crate) h: f64,
}

impl Area {
    pub(crate) fn right(&self) -> f64 {
        self.x + self.w
    }
    pub(crate) fn bottom(&self) -> f64 {
        self.y + self.h
    }
}

/// The pen of the n-th series: beyond the palette, dashes tell apart what colours no longer do.
pub(crate) fn series_pen(n: usize, width: f64) -> Pen {
    let dash = match n / SERIES % 3 {
        0 => Dash::Solid,
        1 => Dash::Dashed,
        _ => Dash::Dotted,
    };
    Pen::new(Ink::Series(n), width).dashed(dash)
}

/// How many ticks fit into a length without their labels touching.
pub(crate) fn tick_count(length: f64, per_tick: f64) -> usize {
    ((length / per_tick) as usize).clamp(2, 10)
}

/// Width that the labels of a vertical axis need.
pub(crate) fn tick_width(ticks: &[(f64, String)]) -> f64 {
    ticks.iter().map(|(_, l)| text_width(l, SMALL)).fold(0.0, f64::max)
}

/// Draws the vertical axis: grid lines, labels left of them and the title above, at the left.
pub(crate) fn y_axis(svg: &mut Svg, area: Area, ticks: &[(f64, String)], scale: &Scale, title: &str) {
    for (v, label) in ticks {
        let Some(y) = scale.at(*v) else { continue };
        svg.line(area.x, y, area.right(), y, Pen::new(Ink::Grid, 1.0));
        svg.text(area.x - 6.0, y + 4.0, Label::new(label).size(SMALL).muted().end());
    }
    let left = 6.0;
    svg.text(left, area.y - 9.0, Label::new(fit(title, NORMAL, area.right() - left)).size(NORMAL).muted());
}

/// Draws the horizontal axis: ticks, labels that do not touch, and the title under them, at the right end.
pub(crate) fn x_axis(svg: &mut Svg, area: Area, scale: &Scale, title: &str, picture: f64) {
    x_axis_at(svg, area, scale, &scale.ticks(tick_count(area.w, 56.0)), title, picture);
}

/// [`x_axis`] of what is counted: ticks stand at whole numbers only, so that there is no epoch 1.5.
pub(crate) fn whole_x_axis(svg: &mut Svg, area: Area, scale: &Scale, title: &str, picture: f64) {
    let ticks: Vec<(f64, String)> = scale
        .ticks(tick_count(area.w, 56.0))
        .into_iter()
        .filter(|(v, _)| (v - v.round()).abs() < 1e-9)
        .map(|(v, label)| (v, if label.contains('.') { format!("{}", v.round()) } else { label }))
        .collect();
    x_axis_at(svg, area, scale, &ticks, title, picture);
}

fn x_axis_at(svg: &mut Svg, area: Area, scale: &Scale, ticks: &[(f64, String)], title: &str, picture: f64) {
    let y = area.bottom();
    svg.line(area.x, y, area.right(), y, Pen::new(Ink::Muted, 1.0));
    let mut free = f64::NEG_INFINITY;
    for (v, label) in ticks {
        let Some(x) = scale.at(*v) else { continue };
        if x < area.x - 0.5 || x > area.right() + 0.5 {
            continue;
        }
        svg.line(x, y, x, y + 4.0, Pen::new(Ink::Muted, 1.0));
        let w = text_width(label, SMALL);
        let mid = x.clamp(w / 2.0 + 2.0, picture - w / 2.0 - 2.0);
        if mid - w / 2.0 < free {
            continue;
        }
        free = mid + w / 2.0 + 6.0;
        svg.text(mid, y + 16.0, Label::new(label).size(SMALL).muted().middle());
    }
    svg.text(
        area.right(),
        y + 32.0,
        Label::new(fit(title, NORMAL, area.right() - 4.0)).size(NORMAL).muted().end(),
    );
}

/// A panel with both its axes drawn.
pub(crate) struct Plot {
    pub(crate) area: Area,
    pub(crate) xs: Scale,
    pub(crate) ys: Scale,
}

impl Plot {
    pub(crate) fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        self.xs.at(x).zip(self.ys.at(y))
    }

    /// Where the picture goes on below the axis.
    pub(crate) fn end(&self) -> f64 {
        self.area.bottom() + X_AXIS
    }
}

/// An axis to draw: its values' range and its title.
pub(crate) struct Axis<'a> {
    pub(crate) kind: Kind,
    pub(crate) range: (f64, f64),
    pub(crate) title: &'a str,
}

/// Draws both axes of a panel of `height` px whose upper edge (with room for the title) is at `top`.
pub(crate) fn plot(svg: &mut Svg, top: f64, height: f64, x: Axis<'_>, y: Axis<'_>) -> Plot {
    let top = top + 24.0;
    let count = tick_count(height, 38.0);
    let ys = Scale::new(y.kind, y.range.0, y.range.1, top + height, top);
    let ticks = ys.ticks(count);
    let left = 16.0 + tick_width(&ticks).max(18.0);
    let area = Area { x: left, y: top, w: svg.width() - left - 14.0, h: height };
    let xs = Scale::new(x.kind, x.range.0, x.range.1, area.x, area.right());
    y_axis(svg, area, &ticks, &ys, y.title);
    x_axis(svg, area, &xs, x.title, svg.width());
    Plot { area, xs, ys }
}

/// A line of small muted text in a strip of its own, wrapped; returns the height used.
pub(crate) fn note(svg: &mut Svg, x: f64, y: f64, width: f64, text: &str) -> f64 {
    let lines = wrap(text, SMALL, width);
    for (i, line) in lines.iter().enumerate() {
        svg.text(x, y + 12.0 + i as f64 * 15.0, Label::new(line).size(SMALL).muted());
    }
    lines.len() as f64 * 15.0 + if lines.is_empty() { 0.0 } else { 3.0 }
}

/// Height that [`x_axis`] takes below the panel.
pub(crate) const X_AXIS: f64 = 40.0;

/// How an entry of a legend is marked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    /// A stroke.
    Line(Pen),
    /// A square.
    Box(Fill),
    /// A disc.
    Dot(Ink),
    /// A circle.
    Ring(Ink),
}

/// Draws a legend in a strip of its own from `(x, y)`, wrapped to `width`; returns the height used.
pub(crate) fn legend(svg: &mut Svg, x: f64, y: f64, width: f64, entries: &[(Mark, String)]) -> f64 {
    let (mut left, mut top) = (x, y);
    for (mark, name) in entries {
        let name = fit(name, SMALL, width - 26.0);
        let needed = 22.0 + text_width(&name, SMALL);
        if left > x && left + needed > x + width {
            left = x;
            top += 18.0;
        }
        let mid = top + 8.0;
        match mark {
            Mark::Line(pen) => svg.line(left, mid, left + 16.0, mid, *pen),
            Mark::Box(fill) => svg.rect(left + 2.0, mid - 5.0, 11.0, 11.0, *fill),
            Mark::Dot(ink) => svg.disc(left + 8.0, mid, 4.0, *ink),
            Mark::Ring(ink) => svg.circle(left + 8.0, mid, 3.4, Pen::new(*ink, 1.4)),
        }
        svg.text(left + 21.0, top + 12.0, Label::new(name).size(SMALL));
        left += needed + 14.0;
    }
    if entries.is_empty() { 0.0 } else { top + 18.0 - y }
}

/// The runs of a line through `points`: gaps where there is no value, cut at the panel's edges, and thinned to the
/// lowest and highest point of each px column when there are more points than anyone can see.
pub(crate) fn runs(points: &[(f64, f64)], xs: &Scale, ys: &Scale, area: Area) -> Vec<Vec<(f64, f64)>> {
    let mut out: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut run: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in points {
        match (xs.at(x), ys.at(y)) {
            (Some(px), Some(py)) => run.push((px, py)),
            _ => out.push(std::mem::take(&mut run)),
        }
    }
    out.push(run);
    out.into_iter().filter(|r| !r.is_empty()).map(|r| thin(r, area.w)).flat_map(|r| clip(&r, area)).collect()
}

fn thin(run: Vec<(f64, f64)>, width: f64) -> Vec<(f64, f64)> {
    if run.len() as f64 <= 2.5 * width {
        return run;
    }
    let mut out: Vec<(f64, f64)> = Vec::new();
    let mut column: Option<(i64, Vec<(f64, f64)>)> = None;
    let mut flush = |points: Vec<(f64, f64)>| {
        let mut keep: Vec<usize> = vec![0, points.len() - 1];
        for (i, p) in points.iter().enumerate() {
            if p.1 < points[keep[0]].1 {
                keep[0] = i;
            }
            if p.1 > points[keep[1]].1 {
                keep[1] = i;
            }
        }
        keep.extend([0, points.len() - 1]);
        keep.sort_unstable();
        keep.dedup();
        out.extend(keep.into_iter().map(|i| points[i]));
    };
    for p in run {
        let c = p.0.floor() as i64;
        match &mut column {
            Some((at, points)) if *at == c => points.push(p),
            _ => {
                if let Some((_, points)) = column.replace((c, vec![p])) {
                    flush(points);
                }
            }
        }
    }
    if let Some((_, points)) = column {
        flush(points);
    }
    out
}

/// A line cut at the edges of an area (Liang-Barsky), so that no pixel is drawn outside of a panel.
fn clip(run: &[(f64, f64)], area: Area) -> Vec<Vec<(f64, f64)>> {
    let inside = |p: &(f64, f64)| {
        p.0 >= area.x - 0.01
            && p.0 <= area.right() + 0.01
            && p.1 >= area.y - 0.01
            && p.1 <= area.bottom() + 0.01
    };
    if run.iter().all(inside) {
        return vec![run.to_vec()];
    }
    let mut out: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut current: Vec<(f64, f64)> = Vec::new();
    for pair in run.windows(2) {
        let [a, b] = [pair[0], pair[1]];
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut t0, mut t1) = (0.0f64, 1.0f64);
        let mut visible = true;
        for (p, q) in
            [(-dx, a.0 - area.x), (dx, area.right() - a.0), (-dy, a.1 - area.y), (dy, area.bottom() - a.1)]
        {
            if p == 0.0 {
                visible &= q >= 0.0;
            } else if p < 0.0 {
                t0 = t0.max(q / p);
            } else {
                t1 = t1.min(q / p);
            }
        }
        if !visible || t0 > t1 {
            out.push(std::mem::take(&mut current));
            continue;
        }
        let point = |t: f64| (a.0 + dx * t, a.1 + dy * t);
        if current.is_empty() {
            current.push(point(t0));
        }
        current.push(point(t1));
        if t1 < 1.0 {
            out.push(std::mem::take(&mut current));
        }
    }
    out.push(current);
    out.retain(|r| r.len() > 1);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Area = Area { x: 0.0, y: 0.0, w: 100.0, h: 50.0 };

    #[test]
    fn lines_stay_inside_their_panel_and_keep_their_spikes() {
        let xs = Scale::new(Kind::Linear, 0.0, 1e5, 0.0, 100.0);
        let ys = Scale::new(Kind::Linear, 0.0, 1.0, 50.0, 0.0);
        let mut points: Vec<(f64, f64)> = (0..=100_000).map(|i| (f64::from(i), 0.5)).collect();
        points[61_803].1 = 0.9;
        points[70_000].1 = 40.0;
        points[80_000].1 = f64::NAN;
        let runs = runs(&points, &xs, &ys, AREA);
        let all: Vec<(f64, f64)> = runs.iter().flatten().copied().collect();
        assert!(all.len() < 500, "{}", all.len());
        assert!(all.iter().all(|p| (-0.01..=100.01).contains(&p.0) && (-0.01..=50.01).contains(&p.1)));
        assert!(all.iter().any(|p| (p.1 - 5.0).abs() < 1e-6), "the spike of 0.9 is lost");
        assert!(runs.len() >= 3, "the spike of 40 leaves the panel and NaN leaves a gap");
    }

    #[test]
    fn a_legend_wraps_and_never_leaves_its_width() {
        let mut svg = Svg::new(240.0, 400.0, "");
        let entries: Vec<(Mark, String)> =
            (0..12).map(|i| (Mark::Dot(Ink::Series(i)), format!("a series with a long name {i}"))).collect();
        let height = legend(&mut svg, 10.0, 0.0, 220.0, &entries);
        assert!(height >= 12.0 * 18.0);
    }
}
