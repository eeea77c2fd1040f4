//! A network, its weights and its card drawn from the bytes: what is written as ONNX comes back to the bit.
#![no_main]

use danlu_nn::{Act, Conv, Graph, GraphBuilder, Pool, SqueezeExcite};
use danlu_weights::{ModelCard, OnnxOptions, StateDict, Tensor, export_onnx, read_state_dict};

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    fn text(&mut self) -> String {
        let length = (self.next() % 16).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

/// `None` where the drawn sizes fit no image.
fn network(bytes: &mut Bytes<'_>) -> Option<Graph> {
    let channels = [1, 3][bytes.next() % 2];
    let mut net = GraphBuilder::new(channels, 4 + bytes.next() % 13, 4 + bytes.next() % 13);
    let mut x = net.input();
    for layer in 0..bytes.next() % 6 {
        let name = format!("layer{layer}");
        let act = [Act::None, Act::Relu, Act::Relu6, Act::Silu, Act::Gelu, Act::Sigmoid][bytes.next() % 6];
        x = match bytes.next() % 7 {
            0 => net.pool(&name, x, Pool::max(2)),
            1 => net.pool(&name, x, Pool::adaptive(1 + bytes.next() % 3)),
            2 => net.squeeze_excite(&name, x, SqueezeExcite { squeeze: 1 + bytes.next() % 4, act }),
            3 => {
                let channels = net.shape(x).c;
                net.conv_add(&name, x, Conv::new(channels, 3).batch_norm().act(act), x)
            }
            4 => net.concat(&name, &[x, x]),
            5 => net.conv(&name, x, Conv::rect(1 + bytes.next() % 5, [1, 3]).bias(true).act(act)),
            _ => {
                let conv = Conv::new(1 + bytes.next() % 8, 1 + bytes.next() % 4).stride(1 + bytes.next() % 2);
                net.conv(&name, x, conv.batch_norm().act(act))
            }
        }
        .ok()?;
        if net.shape(x).elements() > 1 << 14 {
            return None;
        }
    }
    net.linear("fc", x, 2 + bytes.next() % 4).ok()?;
    net.build().ok()
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let Some(graph) = network(&mut bytes) else { return };
    let params = graph.params().iter().map(|param| (param.name.clone(), param.shape.clone()));
    let buffers = graph.buffers().into_iter().map(|buffer| (buffer.name, buffer.shape));
    let state: StateDict = params
        .chain(buffers)
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, shape)| {
            // Any bits, NaN among them.
            let value = |_| f32::from_bits(u32::from_le_bytes([0; 4].map(|_: u8| bytes.next() as u8)));
            let data = (0..shape.iter().product::<usize>()).map(value).collect();
            (name, Tensor { shape, data })
        })
        .collect();
    let channels = graph.input().c;
    let card = ModelCard {
        classes: (0..bytes.next() % 4).map(|_| bytes.text()).collect(),
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
        interpolation: Some(bytes.text()),
        network: Some(serde_json::json!({ "name": bytes.text() })),
        ..ModelCard::new()
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    let options = OnnxOptions { preprocessing: bytes.next() % 2 == 1 };
    export_onnx(&path, &graph, &state, &card, &options).expect("a network that builds is exported");
    let read = read_state_dict(&path).expect("what was written is read");
    assert_eq!(read.card, card);
    assert_eq!(read.state.len(), state.len());
    for (name, tensor) in state.iter() {
        let found = read.state.get(name).expect("no tensor is lost");
        assert_eq!(found.shape, tensor.shape);
        assert!(found.data.iter().zip(&tensor.data).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
    }
});
