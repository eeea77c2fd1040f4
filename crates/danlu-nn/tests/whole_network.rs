//! The gradient of a whole ResNet-18 on the cpu device against the f64 reference device.

use danlu_nn::{
    DeviceKind, Engine, EngineConfig, Images, InitConfig, Input, LossConfig, NetworkConfig, ResNetConfig,
    Stem, StepContext, Targets,
};
use danlu_rng::{Purpose, Stream};

/// The gradients of all parameters, one after the other.
fn gradient(device: DeviceKind) -> Vec<f64> {
    // Half as wide as torchvision's and on small images, or the plain loops in f64 would take minutes; large enough for the
    // algorithms of the real one: Winograd in the first two stages, matrix products in the others.
    let network =
        NetworkConfig::Resnet18(ResNetConfig { stem: Stem::Cifar, width: 32, ..ResNetConfig::default() });
    let graph = network.build(3, 10, [16, 16]).unwrap();
    let mut engine =
        Engine::new(graph, &EngineConfig { device, threads: 2, ..EngineConfig::default() }).unwrap();
    engine.initialize(&InitConfig::default(), 7).unwrap();
    let (n, mut stream) = (8, Stream::new(3, Purpose::Other(1), 0, 0));
    let data: Vec<f32> = (0..n * 16 * 16 * 3).map(|_| stream.normal() as f32).collect();
    let labels: Vec<u32> = (0..n).map(|_| stream.below(10) as u32).collect();
    let input = Input { images: Images::F32(&data), shape: [n, 16, 16, 3], mix: None };
    let context = StepContext::default();
    engine.forward_backward(&input, &Targets::Classes(&labels), &LossConfig::default(), &context).unwrap();
    (0..engine.params().len()).flat_map(|i| engine.grad(i).unwrap()).collect()
}

#[test]
fn the_gradient_of_a_resnet18_points_where_that_of_f64_points() {
    let (cpu, exact) = (gradient(DeviceKind::Cpu), gradient(DeviceKind::Reference));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(&cpu, &exact) / (dot(&cpu, &cpu) * dot(&exact, &exact)).sqrt();
    assert!(cosine >= 0.9999, "cosine {cosine}");
}
