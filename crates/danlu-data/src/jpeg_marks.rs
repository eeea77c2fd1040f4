//! The marks of a JPEG file: where its pixels begin, and whether anything but pixels lies among them.
//!
//! The decoder takes a mark inside the pixels (flipped bits, a block of another file) for the end of the scan and leaves
//! the rest grey without a word. Baseline and progressive files alike are a chain: scan, tables, scan, ..., end.

/// Where the first scan (the pixels) begins: the segments before it are followed by their lengths.
pub(crate) fn first_scan(bytes: &[u8]) -> Option<usize> {
    match segments(bytes, 2)? {
        Stop::Scan(at) => Some(at),
        Stop::End | Stop::Damaged(_) => None,
    }
}

/// Checks the chain of scans up to the mark of the end.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    // What stands before the first scan has been read by the decoder already.
    let Some(mut at) = first_scan(bytes) else { return Ok(()) };
    loop {
        at = match scan_end(bytes, at + 2) {
            Some(end) => end,
            None => return Err("the JPEG ends too early (no end mark)".into()),
        };
        match segments(bytes, at) {
            Some(Stop::Scan(next)) => at = next,
            Some(Stop::End) => return Ok(()),
            Some(Stop::Damaged(at)) => {
                return Err(format!("the JPEG is damaged at byte {at}, among its pixels"));
            }
            None => return Err("the JPEG ends too early (within a table)".into()),
        }
    }
}

enum Stop {
    Scan(usize),
    End,
    Damaged(usize),
}

/// Walks segments from a mark on; `None` where the file ends first.
fn segments(bytes: &[u8], mut at: usize) -> Option<Stop> {
    loop {
        match *bytes.get(at..at + 2)? {
            [0xff, 0xda] => return Some(Stop::Scan(at)),
            [0xff, 0xd9] => return Some(Stop::End),
            [0xff, 0xff] => at += 1,               // padding
            [0xff, 0x01 | 0xd0..=0xd7] => at += 2, // marks without a length
            [0xff, 0xc0..=0xfe] => {
                let length = u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]);
                at += 2 + usize::from(length.max(2));
            }
            _ => return Some(Stop::Damaged(at)),
        }
    }
}

/// The mark that ends the pixels that begin behind `at`: not a stuffed 0xff, not a restart.
fn scan_end(bytes: &[u8], at: usize) -> Option<usize> {
    // The scan's own header has no mark in it.
    let length = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
    let mut at = at + usize::from(length);
    loop {
        at += memchr::memchr(0xff, bytes.get(at..)?)?;
        match *bytes.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}
