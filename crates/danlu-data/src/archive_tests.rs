//! A zip of every other format, read in place.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::{DataConfig, DataError, Dataset, Format};

fn zipped(path: &Path, files: &[(String, Vec<u8>)], method: CompressionMethod) {
    let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in files {
        writer.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap();
}

fn png(value: u8) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(6, 6, image::Luma([value]))
        .write_to(&mut out, image::ImageFormat::Png)
        .unwrap();
    out.into_inner()
}

fn open(path: &Path) -> Result<Dataset, DataError> {
    Dataset::open(path, &DataConfig::default())
}

/// 20 images in one folder, and the list that says which is which.
fn listed() -> (Vec<(String, Vec<u8>)>, String) {
    let images = (0..20).map(|i| (format!("set/images/{i}.png"), png(i as u8 * 10))).collect();
    let rows = (0..20).map(|i| format!("images/{i}.png,{}\n", ["cat", "dog"][i % 2]));
    (images, "path,label\n".to_owned() + &rows.collect::<String>())
}

#[test]
fn a_list_in_a_zip_names_its_images_and_what_is_missing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.zip");
    let (mut files, list) = listed();
    files.push(("set/labels.csv".into(), list.clone().into_bytes()));
    files.push(("set/readme.txt".into(), b"x".to_vec()));
    zipped(&path, &files, CompressionMethod::Deflated);
    let data = open(&path).unwrap();
    assert_eq!((data.format, data.len()), (Format::List, 20));
    assert_eq!(data.classes, ["cat", "dog"]);
    for sample in 0..20 {
        let number: usize =
            data.name(sample)["set/images/".len()..].trim_end_matches(".png").parse().unwrap();
        assert_eq!(data.decode(sample).unwrap().data, [number as u8 * 10; 36]);
        assert_eq!(data.label(sample) as usize, number % 2);
    }
    files[20].1 = (list.clone() + "images/99.png,cat\n").into_bytes();
    zipped(&path, &files, CompressionMethod::Stored);
    let data = open(&path).unwrap();
    assert_eq!((data.len(), data.broken.len()), (20, 1));
    assert!(data.broken[0].reason.contains("the archive does not hold it"));
    // Lists of the parts, and names of numbered classes.
    files.truncate(20);
    let numbers = list.replace(",cat", ",0").replace(",dog", ",1");
    let lines: Vec<&str> = numbers.lines().collect();
    files.push(("set/train.csv".into(), lines[..15].join("\n").into_bytes()));
    files.push(("set/test.csv".into(), [&lines[..1], &lines[15..]].concat().join("\n").into_bytes()));
    files.push(("set/classes.txt".into(), b"cat\ndog\n".to_vec()));
    zipped(&path, &files, CompressionMethod::Deflated);
    let data = open(&path).unwrap();
    assert_eq!((data.classes.join(" "), data.test.len()), ("cat dog".into(), 6));
    // A table that names no image of the archive is none of its lists: then folders are classes.
    let mut files: Vec<(String, Vec<u8>)> =
        (0..20).map(|i| (format!("{}/{i}.png", ["cat", "dog"][i % 2]), png(i as u8 * 10))).collect();
    files.push(("prices.csv".into(), b"path,label\nx.png,3\ny.png,4\n".to_vec()));
    zipped(&path, &files, CompressionMethod::Deflated);
    assert_eq!(open(&path).unwrap().format, Format::Archive);
}

#[test]
fn idx_and_cifar_files_in_a_zip_are_read_as_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let [path, plain] = ["mnist.zip", "plain"].map(|name| folder.path().join(name));
    let idx = |shape: &[u32], data: Vec<u8>| {
        let mut bytes = vec![0, 0, 8, shape.len() as u8];
        shape.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
        bytes.extend(data);
        bytes
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&idx(&[40], (0..40).map(|i| i % 3).collect())).unwrap();
    let files = vec![
        ("raw/train-images-idx3-ubyte".to_owned(), idx(&[40, 2, 3], (0..240).map(|i| i as u8).collect())),
        ("raw/train-labels-idx1-ubyte.gz".to_owned(), packed.finish().unwrap()),
    ];
    zipped(&path, &files, CompressionMethod::Deflated);
    fs::create_dir(&plain).unwrap();
    for (name, bytes) in &files {
        fs::write(plain.join(name.trim_start_matches("raw/")), bytes).unwrap();
    }
    let [inside, outside] = [&path, &plain].map(|path| open(path).unwrap());
    assert_eq!((inside.format, &inside.fingerprint), (Format::Idx, &outside.fingerprint));
    zipped(&path, &files[..1], CompressionMethod::Deflated);
    assert!(open(&path).unwrap_err().to_string().contains("partner is missing"));

    let record = |label: u8| [&[label][..], &[label * 20; 3072]].concat();
    let records: Vec<u8> = (0..40).flat_map(|i| record(i % 4)).collect();
    let names = b"plane\ncar\nbird\ncat\n".to_vec();
    let files = [("c/data_batch_1.bin".to_owned(), records), ("c/batches.meta.txt".to_owned(), names)];
    zipped(&path, &files, CompressionMethod::Deflated);
    let data = open(&path).unwrap();
    assert_eq!((data.format, data.classes.join(" ")), (Format::Cifar, "plane car bird cat".into()));
}

#[test]
fn shards_stored_in_a_zip_are_read_in_place_and_packed_ones_are_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/archives");
    let shards = folder.path().join("shards");
    fs::create_dir(&shards).unwrap();
    let files: Vec<(String, Vec<u8>)> = ["train-000000.tar", "val-000000.tar"]
        .map(|name| {
            let bytes = fs::read(golden.join(name)).unwrap();
            fs::write(shards.join(name), &bytes).unwrap();
            (format!("set/{name}"), bytes)
        })
        .into();
    let path: PathBuf = folder.path().join("set.zip");
    zipped(&path, &files, CompressionMethod::Stored);
    let [inside, outside] = [&path, &shards].map(|path| open(path).unwrap());
    assert_eq!(inside.fingerprint, outside.fingerprint);
    assert_eq!(inside.name(0), "train-000000.tar/00000.png");
    for sample in 0..inside.len() as u32 {
        assert_eq!(inside.decode(sample).unwrap(), outside.decode(sample).unwrap());
    }
    zipped(&path, &files, CompressionMethod::Deflated);
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("zip -0"), "{error}");
    let torn: Vec<(String, Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.clone(), bytes[..520].to_vec())).collect();
    zipped(&path, &torn, CompressionMethod::Stored);
    assert!(matches!(open(&path), Err(DataError::Format { format: "tar", .. })));
}
