//! The bilinear resize, the one that every random window of every epoch goes through.
//!
//! The weights are Pillow's (a triangle as wide as the reduction, so that nothing is skipped). Sums are 16-bit integers with 8 bits behind the
//! point, in both directions: between the two Pillow rounds to whole levels, so that this is nearer to the true value and at most 1 level from
//! Pillow. Sixteen rows of the result are made at once: the columns of the source, reduced to 16 rows, lie one behind the other as vectors of 16
//! values, and the sums along the rows are sums of such vectors, whatever the number of channels. The portable form computes the same bits.

use crate::decode::View;
use crate::resize::Window;

/// Rows of the result that are made together.
const ROWS: usize = 16;
/// More neighbours than this could overflow 16 bits: images that are made fifty times smaller.
const MOST_TAPS: usize = 100;

/// Which pixels of a line, weighted how, make each pixel of the resized line.
struct Taps {
    /// The first neighbour of each pixel.
    starts: Vec<usize>,
    /// Neighbours of each pixel: the most of any, with weights of 0 at the end of the others.
    count: usize,
    /// `count` weights a pixel, in units of 2^-16.
    weights: Vec<u16>,
}

impl Taps {
    fn new(from: usize, to: usize) -> Option<Taps> {
        let scale = from as f64 / to as f64;
        let reach = scale.max(1.0);
        let count = ((reach.ceil() as usize) * 2 + 1).min(from);
        if count > MOST_TAPS {
            return None;
        }
        let mut weights = vec![0; to * count];
        let mut widest = 0;
        let mut starts = Vec::with_capacity(to);
        let mut shares = Vec::with_capacity(count + 1);
        for (x, weights) in weights.chunks_exact_mut(count).enumerate() {
            let center = (x as f64 + 0.5) * scale;
            let start = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(from);
            shares.clear();
            shares.extend((start..end).map(|i| (1.0 - ((i as f64 + 0.5 - center) / reach).abs()).max(0.0)));
            let all: f64 = shares.iter().sum();
            for (i, (weight, share)) in weights.iter_mut().zip(&shares).enumerate() {
                *weight = (share / all * 65536.0).round().min(65535.0) as u16;
                if *weight > 0 {
                    widest = widest.max(i + 1);
                }
            }
            starts.push(start);
        }
        // Weights that are 0 for every pixel cost as much as others.
        let narrow =
            weights.chunks_exact(count).flat_map(|weights| weights[..widest].iter().copied()).collect();
        Some(Taps { starts, count: widest, weights: narrow })
    }

    /// The first neighbour of a pixel, and the weights of its neighbours.
    fn of(&self, pixel: usize) -> (usize, &[u16]) {
        (self.starts[pixel], &self.weights[pixel * self.count..(pixel + 1) * self.count])
    }

    /// Each product is cut off, on average by half a unit.
    fn lost(&self) -> u16 {
        self.count as u16 / 2
    }
}

/// Resizes a window to `[height, width]`; `None` where its sums could leave 16 bits.
pub(super) fn resize(image: View<'_>, window: Window, [height, width]: [usize; 2]) -> Option<Vec<u8>> {
    let (down, along) = (Taps::new(window.height, height)?, Taps::new(window.width, width)?);
    let mut out = vec![0; height * width * image.channels];
    let work = Work { image, window, down, along, height, width };
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked.
        unsafe { avx2::resize(&work, &mut out) };
        return Some(out);
    }
    plain(&work, &mut out);
    Some(out)
}

struct Work<'a> {
    image: View<'a>,
    window: Window,
    down: Taps,
    along: Taps,
    height: usize,
    width: usize,
}

impl Work<'_> {
    /// The place in the image of a row of the window; rows below it, whose weights are 0, are its last one.
    fn row(&self, y: usize) -> usize {
        let y = self.window.top + y.min(self.window.height - 1);
        (y * self.image.width + self.window.left) * self.image.channels
    }
}

fn part(value: u16, weight: u16) -> u16 {
    ((u32::from(value) * u32::from(weight)) >> 16) as u16
}

fn plain(work: &Work<'_>, out: &mut [u8]) {
    let channels = work.image.channels;
    let columns = work.window.width * channels;
    let mut line = vec![0u16; columns];
    for (y, out) in out.chunks_exact_mut(work.width * channels).enumerate() {
        let (start, weights) = work.down.of(y);
        line.fill(work.down.lost());
        for (i, &weight) in weights.iter().enumerate() {
            let row = work.row(start + i);
            let pixels = &work.image.data[row..row + columns];
            line.iter_mut().zip(pixels).for_each(|(sum, &v)| *sum += part(u16::from(v) << 8, weight));
        }
        for (x, out) in out.chunks_exact_mut(channels).enumerate() {
            let (start, weights) = work.along.of(x);
            for (channel, out) in out.iter_mut().enumerate() {
                let mut sum = 128 + work.along.lost();
                for (i, &weight) in weights.iter().enumerate() {
                    let at = (start + i) * channels + channel;
                    sum += part(line.get(at).copied().unwrap_or(0), weight);
                }
                *out = (sum >> 8) as u8;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;
    use std::cell::RefCell;

    use super::{ROWS, Work};

    /// One value of each of the 16 rows.
    type Column = [u16; ROWS];

    /// Rows of the result by which reading runs ahead: an image from the cache comes from memory, which answers late.
    const AHEAD: usize = 4;

    /// Kept between images.
    struct Scratch {
        /// 16 rows of the reduced source, one behind the other.
        lines: Vec<u16>,
        /// The same, column by column.
        source: Vec<Column>,
        /// 16 rows of the result, column by column.
        result: Vec<Column>,
    }

    thread_local! {
        static SCRATCH: RefCell<Scratch> =
            const { RefCell::new(Scratch { lines: Vec::new(), source: Vec::new(), result: Vec::new() }) };
    }

    fn at_least<T: Clone>(room: &mut Vec<T>, len: usize, value: T) {
        if room.len() < len {
            room.resize(len, value);
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn resize(work: &Work<'_>, out: &mut [u8]) {
        let channels = work.image.channels;
        let columns = (work.window.width * channels).next_multiple_of(32);
        let width = work.width * channels;
        SCRATCH.with_borrow_mut(|Scratch { lines, source, result }| {
            at_least(lines, ROWS * columns, 0);
            // Neighbours of weight 0 may lie behind the last column; what stands there does not count.
            at_least(source, columns + work.along.count * channels, [0; ROWS]);
            at_least(result, width.next_multiple_of(16), [0; ROWS]);
            for top in (0..work.height).step_by(ROWS) {
                let rows = ROWS.min(work.height - top);
                for (row, line) in lines.chunks_exact_mut(columns).take(rows).enumerate() {
                    reduce(work, top + row, line);
                }
                turn(lines, columns, source);
                match (channels, work.along.count) {
                    (3, 2) => sums::<3, 2>(work, source, result),
                    (3, 3) => sums::<3, 3>(work, source, result),
                    (3, 4) => sums::<3, 4>(work, source, result),
                    (3, 5) => sums::<3, 5>(work, source, result),
                    (3, 6) => sums::<3, 6>(work, source, result),
                    (3, _) => sums::<3, 0>(work, source, result),
                    _ => sums::<1, 0>(work, source, result),
                }
                write(result, &mut out[top * width..(top + rows) * width], width);
            }
        });
    }

    /// The source reduced to one row of the result.
    #[target_feature(enable = "avx2")]
    fn reduce(work: &Work<'_>, y: usize, line: &mut [u16]) {
        let data = work.image.data;
        let (start, weights) = work.down.of(y);
        let lost = _mm256_set1_epi16(work.down.lost() as i16);
        // Rows that are first needed some rows later.
        let new = |y: usize| work.down.of(y.min(work.height - 1)).0 + work.down.count;
        let later = new(y + AHEAD - 1)..new(y + AHEAD);
        for (block, line) in line.chunks_exact_mut(32).enumerate() {
            let left = 32 * block;
            if block % 2 == 0 {
                for row in later.clone() {
                    _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().wrapping_add(work.row(row) + left).cast());
                }
            }
            let mut sums = [lost; 2];
            for (i, &weight) in weights.iter().enumerate() {
                let weight = _mm256_set1_epi16(weight as i16);
                for (half, pixels) in load32(data, work.row(start + i) + left).into_iter().enumerate() {
                    let value = _mm256_slli_epi16(_mm256_cvtepu8_epi16(pixels), 8);
                    sums[half] = _mm256_add_epi16(sums[half], _mm256_mulhi_epu16(value, weight));
                }
            }
            for (half, sum) in line.chunks_exact_mut(16).zip(sums) {
                // SAFETY: writes 16 values of 2 bytes to 16.
                unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), sum) };
            }
        }
    }

    /// Sixteen lines of `columns` values, column by column.
    #[target_feature(enable = "avx2")]
    fn turn(lines: &[u16], columns: usize, source: &mut [Column]) {
        let lines: [&[u16]; ROWS] = std::array::from_fn(|row| &lines[row * columns..(row + 1) * columns]);
        for (block, out) in source[..columns].chunks_exact_mut(8).enumerate() {
            let mut parts = [_mm_setzero_si128(); ROWS];
            for (part, line) in parts.iter_mut().zip(lines) {
                let values: &[u16] = &line[8 * block..8 * block + 8];
                // SAFETY: reads 8 values of 2 bytes of 8.
                *part = unsafe { _mm_loadu_si128(values.as_ptr().cast()) };
            }
            // Rows 0 to 7 in the lower halves of the vectors, 8 to 15 in the upper ones.
            let mut rows = [_mm256_setzero_si256(); 8];
            for i in 0..8 {
                rows[i] = _mm256_set_m128i(parts[i + 8], parts[i]);
            }
            for (out, turned) in out.iter_mut().zip(transposed(rows)) {
                store(out, turned);
            }
        }
    }

    /// The sums along the rows, of all 16 at once; `N` neighbours, 0 where their number is not known before.
    #[target_feature(enable = "avx2")]
    fn sums<const C: usize, const N: usize>(work: &Work<'_>, source: &[Column], result: &mut [Column]) {
        let count = if N == 0 { work.along.count } else { N };
        let half = _mm256_set1_epi16((128 + work.along.lost()) as i16);
        for (x, out) in result[..work.width * C].chunks_exact_mut(C).enumerate() {
            let (start, weights) = work.along.of(x);
            let columns = &source[start * C..(start + count) * C];
            let mut sums = [half; C];
            for (columns, &weight) in columns.chunks_exact(C).zip(&weights[..count]) {
                let weight = _mm256_set1_epi16(weight as i16);
                for c in 0..C {
                    sums[c] = _mm256_add_epi16(sums[c], _mm256_mulhi_epu16(load(&columns[c]), weight));
                }
            }
            for c in 0..C {
                store(&mut out[c], _mm256_srli_epi16(sums[c], 8));
            }
        }
    }

    /// Writes the columns as rows of `width` values.
    #[target_feature(enable = "avx2")]
    fn write(result: &[Column], out: &mut [u8], width: usize) {
        for left in (0..width).step_by(16) {
            // Two columns, which are neighbours in a row, in one.
            let mut pairs = [_mm256_setzero_si256(); 8];
            for (pair, columns) in pairs.iter_mut().zip(result[left..left + 16].chunks_exact(2)) {
                *pair = _mm256_or_si256(load(&columns[0]), _mm256_slli_epi16(load(&columns[1]), 8));
            }
            let rows = transposed(pairs);
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let vector = match row / 8 {
                    0 => _mm256_castsi256_si128(rows[row]),
                    _ => _mm256_extracti128_si256::<1>(rows[row - 8]),
                };
                let mut bytes = [0u8; 16];
                // SAFETY: writes 16 bytes to 16 bytes.
                unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) };
                let out = &mut out[left..width.min(left + 16)];
                match <&mut [u8; 16]>::try_from(&mut *out) {
                    Ok(out) => *out = bytes,
                    Err(_) => out.copy_from_slice(&bytes[..out.len()]),
                }
            }
        }
    }

    /// The 8x8 matrices in the lower and in the upper halves of eight vectors, transposed.
    #[target_feature(enable = "avx2")]
    fn transposed(r: [__m256i; 8]) -> [__m256i; 8] {
        let low16 = |i: usize| _mm256_unpacklo_epi16(r[i], r[i + 1]);
        let high16 = |i: usize| _mm256_unpackhi_epi16(r[i], r[i + 1]);
        let a = [low16(0), high16(0), low16(2), high16(2), low16(4), high16(4), low16(6), high16(6)];
        let low32 = |i: usize| _mm256_unpacklo_epi32(a[i], a[i + 2]);
        let high32 = |i: usize| _mm256_unpackhi_epi32(a[i], a[i + 2]);
        let b = [low32(0), high32(0), low32(1), high32(1), low32(4), high32(4), low32(5), high32(5)];
        let low64 = |i: usize| _mm256_unpacklo_epi64(b[i], b[i + 4]);
        let high64 = |i: usize| _mm256_unpackhi_epi64(b[i], b[i + 4]);
        [low64(0), high64(0), low64(1), high64(1), low64(2), high64(2), low64(3), high64(3)]
    }

    /// 32 bytes from `at` on; zeros behind the end of the image.
    #[target_feature(enable = "avx2")]
    fn load32(data: &[u8], at: usize) -> [__m128i; 2] {
        let mut copy = [0u8; 32];
        let bytes = match data.get(at..at + 32) {
            Some(bytes) => bytes,
            None => {
                let rest = data.get(at..).unwrap_or_default();
                copy[..rest.len()].copy_from_slice(rest);
                &copy[..]
            }
        };
        // SAFETY: both read 16 of the 32 bytes.
        unsafe { [_mm_loadu_si128(bytes.as_ptr().cast()), _mm_loadu_si128(bytes.as_ptr().add(16).cast())] }
    }

    #[target_feature(enable = "avx2")]
    fn load(column: &Column) -> __m256i {
        // SAFETY: reads 32 bytes of 32.
        unsafe { _mm256_loadu_si256(column.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn store(column: &mut Column, value: __m256i) {
        // SAFETY: writes 32 bytes to 32.
        unsafe { _mm256_storeu_si256(column.as_mut_ptr().cast(), value) };
    }
}

#[cfg(test)]
mod tests {
    use danlu_rng::{Purpose, Stream};

    use super::*;

    /// The weighted mean in f64.
    fn exactly(work: &Work<'_>, y: usize, x: usize, channel: usize) -> f64 {
        let share = |from: usize, to: usize, out: usize| -> Vec<(usize, f64)> {
            let scale = from as f64 / to as f64;
            let (center, reach) = ((out as f64 + 0.5) * scale, scale.max(1.0));
            let weight = |i: usize| (1.0 - ((i as f64 + 0.5 - center) / reach).abs()).max(0.0);
            let all: f64 = (0..from).map(weight).sum();
            (0..from).map(|i| (i, weight(i) / all)).filter(|(_, w)| *w > 0.0).collect()
        };
        let (w, h) = (work.window.width, work.window.height);
        let columns = share(w, work.width, x);
        let of_row = |row: usize| -> f64 {
            let at = |column: usize| work.row(row) + column * work.image.channels + channel;
            columns.iter().map(|&(column, share)| share * f64::from(work.image.data[at(column)])).sum()
        };
        share(h, work.height, y).into_iter().map(|(row, share)| share * of_row(row)).sum()
    }

    #[test]
    fn any_window_to_any_size_is_the_weighted_mean_and_the_same_bits_without_vectors() {
        let mut stream = Stream::new(5, Purpose::Augment, 0, 0);
        for case in 0..60 {
            let channels = [1, 3][case % 2];
            let mut side = |most: u64| 1 + stream.below(most) as usize;
            let (height, width) = (side(90), side(90));
            let window_height = 1 + side(height as u64) % height;
            let window_width = 1 + side(width as u64) % width;
            let window = Window {
                top: side((height - window_height + 1) as u64) - 1,
                left: side((width - window_width + 1) as u64) - 1,
                height: window_height,
                width: window_width,
            };
            let size = [side(50), side(50)];
            let data: Vec<u8> = (0..height * width * channels).map(|_| stream.below(256) as u8).collect();
            let image = View { data: &data, height, width, channels };
            let found = resize(image, window, size).expect("within 16 bits");
            let (down, along) =
                (Taps::new(window.height, size[0]).unwrap(), Taps::new(window.width, size[1]).unwrap());
            let work = Work { image, window, down, along, height: size[0], width: size[1] };
            let mut portable = vec![0; found.len()];
            plain(&work, &mut portable);
            assert!(found == portable, "{window:?} of {height}x{width} to {size:?}");
            for (i, &value) in found.iter().enumerate() {
                let (y, x) = (i / channels / size[1], i / channels % size[1]);
                let exact = exactly(&work, y, x, i % channels);
                assert!(
                    (f64::from(value) - exact).abs() < 0.75,
                    "{value} for {exact} at {y}, {x} of {size:?}"
                );
            }
        }
    }

    #[test]
    fn flat_and_white_images_stay_what_they_are_and_too_great_a_reduction_is_left_to_the_library() {
        for value in [0, 1, 127, 254, 255] {
            let data = vec![value; 97 * 61 * 3];
            let image = View { data: &data, height: 97, width: 61, channels: 3 };
            for size in [[5, 3], [97, 30], [224, 224], [1, 1]] {
                let out = resize(image, Window::whole(image), size).unwrap_or_else(|| vec![value]);
                assert!(out.iter().all(|&v| v == value), "{value} to {size:?}");
            }
        }
        let data = vec![9; 3000];
        let image = View { data: &data, height: 1, width: 3000, channels: 1 };
        assert!(resize(image, Window::whole(image), [1, 10]).is_none());
    }
}
