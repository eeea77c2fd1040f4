//! Moving pixels by an affine or a projective map, as torchvision v2 does it on tensors: the output pixel looks up its source.

use crate::Pixels;

/// How a value between pixels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The closest pixel, torchvision's default for affine maps.
    Nearest,
    /// Between the four around; black beyond the border takes part.
    Bilinear,
}

/// An affine map as torchvision's `affine` takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    /// Degrees, clockwise.
    pub(crate) angle: f64,
    /// Pixels to the right and down.
    pub(crate) translate: [f64; 2],
    /// Magnification.
    pub(crate) scale: f64,
    /// Degrees along x and y.
    pub(crate) shear: [f64; 2],
    /// Turn about the upper left corner, as the shears of the automatic augmentations do, instead of the middle.
    pub(crate) corner: bool,
}

impl Default for Affine {
    fn default() -> Self {
        Affine { angle: 0.0, translate: [0.0; 2], scale: 1.0, shear: [0.0; 2], corner: false }
    }
}

impl Affine {
    /// The inverse map, in coordinates from the middle of the image (torchvision's `_get_inverse_affine_matrix`).
    fn inverse(&self, [h, w]: [usize; 2]) -> [f64; 6] {
        let (rot, sx, sy) = (self.angle.to_radians(), self.shear[0].to_radians(), self.shear[1].to_radians());
        let [cx, cy] = if self.corner { [-0.5 * w as f64, -0.5 * h as f64] } else { [0.0, 0.0] };
        let [tx, ty] = self.translate;
        let a = (rot - sy).cos() / sy.cos();
        let b = -(rot - sy).cos() * sx.tan() / sy.cos() - rot.sin();
        let c = (rot - sy).sin() / sy.cos();
        let d = -(rot - sy).sin() * sx.tan() / sy.cos() + rot.cos();
        let mut m = [d, -b, 0.0, -c, a, 0.0].map(|v| v / self.scale);
        m[2] += m[0] * (-cx - tx) + m[1] * (-cy - ty) + cx;
        m[5] += m[3] * (-cx - tx) + m[4] * (-cy - ty) + cy;
        m
    }
}

/// Applies an affine map; what comes from outside is black.
pub(crate) fn affine(image: &Pixels, map: &Affine, lookup: Lookup) -> Pixels {
    let (h, w) = (image.height, image.width);
    let m = map.inverse([h, w]);
    let (mx, my) = (0.5 * (w as f64 - 1.0), 0.5 * (h as f64 - 1.0));
    warp(image, lookup, |x, y| {
        let (x, y) = (x - mx, y - my);
        [m[0] * x + m[1] * y + m[2] + mx, m[3] * x + m[4] * y + m[5] + my]
    })
}

/// Applies the projective map that takes the corners `to` of the output back to the corners `from` (torchvision's
/// `perspective(startpoints, endpoints)`), bilinear; four points `[x, y]`.
pub(crate) fn perspective(image: &Pixels, from: [[f64; 2]; 4], to: [[f64; 2]; 4]) -> Pixels {
    let Some(c) = coefficients(from, to) else { return image.clone() };
    warp(image, Lookup::Bilinear, |x, y| {
        let (x, y) = (x + 0.5, y + 0.5);
        let below = c[6] * x + c[7] * y + 1.0;
        [(c[0] * x + c[1] * y + c[2]) / below - 0.5, (c[3] * x + c[4] * y + c[5]) / below - 0.5]
    })
}

/// Solves the 8 x 8 system by elimination with pivots; none where three corners lie on a line.
fn coefficients(from: [[f64; 2]; 4], to: [[f64; 2]; 4]) -> Option<[f64; 8]> {
    let mut rows = [[0.0f64; 9]; 8];
    for i in 0..4 {
        let ([sx, sy], [ex, ey]) = (from[i], to[i]);
        rows[2 * i] = [ex, ey, 1.0, 0.0, 0.0, 0.0, -sx * ex, -sx * ey, sx];
        rows[2 * i + 1] = [0.0, 0.0, 0.0, ex, ey, 1.0, -sy * ex, -sy * ey, sy];
    }
    for column in 0..8 {
        let pivot = (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        if rows[pivot][column].abs() < 1e-9 {
            return None;
        }
        rows.swap(column, pivot);
        let lead = rows[column];
        for (i, row) in rows.iter_mut().enumerate() {
            if i != column {
                let factor = row[column] / lead[column];
                row.iter_mut().zip(lead).for_each(|(value, lead)| *value -= factor * lead);
            }
        }
    }
    Some(std::array::from_fn(|i| rows[i][8] / rows[i][i]))
}

fn warp(image: &Pixels, lookup: Lookup, source: impl Fn(f64, f64) -> [f64; 2]) -> Pixels {
    let (h, w, c) = (image.height, image.width, image.channels);
    let mut out = Pixels::filled(h, w, c, 0);
    let at = |x: f64, y: f64| {
        let inside = x >= 0.0 && y >= 0.0 && x < w as f64 && y < h as f64;
        inside.then(|| (y as usize * w + x as usize) * c)
    };
    for y in 0..h {
        for x in 0..w {
            let [sx, sy] = source(x as f64, y as f64);
            let to = (y * w + x) * c;
            match lookup {
                Lookup::Nearest => {
                    if let Some(from) = at(sx.round_ties_even(), sy.round_ties_even()) {
                        out.data[to..to + c].copy_from_slice(&image.data[from..from + c]);
                    }
                }
                Lookup::Bilinear => {
                    let (x0, y0) = (sx.floor(), sy.floor());
                    let (fx, fy) = (sx - x0, sy - y0);
                    let corners = [
                        (at(x0, y0), (1.0 - fx) * (1.0 - fy)),
                        (at(x0 + 1.0, y0), fx * (1.0 - fy)),
                        (at(x0, y0 + 1.0), (1.0 - fx) * fy),
                        (at(x0 + 1.0, y0 + 1.0), fx * fy),
                    ];
                    for channel in 0..c {
                        let value: f64 = corners
                            .iter()
                            .map(|(from, weight)| {
                                from.map_or(0.0, |from| weight * f64::from(image.data[from + channel]))
                            })
                            .sum();
                        out.data[to + channel] = value.round_ties_even().clamp(0.0, 255.0) as u8;
                    }
                }
            }
        }
    }
    out
}
