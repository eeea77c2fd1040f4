//! Transforms with a closed form against torchvision v2 and Pillow; `golden/data/make_transforms.py` makes the values.

use danlu_rng::{Purpose, Stream};
use serde::Deserialize;

use super::automatic::{self, Operation};
use super::warp::{self, Affine, Lookup};
use super::{AugmentConfig, MixUp, VerticalFlip, blur, color, crop, flip, tone, turn};
use crate::resize::{Window, resize_window};
use crate::{Interpolation, Pixels};

/// Comparisons in the golden file, so that none is lost unseen.
const COMPARED: usize = 357;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    channels: usize,
    height: usize,
    width: usize,
    image: Vec<u8>,
    /// A third of the values, repeated 8 times down and across.
    tiled: Vec<u8>,
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Op {
    op: String,
    value: Vec<f64>,
    shape: [usize; 2],
    data: Vec<u8>,
}

/// Applies one operation; the second value is the permitted difference in levels.
fn apply(image: &Pixels, op: &Op) -> (Pixels, u8) {
    if let Some((list, name)) = op.op.split_once(':') {
        return (automatic_op(image, list, name, &op.value), 1);
    }
    let mut out = image.clone();
    let moved = |lookup| {
        let v = &op.value;
        let (translate, shear) = ([v[1], v[2]], [v[4], v[5]]);
        warp::affine(image, &Affine { angle: v[0], translate, scale: v[3], shear, corner: false }, lookup)
    };
    let point = |i: usize| [op.value[2 * i], op.value[2 * i + 1]];
    let resized = |filter| resize_window(image, Window::whole(image), op.shape, filter);
    match op.op.as_str() {
        "horizontal_flip" => flip::mirror(&mut out),
        "vertical_flip" => {
            VerticalFlip { p: 1.0 }.apply(&mut out, &mut Stream::new(0, Purpose::Augment, 0, 0));
        }
        "rot90" => return (turn::quarter_turns(image, op.value[0] as u64), 0),
        "crop" => return (crop::shift(image, op.value[0] as i64, op.value[1] as i64), 0),
        "brightness" => color::adjust(&mut out, [op.value[0], 1.0, 1.0]),
        "contrast" => color::adjust(&mut out, [1.0, op.value[0], 1.0]),
        "saturation" => color::adjust(&mut out, [1.0, 1.0, op.value[0]]),
        "hue" => color::adjust_hue(&mut out, op.value[0]),
        "blur" => return (blur::blur(image, op.value[0] as usize, op.value[1]), 1),
        "affine_nearest" => return (moved(Lookup::Nearest), 0),
        "affine_bilinear" => return (moved(Lookup::Bilinear), 1),
        "rotate" => {
            let map = Affine { angle: -op.value[0], ..Affine::default() };
            return (warp::affine(image, &map, Lookup::Bilinear), 1);
        }
        "perspective" => {
            let (from, to) = ([0, 1, 2, 3].map(point), [4, 5, 6, 7].map(point));
            return (warp::perspective(image, from, to), 1);
        }
        "grayscale" => color::adjust(&mut out, [1.0, 1.0, 0.0]),
        "sharpness" => tone::sharpness(&mut out, op.value[0]),
        "posterize" => tone::posterize(&mut out, op.value[0] as u32),
        "solarize" => tone::solarize(&mut out, op.value[0]),
        "autocontrast" => {
            out.data.iter_mut().for_each(|v| *v = *v / 2 + 20);
            tone::autocontrast(&mut out);
        }
        "equalize" => {
            tone::equalize(&mut out);
            return (out, 0);
        }
        "bilinear" => return (resized(Interpolation::Bilinear), 1),
        "bicubic" => return (resized(Interpolation::Bicubic), 1),
        "lanczos" => return (resized(Interpolation::Lanczos), 1),
        other => panic!("no operation `{other}`"),
    }
    let exact = op.op.ends_with("flip");
    (out, u8::from(!exact))
}

/// An operation of an automatic augmentation; its strength is looked up by step, and must be torchvision's.
fn automatic_op(image: &Pixels, list: &str, name: &str, value: &[f64]) -> Pixels {
    use Operation as O;
    let op = match name {
        "Identity" => O::Identity,
        "ShearX" => O::ShearX,
        "ShearY" => O::ShearY,
        "TranslateX" => O::TranslateX,
        "TranslateY" => O::TranslateY,
        "Rotate" => O::Rotate,
        "Brightness" => O::Brightness,
        "Color" => O::Color,
        "Contrast" => O::Contrast,
        "Sharpness" => O::Sharpness,
        "Posterize" => O::Posterize,
        "Solarize" => O::Solarize,
        "AutoContrast" => O::AutoContrast,
        "Equalize" => O::Equalize,
        other => panic!("no operation `{other}`"),
    };
    let (step, size) = (value[0] as usize, [image.height, image.width]);
    let magnitude = match list {
        "rand" => automatic::rand_augment(op, step, 31, size),
        "trivial" => automatic::trivial_augment(op, step, 31),
        _ => automatic::aug_mix(op, step, 10, size),
    };
    assert!((magnitude - value[1]).abs() < 1e-5, "{list} {name} {step}: {magnitude} and {}", value[1]);
    op.apply(image.clone(), magnitude)
}

#[test]
fn every_transform_equals_torchvisions_within_a_level() {
    let golden: Golden = serde_json::from_str(include_str!("../../golden/transforms.json")).unwrap();
    let mut compared = 0;
    for case in golden.cases {
        let Case { channels, height, width, image, tiled, ops } = case;
        let image = Pixels { data: image, height, width, channels };
        let tiled = Pixels { data: tiled, height: 8 * height, width: 8 * width, channels };
        for op in ops {
            let (out, allowed) = apply(if op.op == "equalize" { &tiled } else { &image }, &op);
            assert_eq!([out.height, out.width], op.shape, "{} {:?}", op.op, op.value);
            let worst = out.data.iter().zip(&op.data).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            assert!(worst <= allowed, "{} {:?} of {channels} channels: {worst} levels", op.op, op.value);
            assert_eq!(out.data.len(), op.data.len());
            compared += 1;
        }
    }
    assert_eq!(compared, COMPARED);
}

#[test]
fn every_augmentation_keeps_the_size_and_is_a_function_of_its_key() {
    let text = r#"{"random_crop": {}, "horizontal_flip": {}, "vertical_flip": {}, "rotate90": {},
        "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
        "gaussian_blur": {"p": 0.5}, "gaussian_noise": {"p": 0.5}, "random_erasing": {}}"#;
    let augment: AugmentConfig = serde_json::from_str(text).unwrap();
    augment.validate_for([7, 7]).unwrap();
    for (height, width, channels) in [(7, 7, 1), (7, 7, 3), (5, 12, 3), (3, 3, 1)] {
        let data = (0..height * width * channels).map(|i| (i * 37) as u8).collect();
        let image = Pixels { data, height, width, channels };
        let make = |epoch, sample| augment.apply(image.clone(), 1, epoch, sample);
        let mut different = 0;
        for sample in 0..50 {
            let out = make(0, sample);
            assert_eq!([out.height, out.width, out.channels], [height, width, channels]);
            assert_eq!(out, make(0, sample));
            different += usize::from(out != make(1, sample));
        }
        assert!(different > 40, "another epoch draws anew");
    }
}

#[test]
fn random_windows_lie_inside_images_of_any_shape() {
    let augment = AugmentConfig { random_resized_crop: Some(Default::default()), ..Default::default() };
    for (height, width) in [(1, 1), (1, 90), (90, 1), (40, 30)] {
        let image = Pixels::filled(height, width, 3, 9);
        for sample in 0..50 {
            let out = augment.cut(&image, [8, 8], Interpolation::Bilinear, 1, 0, sample);
            assert_eq!(out, Pixels::filled(8, 8, 3, 9), "{height} x {width}");
        }
    }
}

#[test]
fn each_augmentation_alone_keeps_the_size_and_is_keyed_by_seed_epoch_and_sample() {
    let mut image = Pixels::filled(16, 20, 3, 0);
    image.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i * 37 % 251) as u8);
    let each = AugmentConfig::each();
    // Every key of the section is in the list: with all of them on, none is absent.
    let mut tree = serde_json::Map::new();
    for (name, one) in &each {
        let serde_json::Value::Object(one) = serde_json::to_value(one).unwrap() else { panic!("no table") };
        assert_eq!(one.keys().collect::<Vec<_>>(), [name]);
        tree.extend(one);
    }
    let all: AugmentConfig = serde_json::from_value(tree.into()).unwrap();
    let absent = format!("{:#?}", AugmentConfig::default()).matches("None").count();
    assert_eq!(absent, each.len(), "an augmentation is missing from `each`");
    assert_ne!(all, AugmentConfig::default());
    for (name, augment) in each {
        augment.validate_for([16, 20]).unwrap();
        if ["random_resized_crop", "mixup", "cutmix"].contains(&name) {
            continue; // of the whole image, or of the batch: tested in their own files
        }
        let draw = |seed, epoch, sample| augment.apply(image.clone(), seed, epoch, sample);
        let mut changed = 0;
        for sample in 0..40 {
            let out = draw(1, 2, sample);
            assert_eq!([out.height, out.width, out.channels], [16, 20, 3], "{name}");
            assert!(out == draw(1, 2, sample), "{name} is no function of its key");
            changed += usize::from(out != image);
        }
        assert!(changed >= 10, "{name} changed {changed} of 40");
    }
}

#[test]
fn an_alternating_flip_shows_each_image_and_its_mirror_in_any_two_epochs() {
    let augment: AugmentConfig =
        serde_json::from_str(r#"{"horizontal_flip": {"alternating": true}}"#).unwrap();
    let image = Pixels { data: (0..12).collect(), height: 3, width: 4, channels: 1 };
    let mut first = 0;
    for sample in 0..100 {
        let seen: Vec<bool> =
            (0..4).map(|epoch| augment.apply(image.clone(), 5, epoch, sample) != image).collect();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
        first += usize::from(seen[0]);
    }
    assert!((30..70).contains(&first), "{first} of 100 were mirrored first");
}

#[test]
fn values_out_of_range_name_their_key() {
    let error = |text: &str| {
        let augment: AugmentConfig = serde_json::from_str(text).unwrap();
        augment.validate_for([4, 4]).unwrap_err().to_string()
    };
    for (text, key) in [
        (r#"{"horizontal_flip": {"p": 1.5}}"#, "augment.horizontal_flip.p"),
        (r#"{"color_jitter": {"hue": 0.6}}"#, "augment.color_jitter.hue"),
        (r#"{"gaussian_blur": {"kernel_size": 4}}"#, "augment.gaussian_blur.kernel_size"),
        (r#"{"gaussian_blur": {"kernel_size": 9}}"#, "augment.gaussian_blur.kernel_size"),
        (r#"{"random_erasing": {"scale": [0.5, 0.2]}}"#, "augment.random_erasing.scale"),
        (r#"{"random_crop": {"padding": 4}}"#, "augment.random_crop.padding"),
        (r#"{"random_rotation": {"degrees": 0}}"#, "augment.random_rotation.degrees"),
        (r#"{"random_affine": {"scale": [0, 1]}}"#, "augment.random_affine.scale"),
        (r#"{"random_affine": {"translate": [0, 2]}}"#, "augment.random_affine.translate[1]"),
        (
            r#"{"random_perspective": {"distortion_scale": -1}}"#,
            "augment.random_perspective.distortion_scale",
        ),
        (r#"{"rand_augment": {"magnitude": 31}}"#, "augment.rand_augment.magnitude"),
        (r#"{"aug_mix": {"alpha": 0}}"#, "augment.aug_mix.alpha"),
        (r#"{"mixup": {}, "cutmix": {}}"#, "augment.cutmix.p"),
    ] {
        assert!(error(text).starts_with(&format!("`{key}` is ")), "{}", error(text));
    }
    assert!(AugmentConfig { mixup: Some(MixUp::default()), ..Default::default() }.validate().is_ok());
}
