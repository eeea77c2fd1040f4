//! JPEG by libjpeg-turbo (feature `turbo`): decodes a window only, and at a half, a quarter or an eighth of the size where that is enough.
//!
//! The safe interface of the crate has no windows, so that the few functions of TurboJPEG 3 that are needed are called here. At full size the
//! pixels are those of Pillow (the same library, the same accurate DCT).

use std::cell::RefCell;
use std::ffi::c_int;

use turbojpeg::raw;

use crate::Pixels;
use crate::resize::Window;

/// A decompressor, kept by its thread.
struct Handle(raw::tjhandle);

impl Handle {
    fn new() -> Option<Self> {
        // SAFETY: takes a number; null is told apart.
        let handle = unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as c_int) };
        if handle.is_null() {
            return None;
        }
        let handle = Handle(handle);
        // A file that ends early is an error and no half-grey image.
        handle.set(raw::TJPARAM_TJPARAM_STOPONWARNING, 1).then_some(handle)
    }

    fn set(&self, parameter: raw::TJPARAM, value: c_int) -> bool {
        // SAFETY: the handle lives as long as `self`; the function takes numbers.
        unsafe { raw::tj3Set(self.0, parameter as c_int, value) == 0 }
    }

    fn get(&self, parameter: raw::TJPARAM) -> c_int {
        // SAFETY: as `set`.
        unsafe { raw::tj3Get(self.0, parameter as c_int) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made by `tj3Init` and used by nobody after this.
        unsafe { raw::tj3Destroy(self.0) }
    }
}

thread_local! {
    static HANDLE: RefCell<Option<Handle>> = RefCell::new(Handle::new());
}

/// Width of the blocks that a window must begin on, by TurboJPEG's numbers of the subsamplings.
const BLOCK_WIDTHS: [usize; 7] = [8, 16, 16, 8, 8, 32, 8];

/// Decodes a window (the whole image: `None`) at `1 / scale` of its size, with 1 channel for a grey file, else 3. Returns pixels around
/// the window and the window in them. `None` where this decoder does not take the file (CMYK, odd subsampling, any warning): the other one
/// then says what it is.
pub(crate) fn decode(bytes: &[u8], window: Option<Window>, scale: usize) -> Option<(Pixels, Window)> {
    HANDLE.with_borrow(|handle| decode_with(handle.as_ref()?, bytes, window, scale))
}

fn decode_with(
    handle: &Handle,
    bytes: &[u8],
    window: Option<Window>,
    scale: usize,
) -> Option<(Pixels, Window)> {
    // SAFETY: pointer and length are those of `bytes`, which is only read.
    let header = unsafe { raw::tj3DecompressHeader(handle.0, bytes.as_ptr(), bytes.len() as raw::size_t) };
    if header != 0 {
        return None;
    }
    let side = |parameter| usize::try_from(handle.get(parameter)).ok().filter(|&side| side > 0);
    let full_width = side(raw::TJPARAM_TJPARAM_JPEGWIDTH)?;
    let full_height = side(raw::TJPARAM_TJPARAM_JPEGHEIGHT)?;
    let block = *BLOCK_WIDTHS.get(usize::try_from(handle.get(raw::TJPARAM_TJPARAM_SUBSAMP)).ok()?)? / scale;
    let space = handle.get(raw::TJPARAM_TJPARAM_COLORSPACE) as raw::TJCS;
    if space == raw::TJCS_TJCS_CMYK || space == raw::TJCS_TJCS_YCCK || block == 0 {
        return None;
    }
    let gray = space == raw::TJCS_TJCS_GRAY;
    let (channels, format) = if gray { (1, raw::TJPF_TJPF_GRAY) } else { (3, raw::TJPF_TJPF_RGB) };
    let (width, height) = (full_width.div_ceil(scale), full_height.div_ceil(scale));
    let (inner, outer) = match window {
        None => {
            let whole = Window { top: 0, left: 0, height, width };
            (whole, whole)
        }
        Some(window) => {
            let near = |at: usize| (at + scale / 2) / scale;
            let (top, left) = (near(window.top).min(height - 1), near(window.left).min(width - 1));
            let inner = Window {
                top,
                left,
                height: near(window.height).clamp(1, height - top),
                width: near(window.width).clamp(1, width - left),
            };
            // Colours stored at half the size are interpolated from their neighbours, which lie outside.
            let (top, left) = (inner.top.saturating_sub(2), inner.left.saturating_sub(2) / block * block);
            let outer = Window {
                top,
                left,
                height: (inner.top + inner.height + 2).min(height) - top,
                width: (inner.left + inner.width + 2).min(width) - left,
            };
            (inner, outer)
        }
    };
    let factor = raw::tjscalingfactor { num: 1, denom: scale as c_int };
    let region = match window {
        None => raw::tjregion { x: 0, y: 0, w: 0, h: 0 },
        Some(_) => raw::tjregion {
            x: outer.left as c_int,
            y: outer.top as c_int,
            w: outer.width as c_int,
            h: outer.height as c_int,
        },
    };
    // SAFETY: plain numbers.
    let set = unsafe {
        raw::tj3SetScalingFactor(handle.0, factor) == 0 && raw::tj3SetCroppingRegion(handle.0, region) == 0
    };
    if !set {
        return None;
    }
    let pitch = outer.width * channels;
    let mut data = vec![0; pitch * outer.height];
    // SAFETY: writes `outer.height` rows of `outer.width` pixels of `channels` bytes, `pitch` apart: the length of `data`. The sizes come
    // from this very file's header at this scale, read above with the same handle.
    let done = unsafe {
        raw::tj3Decompress8(
            handle.0,
            bytes.as_ptr(),
            bytes.len() as raw::size_t,
            data.as_mut_ptr(),
            pitch as c_int,
            format,
        )
    };
    if done != 0 {
        return None;
    }
    let pixels = Pixels { data, height: outer.height, width: outer.width, channels };
    let inner = Window { top: inner.top - outer.top, left: inner.left - outer.left, ..inner };
    Some((pixels, inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resize::crop;

    fn golden(name: &str) -> Vec<u8> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/images");
        std::fs::read(folder.join(name)).unwrap()
    }

    #[test]
    fn a_window_has_the_pixels_that_the_whole_image_has_there() {
        for name in ["baseline.jpg", "progressive.jpg", "subsampled.jpg", "gray.jpg"] {
            let bytes = golden(name);
            let (whole, _) = decode(&bytes, None, 1).unwrap();
            for top in (0..whole.height - 4).step_by(3) {
                for left in (0..whole.width - 5).step_by(4) {
                    let window = Window {
                        top,
                        left,
                        height: (whole.height - top).min(top % 9 + 4),
                        width: (whole.width - left).min(left % 11 + 5),
                    };
                    let (part, inner) = decode(&bytes, Some(window), 1).unwrap();
                    assert_eq!(crop(&part, inner), crop(&whole, window), "{name} {window:?}");
                }
            }
        }
    }

    #[test]
    fn smaller_scales_look_like_the_whole_image_made_smaller() {
        let bytes = golden("baseline.jpg");
        let (whole, _) = decode(&bytes, None, 1).unwrap();
        for scale in [2, 4, 8] {
            let (small, _) = decode(&bytes, None, scale).unwrap();
            assert_eq!(
                [small.height, small.width],
                [whole.height, whole.width].map(|side| side.div_ceil(scale))
            );
            // Pixels at the edge stand for fewer of the whole image's than `scale` squared, and are left out.
            for (row, column) in
                (0..whole.height / scale).flat_map(|row| (0..whole.width / scale).map(move |c| (row, c)))
            {
                for channel in 0..3 {
                    let at = |image: &Pixels, y: usize, x: usize| {
                        f64::from(image.data[(y * image.width + x) * 3 + channel])
                    };
                    let block = (0..scale * scale)
                        .map(|i| at(&whole, row * scale + i / scale, column * scale + i % scale));
                    let mean = block.sum::<f64>() / (scale * scale) as f64;
                    assert!((at(&small, row, column) - mean).abs() <= 3.0, "1/{scale} at {row}, {column}");
                }
            }
        }
    }

    #[test]
    fn torn_files_and_cmyk_are_left_to_the_other_decoder() {
        for name in ["hostile_truncated.jpg", "hostile_damaged.jpg", "cmyk.jpg", "hostile_text.jpg"] {
            assert!(decode(&golden(name), None, 1).is_none(), "{name}");
        }
    }
}
