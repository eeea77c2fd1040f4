//! Weights trained on ImageNet-1k, fetched once from their publisher's address and checked.

use std::path::{Path, PathBuf};

use crate::download::{Progress, download};
use crate::error::{Result, WeightsError};

/// Weights that torchvision publishes (`IMAGENET1K_V1`: trained by the plain recipe of each paper), and timm's of
/// EfficientNet-Lite0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pretrained {
    /// The network, by danlu's (and torchvision's) name.
    pub network: &'static str,
    /// The publisher's folder.
    pub address: &'static str,
    /// The file. The eight digits in its name begin its SHA-256.
    pub file: &'static str,
    /// Top-1 accuracy on ImageNet-1k's validation set as the publisher states it, in percent.
    pub top1: f64,
}

const fn row(network: &'static str, file: &'static str, top1: f64) -> Pretrained {
    Pretrained { network, address: TORCHVISION, file, top1 }
}

const TORCHVISION: &str = "https://download.pytorch.org/models";
const TIMM: &str = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights";

/// File names and accuracies: torchvision 0.26, `torchvision/models/{vgg,resnet,mobilenetv2}.py`; timm,
/// `timm/models/efficientnet.py` and `results/results-imagenet.csv`.
pub const PRETRAINED: [Pretrained; 19] = [
    row("vgg11", "vgg11-8a719046.pth", 69.020),
    row("vgg11_bn", "vgg11_bn-6002323d.pth", 70.370),
    row("vgg13", "vgg13-19584684.pth", 69.928),
    row("vgg13_bn", "vgg13_bn-abd245e5.pth", 71.586),
    row("vgg16", "vgg16-397923af.pth", 71.592),
    row("vgg16_bn", "vgg16_bn-6c64b313.pth", 73.360),
    row("vgg19", "vgg19-dcbb9e9d.pth", 72.376),
    row("vgg19_bn", "vgg19_bn-c79401a0.pth", 74.218),
    row("resnet18", "resnet18-f37072fd.pth", 69.758),
    row("resnet34", "resnet34-b627a593.pth", 73.314),
    row("resnet50", "resnet50-0676ba61.pth", 76.130),
    row("resnet101", "resnet101-63fe2227.pth", 77.374),
    row("resnet152", "resnet152-394f9c45.pth", 78.312),
    row("resnext50_32x4d", "resnext50_32x4d-7cdf4587.pth", 77.618),
    row("resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth", 79.312),
    row("wide_resnet50_2", "wide_resnet50_2-95faca4d.pth", 78.468),
    row("wide_resnet101_2", "wide_resnet101_2-32ee1156.pth", 78.848),
    row("mobilenet_v2", "mobilenet_v2-b0353104.pth", 71.878),
    Pretrained {
        network: "efficientnet_lite0",
        address: TIMM,
        file: "efficientnet_lite0_ra-37913777.pth",
        top1: 75.484,
    },
];

/// Mean of ImageNet's colours, pixels scaled to `[0, 1]`.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of ImageNet's colours.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

impl Pretrained {
    /// The weights for a network of that name.
    ///
    /// # Errors
    /// [`WeightsError::NoPretrained`], which lists the names there are.
    pub fn of(network: &str) -> Result<Pretrained> {
        PRETRAINED
            .into_iter()
            .find(|row| row.network == network)
            .ok_or_else(|| WeightsError::NoPretrained { network: network.to_owned() })
    }

    /// Where the file is fetched from: the publisher's address, or `$DANLU_WEIGHTS_MIRROR` in its place.
    pub fn url(&self) -> String {
        let mirror = std::env::var("DANLU_WEIGHTS_MIRROR").ok().filter(|mirror| !mirror.is_empty());
        let base = mirror.as_deref().unwrap_or(self.address).trim_end_matches('/');
        format!("{base}/{}", self.file)
    }

    /// The file in the user's cache (`$DANLU_HOME/weights`, else `$XDG_CACHE_HOME/danlu/weights`, else
    /// `~/.cache/danlu/weights`), downloaded and checked if it is not there yet. A download that was cut short is gone
    /// on with.
    ///
    /// # Errors
    /// [`WeightsError::Download`] where there is no network; [`WeightsError::WrongSha256`]; a cache that cannot be
    /// written.
    pub fn fetch(&self, progress: &mut Progress<'_>) -> Result<PathBuf> {
        self.fetch_into(&cache_folder(), progress)
    }

    /// [`fetch`](Self::fetch) into a folder of one's own.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_into(&self, folder: &Path, progress: &mut Progress<'_>) -> Result<PathBuf> {
        let path = folder.join(self.file);
        // Only a file that was checked ever gets this name.
        if !path.is_file() {
            download(&self.url(), &path, self.sha256_prefix(), progress)?;
        }
        Ok(path)
    }

    fn sha256_prefix(&self) -> &'static str {
        let stem = self.file.trim_end_matches(".pth");
        stem.rsplit_once('-').map_or(stem, |(_, digits)| digits)
    }
}

fn cache_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DANLU_HOME")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("danlu")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/danlu")))
        .or_else(|| set("LOCALAPPDATA").map(|folder| folder.join("danlu")))
        .unwrap_or_else(|| PathBuf::from(".danlu"))
        .join("weights")
}
