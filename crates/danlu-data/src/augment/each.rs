//! Every augmentation alone, for pictures and for tests that must not forget one.

use super::*;

impl AugmentConfig {
    /// Each augmentation by its key, alone, always applied, at a strength that is seen.
    pub fn each() -> Vec<(&'static str, AugmentConfig)> {
        let off = AugmentConfig::default;
        vec![
            (
                "random_resized_crop",
                AugmentConfig { random_resized_crop: Some(RandomResizedCrop::default()), ..off() },
            ),
            ("random_crop", AugmentConfig { random_crop: Some(RandomCrop::default()), ..off() }),
            (
                "horizontal_flip",
                AugmentConfig {
                    horizontal_flip: Some(HorizontalFlip { alternating: true, ..Default::default() }),
                    ..off()
                },
            ),
            ("vertical_flip", AugmentConfig { vertical_flip: Some(VerticalFlip::default()), ..off() }),
            ("rotate90", AugmentConfig { rotate90: Some(Rotate90 { p: 1.0 }), ..off() }),
            (
                "random_rotation",
                AugmentConfig { random_rotation: Some(RandomRotation { p: 1.0, degrees: 20.0 }), ..off() },
            ),
            (
                "random_affine",
                AugmentConfig {
                    random_affine: Some(RandomAffine {
                        degrees: 10.0,
                        scale: [0.8, 1.2],
                        shear: 10.0,
                        ..Default::default()
                    }),
                    ..off()
                },
            ),
            (
                "random_perspective",
                AugmentConfig {
                    random_perspective: Some(RandomPerspective { p: 1.0, ..Default::default() }),
                    ..off()
                },
            ),
            ("rand_augment", AugmentConfig { rand_augment: Some(RandAugment::default()), ..off() }),
            ("trivial_augment", AugmentConfig { trivial_augment: Some(TrivialAugment {}), ..off() }),
            ("aug_mix", AugmentConfig { aug_mix: Some(AugMix::default()), ..off() }),
            (
                "color_jitter",
                AugmentConfig {
                    color_jitter: Some(ColorJitter {
                        brightness: 0.4,
                        contrast: 0.4,
                        saturation: 0.4,
                        hue: 0.1,
                        ..Default::default()
                    }),
                    ..off()
                },
            ),
            (
                "random_grayscale",
                AugmentConfig { random_grayscale: Some(RandomGrayscale { p: 1.0 }), ..off() },
            ),
            (
                "gaussian_blur",
                AugmentConfig { gaussian_blur: Some(GaussianBlur { p: 1.0, ..Default::default() }), ..off() },
            ),
            (
                "gaussian_noise",
                AugmentConfig {
                    gaussian_noise: Some(GaussianNoise { p: 1.0, ..Default::default() }),
                    ..off()
                },
            ),
            (
                "random_erasing",
                AugmentConfig {
                    random_erasing: Some(RandomErasing { p: 1.0, ..Default::default() }),
                    ..off()
                },
            ),
            ("mixup", AugmentConfig { mixup: Some(MixUp { alpha: 1.0, ..Default::default() }), ..off() }),
            ("cutmix", AugmentConfig { cutmix: Some(CutMix::default()), ..off() }),
        ]
    }
}
