//! TensorBoard event files: scalars, images, histograms and text that TensorBoard itself opens.
//!
//! A file is a row of TFRecords (length, masked CRC-32C of the length, data, masked CRC-32C of the data), each an `Event`
//! protocol buffer. The dozen fields used here are encoded by hand, after `tensorboard/compat/proto/*.proto`;
//! `golden/view/check_tensorboard.py` reads a file back with PyPI's `tensorboard`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::bitmap::Bitmap;
use crate::distribution::Histogram;
use crate::error::ViewError;

/// Writes events into one file; every event is whole or not there at all as far as a reader can tell, since a torn
/// record fails its checksum and TensorBoard waits for the rest.
#[derive(Debug)]
pub struct EventWriter<W: Write> {
    out: W,
}

/// A value of a hyper-parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum HParam {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Yes or no.
    Bool(bool),
}

/// The file name that TensorBoard looks for: `events.out.tfevents.<seconds>.<host>`.
pub fn file_name(seconds: u64, host: &str) -> String {
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("events.out.tfevents.{seconds:010}.{}", if host.is_empty() { "danlu" } else { &host })
}

impl EventWriter<BufWriter<File>> {
    /// Creates an event file in `folder` and writes its version record. `time` is seconds since 1970.
    ///
    /// # Errors
    /// [`ViewError::Io`] when the file exists already or cannot be written.
    pub fn create(folder: &Path, time: f64, host: &str) -> Result<(Self, PathBuf), ViewError> {
        let path = folder.join(file_name(time.max(0.0) as u64, host));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((EventWriter::new(BufWriter::new(file), time)?, path))
    }

    /// Goes on with a file that is `bytes` long by the last checkpoint; what was written after it is cut off.
    ///
    /// # Errors
    /// [`ViewError::Io`] when the file is missing, shorter than that, or cannot be written.
    pub fn resume(path: &Path, bytes: u64) -> Result<Self, ViewError> {
        use std::io::{Error, ErrorKind, Seek, SeekFrom};
        let mut file = OpenOptions::new().write(true).open(path)?;
        let found = file.metadata()?.len();
        if found < bytes {
            let text = format!("`{}` has {found} bytes, expected at least {bytes}", path.display());
            return Err(Error::new(ErrorKind::UnexpectedEof, text).into());
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(EventWriter { out: BufWriter::new(file) })
    }

    /// Goes on with a file after the events of `step`: later ones, and a last one that is not whole, are cut off. Steps must
    /// have grown through the file. Also gives the step of the last event that stays; none where there is none.
    ///
    /// # Errors
    /// [`ViewError::Io`] when the file is no event file or cannot be written.
    pub fn resume_after(path: &Path, step: i64) -> Result<(Self, Option<i64>), ViewError> {
        let (bytes, last) = end_of_step(File::open(path)?, step)?;
        if bytes == 0 {
            let text = format!("`{}` is no TensorBoard event file", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text).into());
        }
        Ok((EventWriter::resume(path, bytes)?, last))
    }
}

/// The length of the records up to the last event of `step`, and that event's own step.
fn end_of_step(file: File, step: i64) -> std::io::Result<(u64, Option<i64>)> {
    use std::io::{ErrorKind, Read};
    let mut left = file.metadata()?.len();
    let mut input = std::io::BufReader::new(file);
    let (mut end, mut last) = (0, None);
    loop {
        let mut head = [0u8; 12];
        match input.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let (length, check) = head.split_at(8);
        let size = u64::from_le_bytes(std::array::from_fn(|i| length[i]));
        left = left.saturating_sub(12);
        // Whatever a crash or another program left there is not worth its memory.
        if masked(length).to_le_bytes() != check || size.saturating_add(4) > left {
            break;
        }
        let mut data = vec![0u8; size as usize + 4];
        input.read_exact(&mut data)?;
        left -= size + 4;
        let (event, check) = data.split_at(size as usize);
        let found = step_of(event);
        if masked(event).to_le_bytes() != check || found.is_some_and(|found| found > step) {
            break;
        }
        last = found.or(last);
        end += size + 16;
    }
    Ok((end, last))
}

/// Field 2 of an event whose first field is the time, as danlu and TensorFlow write them; the version record has none.
fn step_of(event: &[u8]) -> Option<i64> {
    let rest = event.strip_prefix(&[0x09])?.get(8..)?.strip_prefix(&[0x10])?;
    let mut step = 0u64;
    for (i, byte) in rest.iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some(step as i64);
        }
    }
    None
}

impl<W: Write> EventWriter<W> {
    /// Starts a stream of events with the version record that every file begins with.
    ///
    /// # Errors
    /// [`ViewError::Io`] when it cannot be written.
    pub fn new(out: W, time: f64) -> Result<Self, ViewError> {
        let mut writer = EventWriter { out };
        let mut event = Message::default();
        event.double(1, time);
        event.text(3, "brain.Event:2");
        writer.record(&event.0)?;
        Ok(writer)
    }

    /// A number. `step` is the epoch or iteration, `time` seconds since 1970.
    ///
    /// # Errors
    /// [`ViewError::Io`] when it cannot be written.
    pub fn scalar(&mut self, tag: &str, step: i64, time: f64, value: f32) -> Result<(), ViewError> {
        self.value(tag, step, time, "scalars", |v| v.float(2, value))
    }

    /// An image.
    ///
    /// # Errors
    /// [`ViewError::Png`] or [`ViewError::Io`] when it cannot be encoded or written.
    pub fn image(&mut self, tag: &str, step: i64, time: f64, image: &Bitmap) -> Result<(), ViewError> {
        let png = image.to_png()?;
        let mut m = Message::default();
        m.varint(1, image.height() as u64);
        m.varint(2, image.width() as u64);
        m.varint(3, image.channels() as u64);
        m.bytes(4, &png);
        self.value(tag, step, time, "images", |v| v.bytes(4, &m.0))
    }

    /// A histogram. Mean and spread come from the bins' middles, as the values themselves are not kept.
    ///
    /// # Errors
    /// [`ViewError::Io`] when it cannot be written.
    pub fn histogram(&mut self, tag: &str, step: i64, time: f64, h: &Histogram) -> Result<(), ViewError> {
        let n = h.counts.len().max(1) as f64;
        let width = (h.high - h.low) / n;
        let (mut sum, mut squares) = (0.0, 0.0);
        for (i, c) in h.counts.iter().enumerate() {
            let middle = h.low + (i as f64 + 0.5) * width;
            sum += middle * *c as f64;
            squares += middle * middle * *c as f64;
        }
        let mut m = Message::default();
        for (field, v) in [(1, h.low), (2, h.high), (3, h.total() as f64), (4, sum), (5, squares)] {
            m.double(field, v);
        }
        // Upper ends of the bins; TensorBoard takes the first bin to begin at the least value.
        m.doubles(6, (0..h.counts.len()).map(|i| h.low + (i as f64 + 1.0) * width));
        m.doubles(7, h.counts.iter().map(|c| *c as f64));
        self.value(tag, step, time, "histograms", |v| v.bytes(5, &m.0))
    }

    /// A text, shown as Markdown.
    ///
    /// # Errors
    /// [`ViewError::Io`] when it cannot be written.
    pub fn text(&mut self, tag: &str, step: i64, time: f64, text: &str) -> Result<(), ViewError> {
        let mut tensor = Message::default();
        tensor.varint(1, 7); // DT_STRING
        tensor.bytes(2, &[0x12, 0x02, 0x08, 0x01]); // a shape of one dimension of size 1
        tensor.bytes(8, text.as_bytes());
        self.value(tag, step, time, "text", |v| v.bytes(8, &tensor.0))
    }

    /// What distinguishes this run from others, for the HPARAMS page: names and values, numbers where they are numbers. Scalars
    /// of the same file are its metrics.
    ///
    /// # Errors
    /// [`ViewError::Io`] when it cannot be written.
    pub fn hparams(&mut self, time: f64, values: &[(String, HParam)]) -> Result<(), ViewError> {
        let mut session = Message::default();
        for (name, value) in values {
            let mut proto = Message::default(); // google.protobuf.Value
            match value {
                HParam::Number(v) => proto.double(2, *v),
                HParam::Text(v) => proto.text(3, v),
                HParam::Bool(v) => proto.varint(4, u64::from(*v)),
            }
            let mut entry = Message::default();
            entry.text(1, name);
            entry.bytes(2, &proto.0);
            session.bytes(1, &entry.0);
        }
        session.double(5, time);
        let mut content = Message::default(); // HParamsPluginData
        content.varint(1, 0);
        content.bytes(3, &session.0);
        let mut plugin = Message::default();
        plugin.text(1, "hparams");
        plugin.bytes(2, &content.0);
        let mut metadata = Message::default();
        metadata.bytes(1, &plugin.0);
        self.value("_hparams_/session_start_info", 0, time, "hparams", |v| v.bytes(9, &metadata.0))
    }

    /// Hands everything written so far to the operating system.
    ///
    /// # Errors
    /// [`ViewError::Io`] when it cannot be written.
    pub fn flush(&mut self) -> Result<(), ViewError> {
        Ok(self.out.flush()?)
    }

    /// Flushes and hands back what was written to.
    ///
    /// # Errors
    /// [`ViewError::Io`] when it cannot be written.
    pub fn into_inner(mut self) -> Result<W, ViewError> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn value(
        &mut self,
        tag: &str,
        step: i64,
        time: f64,
        plugin: &str,
        fill: impl FnOnce(&mut Message),
    ) -> Result<(), ViewError> {
        let mut value = Message::default();
        value.text(1, tag);
        fill(&mut value);
        // Scalars, images and histograms are known by their fields; a text is only found through its plugin's name.
        if plugin == "text" {
            let mut name = Message::default();
            name.text(1, plugin);
            let mut metadata = Message::default();
            metadata.bytes(1, &name.0);
            value.bytes(9, &metadata.0);
        }
        let mut summary = Message::default();
        summary.bytes(1, &value.0);
        let mut event = Message::default();
        event.double(1, time);
        event.varint(2, step as u64);
        event.bytes(5, &summary.0);
        self.record(&event.0)
    }

    fn record(&mut self, data: &[u8]) -> Result<(), ViewError> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(data.len() + 16);
        record.extend(length);
        record.extend(masked(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked(data).to_le_bytes());
        Ok(self.out.write_all(&record)?)
    }
}

/// The fields of a protocol buffer message, encoded one after another.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.0.push(v as u8);
    }
    fn varint(&mut self, field: u64, v: u64) {
        self.raw(field << 3);
        self.raw(v);
    }
    fn double(&mut self, field: u64, v: f64) {
        self.raw(field << 3 | 1);
        self.0.extend(v.to_le_bytes());
    }
    fn float(&mut self, field: u64, v: f32) {
        self.raw(field << 3 | 5);
        self.0.extend(v.to_le_bytes());
    }
    fn bytes(&mut self, field: u64, v: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(v.len() as u64);
        self.0.extend(v);
    }
    fn text(&mut self, field: u64, v: &str) {
        self.bytes(field, v.as_bytes());
    }
    fn doubles(&mut self, field: u64, v: impl Iterator<Item = f64>) {
        let packed: Vec<u8> = v.flat_map(f64::to_le_bytes).collect();
        self.bytes(field, &packed);
    }
}

/// CRC-32C (Castagnoli, RFC 3720), reflected, a table of 256.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut i = 0;
        while i < 256 {
            let mut c = i as u32;
            let mut bit = 0;
            while bit < 8 {
                c = if c & 1 == 1 { c >> 1 ^ 0x82F6_3B78 } else { c >> 1 };
                bit += 1;
            }
            table[i] = c;
            i += 1;
        }
        table
    };
    !data.iter().fold(!0u32, |c, b| c >> 8 ^ TABLE[((c ^ u32::from(*b)) & 0xFF) as usize])
}

/// TFRecord's masking: a checksum of data that holds checksums would be weak without it.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }

    #[test]
    fn the_bytes_are_those_that_tensorboard_was_seen_to_read() {
        // golden/view/check_tensorboard.py reads this file back with PyPI's tensorboard and compares every value.
        let golden = include_bytes!("../tests/golden/events.tfevents");
        assert!(
            example().expect("writes to memory") == golden,
            "run the example `events` and the script again"
        );
    }

    /// The same as `examples/events.rs` writes.
    fn example() -> Result<Vec<u8>, ViewError> {
        let mut w = EventWriter::new(Vec::new(), 1000.5)?;
        w.scalar("loss/train", 0, 1001.0, 2.5)?;
        w.scalar("loss/train", 300, 1002.0, 0.125)?;
        w.histogram(
            "weights/conv1",
            1,
            1003.0,
            &Histogram { low: -1.0, high: 1.0, counts: vec![1, 0, 5, 2] },
        )?;
        w.text("recipe", 0, 1004.0, "lr = 0.1\n中文")?;
        w.scalar("accuracy/验证", -1, 1005.0, f32::NAN)?;
        w.into_inner()
    }

    #[test]
    fn a_resumed_file_is_cut_back_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut w, path) = EventWriter::create(folder.path(), 5.0, "my host").expect("creates");
        assert!(path.ends_with("events.out.tfevents.0000000005.my_host"));
        w.scalar("a", 1, 6.0, 1.0).expect("writes");
        w.flush().expect("writes");
        let kept = std::fs::metadata(&path).expect("is there").len();
        w.scalar("a", 2, 7.0, 2.0).expect("writes");
        drop(w);
        let mut w = EventWriter::resume(&path, kept).expect("resumes");
        w.scalar("a", 2, 8.0, 3.0).expect("writes");
        drop(w);
        let bytes = std::fs::read(&path).expect("reads");
        assert_eq!(
            bytes.len() as u64,
            kept + (kept - 40),
            "two scalars of one size after the version record"
        );
        assert!(EventWriter::resume(&path, 1 << 40).is_err());
        assert!(EventWriter::create(folder.path(), 5.0, "my host").is_err(), "never overwrites");
    }

    #[test]
    fn a_file_is_cut_back_to_a_step_and_a_torn_end_goes_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut w, path) = EventWriter::create(folder.path(), 5.0, "h").expect("creates");
        for step in [10, 200, 200, 300] {
            w.scalar("a", step, 6.0, 1.0).expect("writes");
        }
        w.into_inner().expect("writes");
        let whole = std::fs::read(&path).expect("reads");
        std::fs::write(&path, &whole[..whole.len() - 3]).expect("writes");
        let (_, last) = EventWriter::resume_after(&path, 1000).expect("resumes");
        assert_eq!(last, Some(200), "the record of 300 was torn");
        let (w, last) = EventWriter::resume_after(&path, 199).expect("resumes");
        drop(w);
        assert_eq!(last, Some(10));
        let cut = std::fs::read(&path).expect("reads");
        assert!(cut.len() < whole.len() && whole.starts_with(&cut));
        assert_eq!(EventWriter::resume_after(&path, 9).expect("resumes").1, None, "the version record stays");
        std::fs::write(&path, b"no events here").expect("writes");
        assert!(EventWriter::resume_after(&path, 9).is_err());
    }

    #[test]
    fn an_image_is_written_with_its_size() {
        let image = Bitmap::filled(3, 5, [1, 2, 3]).expect("small");
        let mut w = EventWriter::new(Vec::new(), 0.0).expect("writes");
        w.image("filters", 0, 0.0, &image).expect("writes");
        let bytes = w.into_inner().expect("writes");
        let png = image.to_png().expect("encodes");
        assert!(bytes.windows(png.len()).any(|p| p == png));
        assert!(bytes.windows(6).any(|p| p == [0x08, 3, 0x10, 5, 0x18, 3]));
    }
}
