//! The one way an image file becomes pixels, for training and prediction alike.
//!
//! | stored as | becomes |
//! |---|---|
//! | grey in a colour set | the value in all three channels |
//! | colour in a grey set | `L = (19595 R + 38470 G + 7471 B + 32768) >> 16` (Pillow's `convert("L")`) |
//! | alpha | dropped, not composited (as Pillow's `convert("RGB")` and torchvision) |
//! | palette, 1, 2 and 4 bits | expanded to 8 bits |
//! | 16 bits, floats | scaled to 8 bits |
//! | CMYK (JPEG) | converted to RGB without a colour profile |
//! | animation | its first frame |
//! | EXIF orientation | applied (Pillow's `exif_transpose`; plain torchvision ignores it) |
//!
//! Colour profiles are ignored, as torchvision does. A JPEG that ends early, or is torn in the middle, is an error, never a half-grey image.

#[cfg(test)]
mod golden_tests;
#[cfg(feature = "turbo")]
mod turbo;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::resize::Window;
use crate::{DataConfig, DataError, jpeg_marks};

/// The decoder of JPEG files, whose pixels may differ by a level or two from another's.
pub const JPEG_DECODER: &str = if cfg!(feature = "turbo") { "libjpeg-turbo" } else { "zune" };

/// A decoded image: u8, `[height, width, channels]`, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// The values, `height * width * channels` of them.
    pub data: Vec<u8>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
}

/// A decoded image whose pixels lie elsewhere (in the cache).
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl<'a> From<&'a Pixels> for View<'a> {
    fn from(image: &'a Pixels) -> Self {
        View { data: &image.data, height: image.height, width: image.width, channels: image.channels }
    }
}

impl View<'_> {
    pub(crate) fn to_pixels(self) -> Pixels {
        let View { data, height, width, channels } = self;
        Pixels { data: data.to_vec(), height, width, channels }
    }
}

impl Pixels {
    /// An image of one value.
    pub fn filled(height: usize, width: usize, channels: usize, value: u8) -> Self {
        Pixels { data: vec![value; height * width * channels], height, width, channels }
    }

    /// The same image with 1 or 3 channels, by the rules of the table in this module.
    pub fn with_channels(self, channels: usize) -> Self {
        let data = match (self.channels, channels) {
            (1, 3) => self.data.iter().flat_map(|&v| [v; 3]).collect(),
            (3, 1) => self.data.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect(),
            _ => return self,
        };
        Pixels { data, channels, ..self }
    }
}

/// Pillow's `convert("L")`: ITU-R 601-2 luma in 16-bit fixed point.
#[inline(always)]
pub(crate) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 0x8000) >> 16) as u8
}

/// Decodes an image file of any supported format; `channels` is that of the data set (1 or 3).
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::Io`], [`DataError::Image`] (damaged, not an image, too large).
pub fn load_image(path: &Path, channels: usize, config: &DataConfig) -> Result<Pixels, DataError> {
    let bytes = read_file(path, config.max_file_bytes)?;
    decode(&bytes, config.max_pixels)
        .map(|pixels| pixels.with_channels(channels))
        .map_err(|reason| DataError::Image { path: path.to_owned(), reason })
}

/// [`load_image`] from memory; `name` stands for the path in an error.
///
/// # Errors
/// [`DataError::Image`].
pub fn load_image_bytes(
    bytes: &[u8],
    name: &str,
    channels: usize,
    config: &DataConfig,
) -> Result<Pixels, DataError> {
    decode(bytes, config.max_pixels)
        .map(|pixels| pixels.with_channels(channels))
        .map_err(|reason| DataError::Image { path: name.into(), reason })
}

/// Reads a whole file, unless it is larger than `max_bytes`.
pub(crate) fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, DataError> {
    let meta = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    if !meta.is_file() {
        // Opening a pipe whose other end nobody writes to would wait for ever.
        let reason = if meta.is_dir() { "it is a folder" } else { "it is a pipe or a device, not a file" };
        return Err(DataError::Image { path: path.to_owned(), reason: reason.into() });
    }
    let length = meta.len();
    if length > max_bytes {
        let reason = format!("the file has {length} bytes, more than `data.max_file_bytes` = {max_bytes}");
        return Err(DataError::Image { path: path.to_owned(), reason });
    }
    std::fs::read(path).map_err(|e| DataError::io(path, e))
}

/// What an image's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Rows and columns after the EXIF orientation is applied.
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) gray: bool,
    pub(crate) alpha: bool,
    pub(crate) oriented: bool,
    pub(crate) format: ImageFormat,
}

/// Reads the header without decoding. `bytes` may be the beginning of the file only.
pub(crate) fn header(bytes: &[u8], max_pixels: u64) -> Result<Header, String> {
    guard(|| {
        let format = guess(bytes)?;
        if format == ImageFormat::Jpeg {
            let mut decoder = jpeg(bytes);
            decoder.decode_headers().map_err(|e| jpeg_reason(&e))?;
            let info = decoder.info().ok_or("no JPEG header")?;
            check_pixels(u64::from(info.width), u64::from(info.height), max_pixels)?;
            let orientation = jpeg_orientation(&decoder);
            let (width, height) = turned(info.width.into(), info.height.into(), orientation);
            let oriented = orientation != Orientation::NoTransforms;
            return Ok(Header { height, width, gray: info.components == 1, alpha: false, oriented, format });
        }
        let mut decoder = open(bytes, format)?;
        let (width, height) = decoder.dimensions();
        check_pixels(width.into(), height.into(), max_pixels)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let color = decoder.color_type();
        let (width, height) = turned(width, height, orientation);
        let oriented = orientation != Orientation::NoTransforms;
        Ok(Header { height, width, gray: !color.has_color(), alpha: color.has_alpha(), oriented, format })
    })
}

/// Decodes to 1 channel where the file holds grey, else to 3.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Pixels, String> {
    guard(|| {
        let format = guess(bytes)?;
        if format == ImageFormat::Jpeg {
            decode_jpeg(bytes, max_pixels)
        } else {
            decode_other(bytes, format, max_pixels)
        }
    })
}

fn decode_jpeg(bytes: &[u8], max_pixels: u64) -> Result<Pixels, String> {
    let mut decoder = jpeg(bytes);
    decoder.decode_headers().map_err(|e| jpeg_reason(&e))?;
    let info = decoder.info().ok_or("no JPEG header")?;
    check_pixels(u64::from(info.width), u64::from(info.height), max_pixels)?;
    let channels = if info.components == 1 { 1 } else { 3 };
    let space = if channels == 1 { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(space));
    let orientation = jpeg_orientation(&decoder);
    #[cfg(feature = "turbo")]
    if let Some((pixels, _)) = turbo::decode(bytes, None, 1) {
        jpeg_marks::check(bytes)?;
        return Ok(orient(pixels, orientation));
    }
    let data = decoder.decode().map_err(|e| jpeg_reason(&e))?;
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    if data.len() != height * width * channels {
        return Err(format!("decoded to {} bytes; expected {}", data.len(), height * width * channels));
    }
    jpeg_marks::check(bytes)?;
    Ok(orient(Pixels { data, height, width, channels }, orientation))
}

/// A random window of a JPEG, with as many pixels as `size` needs: the pixels and the window in them. `None` where all of the image must be decoded:
/// no JPEG, turned by its EXIF orientation, or without the feature `turbo`.
pub(crate) fn decode_window(
    bytes: &[u8],
    max_pixels: u64,
    size: [usize; 2],
    window: impl FnOnce([usize; 2]) -> Window,
) -> Option<(Pixels, Window)> {
    #[cfg(feature = "turbo")]
    if guess(bytes) == Ok(ImageFormat::Jpeg) {
        let mut decoder = jpeg(bytes);
        decoder.decode_headers().ok()?;
        let info = decoder.info()?;
        check_pixels(u64::from(info.width), u64::from(info.height), max_pixels).ok()?;
        if jpeg_orientation(&decoder) != Orientation::NoTransforms {
            return None;
        }
        let window = window([info.height.into(), info.width.into()]);
        let enough = |scale: &usize| window.height / scale >= size[0] && window.width / scale >= size[1];
        let scale = [8, 4, 2].into_iter().find(enough).unwrap_or(1);
        jpeg_marks::check(bytes).ok()?;
        return turbo::decode(bytes, Some(window), scale);
    }
    let _ = (bytes, max_pixels, size, window);
    None
}

fn decode_other(bytes: &[u8], format: ImageFormat, max_pixels: u64) -> Result<Pixels, String> {
    let mut decoder = open(bytes, format)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width.into(), height.into(), max_pixels)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let gray = !decoder.color_type().has_color();
    let mut limits = image::Limits::default();
    // Up to 16 bytes a pixel (four floats) and the decoder's own tables; the pixels are within their limit already.
    limits.max_alloc = Some(u64::from(width) * u64::from(height) * 32 + (64 << 20));
    decoder.set_limits(limits).map_err(|e| e.to_string())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    let (data, channels) =
        if gray { (image.into_luma8().into_raw(), 1) } else { (image.into_rgb8().into_raw(), 3) };
    Ok(orient(Pixels { data, height: height as usize, width: width as usize, channels }, orientation))
}

/// A decoder's panic on a file nobody thought of must cost that file, not the run.
fn guard<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the decoder failed on it".into()))
}

fn guess(bytes: &[u8]) -> Result<ImageFormat, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    image::guess_format(bytes)
        .map_err(|_| "not an image (or of no supported format: JPEG, PNG, WebP, BMP, GIF, TIFF)".into())
}

fn open<'a>(bytes: &'a [u8], format: ImageFormat) -> Result<impl ImageDecoder + 'a, String> {
    ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(|e| e.to_string())
}

fn jpeg(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    // Strict: without it a JPEG that ends early decodes to a half-grey image without a word.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

fn jpeg_reason(error: &zune_jpeg::errors::DecodeErrors) -> String {
    let text = format!("{error:?}");
    let text = text.lines().next().unwrap_or_default().trim().trim_matches('"');
    let lower = text.to_lowercase();
    if ["exhausted", "eoi", "premature"].iter().any(|sign| lower.contains(sign)) {
        return format!("the JPEG ends too early ({text})");
    }
    text.to_owned()
}

fn jpeg_orientation(decoder: &JpegDecoder<ZCursor<&[u8]>>) -> Orientation {
    decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif)).unwrap_or(Orientation::NoTransforms)
}

fn check_pixels(width: u64, height: u64, max_pixels: u64) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("its size is {width} x {height}"));
    }
    if width * height > max_pixels {
        return Err(format!(
            "its header claims {width} x {height} pixels, more than `data.max_pixels` = {max_pixels}"
        ));
    }
    Ok(())
}

fn turned(width: u32, height: u32, orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

fn orient(pixels: Pixels, orientation: Orientation) -> Pixels {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let Pixels { data, height, width, channels } = pixels;
    let (w, h) = (width as u32, height as u32);
    let image = if channels == 1 {
        image::GrayImage::from_raw(w, h, data).map(DynamicImage::ImageLuma8)
    } else {
        image::RgbImage::from_raw(w, h, data).map(DynamicImage::ImageRgb8)
    };
    // The buffer has the size that its own decoder stated, so it is always an image.
    let mut image = image.unwrap_or_default();
    image.apply_orientation(orientation);
    let (height, width) = (image.height() as usize, image.width() as usize);
    Pixels { data: image.into_bytes(), height, width, channels }
}
