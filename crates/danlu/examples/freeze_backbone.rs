//! A pretrained ResNet whose weights stay, all but a new last layer for 10 classes.
//!
//! Weights of ImageNet come with `danlu::weights::Pretrained::of("resnet50")?.fetch(..)`; here they are drawn, so that
//! the example runs without a network.

use danlu::nn::{Engine, EngineConfig, InitConfig, NetworkConfig, WeightSet};
use danlu::optim::{Dtype, Optimizer, OptimizerConfig, SgdConfig};

/// Runs the example.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let resnet18: NetworkConfig = serde_json::from_str(r#"{ "name": "resnet18" }"#)?;
    let mut pretrained = Engine::new(resnet18.build(3, 1000, [32, 32])?, &EngineConfig::default())?;
    pretrained.initialize(&InitConfig::default(), 0)?;

    // The same network with 10 outputs: `fc` keeps its own values, for the pretrained ones do not fit.
    let mut model = Engine::new(resnet18.build(3, 10, [32, 32])?, &EngineConfig::default())?;
    model.initialize(&InitConfig::default(), 1)?;
    let report = model.load_matching(&pretrained.state_dict(WeightSet::Live)?, WeightSet::Live)?;
    println!("{report:?}");

    // `requires_grad = False` for every parameter but those of `fc`.
    let trainable: Vec<bool> = model.params().iter().map(|param| param.name.starts_with("fc.")).collect();
    model.set_trainable(&trainable)?;
    assert_eq!(trainable.iter().filter(|&&trains| trains).count(), 2, "fc.weight and fc.bias");

    let sgd = OptimizerConfig::Sgd(SgdConfig { lr: 1e-2, momentum: 0.9, ..SgdConfig::default() });
    let _optimizer = Optimizer::new(&sgd, &[], &model.param_specs(), Dtype::F32)?;
    Ok(())
}
