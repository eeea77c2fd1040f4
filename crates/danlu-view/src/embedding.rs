//! A map of images: points in a plane (PCA or t-SNE of the penultimate layer), with thumbnails where there is room.

use std::sync::Arc;

use crate::bitmap::Bitmap;
use crate::error::ViewError;
use crate::frame::{Area, Look, Mark, legend};
use crate::ink::{Ink, SERIES};
use crate::lang::EMBEDDING;
use crate::scale::{Kind, Scale};
use crate::svg::{Fill, Pen, Svg};

/// Points in a plane, with their classes.
#[derive(Clone, Debug, Default)]
pub struct Embedding {
    /// `(x, y)` of each image.
    pub points: Vec<(f64, f64)>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// Class names.
    pub classes: Vec<String>,
    /// Thumbnails `(image, bitmap)`; as many are drawn as fit without touching.
    pub thumbnails: Vec<(usize, Arc<Bitmap>)>,
}

/// Draws an embedding. Axes carry no meaning here and are left out; beyond 8 classes colours come with shapes of ring
/// and disc.
///
/// # Errors
/// [`ViewError::Count`] when points and labels differ in number or a label has no class.
pub fn embedding(input: &Embedding, look: &Look) -> Result<Svg, ViewError> {
    ViewError::check_count("the list of labels", input.labels.len(), input.points.len(), "point")?;
    let need = input.labels.iter().max().map_or(0, |m| *m as usize + 1);
    if need > input.classes.len() {
        let found = input.classes.len();
        return Err(ViewError::Count { what: "the list of classes", found, expected: need, per: "label" });
    }
    let width = look.width();
    let mut svg = Svg::new(width, 0.0, EMBEDDING.of(look.lang));
    let entries: Vec<(Mark, String)> = input
        .classes
        .iter()
        .take(24)
        .enumerate()
        .map(|(i, c)| {
            let ink = Ink::Series(i);
            (if i < SERIES { Mark::Dot(ink) } else { Mark::Ring(ink) }, c.clone())
        })
        .collect();
    let top = 8.0 + legend(&mut svg, 10.0, 6.0, width - 20.0, &entries) + 6.0;
    let side = (width - 20.0).min(620.0);
    let area = Area { x: 10.0 + (width - 20.0 - side) / 2.0, y: top, w: side, h: side * 0.75 };
    svg.frame(area.x, area.y, area.w, area.h, Pen::new(Ink::Grid, 1.0));
    let xs =
        Scale::around(Kind::Linear, input.points.iter().map(|p| p.0), 0.05, area.x + 6.0, area.right() - 6.0);
    let ys = Scale::around(
        Kind::Linear,
        input.points.iter().map(|p| p.1),
        0.05,
        area.bottom() - 6.0,
        area.y + 6.0,
    );
    let place = |p: &(f64, f64)| xs.held(p.0).zip(ys.held(p.1));
    let r = if input.points.len() > 2000 { 1.6 } else { 2.8 };
    for (p, &label) in input.points.iter().zip(&input.labels) {
        let Some((x, y)) = place(p) else { continue };
        let ink = Ink::Series(label as usize);
        if (label as usize) < SERIES {
            svg.disc(x, y, r, Fill { ink, opacity: 0.75 });
        } else {
            svg.circle(x, y, r, Pen::new(ink, 1.2));
        }
    }
    let size = 26.0;
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (i, image) in &input.thumbnails {
        let Some((x, y)) = input.points.get(*i).and_then(place) else { continue };
        let x = x.clamp(area.x + size / 2.0 + 2.0, area.right() - size / 2.0 - 2.0);
        let y = y.clamp(area.y + size / 2.0 + 2.0, area.bottom() - size / 2.0 - 2.0);
        if taken.iter().any(|t| (t.0 - x).abs() < size + 4.0 && (t.1 - y).abs() < size + 4.0) {
            continue;
        }
        taken.push((x, y));
        svg.image(x - size / 2.0, y - size / 2.0, size, size, Arc::clone(image), image.width() > 40);
        let ink = Ink::Series(input.labels[*i] as usize);
        svg.frame(x - size / 2.0 - 1.0, y - size / 2.0 - 1.0, size + 2.0, size + 2.0, Pen::new(ink, 2.0));
    }
    svg.set_height(area.bottom() + 10.0);
    Ok(svg)
}
