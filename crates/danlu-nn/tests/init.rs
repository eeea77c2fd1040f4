//! Initialisers against the bounds and moments of `torch.nn.init`.

use danlu_nn::init::{self, InitGroup, Mode, Nonlinearity};
use danlu_nn::{
    Engine, EngineConfig, InitConfig, InitMethod, NetworkConfig, ParamKind, ResNetConfig, StateDict, Tensor,
    WeightSet,
};
use danlu_rng::{Purpose, Stream};

fn filled(shape: &[usize], fill: impl FnOnce(&mut Tensor, &mut Stream)) -> Tensor {
    let mut tensor = Tensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
    fill(&mut tensor, &mut Stream::new(1, Purpose::Init, 0, 5));
    tensor
}

/// Mean, standard deviation, largest absolute value.
fn moments(t: &Tensor) -> (f64, f64, f64) {
    let n = t.data.len() as f64;
    let mean = t.data.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let var = t.data.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, var.sqrt(), t.data.iter().fold(0.0, |m, v| f64::from(v.abs()).max(m)))
}

/// A tensor of `[64, 32, 3, 3]` has fan_in 288 and fan_out 576.
fn check(t: &Tensor, std: f64, bound: Option<f64>) {
    let (mean, got, largest) = moments(t);
    assert!(mean.abs() < 0.02 * std, "mean {mean}");
    assert!((got / std - 1.0).abs() < 0.02, "standard deviation {got}, expected {std}");
    match bound {
        Some(bound) => assert!(largest <= bound && largest > 0.99 * bound, "{largest} of {bound}"),
        None => assert!(largest > 3.3 * std, "no tail: {largest}"),
    }
}

const SHAPE: [usize; 4] = [64, 32, 3, 3];

#[test]
fn kaiming_and_xavier_have_pytorchs_bounds_and_moments() {
    let relu = Nonlinearity::Relu;
    let t = filled(&SHAPE, |t, s| init::kaiming_normal(t, Mode::FanOut, relu, s));
    check(&t, (2.0f64 / 576.0).sqrt(), None);
    let t = filled(&SHAPE, |t, s| init::kaiming_normal(t, Mode::FanIn, Nonlinearity::Linear, s));
    check(&t, (1.0f64 / 288.0).sqrt(), None);
    let t = filled(&SHAPE, |t, s| init::kaiming_uniform(t, Mode::FanIn, relu, s));
    check(&t, (2.0f64 / 288.0).sqrt(), Some((6.0f64 / 288.0).sqrt()));
    let t = filled(&SHAPE, |t, s| init::xavier_uniform(t, 1.5, s));
    check(&t, 1.5 * (2.0f64 / 864.0).sqrt(), Some(1.5 * (6.0f64 / 864.0).sqrt()));
    let t = filled(&SHAPE, |t, s| init::xavier_normal(t, 1.0, s));
    check(&t, (2.0f64 / 864.0).sqrt(), None);
    let t = filled(&SHAPE, init::pytorch_default);
    check(&t, (1.0f64 / 3.0 / 288.0).sqrt(), Some((1.0f64 / 288.0).sqrt()));
    assert_eq!(Nonlinearity::Tanh.gain(0.0), 5.0 / 3.0);
    assert_eq!(Nonlinearity::LeakyRelu.gain(5f64.sqrt()), (1.0f64 / 3.0).sqrt());
}

#[test]
fn trunc_normal_stays_within_its_bounds_with_the_moments_of_the_cut_normal() {
    let t = filled(&SHAPE, |t, s| init::trunc_normal(t, 0.0, 0.02, -0.02, 0.02, s));
    let (_, std, largest) = moments(&t);
    assert!(largest <= 0.02);
    // A standard normal cut at 1 has the standard deviation 0.53956.
    assert!((std / 0.02 / 0.53956 - 1.0).abs() < 0.02, "{std}");
}

#[test]
fn orthogonal_rows_or_columns_are_orthonormal_times_gain() {
    // The last ones take several blocks of reflections.
    for shape in [&[6, 4, 3, 3][..], &[40, 2, 3, 3], &[7, 7], &[1, 5], &[150, 170], &[140, 130], &[64, 64]] {
        let t = filled(shape, |t, s| init::orthogonal(t, 2.0, s));
        let rows = shape[0];
        let columns = t.data.len() / rows;
        let at = |r: usize, c: usize| f64::from(t.data[r * columns + c]);
        let small = rows.min(columns);
        for i in 0..small {
            for j in 0..small {
                let dot: f64 = if rows <= columns {
                    (0..columns).map(|c| at(i, c) * at(j, c)).sum()
                } else {
                    (0..rows).map(|r| at(r, i) * at(r, j)).sum()
                };
                let want = if i == j { 4.0 } else { 0.0 };
                assert!((dot - want).abs() < 1e-5, "{shape:?} {i} {j}: {dot}");
            }
        }
    }
}

#[test]
fn orthogonal_matrices_are_uniform_over_the_rotations_and_reflections() {
    // The moments of Haar's measure on O(3): a QR decomposition whose signs are left as they fall fails the first.
    let mut stream = Stream::new(7, Purpose::Init, 0, 0);
    let (n, mut mean, mut square, mut apart, mut beside, mut turns) = (20_000, [0.0; 9], 0.0, 0.0, 0.0, 0.0);
    for _ in 0..n {
        let mut t = Tensor { shape: vec![3, 3], data: vec![0.0; 9] };
        init::orthogonal(&mut t, 1.0, &mut stream);
        let q: Vec<f64> = t.data.iter().map(|&v| f64::from(v)).collect();
        mean.iter_mut().zip(&q).for_each(|(m, v)| *m += v / f64::from(n));
        square += q[0] * q[0] / f64::from(n);
        apart += (q[0] * q[4]).powi(2) / f64::from(n);
        beside += (q[0] * q[1]).powi(2) / f64::from(n);
        let det = q[0] * (q[4] * q[8] - q[5] * q[7]) - q[1] * (q[3] * q[8] - q[5] * q[6])
            + q[2] * (q[3] * q[7] - q[4] * q[6]);
        turns += f64::from(u8::from(det > 0.0)) / f64::from(n);
    }
    assert!(mean.iter().all(|m| m.abs() < 0.02), "{mean:?}");
    assert!((square - 1.0 / 3.0).abs() < 0.01, "{square}");
    assert!((apart - 2.0 / 15.0).abs() < 0.006 && (beside - 1.0 / 15.0).abs() < 0.004, "{apart} {beside}");
    assert!((turns - 0.5).abs() < 0.02, "{turns}");
}

#[test]
fn dirac_passes_channels_unchanged_in_each_group() {
    let t = filled(&[6, 2, 3, 3], |t, _| init::dirac(t, 2));
    for o in 0..6 {
        for i in 0..2 {
            for tap in 0..9 {
                let want = if o % 3 == i && tap == 4 { 1.0 } else { 0.0 };
                assert_eq!(t.data[(o * 2 + i) * 9 + tap], want, "{o} {i} {tap}");
            }
        }
    }
}

fn initialized(config: &NetworkConfig, init: &InitConfig, seed: u64) -> (Engine, StateDict) {
    let graph = config.build(3, 10, [64, 64]).unwrap();
    let mut engine = Engine::new(graph, &EngineConfig { threads: 1, ..Default::default() }).unwrap();
    engine.initialize(init, seed).unwrap();
    let state = engine.state_dict(WeightSet::Live).unwrap();
    (engine, state)
}

#[test]
fn a_name_decides_its_numbers_and_the_seed_changes_all() {
    let wide = NetworkConfig::Resnet34(ResNetConfig { width: 8, ..Default::default() });
    let short = NetworkConfig::Resnet18(ResNetConfig { width: 8, ..Default::default() });
    let (_, a) = initialized(&wide, &InitConfig::default(), 1);
    let (_, b) = initialized(&short, &InitConfig::default(), 1);
    let (_, c) = initialized(&short, &InitConfig::default(), 2);
    assert_eq!(a.get("layer2.0.conv1.weight"), b.get("layer2.0.conv1.weight"));
    assert_ne!(b.get("layer2.0.conv1.weight"), c.get("layer2.0.conv1.weight"));
    assert_ne!(b.get("layer2.0.conv2.weight"), b.get("layer2.1.conv2.weight"));
}

#[test]
fn a_resnet_starts_as_torchvisions_and_zero_last_bn_starts_its_blocks_as_the_identity() {
    let config = NetworkConfig::by_name("resnet18").unwrap();
    let zero = InitConfig { zero_last_bn: true, ..Default::default() };
    let (_, state) = initialized(&config, &zero, 1);
    check(state.get("layer3.0.conv1.weight").unwrap(), (2.0f64 / (256.0 * 9.0)).sqrt(), None);
    let bound = (1.0f64 / 512.0).sqrt();
    check(state.get("fc.weight").unwrap(), bound / 3f64.sqrt(), Some(bound));
    assert!(state.get("fc.bias").unwrap().data.iter().all(|v| f64::from(v.abs()) <= bound));
    let all = |name: &str, value: f32| state.get(name).unwrap().data.iter().all(|&v| v == value);
    assert!(all("layer1.0.bn1.weight", 1.0) && all("layer1.0.bn2.weight", 0.0) && all("bn1.bias", 0.0));
    assert!(all("bn1.running_var", 1.0) && all("bn1.running_mean", 0.0));
}

#[test]
fn a_chosen_method_and_groups_apply_by_kind_and_name() {
    let config = NetworkConfig::Resnet18(ResNetConfig { width: 8, ..Default::default() });
    let init = InitConfig {
        weights: InitMethod::XavierUniform { gain: 1.0 },
        groups: vec![
            InitGroup { pattern: "layer4.*".into(), weights: InitMethod::Orthogonal { gain: 1.0 } },
            InitGroup { pattern: "fc.bias".into(), weights: InitMethod::Constant { value: 0.5 } },
        ],
        ..Default::default()
    };
    let (engine, state) = initialized(&config, &init, 3);
    for info in engine.params().iter().filter(|p| p.kind == ParamKind::ConvWeight) {
        let t = state.get(&info.name).unwrap();
        let fans = init::Fans::of(&t.shape);
        let bound = (6.0 / (fans.fan_in + fans.fan_out) as f64).sqrt();
        let within = moments(t).2 <= bound;
        assert!(within || info.name.starts_with("layer4"), "{}", info.name);
    }
    let row: f32 = state.get("layer4.1.conv1.weight").unwrap().data[..64 * 9].iter().map(|v| v * v).sum();
    assert!((row - 1.0).abs() < 1e-4, "{row}");
    assert!(state.get("fc.bias").unwrap().data.iter().all(|&v| v == 0.5));
}

#[test]
fn wrong_values_and_patterns_that_match_nothing_are_refused() {
    let graph = NetworkConfig::default().build(1, 2, [8, 8]).unwrap();
    let mut engine = Engine::new(graph, &EngineConfig { threads: 1, ..Default::default() }).unwrap();
    let mut refused = |init: InitConfig, key: &str| {
        let error = engine.initialize(&init, 0).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    };
    let weights = |weights| InitConfig { weights, ..Default::default() };
    refused(weights(InitMethod::XavierNormal { gain: 0.0 }), "init.weights.gain");
    refused(weights(InitMethod::Normal { mean: 0.0, std: -1.0 }), "init.weights.std");
    refused(weights(InitMethod::Uniform { a: 1.0, b: 1.0 }), "init.weights.b");
    refused(weights(InitMethod::TruncNormal { mean: 0.0, std: 0.1, a: 2.0, b: 3.0 }), "init.weights.a");
    let group = InitGroup { pattern: "layer9.*".into(), weights: InitMethod::Pytorch };
    refused(InitConfig { groups: vec![group], ..Default::default() }, "init.groups[0].match");
}
