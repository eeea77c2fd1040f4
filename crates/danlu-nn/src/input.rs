//! What goes into a step: images, targets, and where the step stands.

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

    /// Writes the normalised, mixed images.
    pub(crate) fn write<T: Real>(&self, out: &mut [T]) {
        match self.images {
            Images::U8 { data, mean, std } => {
                // A table of 256 values a channel: no division a pixel.
                let table: Vec<T> = mean
                    .iter()
                    .zip(std)
                    .flat_map(|(&m, &s)| {
                        (0..256)
                            .map(move |v| T::from_f64((f64::from(v) / 255.0 - f64::from(m)) / f64::from(s)))
                    })
                    .collect();
                let c = self.shape[3];
                self.write_with(out, |i| table[i % c * 256 + usize::from(data[i])]);
            }
            Images::F32(data) => self.write_with(out, |i| T::from_f64(f64::from(data[i]))),
            Images::F64(data) => self.write_with(out, |i| T::from_f64(data[i])),
            Images::Features(data) => {
                out.iter_mut().zip(data).for_each(|(out, &value)| *out = T::from_f64(f64::from(value)));
            }
        }
    }

    fn write_with<T: Real>(&self, out: &mut [T], value: impl Fn(usize) -> T) {
        let [_, h, w, c] = self.shape;
        let Some(mix) = &self.mix else {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = value(i));
            return;
        };
        let per_image = h * w * c;
        let (own, other) = (T::from_f64(mix.lambda), T::from_f64(1.0 - mix.lambda));
        for (image, out) in out.chunks_exact_mut(per_image.max(1)).enumerate() {
            let partner = mix.partner[image] as usize * per_image;
            for (i, out) in out.iter_mut().enumerate() {
                let at = image * per_image + i;
                *out = match mix.cut {
                    None => own * value(at) + other * value(partner + i),
                    Some([top, left, bottom, right]) => {
                        let (row, column) = (i / c / w, i / c % w);
                        let inside = (top..bottom).contains(&row) && (left..right).contains(&column);
                        if inside { value(partner + i) } else { value(at) }
                    }
                };
            }
        }
    }
}
