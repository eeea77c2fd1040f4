//! Pixels: gray or RGB images, their PNG form, and colour maps that turn numbers into pixels.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder};

use crate::error::ViewError;

/// No picture is larger than this many pixels (64 Mi): a mistaken shape must not take the machine's memory.
const LIMIT: usize = 1 << 26;

/// An image, `[H, W, C]` with C = 1 (gray), 3 (RGB) or 4 (RGBA), a byte a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<u8>,
}

impl Bitmap {
    /// From bytes in `[H, W, C]` order.
    ///
    /// # Errors
    /// [`ViewError::Channels`] unless C is 1, 3 or 4; [`ViewError::Length`] unless `data` holds H * W * C bytes;
    /// [`ViewError::Empty`] for an image without pixels.
    pub fn new(height: usize, width: usize, channels: usize, data: Vec<u8>) -> Result<Self, ViewError> {
        if ![1, 3, 4].contains(&channels) {
            return Err(ViewError::Channels(channels));
        }
        if width == 0 || height == 0 {
            return Err(ViewError::Empty("the image"));
        }
        if width.saturating_mul(height) > LIMIT {
            return Err(ViewError::TooLarge { width, height, limit: LIMIT });
        }
        ViewError::check_length("the image", data.len(), &[height, width, channels])?;
        Ok(Bitmap { width, height, channels, data })
    }

    /// One colour all over.
    pub fn filled(height: usize, width: usize, rgb: [u8; 3]) -> Result<Self, ViewError> {
        if width.saturating_mul(height) > LIMIT {
            return Err(ViewError::TooLarge { width, height, limit: LIMIT });
        }
        Bitmap::new(height, width, 3, rgb.repeat(width * height))
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Channels: 1, 3 or 4.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The bytes, `[H, W, C]`.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The colour of a pixel, gray spread to RGB; alpha is 255 where there is none.
    pub fn rgba(&self, x: usize, y: usize) -> [u8; 4] {
        let at = (y * self.width + x) * self.channels;
        match &self.data[at..at + self.channels] {
            [g] => [*g, *g, *g, 255],
            [r, g, b] => [*r, *g, *b, 255],
            [r, g, b, a, ..] => [*r, *g, *b, *a],
            _ => [0, 0, 0, 0],
        }
    }

    /// Copies `other`, each pixel `scale` wide and high, into this image with its upper left pixel at `(x, y)`; what lies outside is cut.
    pub(crate) fn paste(&mut self, x: usize, y: usize, other: &Bitmap, scale: usize) {
        let scale = scale.max(1);
        for row in 0..(other.height * scale).min(self.height.saturating_sub(y)) {
            for col in 0..(other.width * scale).min(self.width.saturating_sub(x)) {
                let [r, g, b, _] = other.rgba(col / scale, row / scale);
                let at = ((y + row) * self.width + x + col) * self.channels;
                match &mut self.data[at..at + self.channels] {
                    [v] => *v = luma(r, g, b),
                    [pr, pg, pb] => (*pr, *pg, *pb) = (r, g, b),
                    [pr, pg, pb, pa] => (*pr, *pg, *pb, *pa) = (r, g, b, 255),
                    _ => {}
                }
            }
        }
    }

    /// Every pixel `zoom` wide and high.
    ///
    /// # Errors
    /// [`ViewError::TooLarge`].
    pub fn enlarged(&self, zoom: usize) -> Result<Bitmap, ViewError> {
        let zoom = zoom.max(1);
        let (width, height) = (self.width.saturating_mul(zoom), self.height.saturating_mul(zoom));
        if width.saturating_mul(height) > LIMIT {
            return Err(ViewError::TooLarge { width, height, limit: LIMIT });
        }
        let pixel = |at: usize| &self.data[at * self.channels..][..self.channels];
        let data = (0..height)
            .flat_map(|y| (0..width).map(move |x| y / zoom * self.width + x / zoom))
            .flat_map(|at| pixel(at).iter().copied())
            .collect();
        Bitmap::new(height, width, self.channels, data)
    }

    /// The image as a PNG file.
    ///
    /// # Errors
    /// [`ViewError::Png`] when the encoder fails.
    pub fn to_png(&self) -> Result<Vec<u8>, ViewError> {
        let color = match self.channels {
            1 => ExtendedColorType::L8,
            3 => ExtendedColorType::Rgb8,
            _ => ExtendedColorType::Rgba8,
        };
        let mut out = Cursor::new(Vec::new());
        image::codecs::png::PngEncoder::new_with_quality(
            &mut out,
            image::codecs::png::CompressionType::Default,
            image::codecs::png::FilterType::Adaptive,
        )
        .write_image(&self.data, self.width as u32, self.height as u32, color)?;
        Ok(out.into_inner())
    }

    /// The image as a `data:` address, for `<img src>` and `<image href>`.
    pub fn data_uri(&self) -> String {
        match self.to_png() {
            Ok(png) => format!("data:image/png;base64,{}", base64(&png)),
            // The sizes were checked when the image was made; an encoder that fails all the same leaves a gap.
            Err(_) => "data:,".to_owned(),
        }
    }
}

pub(crate) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114 + 500) / 1000) as u8
}

/// Base64 as RFC 4648 section 4 has it, padded.
pub(crate) fn base64(data: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            out.push(if i <= chunk.len() {
                char::from(ALPHABET[(n >> (18 - 6 * i) & 63) as usize])
            } else {
                '='
            });
        }
    }
    out
}

/// How a number in `[0, 1]` becomes a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMap {
    /// Dark violet to yellow, equal steps to the eye, also for the colour-blind (Smith and van der Walt, 2015).
    #[default]
    Viridis,
    /// Blue, white, red: for numbers around a middle of 0.5. Purple stands in no step, so the colour-blind see
    /// two sides (ColorBrewer's RdBu).
    BlueRed,
    /// Black to white.
    Gray,
}

const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 45, 123],
    [59, 82, 139],
    [44, 114, 142],
    [33, 145, 140],
    [40, 174, 128],
    [94, 201, 98],
    [173, 220, 48],
    [253, 231, 37],
];

const BLUE_RED: [[u8; 3]; 9] = [
    [33, 102, 172],
    [67, 147, 195],
    [146, 197, 222],
    [209, 229, 240],
    [247, 247, 247],
    [253, 219, 199],
    [244, 165, 130],
    [214, 96, 77],
    [178, 24, 43],
];

impl ColorMap {
    /// The colour of `t`, held to `[0, 1]`; NaN is a gray that no map holds.
    pub fn rgb(self, t: f64) -> [u8; 3] {
        if t.is_nan() {
            return [120, 120, 120];
        }
        let t = t.clamp(0.0, 1.0);
        let table = match self {
            ColorMap::Viridis => &VIRIDIS,
            ColorMap::BlueRed => &BLUE_RED,
            ColorMap::Gray => return [(t * 255.0).round() as u8; 3],
        };
        let at = t * (table.len() - 1) as f64;
        let i = (at as usize).min(table.len() - 2);
        let f = at - i as f64;
        std::array::from_fn(|c| {
            (f64::from(table[i][c]) * (1.0 - f) + f64::from(table[i + 1][c]) * f).round() as u8
        })
    }

    /// A plane of numbers `[H, W]` as an image; `low` and `high` are the ends of the map.
    ///
    /// # Errors
    /// [`ViewError::Length`] unless `values` holds H * W numbers.
    pub fn image(
        self,
        values: &[f32],
        height: usize,
        width: usize,
        low: f32,
        high: f32,
    ) -> Result<Bitmap, ViewError> {
        ViewError::check_length("the plane", values.len(), &[height, width])?;
        let span = f64::from(high) - f64::from(low);
        let data = values
            .iter()
            .flat_map(|v| self.rgb(if span > 0.0 { (f64::from(*v) - f64::from(low)) / span } else { 0.5 }))
            .collect();
        Bitmap::new(height, width, 3, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }

    #[test]
    fn a_png_reads_back_as_the_same_pixels() {
        let data: Vec<u8> = (0..5 * 7 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let bitmap = Bitmap::new(5, 7, 3, data.clone()).expect("shape fits");
        let png = bitmap.to_png().expect("encodes");
        let back = image::load_from_memory(&png).expect("reads").to_rgb8();
        assert_eq!((back.width(), back.height()), (7, 5));
        assert_eq!(back.into_raw(), data);
    }

    #[test]
    fn a_wrong_shape_is_named() {
        let e = Bitmap::new(2, 2, 3, vec![0; 11]).expect_err("11 bytes are not 12");
        assert_eq!(e.to_string(), "the image holds 11 values, but its shape [2, 2, 3] needs 12");
        assert!(matches!(Bitmap::new(2, 2, 2, vec![0; 8]), Err(ViewError::Channels(2))));
        assert!(matches!(Bitmap::new(usize::MAX, 2, 3, vec![]), Err(ViewError::TooLarge { .. })));
    }

    #[test]
    fn colour_maps_meet_their_ends_and_mark_nan() {
        assert_eq!(ColorMap::Viridis.rgb(0.0), [68, 1, 84]);
        assert_eq!(ColorMap::Viridis.rgb(2.0), [253, 231, 37]);
        assert_eq!(ColorMap::BlueRed.rgb(0.5), [247, 247, 247]);
        assert_eq!(ColorMap::Gray.rgb(f64::NAN), [120, 120, 120]);
    }
}
