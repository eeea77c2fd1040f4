//! Images in rows: the contact sheet, mistakes as thumbnails, heat maps laid over images.

use std::sync::Arc;

use crate::bitmap::{Bitmap, ColorMap};
use crate::error::ViewError;
use crate::frame::{Look, SMALL, note};
use crate::ink::Ink;
use crate::lang::{MISTAKES, R_MISTAKES_NOTE};
use crate::svg::{Label, Pen, Svg};
use crate::text::fit;

/// An image with what is written under it.
#[derive(Clone, Debug)]
pub struct Tile {
    /// The image.
    pub image: Arc<Bitmap>,
    /// First line under it.
    pub caption: String,
    /// Second line, muted; may be empty.
    pub note: String,
    /// Frame it as a warning.
    pub warning: bool,
}

impl Tile {
    /// An image with a caption.
    pub fn new(image: Bitmap, caption: impl Into<String>) -> Self {
        Tile { image: Arc::new(image), caption: caption.into(), note: String::new(), warning: false }
    }
}

/// Splits a batch of images, bytes `[N, H, W, C]`, into tiles with a caption each.
///
/// # Errors
/// [`ViewError::Length`] or [`ViewError::Count`] when bytes or captions do not fit the shape; [`ViewError::Channels`].
pub fn tiles(images: &[u8], shape: [usize; 4], captions: &[String]) -> Result<Vec<Tile>, ViewError> {
    let [n, h, w, c] = shape;
    ViewError::check_length("the batch", images.len(), &shape)?;
    ViewError::check_count("the list of captions", captions.len(), n, "image")?;
    if n == 0 {
        return Ok(Vec::new());
    }
    images
        .chunks_exact((h * w * c).max(1))
        .zip(captions)
        .map(|(data, caption)| Ok(Tile::new(Bitmap::new(h, w, c, data.to_vec())?, caption)))
        .collect()
}

/// Draws images in rows, as many in one as fit at about `size` px each (0 means 96). Small images keep their square
/// pixels, large ones are smoothed.
pub fn contact_sheet(title: &str, tiles: &[Tile], size: f64, look: &Look) -> Svg {
    let width = look.width();
    let mut svg = Svg::new(width, 0.0, title);
    let wanted = if size > 0.0 { size.clamp(24.0, width - 16.0) } else { 96.0 };
    let gap = 10.0;
    let columns = (((width - gap) / (wanted + gap)).floor() as usize).max(1);
    let cell = (width - gap) / columns as f64 - gap;
    let lines =
        tiles.iter().any(|t| !t.caption.is_empty()) as u8 + tiles.iter().any(|t| !t.note.is_empty()) as u8;
    let mut y = 6.0;
    for row in tiles.chunks(columns) {
        let tallest = row.iter().map(|t| fitted(t, cell).1).fold(0.0, f64::max);
        for (i, t) in row.iter().enumerate() {
            let x = gap + i as f64 * (cell + gap);
            let (w, h) = fitted(t, cell);
            let left = x + (cell - w) / 2.0;
            let smooth = w < 2.0 * t.image.width() as f64;
            svg.image(left, y, w, h, Arc::clone(&t.image), smooth);
            if t.warning {
                svg.frame(left - 1.5, y - 1.5, w + 3.0, h + 3.0, Pen::new(Ink::Warn, 2.0));
            }
            let mut base = y + tallest + 14.0;
            for (text, ink) in [(&t.caption, Ink::Text), (&t.note, Ink::Muted)] {
                if !text.is_empty() {
                    let whole = fit(text, SMALL, cell + 4.0);
                    if whole == *text {
                        svg.text(x + cell / 2.0, base, Label::new(whole).size(SMALL).ink(ink).middle());
                    } else {
                        // A long text goes on below the neighbours that have none.
                        let bare = |t: &&Tile| t.caption.is_empty() && t.note.is_empty();
                        let room = row[i + 1..].iter().take_while(bare).count() as f64 * (cell + gap);
                        svg.text(
                            x,
                            base,
                            Label::new(fit(text, SMALL, cell + 4.0 + room)).size(SMALL).ink(ink),
                        );
                    }
                    base += 14.0;
                }
            }
        }
        y += tallest + 14.0 * f64::from(lines) + 10.0;
    }
    svg.set_height(y);
    svg
}

/// Width and height of a tile's image in a square cell.
fn fitted(t: &Tile, cell: f64) -> (f64, f64) {
    let (w, h) = (t.image.width() as f64, t.image.height() as f64);
    let by = cell / w.max(h);
    (w * by, h * by)
}

/// An image that the network got wrong.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// The image.
    pub image: Arc<Bitmap>,
    /// Its class.
    pub truth: String,
    /// What was predicted.
    pub predicted: String,
    /// The probability of the predicted class, 0 to 1.
    pub confidence: f64,
    /// Where the image lies (a path or an index), shown when there is room for it elsewhere.
    pub place: String,
}

/// Mistakes as thumbnails: true class, then what was predicted and how sure the network was.
pub fn mistakes(input: &[Mistake], look: &Look) -> Svg {
    let tiles: Vec<Tile> = input
        .iter()
        .map(|m| Tile {
            image: Arc::clone(&m.image),
            caption: m.truth.clone(),
            note: format!("→ {} {:.0} %", m.predicted, m.confidence * 100.0),
            warning: false,
        })
        .collect();
    let mut svg = Svg::new(look.width(), 0.0, MISTAKES.of(look.lang));
    let y = note(&mut svg, 10.0, 2.0, look.width() - 20.0, R_MISTAKES_NOTE.of(look.lang));
    let sheet = contact_sheet("", &tiles, 92.0, look);
    svg.set_height(y + sheet.height());
    svg.place(0.0, y, sheet);
    svg
}

/// A heat map laid over an image (Grad-CAM, occlusion): `heat` is `[h, w]` of any size, stretched over the image by
/// bilinear interpolation and scaled to its own range; `opacity` is that of the hottest place (0.6 is usual), cold
/// places stay clear, so that the image can be read where the network did not look.
///
/// # Errors
/// [`ViewError::Length`] unless `heat` holds h * w values.
pub fn overlay(image: &Bitmap, heat: &[f32], h: usize, w: usize, opacity: f64) -> Result<Bitmap, ViewError> {
    ViewError::check_length("the heat map", heat.len(), &[h, w])?;
    if h == 0 || w == 0 {
        return Err(ViewError::Empty("the heat map"));
    }
    let finite = || heat.iter().copied().filter(|v| v.is_finite());
    let (lo, hi) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let level = |y: usize, x: usize| {
        let v = heat[y * w + x];
        if v.is_finite() && hi > lo { f64::from((v - lo) / (hi - lo)) } else { 0.0 }
    };
    let (rows, cols) = (image.height(), image.width());
    let mut data = Vec::with_capacity(rows * cols * 3);
    // Pixel centres lie at half steps, as in PyTorch's `interpolate(align_corners=False)`.
    let place = |i: usize, n: usize, m: usize| {
        let at = ((i as f64 + 0.5) * m as f64 / n as f64 - 0.5).clamp(0.0, (m - 1) as f64);
        let low = at.floor() as usize;
        (low, (low + 1).min(m - 1), at - low as f64)
    };
    for y in 0..rows {
        let (y0, y1, fy) = place(y, rows, h);
        for x in 0..cols {
            let (x0, x1, fx) = place(x, cols, w);
            let t = (level(y0, x0) * (1.0 - fx) + level(y0, x1) * fx) * (1.0 - fy)
                + (level(y1, x0) * (1.0 - fx) + level(y1, x1) * fx) * fy;
            let alpha = t * opacity.clamp(0.0, 1.0);
            let hot = ColorMap::Viridis.rgb(t);
            let p = image.rgba(x, y);
            data.extend(
                (0..3).map(|c| (f64::from(p[c]) * (1.0 - alpha) + f64::from(hot[c]) * alpha).round() as u8),
            );
        }
    }
    Bitmap::new(rows, cols, 3, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heat_map_colours_where_it_is_hot_and_leaves_the_rest() {
        let image = Bitmap::filled(8, 8, [100, 100, 100]).expect("small");
        let heat = [0.0, 0.0, 0.0, 1.0];
        let out = overlay(&image, &heat, 2, 2, 1.0).expect("fits");
        assert_eq!(out.rgba(0, 0), [100, 100, 100, 255]);
        assert_eq!(out.rgba(7, 7), [253, 231, 37, 255]);
        assert!(overlay(&image, &heat, 2, 3, 1.0).is_err());
        let flat = overlay(&image, &[f32::NAN; 4], 2, 2, 1.0).expect("fits");
        assert_eq!(flat.rgba(3, 3), [100, 100, 100, 255]);
    }

    #[test]
    fn a_batch_becomes_one_tile_an_image() {
        let data: Vec<u8> = (0..2 * 2 * 3 * 3).map(|i| i as u8).collect();
        let t = tiles(&data, [2, 2, 3, 3], &["a".into(), "b".into()]).expect("fits");
        assert_eq!(t.len(), 2);
        assert_eq!(t[1].image.rgba(0, 0), [18, 19, 20, 255]);
        assert!(tiles(&data, [2, 2, 3, 3], &[]).is_err());
        assert!(tiles(&data, [3, 2, 3, 3], &[]).is_err());
        assert!(tiles(&[], [0, 2, 3, 3], &[]).expect("nothing").is_empty());
        for width in [240.0, 360.0, 720.0] {
            contact_sheet("sheet", &t, 96.0, &Look { width, ..Look::default() }).to_file();
        }
    }
}
