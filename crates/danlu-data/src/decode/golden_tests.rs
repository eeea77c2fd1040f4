//! Every kind of file that is read, against Pillow; and hostile ones. `golden/data/make_images.py` makes the files.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{decode, header};
use crate::scan;
use crate::{DataConfig, load_image};

#[derive(Deserialize)]
struct Golden {
    images: Vec<Case>,
    hostile: Vec<Hostile>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    shape: [usize; 3],
    data: Vec<u8>,
}

#[derive(Deserialize)]
struct Hostile {
    file: String,
    reason: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/images")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(folder().join("images.json")).unwrap()).unwrap()
}

/// How far from Pillow a file may be, in levels of 255: nothing but lossy decoders may differ (another inverse transform, another
/// rounding of the colour conversion; another filter where colours are stored at half the size).
fn tolerance(file: &str) -> i16 {
    match file {
        "subsampled.jpg" => 8,
        "cmyk.jpg" => 3,
        "lossy.webp" => 3,
        _ if file.ends_with(".jpg") => 2,
        _ => 0,
    }
}

#[test]
fn every_kind_of_file_is_read_as_pillow_reads_it() {
    let golden = golden();
    assert_eq!(golden.images.len(), 32, "none is lost unseen");
    let mut wrong = Vec::new();
    for case in &golden.images {
        let path = folder().join(&case.file);
        let [height, width, channels] = case.shape;
        let image = load_image(&path, channels, &DataConfig::default()).unwrap();
        assert_eq!([image.height, image.width], [height, width], "{}", case.file);
        let info = header(&std::fs::read(&path).unwrap(), 1000).unwrap();
        assert_eq!([info.height as usize, info.width as usize], [height, width], "header of {}", case.file);
        assert_eq!(info.gray, channels == 1, "{}", case.file);
        let differences =
            image.data.iter().zip(&case.data).map(|(&a, &b)| (i16::from(a) - i16::from(b)).abs());
        let largest = differences.max().unwrap();
        if largest > tolerance(&case.file) {
            wrong.push(format!("{}: {largest} levels", case.file));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_hostile_file_costs_a_message_and_neither_memory_nor_the_process() {
    let golden = golden();
    assert_eq!(golden.hostile.len(), 15, "none is lost unseen");
    let paths: Vec<PathBuf> = golden.hostile.iter().map(|case| case.file.clone().into()).collect();
    let scanned = scan::files(&folder(), &paths, &DataConfig::default());
    for (case, info) in golden.hostile.iter().zip(&scanned.infos) {
        let bytes = std::fs::read(folder().join(&case.file)).unwrap();
        let reason = decode(&bytes, DataConfig::default().max_pixels).err();
        let reason = reason.unwrap_or_else(|| panic!("{} decodes", case.file));
        assert!(reason.contains(&case.reason), "{}: {reason}", case.file);
        // The first look at a data set decodes only what looks cut: bits that flipped inside are found by the audit.
        let inside = ["hostile_damaged.jpg", "hostile_flipped_bits.png"].contains(&case.file.as_str());
        assert!(info.is_none() || inside, "a first look at {} finds nothing", case.file);
    }
}
