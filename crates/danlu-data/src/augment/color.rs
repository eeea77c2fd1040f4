//! Brightness, contrast and saturation in one pass; hue in a second one.

use danlu_rng::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::probability;
use crate::{DataError, Pixels};

/// Changes brightness, contrast, saturation and hue at random (torchvision's `ColorJitter`).
///
/// Each factor is uniform in `[max(0, 1 - s), 1 + s]`; the hue turns by a share of the circle uniform in `[-hue, hue]`.
/// Brightness, contrast and saturation are applied in this order as one affine map of a pixel, rounded and clamped once
/// (torchvision: in a random order, clamped after each). Saturation and hue leave grey images as they are.
///
/// Tier 2 (to be considered). Risk: classes that differ by colour or brightness (ripe and unripe, day and night) become
/// one; strong values take detail from dark and bright areas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// Probability, 0 to 1. Default 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// Strength of the brightness, 0 to 2. Default 0 (off); 0.2 to 0.4 are usual.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub brightness: f64,
    /// Strength of the contrast, 0 to 2. Default 0 (off); 0.2 to 0.4 are usual.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub contrast: f64,
    /// Strength of the saturation, 0 to 2. Default 0 (off); 0.2 to 0.4 are usual.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub saturation: f64,
    /// Largest turn of the hue as a share of the circle, 0 to 0.5. Default 0 (off); 0.1 is usual, and much.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub hue: f64,
}

impl Default for ColorJitter {
    fn default() -> Self {
        ColorJitter { p: 1.0, brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 }
    }
}

impl ColorJitter {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        probability("augment.color_jitter.p", self.p)?;
        for (name, value, max) in [
            ("brightness", self.brightness, 2.0),
            ("contrast", self.contrast, 2.0),
            ("saturation", self.saturation, 2.0),
            ("hue", self.hue, 0.5),
        ] {
            if !(0.0..=max).contains(&value) {
                let key = format!("augment.color_jitter.{name}");
                return Err(DataError::config(&key, value, format!("0 to {max} (0 changes nothing)")));
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, image: &mut Pixels, stream: &mut Stream) {
        let hit = stream.chance(self.p);
        let mut factor = |s: f64| stream.uniform_in((1.0 - s).max(0.0), 1.0 + s);
        let factors = [factor(self.brightness), factor(self.contrast), factor(self.saturation)];
        let turn = stream.uniform_in(-self.hue, self.hue);
        if hit {
            adjust(image, factors);
            if self.hue > 0.0 {
                adjust_hue(image, turn);
            }
        }
    }
}

/// Brightness, contrast and saturation by their factors (1 changes nothing), each as torchvision's `adjust_*`.
pub(crate) fn adjust(image: &mut Pixels, [brightness, contrast, saturation]: [f64; 3]) {
    if [brightness, contrast, saturation] == [1.0; 3] || image.data.is_empty() {
        return;
    }
    // The mean that contrast turns about is that of the grey image after the brightness was changed.
    let mean = if contrast == 1.0 { 0.0 } else { gray_mean(image, brightness) };
    let gain = (brightness * contrast) as f32;
    let offset = ((1.0 - contrast) * mean) as f32;
    if image.channels == 1 {
        // One table instead of arithmetic a pixel.
        let table: Vec<u8> = (0..256).map(|v| (v as f32 * gain + offset).clamp(0.0, 255.0) as u8).collect();
        image.data.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
        return;
    }
    simd::adjust(&mut image.data, Change::new(gain, offset, saturation as f32));
}

/// `clamp(v * gain + offset)`, then `clamp(v * saturation + grey * (1 - saturation))`, in 16-bit integers.
#[derive(Clone, Copy)]
struct Change {
    /// Bits behind the point of the values between the two steps: 5, or 4 where the gain is so large that 5 would overflow.
    point: u32,
    /// In units of `2^-(8 + point)`.
    gain: u16,
    /// In units of `2^-point`; one of the two is 0.
    up: u16,
    down: u16,
    /// In units of 2^-13; `None`: the saturation stays.
    saturation: Option<Saturation>,
}

#[derive(Clone, Copy)]
struct Saturation {
    own: u16,
    gray: u16,
    /// The grey is taken away: the saturation grows.
    grows: bool,
}

impl Change {
    fn new(gain: f32, offset: f32, saturation: f32) -> Change {
        let point = if gain < 7.99 { 5 } else { 4 };
        // Factors are at most 3, and the gain at most 9.
        let fixed =
            |value: f32, bits: u32| (value * (1u32 << bits) as f32).round().clamp(0.0, 65535.0) as u16;
        let saturation = (saturation != 1.0).then(|| Saturation {
            own: fixed(saturation, 13),
            gray: fixed((1.0 - saturation).abs(), 13),
            grows: saturation > 1.0,
        });
        let (up, down) = (fixed(offset.max(0.0), point), fixed((-offset).max(0.0), point));
        Change { point, gain: fixed(gain, 8 + point), up, down, saturation }
    }
}

fn gray_mean(image: &Pixels, brightness: f64) -> f64 {
    let sum = match image.channels {
        1 => {
            let table: Vec<u64> =
                (0..256).map(|v| u64::from((f64::from(v) * brightness).clamp(0.0, 255.0) as u8)).collect();
            image.data.iter().map(|&v| table[usize::from(v)]).sum()
        }
        _ => {
            // Pillow's weights of grey (`luma`); to round each pixel's would change the mean by thousandths.
            let [r, g, b] = simd::channel_sums(&image.data, (brightness * 8192.0).round() as u16);
            (19595 * r + 38470 * g + 7471 * b) >> 16
        }
    };
    sum as f64 / (image.height * image.width) as f64
}

/// The passes over the pixels, compiled a second time for AVX2 and chosen at run time. The arithmetic is the same, and so are the bits.
mod simd {
    use super::Change;

    /// Pixels that are worked on side by side.
    const BLOCK: usize = 32;

    macro_rules! for_each_instruction_set {
        ($name:ident($($argument:ident: $type:ty),*) $(-> $out:ty)?) => {
            pub(super) fn $name($($argument: $type),*) $(-> $out)? {
                #[cfg(target_arch = "x86_64")]
                if std::arch::is_x86_feature_detected!("avx2") {
                    #[target_feature(enable = "avx2")]
                    fn avx2($($argument: $type),*) $(-> $out)? {
                        plain::$name($($argument),*)
                    }
                    // SAFETY: the processor has AVX2, as was just asked.
                    return unsafe { avx2($($argument),*) };
                }
                plain::$name($($argument),*)
            }
        };
    }

    for_each_instruction_set!(adjust(data: &mut [u8], change: Change));
    for_each_instruction_set!(channel_sums(data: &[u8], brightness: u16) -> [u64; 3]);

    mod plain {
        use super::BLOCK;
        use crate::augment::color::{Change, Saturation};

        /// The upper half of a product: one instruction for a vector of 16.
        #[inline(always)]
        fn high(a: u16, b: u16) -> u16 {
            ((u32::from(a) * u32::from(b)) >> 16) as u16
        }

        /// One step of the rounding (1/32 of a level) is added before the fraction is cut off: products are cut off too.
        #[inline(always)]
        fn whole(value: u16, point: u32) -> u16 {
            (value + 1) >> point
        }

        #[inline(always)]
        pub(super) fn adjust(data: &mut [u8], change: Change) {
            match (change.saturation, change.point) {
                (None, 5) => each::<5, false>(data, change, Saturation { own: 8192, gray: 0, grows: false }),
                (None, _) => each::<4, false>(data, change, Saturation { own: 8192, gray: 0, grows: false }),
                (Some(saturation), 5) => each::<5, true>(data, change, saturation),
                (Some(saturation), _) => each::<4, true>(data, change, saturation),
            }
        }

        #[inline(always)]
        fn each<const POINT: u32, const SATURATES: bool>(
            data: &mut [u8],
            change: Change,
            saturation: Saturation,
        ) {
            let Change { gain, up, down, .. } = change;
            let first = |v: u8| {
                let value = high(u16::from(v) << 8, gain).saturating_add(up).saturating_sub(down);
                value.min(255 << POINT)
            };
            let mut blocks = data.chunks_exact_mut(3 * BLOCK);
            for block in &mut blocks {
                pixels::<POINT, SATURATES, BLOCK>(block, first, saturation);
            }
            for pixel in blocks.into_remainder().chunks_exact_mut(3) {
                pixels::<POINT, SATURATES, 1>(pixel, first, saturation);
            }
        }

        /// `N` pixels side by side.
        #[inline(always)]
        fn pixels<const POINT: u32, const SATURATES: bool, const N: usize>(
            block: &mut [u8],
            first: impl Fn(u8) -> u16,
            saturation: Saturation,
        ) {
            if !SATURATES {
                block.iter_mut().for_each(|v| *v = whole(first(*v), POINT) as u8);
                return;
            }
            let mut planes = [[0u8; N]; 3];
            for i in 0..N {
                planes[0][i] = block[3 * i];
                planes[1][i] = block[3 * i + 1];
                planes[2][i] = block[3 * i + 2];
            }
            let Saturation { own, gray, grows } = saturation;
            for i in 0..N {
                // 8 bits behind the point.
                let [r, g, b] = [planes[0][i], planes[1][i], planes[2][i]].map(|v| first(v) << (8 - POINT));
                // 0.2989, 0.587 and 0.114, torchvision's.
                let grey = high(r, 19589) + high(g, 38470) + high(b, 7471);
                let grey = high(grey, gray);
                let mix = |v: u16| {
                    let own = high(v, own);
                    let mixed = if grows { own.saturating_sub(grey) } else { own + grey };
                    whole(mixed.min(255 << 5), 5) as u8
                };
                (planes[0][i], planes[1][i], planes[2][i]) = (mix(r), mix(g), mix(b));
            }
            for i in 0..N {
                block[3 * i] = planes[0][i];
                block[3 * i + 1] = planes[1][i];
                block[3 * i + 2] = planes[2][i];
            }
        }

        /// The sum of each channel's values after the brightness, in units of 2^-13, was changed.
        #[inline(always)]
        pub(super) fn channel_sums(data: &[u8], brightness: u16) -> [u64; 3] {
            let bright = |v: u8| whole(high(u16::from(v) << 8, brightness), 5).min(255);
            let mut sums = [0u64; 3];
            // A lane always sees the same channel, and 256 blocks at most: 16 bits are enough.
            for part in data.chunks(256 * 3 * BLOCK) {
                let mut lanes = [0u16; 3 * BLOCK];
                let blocks = part.chunks_exact(3 * BLOCK);
                for (i, &v) in blocks.remainder().iter().enumerate() {
                    sums[i % 3] += u64::from(bright(v));
                }
                for block in blocks {
                    for i in 0..3 * BLOCK {
                        lanes[i] += bright(block[i]);
                    }
                }
                lanes.iter().enumerate().for_each(|(i, &lane)| sums[i % 3] += u64::from(lane));
            }
            sums
        }
    }
}

/// Turns the hue by a share of the circle (torchvision's `adjust_hue`, over HSV).
pub(crate) fn adjust_hue(image: &mut Pixels, turn: f64) {
    if image.channels != 3 {
        return;
    }
    for p in image.data.chunks_exact_mut(3) {
        let [r, g, b] = [0, 1, 2].map(|c| f32::from(p[c]) / 255.0);
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        let chroma = max - min;
        if chroma == 0.0 {
            continue;
        }
        let h = if max == r {
            (g - b) / chroma
        } else if max == g {
            2.0 + (b - r) / chroma
        } else {
            4.0 + (r - g) / chroma
        };
        let h = (h / 6.0 + turn as f32).rem_euclid(1.0) * 6.0;
        let (sector, f) = (h.floor(), h - h.floor());
        let s = chroma / max;
        let (low, down, up) = (max * (1.0 - s), max * (1.0 - s * f), max * (1.0 - s * (1.0 - f)));
        let [r, g, b] = match sector as u32 {
            0 => [max, up, low],
            1 => [down, max, low],
            2 => [low, max, up],
            3 => [low, down, max],
            4 => [up, low, max],
            _ => [max, low, down],
        };
        // torchvision's `to_dtype` from float: times 256 less a little, truncated.
        for (v, value) in p.iter_mut().zip([r, g, b]) {
            *v = (value * 255.999).clamp(0.0, 255.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas one pixel at a time, cut off as Rust does.
    fn plainly(data: &[u8], [brightness, contrast, saturation]: [f64; 3]) -> Vec<u8> {
        let bright = |v: u8| (f32::from(v) * brightness as f32).clamp(0.0, 255.0) as u8;
        let pixels = data.chunks_exact(3);
        let sum: u64 = pixels
            .clone()
            .map(|p| u64::from(crate::decode::luma(bright(p[0]), bright(p[1]), bright(p[2]))))
            .sum();
        let mean = sum as f64 / pixels.len() as f64;
        let (gain, offset) = ((brightness * contrast) as f32, ((1.0 - contrast) * mean) as f32);
        let s = saturation as f32;
        let change = |p: &[u8]| {
            let [r, g, b] = [p[0], p[1], p[2]].map(|v| (f32::from(v) * gain + offset).clamp(0.0, 255.0));
            let gray = (0.2989 * r + 0.587 * g + 0.114 * b) * (1.0 - s);
            [r, g, b].map(|v| (v * s + gray).clamp(0.0, 255.0) as u8)
        };
        pixels.flat_map(change).collect()
    }

    #[test]
    fn many_pixels_at_once_are_the_formulas_pixel_by_pixel() {
        let mut stream = Stream::new(3, danlu_rng::Purpose::Augment, 0, 0);
        let (mut all, mut other) = (0, 0);
        // Whole blocks, and rests of every kind.
        for width in [1, 5, 31, 32, 33, 64, 97] {
            let data: Vec<u8> = (0..3 * 7 * width).map(|_| stream.below(256) as u8).collect();
            for _ in 0..20 {
                let factors = [0; 3].map(|_| stream.uniform_in(0.2, 1.8));
                let mut image = Pixels { data: data.clone(), height: 7, width, channels: 3 };
                adjust(&mut image, factors);
                for (found, wanted) in image.data.iter().zip(plainly(&data, factors)) {
                    assert!(found.abs_diff(wanted) <= 1, "{factors:?}: {found} for {wanted}");
                    other += usize::from(*found != wanted);
                    all += 1;
                }
            }
        }
        // Values within a few hundredths of a whole number.
        assert!(other * 20 < all, "{other} of {all}");
        // Whole numbers stay: no change of saturation but of a grey picture.
        let grey: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
        let mut image = Pixels { data: grey.clone(), height: 16, width: 16, channels: 3 };
        adjust(&mut image, [1.0, 1.0, 1.4]);
        assert!(image.data.iter().zip(&grey).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
}
