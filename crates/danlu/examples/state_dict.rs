//! Parameters into a file and out of it again; keys that the network does not have are left out.

use danlu::nn::{Engine, EngineConfig, InitConfig, NetworkConfig, WeightSet};
use danlu::weights::{StateDict, read_state_dict, write_pth};

/// Runs the example in a temporary folder.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("danlu-state-dict-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("net_params.pth");

    let resnet18: NetworkConfig = serde_json::from_str(r#"{ "name": "resnet18" }"#)?;
    let mut net = Engine::new(resnet18.build(3, 1000, [32, 32])?, &EngineConfig::default())?;
    net.initialize(&InitConfig::default(), 0)?;
    // PyTorch reads this file with `net.load_state_dict(torch.load("net_params.pth"))`.
    write_pth(&path, &net.state_dict(WeightSet::Live)?)?;

    let mut new_net = Engine::new(resnet18.build(3, 10, [32, 32])?, &EngineConfig::default())?;
    new_net.initialize(&InitConfig::default(), 1)?;
    let pretrained = read_state_dict(&path)?.state;
    let own = new_net.state_dict(WeightSet::Live)?;
    // Update the network's own state dict with the keys that it has, of the sizes that it has.
    let mut state = StateDict::new();
    for (key, tensor) in own.iter() {
        let fits = pretrained.get(key).filter(|other| other.shape == tensor.shape);
        state.insert(key, fits.unwrap_or(tensor).clone());
    }
    new_net.load_state_dict(&state, WeightSet::Live)?;

    let loaded = new_net.state_dict(WeightSet::Live)?;
    assert_eq!(loaded.get("conv1.weight"), pretrained.get("conv1.weight"));
    assert_eq!(loaded.get("fc.weight"), own.get("fc.weight"), "1000 outputs do not fit 10");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
