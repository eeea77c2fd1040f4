//! How long networks take: operations of a forward pass, scaled to width and image size.

use super::facts::MachineFacts;
use crate::preset::Preset;

/// A network that the advisor may choose.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) name: &'static str,
    pub(super) width: usize,
    /// Stride of the stem, where the network has the choice.
    pub(super) stride: Option<usize>,
    /// Operations (2 a multiply-add) of a forward pass at `width` and `stride`, for an image of `side` pixels.
    flops: f64,
    side: f64,
}

/// The networks in question, the cheapest first.
pub(super) fn candidates(is_small: bool, size: usize, preset: Preset, train_images: usize) -> Vec<Candidate> {
    if is_small {
        let stride = stem_stride(size);
        return [16, 24, 32, 48, 64].map(|width| small(width, stride)).to_vec();
    }
    let mut list = vec![resnet18(16), resnet18(32), resnet18(64)];
    // With few images a deeper network learns them by heart before it learns the classes.
    if preset == Preset::Best && train_images >= 20_000 {
        list.push(Candidate { name: "resnet34", width: 64, stride: None, flops: 7.3e9, side: 224.0 });
    }
    list
}

/// Twice the channels on a quarter of the pixels cost the same and learn more, as long as there are pixels enough: on
/// Fashion-MNIST 7 epochs of width 32 with stride 2 reached 93.2 % validation accuracy, of width 16 with stride 1 92.4 %
/// (one run each).
fn stem_stride(size: usize) -> usize {
    if size >= 24 { 2 } else { 1 }
}

/// 26 MFLOP at width 16, stride 1 and 28x28 (`danlu show network`).
fn small(width: usize, stride: usize) -> Candidate {
    let flops = 26e6 * (width as f64 / 16.0).powi(2) / (stride as f64).powi(2);
    Candidate { name: "small", width, stride: Some(stride), flops, side: 28.0 }
}

/// 1.8 G multiply-adds at width 64 and 224x224 (He et al. 2016, table 1).
fn resnet18(width: usize) -> Candidate {
    Candidate {
        name: "resnet18",
        width,
        stride: None,
        flops: 3.6e9 * (width as f64 / 64.0).powi(2),
        side: 224.0,
    }
}

/// The names with their widths: `small (width 16, 24, 32)`.
pub(super) fn list(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    let mut last = "";
    for candidate in candidates {
        if candidate.name == last {
            text.push_str(&format!(", {}", candidate.width));
        } else {
            let close = if last.is_empty() { "" } else { ") and " };
            text.push_str(&format!("{close}`{}` (width {}", candidate.name, candidate.width));
        }
        last = candidate.name;
    }
    text + ")"
}

impl Candidate {
    /// A network that a person asked for; one that is not in the table is taken for a ResNet-18.
    pub(super) fn named(name: &str, width: Option<usize>, stride: Option<usize>, size: usize) -> Candidate {
        // Operations at 224x224, 2 a multiply-add (torchvision's table of models); depthwise convolutions run at
        // about a third of the speed of others, which is counted as three times the work.
        let known: &[(&'static str, usize, f64)] = &[
            ("vgg11", 64, 15.2e9),
            ("vgg13", 64, 22.6e9),
            ("vgg16", 64, 31.0e9),
            ("vgg19", 64, 39.3e9),
            ("resnet18", 64, 3.6e9),
            ("resnet34", 64, 7.3e9),
            ("resnet50", 64, 8.2e9),
            ("resnet101", 64, 15.6e9),
            ("resnet152", 64, 23.0e9),
            ("resnext50_32x4d", 64, 8.5e9),
            ("wide_resnet50_2", 64, 22.8e9),
            ("mobilenet_v2", 32, 1.8e9),
            ("efficientnet_lite0", 32, 2.3e9),
        ];
        if name == "small" {
            return small(width.unwrap_or(16), stride.unwrap_or(1));
        }
        let plain = name.strip_suffix("_bn").unwrap_or(name);
        let (name, own, flops) =
            known.iter().find(|row| row.0 == plain).copied().unwrap_or(("resnet18", 64, 3.6e9));
        // The stem for small images keeps 16 times the pixels of the one for photos.
        let has_stem = !name.starts_with("vgg");
        let stem = if has_stem && size <= super::SMALL_SIDE { 15.0 } else { 1.0 };
        let width = width.unwrap_or(own);
        Candidate {
            name,
            width,
            stride: None,
            flops: stem * flops * (width as f64 / own as f64).powi(2),
            side: 224.0,
        }
    }

    /// Seconds of an epoch over `images` images (a validation image counts a third: forward only).
    pub(super) fn seconds_an_epoch(&self, size: usize, images: usize, machine: &MachineFacts) -> f64 {
        let forward = self.flops * (size as f64 / self.side).powi(2);
        3.0 * forward * images as f64 / (machine.gflops() * 1e9)
    }
}
