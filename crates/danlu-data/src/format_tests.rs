//! Data sets of every format, opened whole; and hostile ones. `golden/data/make_archives.py` makes the archives.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{
    AuditOptions, DataConfig, DataError, Dataset, Format, Origin, Part, SplitBy, audit, write_rows,
    write_split,
};

fn archives() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/archives")
}

fn open(path: &Path) -> Result<Dataset, DataError> {
    Dataset::open(path, &DataConfig::default())
}

fn counts(data: &Dataset) -> [usize; 3] {
    [data.train.len(), data.val.len(), data.test.len()]
}

fn write(path: &Path, image: &image::GrayImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

/// A picture of its own for each seed.
fn picture(seed: u32) -> image::GrayImage {
    let mix =
        |a: u32, b: u32| (a.wrapping_mul(2_654_435_761) ^ b.wrapping_mul(40_503)).wrapping_mul(97) >> 24;
    image::GrayImage::from_fn(24, 24, |x, y| image::Luma([mix(seed * 64 + y / 6 * 8 + x / 6, seed) as u8]))
}

#[test]
fn archives_are_read_in_place_and_hold_what_the_folder_held() {
    for (name, classes) in [
        ("classes.zip", ["cat", "dog"]),
        ("stored.zip", ["cat", "dog"]),
        ("long_names.tar", ["cat", "dog"]),
        ("pax_names.tar", ["chat é", "dog"]),
        ("outside.zip", ["cat", "dog"]),
    ] {
        let data = open(&archives().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (data.format, &data.classes[..]),
            (Format::Archive, &classes.map(str::to_owned)[..]),
            "{name}"
        );
        assert_eq!(data.len(), 12, "{name}");
        for sample in 0..12 {
            let expected = 10 * (sample % 6) + 100 * (sample / 6);
            assert_eq!(data.decode(sample).unwrap().data, vec![expected as u8; 16], "{name} {sample}");
        }
    }
    let [zip, stored] = ["classes.zip", "stored.zip"].map(|name| open(&archives().join(name)).unwrap());
    assert_eq!(zip.fingerprint, stored.fingerprint, "how a file is packed is not what it holds");
    let parts = open(&archives().join("parts.tar")).unwrap();
    assert_eq!((parts.train.len() + parts.val.len(), parts.test.len()), (8, 4));
    assert!(parts.found.iter().any(|line| line.contains("1 images lie in none of")), "{:?}", parts.found);
}

#[test]
fn webdataset_shards_are_one_data_set_with_the_parts_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["train-000000.tar", "val-000000.tar"] {
        fs::copy(archives().join(name), folder.path().join(name)).unwrap();
    }
    let config = DataConfig { test_fraction: 0.0, ..DataConfig::default() };
    let data = Dataset::open(folder.path(), &config).unwrap();
    assert_eq!(data.classes, ["9", "10"], "numbers in the order of numbers");
    assert_eq!(counts(&data), [8, 4, 0]);
    assert_eq!((data.val.origin, data.name(0).as_str()), (Origin::Given, "train-000000.tar/00000.png"));
    assert_eq!(data.decode(data.val.samples[1]).unwrap().data, [9; 16]);
    assert!(data.found.iter().any(|line| line.contains("2 samples without an image or without a label")));
}

#[test]
fn a_hostile_archive_is_refused_with_its_reason_or_costs_only_its_images() {
    for (name, expected) in [
        ("bad_cut.tar", "bad_cut.tar"),
        ("bad_size.tar", "ends within"),
        ("bad_checksum.tar", "not a valid tar file"),
        ("bad_empty.tar", "found no images"),
        ("bad_text.tar", "not a valid tar file"),
        ("bad_text.zip", "not a valid zip file"),
        ("bad_cut.zip", "not a valid zip file"),
        ("bad_encrypted.zip", "is encrypted"),
        ("flat.zip", "4 images lie directly in"),
    ] {
        let error = open(&archives().join(name)).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    // 64 MiB of zeros in 64 KiB: not unpacked beyond the limit, counted, left out.
    let config = DataConfig { max_file_bytes: 1 << 20, max_broken: 0.1, ..DataConfig::default() };
    let data = Dataset::open(&archives().join("bomb.zip"), &config).unwrap();
    assert_eq!((data.len(), data.broken.len()), (12, 1));
    assert!(data.broken[0].reason.contains("data.max_file_bytes"), "{:?}", data.broken);
    let data = Dataset::open(&archives().join("damaged_inside.zip"), &config).unwrap();
    assert_eq!((data.len(), data.broken.len()), (11, 1));
}

#[test]
fn a_list_gives_classes_and_parts_and_what_it_lists_wrongly_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut list = String::from("image,label,split,patient\n");
    for i in 0..30u32 {
        write(&root.join(format!("pictures/{i}.png")), &picture(i));
        let split = ["train", "train", "test"][i as usize % 3];
        list += &format!("pictures/{i}.png,{},{split},p{}\n", i % 2, i / 6);
    }
    list += "pictures/nowhere.png,1,train,p9\n";
    fs::write(root.join("all.csv"), &list).unwrap();
    fs::write(root.join("classes.txt"), "zero\none\n").unwrap();
    let data = open(&root.join("all.csv")).unwrap();
    assert_eq!((data.format, data.len(), data.test.len(), data.broken.len()), (Format::List, 30, 10, 1));
    assert_eq!(data.classes, ["zero", "one"], "in the order of their numbers");
    assert!(
        data.test.samples.iter().all(|&sample| data.name(sample)[9..]
            .trim_end_matches(".png")
            .parse::<u32>()
            .unwrap()
            % 3
            == 2)
    );
    // The patients of the training images stay whole.
    let config = DataConfig { group: Some("patient".into()), ..DataConfig::default() };
    let data = Dataset::open(&root.join("all.csv"), &config).unwrap();
    let patients = |part: Part| -> std::collections::BTreeSet<usize> {
        let number =
            |sample: &u32| data.name(*sample)[9..].trim_end_matches(".png").parse::<usize>().unwrap() / 6;
        data.part(part).samples.iter().map(number).collect()
    };
    assert!(!data.val.is_empty() && patients(Part::Train).is_disjoint(&patients(Part::Val)));
    fs::write(root.join("twice.csv"), list.replace("pictures/5.png,1", "pictures/4.png,1")).unwrap();
    assert!(open(&root.join("twice.csv")).unwrap_err().to_string().contains("listed twice"));
    // A list that names a pipe must not wait for it.
    #[cfg(unix)]
    {
        let made = std::process::Command::new("mkfifo").arg(root.join("pictures/pipe.png")).status();
        if made.is_ok_and(|status| status.success()) {
            fs::write(root.join("pipe.csv"), list.replace("nowhere", "pipe")).unwrap();
            let data = open(&root.join("pipe.csv")).unwrap();
            assert!(data.broken[0].reason.contains("not a file"), "{:?}", data.broken);
        }
    }
}

#[test]
fn cifar_files_are_recognised_with_their_class_names() {
    let folder = tempfile::tempdir().unwrap();
    let record = |label: u8| {
        let mut record = vec![label];
        record.extend((0..3072u32).map(|i| (i * (u32::from(label) + 3) % 251) as u8));
        record
    };
    let labels: Vec<u8> = (0..40).map(|i| i % 10).collect();
    fs::write(
        folder.path().join("data_batch_1.bin"),
        labels.iter().flat_map(|&l| record(l)).collect::<Vec<_>>(),
    )
    .unwrap();
    fs::write(folder.path().join("test_batch.bin"), record(3)).unwrap();
    fs::write(
        folder.path().join("batches.meta.txt"),
        "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n",
    )
    .unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!((data.format, data.channels, data.len()), (Format::Cifar, 3, 41));
    assert_eq!((data.classes[3].as_str(), data.label(40)), ("cat", 3));
    fs::write(folder.path().join("test_batch.bin"), [0; 100]).unwrap();
    assert!(open(folder.path()).unwrap_err().to_string().contains("multiple of 3073"));
}

#[test]
fn a_split_that_was_written_gives_the_same_split_and_a_wrong_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("photos");
    for i in 0..40u32 {
        write(&root.join(["a", "b"][i as usize % 2]).join(format!("{i}.png")), &picture(i));
    }
    let data = open(&root).unwrap();
    let file = folder.path().join("split.csv");
    write_split(&file, &data).unwrap();
    let with = |text: &str| {
        fs::write(&file, text).unwrap();
        let split_file = Some(file.to_string_lossy().into_owned());
        Dataset::open(&root, &DataConfig { split_file, split_seed: 99, ..DataConfig::default() })
    };
    let text = fs::read_to_string(&file).unwrap();
    let again = with(&text).unwrap();
    assert_eq!(again.fingerprint, data.fingerprint);
    assert_eq!(counts(&again), counts(&data));
    let shorter: String =
        text.lines().filter(|line| !line.contains("a/0.png")).map(|line| format!("{line}\n")).collect();
    assert_eq!(counts(&with(&shorter).unwrap()).iter().sum::<usize>(), 39);
    for (text, expected) in [
        (text.replace("a/0.png", "a/none.png"), "names `a/none.png`, which"),
        (text.replacen("train", "trian", 1), "the split is `trian`"),
        (text.replace("path,", "name,"), "no column `path`"),
        (text.replace("split", "x"), "no column `split`"),
        (
            text.lines().filter(|line| !line.starts_with("b/")).map(|line| format!("{line}\n")).collect(),
            "no training image of the class `b`",
        ),
        (format!("{text}a/0.png,a,val\na/0.png,a,train\n"), "is in two parts"),
    ] {
        let error = with(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn folds_and_order_hold_out_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..40u32 {
        write(
            &folder.path().join(["a", "b"][i as usize % 2]).join(format!("2024-{:02}.png", i / 2)),
            &picture(i),
        );
    }
    let mut validated = Vec::new();
    for fold in 0..4 {
        let config = DataConfig { folds: Some(4), fold, test_fraction: 0.0, ..DataConfig::default() };
        let data = Dataset::open(folder.path(), &config).unwrap();
        assert_eq!((counts(&data), data.class_counts(Part::Val)), ([30, 10, 0], vec![5, 5]));
        validated.extend(data.val.samples.iter().copied());
    }
    validated.sort_unstable();
    assert_eq!(validated, (0..40).collect::<Vec<_>>());
    let pattern = DataConfig { group: Some("*/{}.png".into()), ..DataConfig::default() };
    let data = Dataset::open(folder.path(), &pattern).unwrap();
    let month = |sample: &u32| data.name(*sample)[2..].to_owned();
    let test: Vec<String> = data.test.samples.iter().map(month).collect();
    assert!(data.train.samples.iter().all(|sample| !test.contains(&month(sample))), "one month, one side");
    for (config, key) in [
        (DataConfig { folds: Some(1), ..DataConfig::default() }, "data.folds"),
        (DataConfig { folds: Some(4), fold: 4, ..DataConfig::default() }, "data.fold"),
        (DataConfig { split: SplitBy::Ordered, folds: Some(4), ..DataConfig::default() }, "data.split"),
        (DataConfig { group: Some("nothing".into()), ..DataConfig::default() }, "data.group"),
        (DataConfig { group: Some("x/{}".into()), ..DataConfig::default() }, "data.group"),
    ] {
        assert!(Dataset::open(folder.path(), &config).unwrap_err().to_string().contains(key));
    }
}

#[test]
fn an_audit_finds_what_was_hidden_in_the_data_and_its_cleaned_split_is_free_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("photos");
    for i in 0..24u32 {
        let part = if i < 18 { "train" } else { "test" };
        write(&root.join(part).join(["a", "b"][i as usize % 2]).join(format!("{i}.png")), &picture(i));
    }
    // A copy in another format that leaks; a copy of the same part; one image with two labels; a nearly equal one.
    picture(18).save(root.join("train/a/leak.bmp")).unwrap();
    picture(2).save(root.join("train/a/twice.png")).unwrap();
    picture(3).save(root.join("train/a/conflict.png")).unwrap();
    let mut near = picture(20);
    near.put_pixel(3, 3, image::Luma([near.get_pixel(3, 3).0[0] ^ 16]));
    near.save(root.join("train/a/near.png")).unwrap();
    image::GrayImage::from_pixel(24, 24, image::Luma([255])).save(root.join("train/b/blank.png")).unwrap();
    fs::copy(root.join("train/a/leak.bmp"), root.join("train/a/0000.jpg")).unwrap();
    fs::write(root.join("train/b/text.jpg"), "no image").unwrap();
    // Damaged inside: only decoding shows it.
    let mut bytes = fs::read(root.join("train/b/1.png")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(root.join("train/b/damaged.png"), bytes).unwrap();

    let config = DataConfig { val_fraction: 0.0, ..DataConfig::default() };
    let (found, _) = audit(&root, &config, AuditOptions::default()).unwrap();
    let names = |groups: &[crate::Duplicates]| -> Vec<Vec<String>> {
        groups
            .iter()
            .map(|g| g.images.iter().map(|m| m.image.rsplit('/').next().unwrap().to_owned()).collect())
            .collect()
    };
    let exact = names(&found.exact);
    assert_eq!(exact.len(), 3, "{exact:?}");
    assert!(exact.contains(&vec!["0000.jpg".into(), "leak.bmp".into(), "18.png".into()]), "{exact:?}");
    assert_eq!(names(&found.near), [["near.png", "20.png"]]);
    assert_eq!((found.leaks, found.label_conflicts), (3, 1));
    let broken: Vec<&str> = found.broken.iter().map(|odd| odd.image.as_str()).collect();
    assert_eq!(broken, ["train/b/text.jpg", "train/b/damaged.png"]);
    assert_eq!(found.wrongly_named.len(), 1);
    assert!(found.odd.iter().any(|odd| odd.image.ends_with("blank.png") && odd.what.contains("one colour")));
    assert!(found.suggestions[0].problem.starts_with("3 training images"), "{:?}", found.suggestions);
    assert!(serde_json::to_string(&found).unwrap().contains("\"label_conflicts\":1"));

    let file = folder.path().join("clean.csv");
    write_rows(&file, found.clean.iter().cloned()).unwrap();
    let split_file = Some(file.to_string_lossy().into_owned());
    let config = DataConfig { split_file, max_broken: 1.0, ..config };
    let (clean, _) = audit(&root, &config, AuditOptions::default()).unwrap();
    assert!(clean.exact.is_empty() && clean.near.is_empty(), "{:?} {:?}", clean.exact, clean.near);
    assert_eq!((clean.leaks, clean.label_conflicts), (0, 0));
}
