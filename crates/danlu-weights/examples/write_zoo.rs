//! A network of the zoo with random weights as a Hugging Face folder, two images and their logits, for
//! `golden/weights/check_timm.py`:
//!
//!     cargo run --release -p danlu-weights --example write_zoo -- resnet50 CLASSES SIDE OUT

use danlu_nn::{Engine, EngineConfig, Images, InitConfig, Input, NetworkConfig, Tensor, WeightSet};
use danlu_weights::{ModelCard, Resize, write_huggingface, write_safetensors};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [network, classes, side, out] = &args[..] else { return Err("expected four arguments".into()) };
    let (classes, side): (usize, usize) = (classes.parse()?, side.parse()?);
    let config = NetworkConfig::by_name(network).ok_or("an unknown network")?;
    let mut engine = Engine::new(config.build(3, classes, [side, side])?, &EngineConfig::default())?;
    engine.initialize(&InitConfig::default(), 11)?;
    let card = ModelCard {
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        channels: Some(3),
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
        resize: Some(Resize::ShortSide(side * 8 / 7)),
        crop: Some([side, side]),
        interpolation: Some("bilinear".into()),
        network: Some(serde_json::to_value(&config)?),
        ..ModelCard::new()
    };
    let out = Path::new(out);
    write_huggingface(&out.join("hub"), &engine.state_dict(WeightSet::Live)?, &card)?;
    let pixel = |n: usize, y: usize, x: usize, c: usize| {
        ((((n * side + y) * side + x) * 3 + c) * 7919 % 1009) as f32 / 504.0 - 1.0
    };
    let (mut nhwc, mut nchw) = (Vec::new(), Vec::new());
    for n in 0..2 {
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            nhwc.extend((0..3).map(|c| pixel(n, y, x, c)));
        }
        for c in 0..3 {
            nchw.extend((0..side).flat_map(|y| (0..side).map(move |x| pixel(n, y, x, c))));
        }
    }
    let input = Input { images: Images::F32(&nhwc), shape: [2, side, side, 3], mix: None };
    let logits = engine.infer(&input, WeightSet::Live)?.to_vec();
    let sample = [
        ("images".to_owned(), Tensor { shape: vec![2, 3, side, side], data: nchw }),
        ("logits".to_owned(), Tensor { shape: vec![2, classes], data: logits }),
    ];
    write_safetensors(&out.join("sample.safetensors"), &sample.into_iter().collect(), &ModelCard::new())?;
    Ok(())
}
