//! Resizing, equal to Pillow's within 1 level (nearest is not compared), and bringing an image to the network's input size.

mod bilinear;

use fast_image_resize as fir;
use fir::images::{CroppedImage, Image, ImageRef};

use crate::decode::View;
use crate::{Fit, Interpolation, Pixels};

thread_local! {
    /// The resizer keeps its coefficient and intermediate buffers between images; one a thread.
    static RESIZER: std::cell::RefCell<fir::Resizer> = std::cell::RefCell::new(fir::Resizer::new());
}

/// A box of whole pixels in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Window {
    pub(crate) fn whole<'a>(image: impl Into<View<'a>>) -> Self {
        let image = image.into();
        Window { top: 0, left: 0, height: image.height, width: image.width }
    }
}

/// Brings an image to `[height, width]` as training and prediction do.
pub fn fit_image(
    image: &Pixels,
    size: [usize; 2],
    fit: Fit,
    crop_ratio: f64,
    filter: Interpolation,
) -> Pixels {
    let [height, width] = size;
    if [image.height, image.width] == size && (fit != Fit::Crop || crop_ratio >= 1.0) {
        return image.clone();
    }
    match fit {
        Fit::Squash => resize_window(image, Window::whole(image), size, filter),
        Fit::Crop => {
            // torchvision: Resize(shorter side) with the longer side truncated, then CenterCrop with rounding.
            let (h, w) = (image.height as f64, image.width as f64);
            let scale = (height as f64 / h).max(width as f64 / w) / crop_ratio;
            let resized =
                [((h * scale + 1e-6) as usize).max(height), ((w * scale + 1e-6) as usize).max(width)];
            let whole = resize_window(image, Window::whole(image), resized, filter);
            let top = round_half_even((resized[0] - height) as f64 / 2.0);
            let left = round_half_even((resized[1] - width) as f64 / 2.0);
            crop(&whole, Window { top, left, height, width })
        }
        Fit::Pad => {
            let (h, w) = (image.height as f64, image.width as f64);
            let scale = (height as f64 / h).min(width as f64 / w);
            let inner = [
                ((h * scale).round() as usize).clamp(1, height),
                ((w * scale).round() as usize).clamp(1, width),
            ];
            let resized = resize_window(image, Window::whole(image), inner, filter);
            let mut out = Pixels::filled(height, width, image.channels, 0);
            let (top, left) = ((height - inner[0]) / 2, (width - inner[1]) / 2);
            let row = inner[1] * image.channels;
            for y in 0..inner[0] {
                let at = ((top + y) * width + left) * image.channels;
                out.data[at..at + row].copy_from_slice(&resized.data[y * row..(y + 1) * row]);
            }
            out
        }
    }
}

/// The `[height, width]` to which an image is shrunk once: its shorter side at most `most` pixels (torchvision's `Resize`).
pub(crate) fn shrunk([height, width]: [usize; 2], most: Option<usize>) -> [usize; 2] {
    let (short, long) = (height.min(width), height.max(width));
    match most {
        Some(most) if short > most => {
            let long = (most as u64 * long as u64 / short as u64) as usize;
            if height <= width { [most, long] } else { [long, most] }
        }
        _ => [height, width],
    }
}

/// Shrinks an image as [`shrunk`] says.
pub(crate) fn shrink(image: Pixels, most: Option<usize>, filter: Interpolation) -> Pixels {
    let size = shrunk([image.height, image.width], most);
    if size == [image.height, image.width] {
        return image;
    }
    resize_window(&image, Window::whole(&image), size, filter)
}

/// Python's `round`, which torchvision's `CenterCrop` uses.
fn round_half_even(value: f64) -> usize {
    value.round_ties_even() as usize
}

/// Cuts a window out; it must lie inside the image.
pub(crate) fn crop<'a>(image: impl Into<View<'a>>, window: Window) -> Pixels {
    let image = image.into();
    if window == Window::whole(image) {
        return image.to_pixels();
    }
    let c = image.channels;
    let mut data = Vec::with_capacity(window.height * window.width * c);
    for y in window.top..window.top + window.height {
        let at = (y * image.width + window.left) * c;
        data.extend_from_slice(&image.data[at..at + window.width * c]);
    }
    Pixels { data, height: window.height, width: window.width, channels: c }
}

/// Resizes a window of the image to `[height, width]`; pixels outside of the window have no influence, as in
/// torchvision's `resized_crop`.
pub(crate) fn resize_window<'a>(
    image: impl Into<View<'a>>,
    window: Window,
    size: [usize; 2],
    filter: Interpolation,
) -> Pixels {
    let image = image.into();
    let [height, width] = size;
    if [window.height, window.width] == size {
        return crop(image, window);
    }
    if filter == Interpolation::Bilinear
        && let Some(data) = bilinear::resize(image, window, size)
    {
        return Pixels { data, height, width, channels: image.channels };
    }
    // Filters with negative weights overshoot, and both libraries clip to u8 between the passes: Pillow goes along the
    // rows first, fast_image_resize along the columns. In one call they differ by up to 15 levels on noise; in Pillow's
    // order by 1.
    if matches!(filter, Interpolation::Bicubic | Interpolation::Lanczos)
        && window.height != height
        && window.width != width
    {
        let rows = resize_window(image, window, [window.height, width], filter);
        return resize_window(&rows, Window::whole(&rows), size, filter);
    }
    let pixel = if image.channels == 1 { fir::PixelType::U8 } else { fir::PixelType::U8x3 };
    let algorithm = match filter {
        Interpolation::Nearest => fir::ResizeAlg::Nearest,
        Interpolation::Bilinear => fir::ResizeAlg::Convolution(fir::FilterType::Bilinear),
        Interpolation::Bicubic => fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom),
        Interpolation::Lanczos => fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3),
    };
    let options = fir::ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
    let mut out = Image::new(width as u32, height as u32, pixel);
    let done = (|| {
        let source = ImageRef::new(image.width as u32, image.height as u32, image.data, pixel).ok()?;
        // `CroppedImage` and not the option's crop box: the box lets the filter reach beyond its edges.
        let view = CroppedImage::new(
            &source,
            window.left as u32,
            window.top as u32,
            window.width as u32,
            window.height as u32,
        )
        .ok()?;
        RESIZER.with_borrow_mut(|resizer| resizer.resize(&view, &mut out, &options)).ok()
    })();
    // Both views have the sizes of their buffers and the window lies inside: a failure would be a bug of this file.
    debug_assert!(done.is_some(), "resize of {window:?} of {}x{} failed", image.height, image.width);
    Pixels { data: out.into_vec(), height, width, channels: image.channels }
}
