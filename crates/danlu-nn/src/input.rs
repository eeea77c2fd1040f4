//! What goes into a step: images, targets, and where the step stands.

use crate::device::{Cpu, Device};
use crate::error::{NnError, Result};
use crate::plan::Span;
use crate::real::Real;

/// Pixels of a batch, `[N, H, W, C]`.
#[derive(Clone, Copy, Debug)]
pub enum Images<'a> {
    /// Bytes, normalised by the device: `(x / 255 - mean[c]) / std[c]`.
    U8 {
        /// The bytes.
        data: &'a [u8],
        /// Mean of each channel, in units of 0 to 1.
        mean: &'a [f32],
        /// Standard deviation of each channel, in units of 0 to 1.
        std: &'a [f32],
    },
    /// Values as the network sees them.
    F32(&'a [f32]),
    /// The same in double precision.
    F64(&'a [f64]),
    /// In place of the images, their values at the end of the frozen prefix, as
    /// [`Engine::features`](crate::Engine::features) gives them; [`Input::shape`] stays that of the images. They cannot be mixed.
    Features(&'a [f32]),
}

/// How the images of a batch are mixed with one another, after normalisation. Targets are mixed by the same `lambda`.
#[derive(Clone, Copy, Debug)]
pub struct Mix<'a> {
    /// Partner of each image.
    pub partner: &'a [u32],
    /// Weight of the image itself, and of its target. For CutMix: the share of its area that stays.
    pub lambda: f64,
    /// `None`: MixUp, every value is `lambda * own + (1 - lambda) * partner's`. CutMix: this box
    /// `[top, left, bottom, right]` (end exclusive) is the partner's.
    pub cut: Option<[usize; 4]>,
}

/// A batch of images.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Pixels.
    pub images: Images<'a>,
    /// `[N, H, W, C]`.
    pub shape: [usize; 4],
    /// MixUp or CutMix.
    pub mix: Option<Mix<'a>>,
}

/// What the network should say.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// Class of each image. With [`Input::mix`] the engine mixes them.
    Classes(&'a [u32]),
    /// Probabilities `[N, classes]`. With [`Input::mix`] the engine mixes them.
    Soft(&'a [f32]),
}

/// Where a step stands in the training.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// Seed of the run; decides dropout masks.
    pub seed: u64,
    /// Number of the batch from the start of the run; decides dropout masks, so that no two batches share one.
    pub iteration: u64,
    /// Add to the gradients instead of replacing them.
    pub accumulate: bool,
    /// Factor of the gradients: 1 / k when the gradients of k batches are added up. The loss returned is not scaled.
    pub scale: f64,
}

impl Default for StepContext {
    fn default() -> Self {
        StepContext { seed: 0, iteration: 0, accumulate: false, scale: 1.0 }
    }
}

impl Input<'_> {
    pub(crate) fn check(&self, channels: usize, name: &str) -> Result<()> {
        let [n, h, w, c] = self.shape;
        let fail = |what: String| Err(NnError::Input(what));
        if c != channels {
            return fail(format!("the images have {c} channels and {name} takes {channels}"));
        }
        let len = match self.images {
            Images::U8 { data, mean, std } => {
                if mean.len() != c || std.len() != c {
                    return fail(format!(
                        "{} means and {} standard deviations were given for {c} channels",
                        mean.len(),
                        std.len()
                    ));
                }
                if let Some(bad) = std.iter().find(|s| s.is_nan() || **s <= 0.0) {
                    return fail(format!("a standard deviation is {bad}; it must be above 0"));
                }
                data.len()
            }
            Images::F32(data) => data.len(),
            Images::F64(data) => data.len(),
            Images::Features(_) if self.mix.is_some() => {
                return fail("features cannot be mixed: only images can".into());
            }
            // Their length is checked against the plan.
            Images::Features(_) => n * h * w * c,
        };
        if len != n * h * w * c {
            return fail(format!(
                "the images hold {len} values and the shape {:?} needs another number",
                self.shape
            ));
        }
        if let Some(mix) = &self.mix {
            if mix.partner.len() != n || mix.partner.iter().any(|&p| p as usize >= n) {
                return fail(format!("the mix must name one partner below {n} for each of the {n} images"));
            }
            if !(0.0..=1.0).contains(&mix.lambda) {
                return fail(format!("the mix has lambda {}; it must be in [0, 1]", mix.lambda));
            }
            if let Some([top, left, bottom, right]) = mix.cut
                && (top > bottom || left > right || bottom > h || right > w)
            {
                return fail(format!("the cut {:?} does not lie in {h}x{w}", [top, left, bottom, right]));
            }
        }
        Ok(())
    }

    /// The part of the network that is computed from it.
    pub(crate) fn span(&self) -> Span {
        if matches!(self.images, Images::Features(_)) { Span::Tail } else { Span::Whole }
    }

    /// Writes the normalised, mixed images `[N, H, W, C]`, what the network sees of a batch, as the cpu device does on one thread.
    ///
    /// # Errors
    /// [`NnError::Input`] where images, shape, mix and `out` do not fit together, and for features, which are no images.
    pub fn write_f32(&self, out: &mut [f32]) -> Result<()> {
        self.check(self.shape[3], "the shape")?;
        if self.span() == Span::Tail {
            return Err(NnError::Input("features were given in place of images".into()));
        }
        if out.len() != self.shape.iter().product::<usize>() {
            let what = format!("{} values were given room for {:?}", out.len(), self.shape);
            return Err(NnError::Input(what));
        }
        Cpu::new(1, None)?.input(self, out);
        Ok(())
    }

    /// Writes the normalised, mixed images.
    pub(crate) fn write<T: Real>(&self, out: &mut [T]) {
        match self.images {
            Images::U8 { data, mean, std } => {
                // A table of 256 values a channel: no division a pixel, and the value nearest to the true one.
                let table = |(&mean, &std): (&f32, &f32)| -> [T; 256] {
                    let value = |v: usize| (v as f64 / 255.0 - f64::from(mean)) / f64::from(std);
                    std::array::from_fn(|v| T::from_f64(value(v)))
                };
                let tables: Vec<[T; 256]> = mean.iter().zip(std).map(table).collect();
                self.write_with(out, |at, out| look_up(&tables, &data[at..at + out.len()], out));
            }
            Images::F32(data) | Images::Features(data) => {
                self.write_with(out, |at, out| copy(&data[at..], out, |v| T::from_f64(f64::from(v))));
            }
            Images::F64(data) => self.write_with(out, |at, out| copy(&data[at..], out, T::from_f64)),
        }
    }

    /// `fill` writes the values of the images from an element on, of whole pixels.
    fn write_with<T: Real>(&self, out: &mut [T], fill: impl Fn(usize, &mut [T])) {
        let Some(mix) = &self.mix else { return fill(0, out) };
        let [_, h, w, c] = self.shape;
        let row = w * c;
        let (own, other) = (T::from_f64(mix.lambda), T::from_f64(1.0 - mix.lambda));
        let mut of_partner = vec![T::ZERO; row];
        for (image, out) in out.chunks_exact_mut((h * row).max(1)).enumerate() {
            let partner = mix.partner[image] as usize * h * row;
            fill(image * h * row, out);
            match mix.cut {
                None => {
                    for (y, out) in out.chunks_exact_mut(row).enumerate() {
                        fill(partner + y * row, &mut of_partner);
                        out.iter_mut().zip(&of_partner).for_each(|(out, &p)| *out = own * *out + other * p);
                    }
                }
                Some([top, left, bottom, right]) => {
                    for y in top..bottom {
                        let (from, to) = (y * row + left * c, y * row + right * c);
                        fill(partner + from, &mut out[from..to]);
                    }
                }
            }
        }
    }
}

/// The values of whole pixels by the table of their channel.
fn look_up<T: Real>(tables: &[[T; 256]], data: &[u8], out: &mut [T]) {
    match tables {
        [table] => out.iter_mut().zip(data).for_each(|(out, &v)| *out = table[usize::from(v)]),
        [red, green, blue] => {
            for (out, &[r, g, b]) in out.as_chunks_mut::<3>().0.iter_mut().zip(data.as_chunks::<3>().0) {
                *out = [red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)]];
            }
        }
        _ => {
            let pixels = out.chunks_exact_mut(tables.len()).zip(data.chunks_exact(tables.len()));
            for (out, pixel) in pixels {
                for (c, table) in tables.iter().enumerate() {
                    out[c] = table[usize::from(pixel[c])];
                }
            }
        }
    }
}

fn copy<S: Copy, T>(data: &[S], out: &mut [T], value: impl Fn(S) -> T) {
    out.iter_mut().zip(data).for_each(|(out, &v)| *out = value(v));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value by the formulas.
    fn value(input: &Input<'_>, data: &[u8], mean: &[f32], std: &[f32], i: usize) -> f64 {
        let [_, h, w, c] = input.shape;
        let seen = |i: usize| (f64::from(data[i]) / 255.0 - f64::from(mean[i % c])) / f64::from(std[i % c]);
        let Some(mix) = input.mix else { return seen(i) };
        let (image, within) = (i / (h * w * c), i % (h * w * c));
        let other = seen(mix.partner[image] as usize * h * w * c + within);
        let (row, column) = (within / (w * c), within / c % w);
        match mix.cut {
            None => mix.lambda * seen(i) + (1.0 - mix.lambda) * other,
            Some([top, left, bottom, right]) => {
                let inside = (top..bottom).contains(&row) && (left..right).contains(&column);
                if inside { other } else { seen(i) }
            }
        }
    }

    #[test]
    fn images_are_normalised_and_mixed_by_the_formulas() {
        let [n, h, w] = [3, 5, 7];
        let partner = [2, 0, 0];
        for c in [1, 2, 3, 4] {
            let data: Vec<u8> = (0..n * h * w * c).map(|i| (i * 89 % 256) as u8).collect();
            let mean: Vec<f32> = (0..c).map(|c| 0.2 + 0.1 * c as f32).collect();
            let std: Vec<f32> = (0..c).map(|c| 0.3 + 0.1 * c as f32).collect();
            let images = Images::U8 { data: &data, mean: &mean, std: &std };
            let mixed = |cut| Some(Mix { partner: &partner, lambda: 0.3, cut });
            for mix in [None, mixed(None), mixed(Some([1, 2, 4, 6])), mixed(Some([2, 3, 2, 3]))] {
                let input = Input { images, shape: [n, h, w, c], mix };
                let mut exact = vec![0f64; data.len()];
                input.write(&mut exact);
                let mut single = vec![0f32; data.len()];
                input.write_f32(&mut single).expect("fits");
                for i in 0..data.len() {
                    let wanted = value(&input, &data, &mean, &std, i);
                    assert!((exact[i] - wanted).abs() < 1e-12, "{i}: {} for {wanted}", exact[i]);
                    assert!((f64::from(single[i]) - wanted).abs() < 1e-5, "{i}: {} for {wanted}", single[i]);
                }
            }
            let input = Input { images, shape: [n, h, w, c], mix: None };
            assert!(input.write_f32(&mut [0.0; 3]).is_err(), "no room");
            let features = Input { images: Images::Features(&[1.0, 2.0]), ..input };
            assert!(features.write_f32(&mut vec![0.0; data.len()]).is_err(), "no images");
        }
    }
}
