//! Every reader against thousands of damaged inputs, always the same ones: bytes flipped, set, cut out, doubled, cut off. `fuzz/` has the
//! same readers for a fuzzer that goes on for hours.

use danlu_rng::{Purpose, Stream};

use crate::cache::CacheFile;
use crate::fuzz;

/// A damaged copy; `round` names the damage.
fn damaged(seed: &[u8], round: u64) -> Vec<u8> {
    let mut stream = Stream::new(11, Purpose::Split, 99, round);
    let mut bytes = seed.to_vec();
    for _ in 0..=stream.below(4) {
        if bytes.is_empty() {
            break;
        }
        // Headers are at the beginning: half of the damage is.
        let span = if stream.chance(0.5) { bytes.len().min(64) } else { bytes.len() };
        let at = stream.below(span as u64) as usize;
        let end = (at + 1 + stream.below(8) as usize).min(bytes.len());
        match stream.below(6) {
            0 => bytes[at] ^= 1 << stream.below(8),
            1 => bytes[at..end].fill(0xff),
            2 => bytes[at..end].fill(0),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Reads every damaged copy; a panic fails the test. The undamaged one must be read, and some of the damaged ones must not be.
fn withstands(name: &str, seeds: &[Vec<u8>], rounds: u64, read: impl Fn(&[u8]) -> bool) {
    for seed in seeds {
        assert!(read(seed), "{name}: the undamaged input of {} bytes is not read", seed.len());
    }
    let refused =
        (0..rounds).filter(|&round| !read(&damaged(&seeds[round as usize % seeds.len()], round))).count();
    assert!(refused > 0, "{name}: nothing was refused");
}

fn golden(folder: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(folder);
    names.iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect()
}

#[test]
fn damaged_idx_and_cifar_files_are_refused_or_read_and_never_panic() {
    let header = |shape: &[u32]| {
        let mut bytes = vec![0, 0, 8, shape.len() as u8];
        shape.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
        bytes
    };
    let pair = |shape: &[u32]| {
        let images = [header(shape), vec![3; shape.iter().product::<u32>() as usize]].concat();
        let labels = [header(&shape[..1]), vec![1; shape[0] as usize]].concat();
        [(images.len() as u16).to_be_bytes().to_vec(), images, labels].concat()
    };
    withstands("IDX", &[pair(&[5, 4, 3]), pair(&[2, 3, 3, 3])], 4000, fuzz::idx);
    withstands("CIFAR", &[vec![1; 3073 * 2], vec![7; 3074]], 2000, fuzz::cifar);
}

#[test]
fn damaged_archives_are_refused_or_read_and_never_panic() {
    let tars = golden("archives", &["parts.tar", "long_names.tar", "pax_names.tar", "train-000000.tar"]);
    withstands("tar", &tars, 3000, fuzz::tar);
    withstands("zip", &golden("archives", &["classes.zip", "stored.zip", "outside.zip"]), 3000, fuzz::zip);
}

#[test]
fn damaged_lists_split_files_and_patterns_are_refused_or_read_and_never_panic() {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let lists = texts(&[
        "path,label,split,g,w\n\"a, b.jpg\",cat,train,p1,1.5\nb.jpg,dog,val,p2,0\n",
        "path\tlabel\na.jpg\tcat\n",
        "{\"image\": \"a.png\", \"label\": 3, \"g\": \"x\", \"w\": 2}\n{\"path\":\"b.png\",\"class\":\"x\"}\n",
    ]);
    withstands("list", &lists, 4000, fuzz::list);
    let splits = texts(&["path,label,split\ncat/1.jpg,cat,train\n\"d,2.jpg\",d,test\n"]);
    withstands("split", &splits, 3000, fuzz::split);
    withstands("pattern", &texts(&["*/{}_*.jpg\ncat/p7_03.jpg"]), 3000, fuzz::pattern);
}

#[test]
fn a_damaged_cache_never_gives_other_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.cache");
    let images = [vec![5; 100], vec![9; 700], (0..=255).collect::<Vec<u8>>()];
    let lengths = images.each_ref().map(|image| image.len() as u32);
    let seed = CacheFile::bytes_of(&[7; 32], &images);
    withstands("cache", std::slice::from_ref(&seed), 400, |bytes| {
        // Damage is over all of the file, most of which is a hole: bring some of it to where the images are.
        fuzz::cache(&path, bytes, &lengths)
    });
    for round in 0..400 {
        let mut stream = Stream::new(5, Purpose::Split, 1, round);
        let mut bytes = seed.clone();
        let at = 4096 + stream.below(bytes.len() as u64 - 4096) as usize;
        bytes[at] ^= 1 << stream.below(8);
        std::fs::write(&path, &bytes).unwrap();
        let file = CacheFile::open(&path, &[7; 32], lengths.to_vec()).unwrap();
        for (number, image) in images.iter().enumerate() {
            assert!(file.get(number).is_none_or(|pixels| pixels == image), "byte {at}");
        }
    }
}

#[test]
fn damaged_images_are_refused_or_read_and_never_panic() {
    let names = [
        "progressive.jpg",
        "cmyk.jpg",
        "exif6.jpg",
        "rgb16.png",
        "palette_transparent.png",
        "alpha.webp",
        "animated.gif",
        "lzw.tif",
        "palette.bmp",
    ];
    withstands("image", &golden("images", &names), 1500, fuzz::image);
}
