//! One block of a network written out in a recipe: a table, or the same as a short text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::activation::Act;

/// Activation function of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActName {
    /// `max(x, 0)`.
    #[default]
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * Phi(x)`.
    Gelu,
    /// `x * sigmoid(x)`.
    Silu,
    /// No activation.
    None,
}

impl From<ActName> for Act {
    fn from(name: ActName) -> Act {
        match name {
            ActName::Relu => Act::Relu,
            ActName::Relu6 => Act::Relu6,
            ActName::Gelu => Act::Gelu,
            ActName::Silu => Act::Silu,
            ActName::None => Act::None,
        }
    }
}

/// Size of a kernel: `3`, or `[1, 3]` for rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KernelSize {
    /// Square.
    Square(usize),
    /// Rows and columns.
    Rect([usize; 2]),
}

impl KernelSize {
    pub(crate) fn both(self) -> [usize; 2] {
        match self {
            KernelSize::Square(k) => [k, k],
            KernelSize::Rect(k) => k,
        }
    }
}

fn three() -> KernelSize {
    KernelSize::Square(3)
}
fn one() -> usize {
    1
}
fn two() -> usize {
    2
}
fn six() -> usize {
    6
}
fn sixteen() -> usize {
    16
}

/// A block. Sizes are in pixels; `stride`, `padding` and `dilation` apply to rows and columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Block {
    /// Convolution, batch norm, activation: `cbr 64 3x3 s2`.
    Cbr {
        /// Filters.
        channels: usize,
        /// Size of the filters. Default 3.
        #[serde(default = "three")]
        kernel: KernelSize,
        /// Step. Default 1.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros around the image. Default: the dilation where it is above 1, else what keeps the size.
        #[serde(default)]
        padding: Option<usize>,
        /// Distance of the taps. Default 1.
        #[serde(default = "one")]
        dilation: usize,
        /// Groups of channels. Default 1.
        #[serde(default = "one")]
        groups: usize,
        /// Activation. Default `relu`.
        #[serde(default)]
        act: ActName,
    },
    /// Convolution with bias and activation, without batch norm: `conv 64 3x3`.
    Conv {
        /// Filters.
        channels: usize,
        /// Size of the filters. Default 3.
        #[serde(default = "three")]
        kernel: KernelSize,
        /// Step. Default 1.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros around the image. Default: the dilation where it is above 1, else what keeps the size.
        #[serde(default)]
        padding: Option<usize>,
        /// Distance of the taps. Default 1.
        #[serde(default = "one")]
        dilation: usize,
        /// Groups of channels. Default 1.
        #[serde(default = "one")]
        groups: usize,
        /// Activation. Default `relu`.
        #[serde(default)]
        act: ActName,
    },
    /// Asymmetric convolution (ACNet, Ding et al. 2019): 3x3, 1x3 and 3x1 branches with batch norm, summed, then the activation: `acnet 64`.
    /// Folding merges the three into one 3x3 convolution, so that the trained network costs what `cbr 64` costs.
    Acnet {
        /// Filters.
        channels: usize,
        /// Size of the square branch, odd. Default 3.
        #[serde(default = "three")]
        kernel: KernelSize,
        /// Step. Default 1.
        #[serde(default = "one")]
        stride: usize,
        /// Activation. Default `relu`.
        #[serde(default)]
        act: ActName,
    },
    /// Two 3x3 convolutions with a shortcut: `residual 64 s2`.
    Residual {
        /// Channels.
        channels: usize,
        /// Step of the first convolution and the shortcut. Default 1.
        #[serde(default = "one")]
        stride: usize,
        /// Probability that training drops the branch for a sample. Default 0.
        #[serde(default)]
        drop_path: f64,
    },
    /// 1x1, 3x3 and 1x1 convolutions with a shortcut: `bottleneck 64` gives 256 channels.
    Bottleneck {
        /// Channels of the 3x3 convolution; the output has 4 times as many.
        channels: usize,
        /// Step of the 3x3 convolution and the shortcut. Default 1.
        #[serde(default = "one")]
        stride: usize,
        /// Groups of the 3x3 convolution. Default 1.
        #[serde(default = "one")]
        groups: usize,
        /// Probability that training drops the branch for a sample. Default 0.
        #[serde(default)]
        drop_path: f64,
    },
    /// 1x1 expansion, depthwise convolution, 1x1 projection, ReLU6, shortcut where sizes allow: `inverted 24 s2`.
    Inverted {
        /// Output channels.
        channels: usize,
        /// Factor of the channels in between. Default 6.
        #[serde(default = "six")]
        expand: usize,
        /// Size of the depthwise filters. Default 3.
        #[serde(default = "three")]
        kernel: KernelSize,
        /// Step of the depthwise convolution. Default 1.
        #[serde(default = "one")]
        stride: usize,
    },
    /// Squeeze-and-excitation: `se 16`.
    Se {
        /// Channels are squeezed by this factor. Default 16.
        #[serde(default = "sixteen")]
        ratio: usize,
    },
    /// Max pooling: `maxpool 2`, `maxpool 3 s2 p1`.
    Maxpool {
        /// Window. Default 2.
        #[serde(default = "two")]
        size: usize,
        /// Step. Default: the window.
        #[serde(default)]
        stride: Option<usize>,
        /// Padding. Default 0.
        #[serde(default)]
        padding: usize,
    },
    /// Average pooling: `avgpool 2`.
    Avgpool {
        /// Window. Default 2.
        #[serde(default = "two")]
        size: usize,
        /// Step. Default: the window.
        #[serde(default)]
        stride: Option<usize>,
        /// Padding. Default 0.
        #[serde(default)]
        padding: usize,
    },
    /// Average pooling to a fixed size: `adaptive 7`.
    Adaptive {
        /// Output rows and columns.
        size: usize,
    },
    /// Global average pooling: `gap`.
    Gap {},
    /// Flatten: `flatten`. A linear layer flattens by itself.
    Flatten {},
    /// Linear layer: `linear 128`; without a number it gives the classes and must be last.
    Linear {
        /// Outputs. Default: the number of classes.
        #[serde(default)]
        features: Option<usize>,
        /// Activation; ignored for the last layer. Default `relu`.
        #[serde(default)]
        act: ActName,
    },
    /// Dropout: `dropout 0.5`.
    Dropout {
        /// Share dropped.
        p: f64,
    },
}

/// A block as a table or as a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum BlockEntry {
    /// `"cbr 64 3x3 s1"`.
    Text(String),
    /// `{ kind = "cbr", channels = 64, kernel = 3, stride = 1 }`.
    Table(Block),
}

/// By hand, so that a wrong table says which key is wrong; `untagged` would only say that nothing matched.
impl<'de> Deserialize<'de> for BlockEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = BlockEntry;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a block: a table with `kind`, or a text such as \"cbr 64 3x3 s1\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<BlockEntry, E> {
                Ok(BlockEntry::Text(text.to_string()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BlockEntry, A::Error> {
                Block::deserialize(MapAccessDeserializer::new(map)).map(BlockEntry::Table)
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

impl JsonSchema for BlockEntry {
    fn schema_name() -> Cow<'static, str> {
        "BlockEntry".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<Block>();
        schemars::json_schema!({
            "description": "A block as a table, or as a text such as \"cbr 64 3x3 s1\".",
            "anyOf": [{ "type": "string" }, table],
        })
    }
}

impl BlockEntry {
    /// The block, or what is wrong with its text.
    pub(crate) fn block(&self) -> Result<Block, String> {
        match self {
            BlockEntry::Table(block) => Ok(block.clone()),
            BlockEntry::Text(text) => parse(text),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            BlockEntry::Text(text) => format!("\"{text}\""),
            BlockEntry::Table(block) => format!("{block:?}"),
        }
    }
}

const KINDS: &str = "cbr, conv, acnet, residual, bottleneck, inverted, se, maxpool, avgpool, adaptive, gap, flatten, \
                     linear, dropout";

/// The words of a text after its kind.
#[derive(Default)]
struct Words {
    number: Option<f64>,
    kernel: Option<KernelSize>,
    stride: Option<usize>,
    padding: Option<usize>,
    dilation: Option<usize>,
    groups: Option<usize>,
    expand: Option<usize>,
    act: Option<ActName>,
}

fn parse(text: &str) -> Result<Block, String> {
    let mut words = text.split_whitespace();
    let Some(kind) = words.next() else {
        return Err(format!("is empty; a block starts with one of {KINDS}"));
    };
    let mut w = Words::default();
    for word in words {
        let number = |rest: &str| rest.parse::<usize>().ok();
        let (head, tail) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        let act = match word {
            "relu" => Some(ActName::Relu),
            "relu6" => Some(ActName::Relu6),
            "gelu" => Some(ActName::Gelu),
            "silu" => Some(ActName::Silu),
            "none" => Some(ActName::None),
            _ => None,
        };
        if act.is_some() {
            w.act = act;
        } else if let Some((rows, columns)) = word.split_once('x')
            && let (Some(rows), Some(columns)) = (number(rows), number(columns))
        {
            w.kernel = Some(KernelSize::Rect([rows, columns]));
        } else if let Ok(value) = word.parse::<f64>()
            && w.number.is_none()
        {
            w.number = Some(value);
        } else {
            let field = match head {
                "s" => &mut w.stride,
                "p" => &mut w.padding,
                "d" => &mut w.dilation,
                "g" => &mut w.groups,
                "e" => &mut w.expand,
                _ => return Err(unknown_word(word)),
            };
            let value = number(tail).ok_or_else(|| unknown_word(word))?;
            *field = Some(value);
        }
    }
    w.block(kind)
}

fn unknown_word(word: &str) -> String {
    format!(
        "`{word}` is not understood; expected a number, a size such as `3x3`, `s2` (stride), `p1` (padding), `d2` \
         (dilation), `g4` (groups), `e6` (expansion) or an activation"
    )
}

impl Words {
    fn block(self, kind: &str) -> Result<Block, String> {
        let whole = |what: &str| -> Result<usize, String> {
            match self.number {
                Some(n) if n >= 1.0 && n.fract() == 0.0 && n <= 1e6 => Ok(n as usize),
                Some(n) => Err(format!("{n} is no number of {what}")),
                None => Err(format!("lacks the number of {what}: `{kind} 64`")),
            }
        };
        let optional = |default: usize| -> Result<usize, String> {
            if self.number.is_some() { whole("pixels") } else { Ok(default) }
        };
        let kernel = self.kernel.unwrap_or_else(three);
        let stride = self.stride.unwrap_or(1);
        let act = self.act.unwrap_or_default();
        let (dilation, groups) = (self.dilation.unwrap_or(1), self.groups.unwrap_or(1));
        let padding = self.padding;
        Ok(match kind {
            "cbr" => {
                let channels = whole("channels")?;
                Block::Cbr { channels, kernel, stride, padding, dilation, groups, act }
            }
            "conv" => {
                let channels = whole("channels")?;
                Block::Conv { channels, kernel, stride, padding, dilation, groups, act }
            }
            "acnet" => Block::Acnet { channels: whole("channels")?, kernel, stride, act },
            "residual" => Block::Residual { channels: whole("channels")?, stride, drop_path: 0.0 },
            "bottleneck" => {
                Block::Bottleneck { channels: whole("channels")?, stride, groups, drop_path: 0.0 }
            }
            "inverted" => Block::Inverted {
                channels: whole("channels")?,
                expand: self.expand.unwrap_or(6),
                kernel,
                stride,
            },
            "se" => Block::Se { ratio: optional(16)? },
            "maxpool" => {
                Block::Maxpool { size: optional(2)?, stride: self.stride, padding: padding.unwrap_or(0) }
            }
            "avgpool" => {
                Block::Avgpool { size: optional(2)?, stride: self.stride, padding: padding.unwrap_or(0) }
            }
            "adaptive" => Block::Adaptive { size: whole("pixels")? },
            "gap" => Block::Gap {},
            "flatten" => Block::Flatten {},
            "linear" => {
                let features = if self.number.is_some() { Some(whole("features")?) } else { None };
                Block::Linear { features, act }
            }
            "dropout" => Block::Dropout { p: self.number.ok_or("lacks the share dropped: `dropout 0.5`")? },
            _ => return Err(format!("`{kind}` is no kind of block; expected one of {KINDS}")),
        })
    }
}
