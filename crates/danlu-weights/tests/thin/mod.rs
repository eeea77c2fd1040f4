//! The thin networks of `golden/weights/make_fixtures.py`, built layer by layer, with their images and logits.

#![allow(dead_code)] // each test and the example use their own part

use danlu_nn::{Act, Conv, Graph, GraphBuilder, NnError, NodeId, Pool};
use danlu_weights::{LoadOptions, StateDict, Tensor, match_state_dict, read_state_dict};
use std::path::PathBuf;

pub(crate) struct Thin {
    pub(crate) name: &'static str,
    pub(crate) graph: Graph,
    /// Loaded strictly from the file that PyTorch saved.
    pub(crate) state: StateDict,
    /// `[N, C, H, W]`.
    pub(crate) images: Tensor,
    /// `[N, classes]`, computed by PyTorch in f64.
    pub(crate) logits: Tensor,
}

impl Thin {
    /// The images in danlu's layout, `[N, H, W, C]`.
    pub(crate) fn nhwc(&self) -> (Vec<f32>, [usize; 4]) {
        let [n, c, h, w] = self.images.shape[..] else { panic!("images have four sizes") };
        let mut out = Vec::with_capacity(self.images.data.len());
        for (image, y, x) in (0..n).flat_map(|i| (0..h).flat_map(move |y| (0..w).map(move |x| (i, y, x)))) {
            out.extend((0..c).map(|channel| self.images.data[((image * c + channel) * h + y) * w + x]));
        }
        (out, [n, h, w, c])
    }
}

type Build = fn(GraphBuilder) -> Result<Graph, NnError>;

pub(crate) fn all() -> Vec<Thin> {
    let builders: [(&str, Build); 8] = [
        ("resnet_thin", resnet),
        ("vgg_thin", |net| vgg(net, true)),
        ("mobilenet_thin", mobilenet),
        ("vgg_plain_thin", |net| vgg(net, false)),
        ("bottleneck_thin", |net| bottlenecks(net, 1, 64)),
        ("resnext_thin", |net| bottlenecks(net, 4, 32)),
        ("wide_thin", |net| bottlenecks(net, 1, 128)),
        ("lite_thin", lite),
    ];
    builders.into_iter().map(|(name, build)| load(name, build)).collect()
}

fn load(name: &'static str, build: Build) -> Thin {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let reference = read_state_dict(&golden.join(format!("{name}.safetensors"))).unwrap().state;
    let (images, logits) = (reference.get("__images__").unwrap(), reference.get("__logits__").unwrap());
    let graph = build(GraphBuilder::new(images.shape[1], images.shape[2], images.shape[3])).unwrap();
    let params = graph.params().iter().map(|param| (param.name.clone(), param.shape.clone()));
    let buffers = graph.buffers().into_iter().map(|buffer| (buffer.name, buffer.shape));
    let targets: Vec<(String, Vec<usize>)> = params.chain(buffers).collect();
    let saved = read_state_dict(&golden.join(format!("{name}.pth"))).unwrap().state;
    let strict = LoadOptions { strict: true, ..Default::default() };
    let state = match_state_dict(&targets, &saved, &strict).unwrap().state;
    Thin { name, graph, state, images: images.clone(), logits: logits.clone() }
}

fn resnet(mut net: GraphBuilder) -> Result<Graph, NnError> {
    let stem = Conv::new(8, 7).stride(2).batch_norm_named("bn1").relu();
    let x = net.conv("conv1", net.input(), stem)?;
    let mut x = net.pool("maxpool", x, Pool::max(3).stride(2).padding(1))?;
    for block in ["layer1.0", "layer1.1", "layer2.0"] {
        let stage2 = block == "layer2.0";
        let (out, stride) = if stage2 { (16, 2) } else { (8, 1) };
        let first = Conv::new(out, 3).stride(stride).batch_norm_named(format!("{block}.bn1")).relu();
        let y = net.conv(&format!("{block}.conv1"), x, first)?;
        let shortcut = if stage2 {
            let down = Conv::new(out, 1).stride(stride).batch_norm_named(format!("{block}.downsample.1"));
            net.conv(&format!("{block}.downsample.0"), x, down)?
        } else {
            x
        };
        let second = Conv::new(out, 3).batch_norm_named(format!("{block}.bn2")).relu();
        x = net.conv_add(&format!("{block}.conv2"), y, second, shortcut)?;
    }
    let x = net.pool("avgpool", x, Pool::global())?;
    net.linear("fc", x, 5)?;
    net.build()
}

fn bottlenecks(mut net: GraphBuilder, groups: usize, base_width: usize) -> Result<Graph, NnError> {
    let stem = Conv::new(8, 7).stride(2).batch_norm_named("bn1").relu();
    let x = net.conv("conv1", net.input(), stem)?;
    let mut x = net.pool("maxpool", x, Pool::max(3).stride(2).padding(1))?;
    for (block, planes, stride) in [("layer1.0", 4, 1), ("layer1.1", 4, 1), ("layer2.0", 8, 2)] {
        let (out, width) = (4 * planes, planes * base_width / 64 * groups);
        let bn = |i: usize| format!("{block}.bn{i}");
        let y = net.conv(&format!("{block}.conv1"), x, Conv::new(width, 1).batch_norm_named(bn(1)).relu())?;
        let second = Conv::new(width, 3).stride(stride).groups(groups).batch_norm_named(bn(2)).relu();
        let y = net.conv(&format!("{block}.conv2"), y, second)?;
        let shortcut = if block == "layer1.1" {
            x
        } else {
            let down = Conv::new(out, 1).stride(stride).batch_norm_named(format!("{block}.downsample.1"));
            net.conv(&format!("{block}.downsample.0"), x, down)?
        };
        let third = Conv::new(out, 1).batch_norm_named(bn(3)).relu();
        x = net.conv_add(&format!("{block}.conv3"), y, third, shortcut)?;
    }
    let x = net.pool("avgpool", x, Pool::global())?;
    net.linear("fc", x, 5)?;
    net.build()
}

fn lite(mut net: GraphBuilder) -> Result<Graph, NnError> {
    let mut x =
        net.conv("conv_stem", net.input(), Conv::new(8, 3).stride(2).batch_norm_named("bn1").relu6())?;
    // (block, expansion, channels, stride, kernel)
    for (block, expand, channels, stride, kernel) in
        [("0.0", 1, 8, 1, 3), ("1.0", 6, 8, 2, 5), ("1.1", 6, 8, 1, 5), ("2.0", 6, 16, 2, 3)]
    {
        let (input, name) = (net.shape(x).c, |rest: &str| format!("blocks.{block}.{rest}"));
        let (mut y, hidden) = (x, input * expand);
        let names = if expand > 1 { ["bn2", "conv_pwl", "bn3"] } else { ["bn1", "conv_pw", "bn2"] };
        let [depthwise_bn, project, project_bn] = names.map(name);
        if expand > 1 {
            let conv = Conv::new(hidden, 1).batch_norm_named(name("bn1")).relu6();
            y = net.conv(&name("conv_pw"), y, conv)?;
        }
        let depthwise = Conv::new(hidden, kernel).stride(stride).groups(hidden);
        y = net.conv(&name("conv_dw"), y, depthwise.batch_norm_named(depthwise_bn).relu6())?;
        let last = Conv::new(channels, 1).batch_norm_named(project_bn);
        x = match stride == 1 && input == channels {
            true => net.conv_add(&project, y, last, x)?,
            false => net.conv(&project, y, last)?,
        };
    }
    x = net.conv("conv_head", x, Conv::new(24, 1).batch_norm_named("bn2").relu6())?;
    x = net.pool("global_pool", x, Pool::global())?;
    net.linear("classifier", x, 5)?;
    net.build()
}

/// `features` as torchvision numbers them: a convolution, its norm where it has one, ReLU, pooling.
fn vgg(mut net: GraphBuilder, norm: bool) -> Result<Graph, NnError> {
    let (mut x, mut index) = (net.input(), 0);
    for channels in [8, 12] {
        let mut conv = Conv::new(channels, 3).relu();
        if norm {
            conv = conv.batch_norm_named(format!("features.{}", index + 1));
        }
        // After the norm, which takes the bias away: torchvision's VGG has both.
        conv = conv.bias(true);
        x = net.conv(&format!("features.{index}"), x, conv)?;
        index += 2 + usize::from(norm);
        x = net.pool(&format!("features.{index}"), x, Pool::max(2))?;
        index += 1;
    }
    let mut pool = Pool::adaptive(1);
    pool.size = [3, 2];
    x = net.pool("avgpool", x, pool)?;
    x = net.linear_act("classifier.0", x, 16, Act::Relu)?;
    x = net.linear_act("classifier.3", x, 16, Act::Relu)?;
    net.linear("classifier.6", x, 5)?;
    net.build()
}

fn mobilenet(mut net: GraphBuilder) -> Result<Graph, NnError> {
    let cbr6 = |net: &mut GraphBuilder, name: &str, norm: &str, x: NodeId, conv: Conv| {
        net.conv(name, x, conv.batch_norm_named(norm).relu6())
    };
    let x = net.input();
    let mut x = cbr6(&mut net, "features.0.0", "features.0.1", x, Conv::new(8, 3).stride(2))?;
    for (index, expand, stride) in [(1, 1, 1), (2, 6, 2), (3, 6, 1)] {
        let (input, name) = (net.shape(x).c, |rest: String| format!("features.{index}.conv.{rest}"));
        let (mut y, mut at) = (x, 0);
        if expand > 1 {
            y = cbr6(&mut net, &name("0.0".into()), &name("0.1".into()), y, Conv::new(input * expand, 1))?;
            at = 1;
        }
        let hidden = input * expand;
        let depthwise = Conv::new(hidden, 3).stride(stride).groups(hidden);
        y = cbr6(&mut net, &name(format!("{at}.0")), &name(format!("{at}.1")), y, depthwise)?;
        let project = Conv::new(8, 1).batch_norm_named(name(format!("{}", at + 2)));
        let project_name = name(format!("{}", at + 1));
        x = match stride == 1 && input == 8 {
            true => net.conv_add(&project_name, y, project, x)?,
            false => net.conv(&project_name, y, project)?,
        };
    }
    x = cbr6(&mut net, "features.4.0", "features.4.1", x, Conv::new(24, 1))?;
    x = net.pool("avgpool", x, Pool::global())?;
    net.linear("classifier.1", x, 5)?;
    net.build()
}
