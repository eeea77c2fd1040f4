//! A pretrained ResNet as it is, all but a new last layer for 10 classes.
//!
//! Weights of ImageNet come with `danlu::weights::Pretrained::of("resnet50")?.fetch(..)`; here they are drawn, so that
//! the example runs without a network.

use danlu::nn::{Engine, EngineConfig, InitConfig, NetworkConfig};
use danlu::optim::{Dtype, Optimizer, OptimizerConfig, SgdConfig};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let resnet50: NetworkConfig = serde_json::from_str(r#"{ "name": "resnet50" }"#)?;
    let mut model = Engine::new(resnet50.build(3, 1000, [32, 32])?, &EngineConfig::default())?;
    model.initialize(&InitConfig::default(), 0)?;

    // `requires_grad = False` for every parameter.
    model.set_trainable(&vec![false; model.params().len()])?;

    // `model.fc = nn.Linear(2048, 10)`: the new layer trains.
    model.replace_head(10, &InitConfig::default(), 1)?;

    for (param, trains) in model.params().iter().zip(model.trainable()).filter(|(_, trains)| **trains) {
        println!("{} {:?} requires_grad={trains}", param.name, param.shape);
    }
    let trains: Vec<&str> = model
        .params()
        .iter()
        .zip(model.trainable())
        .filter_map(|(param, trains)| trains.then_some(param.name.as_str()))
        .collect();
    assert_eq!(trains, ["fc.weight", "fc.bias"]);
    assert_eq!(model.params().iter().rev().nth(1).map(|param| param.shape.clone()), Some(vec![10, 2048]));

    let sgd = OptimizerConfig::Sgd(SgdConfig { lr: 1e-2, momentum: 0.9, ..SgdConfig::default() });
    let _optimizer = Optimizer::new(&sgd, &[], &model.param_specs(), Dtype::F32)?;
    Ok(())
}
