//! EfficientNet-Lite0 to 4 under timm's names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::builder::GraphBuilder;
use crate::error::Result;
use crate::graph::Graph;
use crate::init::InitMethod;
use crate::ops::{Conv, Pool};
use crate::zoo::{Stem, check_probability, torchvision_init};

/// Fields of EfficientNet-Lite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EfficientNetConfig {
    /// The first layers. Default `imagenet`, timm's; `cifar` starts with stride 1.
    pub stem: Stem,
    /// Share of the values before the last layer that training drops. Default 0.2, the paper's for Lite0 and Lite1 (0.3 for
    /// Lite2 to Lite4).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f64,
}

impl Default for EfficientNetConfig {
    fn default() -> Self {
        EfficientNetConfig { stem: Stem::Imagenet, dropout: 0.2 }
    }
}

impl EfficientNetConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        check_probability("network.dropout", self.dropout)
    }

    /// `width` multiplies the channels of the blocks and `depth` their number; stem, head, and the depth of the first and last
    /// stage are those of Lite0 (timm's `fix_first_last`).
    pub(crate) fn build(
        &self,
        width: f64,
        depth: f64,
        in_channels: usize,
        classes: usize,
        size: [usize; 2],
    ) -> Result<Graph> {
        // (expansion, channels, repeats, stride, kernel)
        let stages: [(usize, usize, u32, usize, usize); 7] = [
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 40, 2, 2, 5),
            (6, 80, 3, 2, 3),
            (6, 112, 3, 1, 5),
            (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3),
        ];
        let mut net = GraphBuilder::new(in_channels, size[0], size[1]);
        net.default_init(torchvision_init(InitMethod::Pytorch, InitMethod::Constant { value: 0.0 }));
        let stride = if self.stem == Stem::Imagenet { 2 } else { 1 };
        let stem = Conv::new(32, 3).stride(stride).batch_norm_named("bn1").relu6();
        let mut x = net.conv("conv_stem", net.input(), stem)?;
        for (stage, (expand, channels, repeats, stride, kernel)) in stages.into_iter().enumerate() {
            let inner = (1..6).contains(&stage);
            let repeats = if inner { (f64::from(repeats) * depth).ceil() as usize } else { repeats as usize };
            let channels = round_channels(channels, width);
            for i in 0..repeats {
                let stride = if i == 0 { stride } else { 1 };
                let input = net.shape(x).c;
                let name = |rest: &str| format!("blocks.{stage}.{i}.{rest}");
                let mut y = x;
                if expand > 1 {
                    let conv = Conv::new(input * expand, 1).batch_norm_named(name("bn1")).relu6();
                    y = net.conv(&name("conv_pw"), y, conv)?;
                }
                // timm calls the layers of a block without expansion conv_dw, bn1, conv_pw, bn2.
                let [dw_bn, project, project_bn] = if expand > 1 {
                    [name("bn2"), name("conv_pwl"), name("bn3")]
                } else {
                    [name("bn1"), name("conv_pw"), name("bn2")]
                };
                let hidden = input * expand;
                let depthwise =
                    Conv::new(hidden, kernel).stride(stride).groups(hidden).batch_norm_named(dw_bn).relu6();
                y = net.conv(&name("conv_dw"), y, depthwise)?;
                let conv = Conv::new(channels, 1).batch_norm_named(project_bn);
                x = if stride == 1 && input == channels {
                    net.conv_add(&project, y, conv.last_of_residual(), x)?
                } else {
                    net.conv(&project, y, conv)?
                };
            }
        }
        let head = Conv::new(1280, 1).batch_norm_named("bn2").relu6();
        x = net.conv("conv_head", x, head)?;
        x = net.pool("global_pool", x, Pool::global())?;
        x = net.dropout("dropout", x, self.dropout)?;
        net.linear("classifier", x, classes)?;
        net.build()
    }
}

/// The multiple of 8 next to `channels * width` that is not more than 10 % below it.
fn round_channels(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let nearest = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * wanted { nearest + 8 } else { nearest }
}
