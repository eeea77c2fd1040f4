//! The picture of a search for the image size: accuracy against the cost of an update, with the memory that each size needs.

use crate::frame::{Axis, Look, Mark, legend, plot, runs, series_pen};
use crate::ink::Ink;
use crate::lang::{ACCURACY, MS_AN_UPDATE, SIZE_TEST};
use crate::scale::{Kind, Scale, bytes, number};
use crate::svg::{Dash, Label, Svg};
use crate::text::text_width;

/// One image size that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct SizePoint {
    /// Pixels of a side.
    pub side: usize,
    /// Share of the validation images that was right.
    pub top1: f64,
    /// Milliseconds of an update.
    pub step_ms: f64,
    /// Bytes of a training step.
    pub bytes: usize,
    /// The one that was chosen.
    pub chosen: bool,
}

/// Draws accuracy against cost; one point a size.
pub fn size_test(points: &[SizePoint], look: &Look) -> Svg {
    let width = look.width();
    let mut svg = Svg::new(width, 0.0, SIZE_TEST.of(look.lang));
    let entries: Vec<(Mark, String)> = points
        .iter()
        .enumerate()
        .map(|(i, point)| {
            let mark = if point.chosen { "✓ " } else { "" };
            let accuracy = number((1000.0 * point.top1).round() / 10.0);
            let text = format!(
                "{mark}{side} x {side}: {accuracy} %, {}",
                bytes(point.bytes as f64),
                side = point.side
            );
            (Mark::Dot(Ink::Series(i)), text)
        })
        .collect();
    let y = 6.0 + legend(&mut svg, 12.0, 6.0, width - 24.0, &entries);
    let range = |values: &dyn Fn(&SizePoint) -> f64, pad: f64| {
        Scale::around(Kind::Linear, points.iter().map(values), pad, 0.0, 1.0).range()
    };
    let p = plot(
        &mut svg,
        y,
        240.0,
        Axis { kind: Kind::Linear, range: range(&|p| p.step_ms, 0.15), title: MS_AN_UPDATE.of(look.lang) },
        Axis {
            kind: Kind::Linear,
            range: range(&|p| 100.0 * p.top1, 0.25),
            title: &format!("{}, %", ACCURACY.of(look.lang)),
        },
    );
    let line: Vec<(f64, f64)> = points.iter().map(|p| (p.step_ms, 100.0 * p.top1)).collect();
    let pen = series_pen(0, 1.2).faint(0.5).dashed(Dash::Dashed);
    svg.polyline(runs(&line, &p.xs, &p.ys, p.area), pen);
    for (i, point) in points.iter().enumerate() {
        let Some((x, y)) = p.at(point.step_ms, 100.0 * point.top1) else { continue };
        let text = format!("{side} x {side}", side = point.side);
        svg.disc_hint(x, y, if point.chosen { 7.0 } else { 5.0 }, Ink::Series(i), text.clone());
        let half = text_width(&text, 11.0) / 2.0;
        let at = x.clamp(p.area.x + half, p.area.right() - half);
        svg.text(at, y - 11.0, Label::new(text).size(11.0).middle());
    }
    svg.set_height(p.end());
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Lang;

    #[test]
    fn every_size_is_drawn_and_odd_numbers_draw_no_nan() {
        let point =
            |side, top1, step_ms| SizePoint { side, top1, step_ms, bytes: 4 << 20, chosen: side == 20 };
        let points = [point(16, 0.80, 3.0), point(20, 0.84, 5.0), point(28, 0.85, 9.0)];
        for lang in [Lang::En, Lang::Zh] {
            for width in [240.0, 720.0] {
                let svg = size_test(&points, &Look { width, lang }).to_file();
                for side in ["16 x 16", "20 x 20", "28 x 28", "4.0 MiB"] {
                    assert!(svg.contains(side), "{side}");
                }
            }
        }
        for odd in [vec![], vec![point(8, f64::NAN, 0.0)], vec![point(8, 0.5, 1.0); 3]] {
            assert!(!size_test(&odd, &Look::default()).to_file().contains("NaN"));
        }
    }
}
