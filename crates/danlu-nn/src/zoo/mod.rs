//! The networks that danlu knows by name.

mod block;
mod blocks;
mod efficientnet;
mod mobilenet;
mod resnet;
mod small;
mod vgg;

pub use block::{ActName, Block, BlockEntry, KernelSize};
pub use blocks::BlocksConfig;
pub use efficientnet::EfficientNetConfig;
pub use mobilenet::MobileNetConfig;
pub use resnet::{ResNetConfig, Stem};
pub use small::{Downsample, SmallConfig};
pub use vgg::VggConfig;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::builder::DefaultInit;
use crate::error::{NnError, Result};
use crate::graph::Graph;
use crate::init::{InitMethod, Mode, Nonlinearity};

/// Which network (recipe section `network`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum NetworkConfig {
    /// Residual networks for small images (28x28 to 64x64), shaped by fields. The default.
    Small(SmallConfig),
    /// A network written out as a list of blocks.
    Blocks(BlocksConfig),
    /// VGG with 11 layers (Simonyan and Zisserman 2015).
    Vgg11(VggConfig),
    /// VGG-11 with batch norm.
    Vgg11Bn(VggConfig),
    /// VGG with 13 layers.
    Vgg13(VggConfig),
    /// VGG-13 with batch norm.
    Vgg13Bn(VggConfig),
    /// VGG with 16 layers.
    Vgg16(VggConfig),
    /// VGG-16 with batch norm.
    Vgg16Bn(VggConfig),
    /// VGG with 19 layers.
    Vgg19(VggConfig),
    /// VGG-19 with batch norm.
    Vgg19Bn(VggConfig),
    /// Residual network with 18 layers (He et al. 2016).
    Resnet18(ResNetConfig),
    /// Residual network with 34 layers.
    Resnet34(ResNetConfig),
    /// Residual network with 50 layers of bottleneck blocks.
    Resnet50(ResNetConfig),
    /// Residual network with 101 layers.
    Resnet101(ResNetConfig),
    /// Residual network with 152 layers.
    Resnet152(ResNetConfig),
    /// ResNet-50 with 32 groups of 4 channels (Xie et al. 2017).
    #[serde(rename = "resnext50_32x4d")]
    Resnext50(ResNetConfig),
    /// ResNet-101 with 32 groups of 8 channels.
    #[serde(rename = "resnext101_32x8d")]
    Resnext101(ResNetConfig),
    /// ResNet-50 with 3x3 convolutions twice as wide (Zagoruyko and Komodakis 2016).
    #[serde(rename = "wide_resnet50_2")]
    WideResnet50(ResNetConfig),
    /// ResNet-101 with 3x3 convolutions twice as wide.
    #[serde(rename = "wide_resnet101_2")]
    WideResnet101(ResNetConfig),
    /// Inverted residuals with depthwise convolutions (Sandler et al. 2018).
    #[serde(rename = "mobilenet_v2")]
    MobilenetV2(MobileNetConfig),
    /// EfficientNet-Lite0, without squeeze-excite, with ReLU6 (timm's).
    #[serde(rename = "efficientnet_lite0")]
    EfficientnetLite0(EfficientNetConfig),
    /// EfficientNet-Lite1: deeper; made for 240 pixels.
    #[serde(rename = "efficientnet_lite1")]
    EfficientnetLite1(EfficientNetConfig),
    /// EfficientNet-Lite2: wider and deeper; made for 260 pixels.
    #[serde(rename = "efficientnet_lite2")]
    EfficientnetLite2(EfficientNetConfig),
    /// EfficientNet-Lite3; made for 280 pixels (timm: 300).
    #[serde(rename = "efficientnet_lite3")]
    EfficientnetLite3(EfficientNetConfig),
    /// EfficientNet-Lite4; made for 300 pixels (timm: 380).
    #[serde(rename = "efficientnet_lite4")]
    EfficientnetLite4(EfficientNetConfig),
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig::Small(SmallConfig::default())
    }
}

impl NetworkConfig {
    /// Every name, in the order of the reference.
    pub const NAMES: [&'static str; 25] = [
        "small",
        "blocks",
        "vgg11",
        "vgg11_bn",
        "vgg13",
        "vgg13_bn",
        "vgg16",
        "vgg16_bn",
        "vgg19",
        "vgg19_bn",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnext50_32x4d",
        "resnext101_32x8d",
        "wide_resnet50_2",
        "wide_resnet101_2",
        "mobilenet_v2",
        "efficientnet_lite0",
        "efficientnet_lite1",
        "efficientnet_lite2",
        "efficientnet_lite3",
        "efficientnet_lite4",
    ];

    /// The network of that name with its default fields; `None` for an unknown name. `blocks` is an empty list, which does not
    /// build.
    pub fn by_name(name: &str) -> Option<Self> {
        use NetworkConfig as N;
        Some(match name {
            "small" => N::Small(SmallConfig::default()),
            "blocks" => N::Blocks(BlocksConfig::default()),
            "vgg11" => N::Vgg11(VggConfig::default()),
            "vgg11_bn" => N::Vgg11Bn(VggConfig::default()),
            "vgg13" => N::Vgg13(VggConfig::default()),
            "vgg13_bn" => N::Vgg13Bn(VggConfig::default()),
            "vgg16" => N::Vgg16(VggConfig::default()),
            "vgg16_bn" => N::Vgg16Bn(VggConfig::default()),
            "vgg19" => N::Vgg19(VggConfig::default()),
            "vgg19_bn" => N::Vgg19Bn(VggConfig::default()),
            "resnet18" => N::Resnet18(ResNetConfig::default()),
            "resnet34" => N::Resnet34(ResNetConfig::default()),
            "resnet50" => N::Resnet50(ResNetConfig::default()),
            "resnet101" => N::Resnet101(ResNetConfig::default()),
            "resnet152" => N::Resnet152(ResNetConfig::default()),
            "resnext50_32x4d" => N::Resnext50(ResNetConfig::default()),
            "resnext101_32x8d" => N::Resnext101(ResNetConfig::default()),
            "wide_resnet50_2" => N::WideResnet50(ResNetConfig::default()),
            "wide_resnet101_2" => N::WideResnet101(ResNetConfig::default()),
            "mobilenet_v2" => N::MobilenetV2(MobileNetConfig::default()),
            "efficientnet_lite0" => N::EfficientnetLite0(EfficientNetConfig::default()),
            "efficientnet_lite1" => N::EfficientnetLite1(EfficientNetConfig::default()),
            "efficientnet_lite2" => N::EfficientnetLite2(EfficientNetConfig::default()),
            "efficientnet_lite3" => N::EfficientnetLite3(EfficientNetConfig::default()),
            "efficientnet_lite4" => N::EfficientnetLite4(EfficientNetConfig::default()),
            _ => return None,
        })
    }

    /// The value of the tag `name`.
    pub fn name(&self) -> &'static str {
        use NetworkConfig as N;
        match self {
            N::Small(_) => "small",
            N::Blocks(_) => "blocks",
            N::Vgg11(_) => "vgg11",
            N::Vgg11Bn(_) => "vgg11_bn",
            N::Vgg13(_) => "vgg13",
            N::Vgg13Bn(_) => "vgg13_bn",
            N::Vgg16(_) => "vgg16",
            N::Vgg16Bn(_) => "vgg16_bn",
            N::Vgg19(_) => "vgg19",
            N::Vgg19Bn(_) => "vgg19_bn",
            N::Resnet18(_) => "resnet18",
            N::Resnet34(_) => "resnet34",
            N::Resnet50(_) => "resnet50",
            N::Resnet101(_) => "resnet101",
            N::Resnet152(_) => "resnet152",
            N::Resnext50(_) => "resnext50_32x4d",
            N::Resnext101(_) => "resnext101_32x8d",
            N::WideResnet50(_) => "wide_resnet50_2",
            N::WideResnet101(_) => "wide_resnet101_2",
            N::MobilenetV2(_) => "mobilenet_v2",
            N::EfficientnetLite0(_) => "efficientnet_lite0",
            N::EfficientnetLite1(_) => "efficientnet_lite1",
            N::EfficientnetLite2(_) => "efficientnet_lite2",
            N::EfficientnetLite3(_) => "efficientnet_lite3",
            N::EfficientnetLite4(_) => "efficientnet_lite4",
        }
    }

    /// Sets the stem of those networks that have a choice; returns whether this one has.
    pub fn set_stem(&mut self, value: Stem) -> bool {
        use NetworkConfig as N;
        match self {
            N::Resnet18(c)
            | N::Resnet34(c)
            | N::Resnet50(c)
            | N::Resnet101(c)
            | N::Resnet152(c)
            | N::Resnext50(c)
            | N::Resnext101(c)
            | N::WideResnet50(c)
            | N::WideResnet101(c) => c.stem = value,
            N::MobilenetV2(c) => c.stem = value,
            N::EfficientnetLite0(c)
            | N::EfficientnetLite1(c)
            | N::EfficientnetLite2(c)
            | N::EfficientnetLite3(c)
            | N::EfficientnetLite4(c) => c.stem = value,
            _ => return false,
        }
        true
    }

    /// Checks the ranges of the fields.
    ///
    /// # Errors
    /// Names the key, the value and the range.
    pub fn validate(&self) -> Result<()> {
        use NetworkConfig as N;
        match self {
            N::Small(c) => c.validate(),
            N::Blocks(c) => c.validate(),
            N::Vgg11(c)
            | N::Vgg11Bn(c)
            | N::Vgg13(c)
            | N::Vgg13Bn(c)
            | N::Vgg16(c)
            | N::Vgg16Bn(c)
            | N::Vgg19(c)
            | N::Vgg19Bn(c) => c.validate(),
            N::Resnet18(c)
            | N::Resnet34(c)
            | N::Resnet50(c)
            | N::Resnet101(c)
            | N::Resnet152(c)
            | N::Resnext50(c)
            | N::Resnext101(c)
            | N::WideResnet50(c)
            | N::WideResnet101(c) => c.validate(),
            N::MobilenetV2(c) => c.validate(),
            N::EfficientnetLite0(c)
            | N::EfficientnetLite1(c)
            | N::EfficientnetLite2(c)
            | N::EfficientnetLite3(c)
            | N::EfficientnetLite4(c) => c.validate(),
        }
    }

    /// The graph for images of `[rows, columns]` with `in_channels` channels.
    ///
    /// # Errors
    /// Where a field is out of range or the image is too small; names the layer.
    pub fn build(&self, in_channels: usize, classes: usize, image_size: [usize; 2]) -> Result<Graph> {
        use NetworkConfig as N;
        self.validate()?;
        if classes < 2 {
            return Err(NnError::Input(format!(
                "a classifier needs at least 2 classes and {classes} were given"
            )));
        }
        if in_channels == 0 || image_size.contains(&0) {
            return Err(NnError::Input(format!(
                "images of {}x{} with {in_channels} channels are empty",
                image_size[0], image_size[1]
            )));
        }
        let size = image_size;
        match self {
            N::Small(c) => c.build(in_channels, classes, size),
            N::Blocks(c) => c.build(in_channels, classes, size),
            N::Vgg11(c) => c.build(11, false, in_channels, classes, size),
            N::Vgg11Bn(c) => c.build(11, true, in_channels, classes, size),
            N::Vgg13(c) => c.build(13, false, in_channels, classes, size),
            N::Vgg13Bn(c) => c.build(13, true, in_channels, classes, size),
            N::Vgg16(c) => c.build(16, false, in_channels, classes, size),
            N::Vgg16Bn(c) => c.build(16, true, in_channels, classes, size),
            N::Vgg19(c) => c.build(19, false, in_channels, classes, size),
            N::Vgg19Bn(c) => c.build(19, true, in_channels, classes, size),
            N::Resnet18(c) => c.build([2, 2, 2, 2], None, in_channels, classes, size),
            N::Resnet34(c) => c.build([3, 4, 6, 3], None, in_channels, classes, size),
            N::Resnet50(c) => c.build([3, 4, 6, 3], Some((1, 64)), in_channels, classes, size),
            N::Resnet101(c) => c.build([3, 4, 23, 3], Some((1, 64)), in_channels, classes, size),
            N::Resnet152(c) => c.build([3, 8, 36, 3], Some((1, 64)), in_channels, classes, size),
            N::Resnext50(c) => c.build([3, 4, 6, 3], Some((32, 4)), in_channels, classes, size),
            N::Resnext101(c) => c.build([3, 4, 23, 3], Some((32, 8)), in_channels, classes, size),
            N::WideResnet101(c) => c.build([3, 4, 23, 3], Some((1, 128)), in_channels, classes, size),
            N::WideResnet50(c) => c.build([3, 4, 6, 3], Some((1, 128)), in_channels, classes, size),
            N::MobilenetV2(c) => c.build(in_channels, classes, size),
            N::EfficientnetLite0(c) => c.build(1.0, 1.0, in_channels, classes, size),
            N::EfficientnetLite1(c) => c.build(1.0, 1.1, in_channels, classes, size),
            N::EfficientnetLite2(c) => c.build(1.1, 1.2, in_channels, classes, size),
            N::EfficientnetLite3(c) => c.build(1.2, 1.4, in_channels, classes, size),
            N::EfficientnetLite4(c) => c.build(1.4, 1.8, in_channels, classes, size),
        }
    }
}

/// torchvision's initialisation of convolutions: Kaiming normal, `fan_out`, ReLU, biases 0.
fn torchvision_init(linear: InitMethod, linear_bias: InitMethod) -> DefaultInit {
    DefaultInit {
        conv: InitMethod::KaimingNormal { mode: Mode::FanOut, nonlinearity: Nonlinearity::Relu, a: 0.0 },
        conv_bias: InitMethod::Constant { value: 0.0 },
        linear,
        linear_bias,
    }
}

/// `Normal(0, 0.01)` and zeros, as torchvision's VGG and MobileNet initialise linear layers.
fn small_normal() -> (InitMethod, InitMethod) {
    (InitMethod::Normal { mean: 0.0, std: 0.01 }, InitMethod::Constant { value: 0.0 })
}

/// A probability below 1.
fn check_probability(key: &str, p: f64) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(NnError::config(key, p, "must be in [0, 1): it is the share that is dropped"))
}

/// A size of at least 1 and at most `max`.
fn check_size(key: &str, value: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(NnError::config(key, value, format!("must be in 1 to {max}")))
}
