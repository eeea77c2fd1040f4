//! What a trainer relies on: learning, averaging, freezing, accumulation, exact state, memory, taps, diagnosis.

use danlu_nn::{
    BnMode, Conv, DeviceKind, Engine, EngineConfig, Graph, GraphBuilder, Images, InitConfig, Input,
    LossConfig, Mix, NetworkConfig, NnError, NonFiniteKind, PlanKey, Pool, Precision, SmallConfig,
    StepContext, Targets, WeightSet,
};
use danlu_optim::{Dtype, GroupConfig, Optimizer, OptimizerConfig, SgdConfig};
use danlu_rng::{Purpose, Stream};

fn small(residual: bool) -> Graph {
    let config = SmallConfig { width: 8, blocks: 2, residual, dropout: 0.1, ..Default::default() };
    NetworkConfig::Small(config).build(2, 4, [14, 13]).unwrap()
}

fn cpu(graph: Graph, threads: usize) -> Engine {
    let mut engine = Engine::new(graph, &EngineConfig { threads, ..Default::default() }).unwrap();
    engine.initialize(&InitConfig::default(), 1).unwrap();
    engine
}

/// Images whose class shows in the brightness of one quarter.
fn batch(n: usize, iteration: u64) -> (Vec<u8>, Vec<u32>) {
    let mut stream = Stream::new(2, Purpose::Other(9), iteration, 0);
    let labels: Vec<u32> = (0..n).map(|_| stream.below(4) as u32).collect();
    let mut pixels = Vec::new();
    for &label in &labels {
        for y in 0..14 {
            for x in 0..13 {
                let quarter = u32::from(y >= 7) * 2 + u32::from(x >= 7);
                for _ in 0..2 {
                    let bright = if quarter == label { 120 } else { 0 };
                    pixels.push((stream.below(100) + bright) as u8);
                }
            }
        }
    }
    (pixels, labels)
}

fn input(pixels: &[u8], n: usize) -> Input<'_> {
    let images = Images::U8 { data: pixels, mean: &[0.3, 0.3], std: &[0.2, 0.2] };
    Input { images, shape: [n, 14, 13, 2], mix: None }
}

fn sgd(engine: &Engine) -> Optimizer {
    let config =
        OptimizerConfig::Sgd(SgdConfig { lr: 0.05, momentum: 0.9, nesterov: true, ..Default::default() });
    Optimizer::new(&config, &[], &engine.param_specs(), Dtype::F32).unwrap()
}

fn train(engine: &mut Engine, optimizer: &mut Optimizer, iterations: std::ops::Range<u64>) -> Vec<f64> {
    iterations
        .map(|iteration| {
            let (pixels, labels) = batch(16, iteration);
            let context = StepContext { seed: 3, iteration, ..Default::default() };
            let out = engine
                .forward_backward(
                    &input(&pixels, 16),
                    &Targets::Classes(&labels),
                    &LossConfig::default(),
                    &context,
                )
                .unwrap();
            engine.step(optimizer).unwrap();
            if engine.has_ema() {
                engine.ema_update(0.9).unwrap();
            }
            out.loss
        })
        .collect()
}

fn accuracy(engine: &mut Engine, set: WeightSet) -> f64 {
    let (pixels, labels) = batch(200, 999);
    let logits = engine.infer(&input(&pixels, 200), set).unwrap();
    let right = logits.chunks(4).zip(&labels).filter(|(row, label)| {
        let best = (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        best == **label as usize
    });
    right.count() as f64 / 200.0
}

#[test]
fn the_cpu_device_learns_a_small_task_and_so_does_its_average() {
    let mut engine = cpu(small(true), 2);
    let mut optimizer = sgd(&engine);
    engine.ema_start();
    let losses = train(&mut engine, &mut optimizer, 0..60);
    assert!(losses[59] < 0.3 * losses[0], "{losses:?}");
    assert!(accuracy(&mut engine, WeightSet::Live) > 0.95);
    assert!(accuracy(&mut engine, WeightSet::Ema) > 0.95);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads| {
        let mut engine = cpu(small(true), threads);
        let mut optimizer = sgd(&engine);
        train(&mut engine, &mut optimizer, 0..5);
        (engine.export_state(), engine.grad_norm().to_bits())
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

#[test]
fn a_resumed_training_ends_in_the_same_bits() {
    let mut engine = cpu(small(true), 2);
    let mut optimizer = sgd(&engine);
    engine.ema_start();
    train(&mut engine, &mut optimizer, 0..4);
    let (state, optimizer_state) = (engine.export_state(), optimizer.state_dict());
    let straight = train(&mut engine, &mut optimizer, 4..8);
    let mut resumed = cpu(small(true), 2);
    let mut second = sgd(&resumed);
    resumed.import_state(&state).unwrap();
    second.load_state_dict(&optimizer_state).unwrap();
    assert_eq!(train(&mut resumed, &mut second, 4..8), straight);
    assert_eq!(resumed.export_state(), engine.export_state());
}

#[test]
fn a_state_of_another_network_is_refused_and_changes_nothing() {
    let mut engine = cpu(small(true), 1);
    let before = engine.export_state();
    let other = NetworkConfig::Small(SmallConfig { width: 4, ..Default::default() });
    let other = cpu(other.build(2, 4, [14, 13]).unwrap(), 1);
    assert!(matches!(engine.import_state(&other.export_state()), Err(NnError::State { .. })));
    let dict = other.state_dict(WeightSet::Live).unwrap();
    let error = engine.load_state_dict(&dict, WeightSet::Live).unwrap_err();
    assert!(error.to_string().contains("missing") && error.hint().is_some(), "{error}");
    assert_eq!(engine.export_state(), before);
}

#[test]
fn what_fits_is_loaded_for_fine_tuning_and_the_rest_is_reported() {
    let source = cpu(small(true), 1);
    let config = SmallConfig { width: 8, blocks: 2, dropout: 0.1, ..Default::default() };
    let mut engine = cpu(NetworkConfig::Small(config).build(2, 7, [14, 13]).unwrap(), 1);
    let report = engine.load_matching(&source.state_dict(WeightSet::Live).unwrap(), WeightSet::Live).unwrap();
    let names: Vec<&str> = report.mismatched.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["fc.weight", "fc.bias"]);
    assert!(report.missing.is_empty() && report.unexpected.is_empty());
    assert_eq!(engine.param(0), source.param(0));
}

#[test]
fn frozen_parameters_stay_and_cost_no_backward_pass() {
    let mut engine = cpu(small(true), 2);
    let full = engine.memory(&PlanKey::train(16, 14, 13)).unwrap();
    let trainable: Vec<bool> = engine.params().iter().map(|p| p.name.starts_with("fc.")).collect();
    engine.set_trainable(&trainable).unwrap();
    let head = engine.memory(&PlanKey::train(16, 14, 13)).unwrap();
    assert!(head.arena < full.arena / 2 && head.gradients < full.gradients / 10, "{head}\n{full}");
    let before: Vec<_> = (0..trainable.len()).map(|i| engine.param(i).unwrap()).collect();
    let frozen = ["stem.*", "stage*"].map(|pattern| GroupConfig {
        pattern: pattern.into(),
        freeze: Some(true),
        ..Default::default()
    });
    let config = OptimizerConfig::Sgd(SgdConfig { lr: 0.05, ..Default::default() });
    let mut optimizer = Optimizer::new(&config, &frozen, &engine.param_specs(), Dtype::F32).unwrap();
    assert_eq!(optimizer.trainable(), trainable);
    engine.set_bn_mode(BnMode::RunningWhereFrozen);
    train(&mut engine, &mut optimizer, 0..2);
    for (i, &on) in trainable.iter().enumerate() {
        assert_eq!(engine.param(i).unwrap() != before[i], on, "{}", engine.params()[i].name);
        assert_eq!(engine.grad(i).unwrap().is_empty(), !on);
    }
    assert_eq!(engine.running_estimates("stem.bn").unwrap().2, 0, "a frozen batch norm counts no batch");
}

#[test]
fn gradients_of_a_frozen_prefix_equal_those_of_the_whole() {
    let run = |freeze: bool| {
        let mut engine = cpu(small(true), 2);
        if freeze {
            let trainable: Vec<bool> = engine
                .params()
                .iter()
                .map(|p| p.name.starts_with("stage3") || p.name.starts_with("fc"))
                .collect();
            engine.set_trainable(&trainable).unwrap();
        }
        let (pixels, labels) = batch(8, 0);
        let targets = Targets::Classes(&labels);
        engine
            .forward_backward(&input(&pixels, 8), &targets, &LossConfig::default(), &StepContext::default())
            .unwrap();
        let params = engine.params();
        let keep = |i: &usize| params[*i].name.starts_with("stage3") || params[*i].name.starts_with("fc");
        (0..params.len()).filter(keep).map(|i| engine.grad(i).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn two_half_steps_that_accumulate_add_up_to_their_sum() {
    let gradients = |accumulate: bool| {
        let mut engine = cpu(small(false), 2);
        let mut sum: Vec<Vec<f64>> = Vec::new();
        for iteration in 0..2 {
            let (pixels, labels) = batch(8, iteration);
            let context =
                StepContext { seed: 1, iteration, accumulate: accumulate && iteration > 0, scale: 0.5 };
            engine
                .forward_backward(
                    &input(&pixels, 8),
                    &Targets::Classes(&labels),
                    &LossConfig::default(),
                    &context,
                )
                .unwrap();
            let now: Vec<Vec<f64>> = (0..engine.params().len()).map(|i| engine.grad(i).unwrap()).collect();
            if accumulate || sum.is_empty() {
                sum = now;
            } else {
                sum.iter_mut().zip(now).for_each(|(s, n)| s.iter_mut().zip(n).for_each(|(s, n)| *s += n));
            }
        }
        sum
    };
    for (a, b) in gradients(true).iter().flatten().zip(gradients(false).iter().flatten()) {
        assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn clipping_limits_the_norm_as_pytorch_does() {
    let mut engine = cpu(small(true), 2);
    let (pixels, labels) = batch(8, 0);
    let targets = Targets::Classes(&labels);
    let context = StepContext::default();
    engine.forward_backward(&input(&pixels, 8), &targets, &LossConfig::default(), &context).unwrap();
    let norm = engine.grad_norm();
    let by_hand: f64 =
        (0..engine.params().len()).flat_map(|i| engine.grad(i).unwrap()).map(|g| g * g).sum::<f64>().sqrt();
    assert!((norm - by_hand).abs() < 1e-6 * norm);
    assert_eq!(engine.clip_grad_norm(2.0 * norm), norm);
    assert_eq!(engine.grad_norm(), norm, "below the limit nothing changes");
    engine.clip_grad_norm(0.5 * norm);
    assert!((engine.grad_norm() - 0.5 * norm).abs() < 1e-5 * norm);
    engine.zero_grad();
    assert_eq!(engine.grad_norm(), 0.0);
}

#[test]
fn mixup_and_cutmix_mix_images_after_normalisation_and_targets_alike() {
    let (pixels, labels) = batch(4, 0);
    let partner = [2, 3, 0, 1];
    for cut in [None, Some([3, 2, 9, 11])] {
        let lambda = 0.25;
        let value = |image: usize, i: usize| (f64::from(pixels[image * 364 + i]) / 255.0 - 0.3) / 0.2;
        let mixed: Vec<f32> = (0..4 * 364)
            .map(|at| {
                let (image, i) = (at / 364, at % 364);
                let other = partner[image] as usize;
                let (row, column) = (i / 2 / 13, i / 2 % 13);
                (match cut {
                    None => lambda * value(image, i) + (1.0 - lambda) * value(other, i),
                    Some([t, l, b, r]) if (t..b).contains(&row) && (l..r).contains(&column) => {
                        value(other, i)
                    }
                    Some(_) => value(image, i),
                }) as f32
            })
            .collect();
        let mut soft = [0.0f32; 16];
        for i in 0..4 {
            soft[i * 4 + labels[i] as usize] += lambda as f32;
            soft[i * 4 + labels[partner[i] as usize] as usize] += 1.0 - lambda as f32;
        }
        let mut engine = cpu(small(true), 1);
        let mix = Some(Mix { partner: &partner, lambda, cut });
        let (loss, context) = (LossConfig::default(), StepContext::default());
        let by_engine = Input { mix, ..input(&pixels, 4) };
        let targets = Targets::Classes(&labels);
        let a = engine.forward_backward(&by_engine, &targets, &loss, &context).unwrap().loss;
        let by_hand = Input { images: Images::F32(&mixed), shape: [4, 14, 13, 2], mix: None };
        let b = engine.forward_backward(&by_hand, &Targets::Soft(&soft), &loss, &context).unwrap().loss;
        assert!((a - b).abs() < 1e-5, "{cut:?}: {a} {b}");
    }
}

#[test]
fn folding_changes_the_logits_by_rounding_only() {
    for name in ["small", "vgg11_bn", "mobilenet_v2"] {
        let graph = match name {
            "small" => small(true),
            _ => {
                let mut config = NetworkConfig::by_name(name).unwrap();
                if let NetworkConfig::Vgg11Bn(vgg) = &mut config {
                    (vgg.width, vgg.hidden) = (8, 16);
                }
                config.build(2, 4, [32, 32]).unwrap()
            }
        };
        let shape = graph.input();
        let mut engine = cpu(graph, 2);
        let mut stream = Stream::new(4, Purpose::Other(8), 0, 0);
        let pixels: Vec<f32> = (0..6 * shape.elements()).map(|_| stream.normal() as f32).collect();
        let input = Input { images: Images::F32(&pixels), shape: [6, shape.h, shape.w, shape.c], mix: None };
        // A training pass moves the running estimates away from 0 and 1.
        let targets = Targets::Classes(&[0, 1, 2, 3, 0, 1]);
        for _ in 0..3 {
            engine
                .forward_backward(&input, &targets, &LossConfig::default(), &StepContext::default())
                .unwrap();
        }
        let before = engine.infer(&input, WeightSet::Live).unwrap().to_vec();
        let (graph, state) = engine.fold(WeightSet::Live).unwrap();
        assert!(graph.buffers().is_empty());
        let mut folded = Engine::new(graph, &EngineConfig::default()).unwrap();
        folded.load_state_dict(&state, WeightSet::Live).unwrap();
        let after = folded.infer(&input, WeightSet::Live).unwrap();
        let scale = before.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (a, b) in before.iter().zip(after) {
            assert!((a - b).abs() <= 1e-5 * scale.max(1.0), "{name}: {a} {b}");
        }
    }
}

#[test]
fn the_branches_of_an_asymmetric_convolution_become_one_filter() {
    let network: NetworkConfig = serde_json::from_value(serde_json::json!({
        "name": "blocks", "blocks": ["acnet 8", "acnet 12 5x5 s2", "residual 12", "gap", "linear"]
    }))
    .unwrap();
    let graph = network.build(2, 4, [15, 14]).unwrap();
    let branches = graph.flops(15, 14).unwrap();
    let mut engine = cpu(graph, 2);
    let mut stream = Stream::new(5, Purpose::Other(8), 0, 0);
    let pixels: Vec<f32> = (0..6 * 15 * 14 * 2).map(|_| stream.normal() as f32).collect();
    let input = Input { images: Images::F32(&pixels), shape: [6, 15, 14, 2], mix: None };
    let targets = Targets::Classes(&[0, 1, 2, 3, 0, 1]);
    for _ in 0..3 {
        engine.forward_backward(&input, &targets, &LossConfig::default(), &StepContext::default()).unwrap();
    }
    let before = engine.infer(&input, WeightSet::Live).unwrap().to_vec();
    let (graph, state) = engine.fold(WeightSet::Live).unwrap();
    let weights: Vec<&str> = state.keys().filter(|name| name.ends_with(".weight")).collect();
    assert_eq!(
        weights,
        [
            "blocks.0.square.0.weight",
            "blocks.1.square.0.weight",
            "blocks.2.conv1.weight",
            "blocks.2.conv2.weight",
            "blocks.4.weight"
        ]
    );
    assert!(graph.flops(15, 14).unwrap() < branches);
    let mut merged = Engine::new(graph, &EngineConfig::default()).unwrap();
    merged.load_state_dict(&state, WeightSet::Live).unwrap();
    let after = merged.infer(&input, WeightSet::Live).unwrap();
    let scale = before.iter().fold(0f32, |m, v| m.max(v.abs()));
    for (a, b) in before.iter().zip(after) {
        assert!((a - b).abs() <= 1e-5 * scale, "{a} {b}");
    }
}

#[test]
fn batch_norms_estimated_anew_are_the_mean_of_the_batches_statistics() {
    let mut engine = cpu(small(true), 1);
    let (first, labels) = batch(3, 0);
    let (second, _) = batch(3, 1);
    let context = StepContext::default();
    let targets = Targets::Classes(&labels);
    // One training pass from fresh estimates (0 and 1) moves them a tenth towards the batch's.
    let of_batch = |pixels: &[u8]| {
        let mut fresh = cpu(small(true), 1);
        fresh.forward_backward(&input(pixels, 3), &targets, &LossConfig::default(), &context).unwrap();
        let name = fresh.buffers()[0].name.replace(".running_mean", "");
        let (mean, var, _) = fresh.running_estimates(&name).unwrap();
        (
            name,
            mean.iter().map(|m| m / 0.1).collect::<Vec<_>>(),
            var.iter().map(|v| (v - 0.9) / 0.1).collect::<Vec<_>>(),
        )
    };
    let ((name, mean_a, var_a), (_, mean_b, var_b)) = (of_batch(&first), of_batch(&second));
    engine.ema_start();
    let live = engine.running_estimates(&name).unwrap();
    for (seen, pixels) in [&first, &second].into_iter().enumerate() {
        engine.estimate_norms(&input(pixels, 3), WeightSet::Ema, &context, seen as u64).unwrap();
    }
    assert_eq!(engine.running_estimates(&name).unwrap(), live, "the live ones stay");
    let average = engine.state_dict(WeightSet::Ema).unwrap();
    for (field, a, b) in [("running_mean", mean_a, mean_b), ("running_var", var_a, var_b)] {
        let found = &average.get(&format!("{name}.{field}")).unwrap().data;
        for ((a, b), found) in a.iter().zip(&b).zip(found) {
            let expected = (a + b) / 2.0;
            assert!((expected - f64::from(*found)).abs() < 1e-5 * (1.0 + expected.abs()), "{field}");
        }
    }
}

#[test]
fn taps_show_values_and_gradients_of_a_layer() {
    let mut engine = cpu(small(true), 2);
    let node = engine.graph().find("stage1.0.conv2").unwrap();
    let fc = engine.graph().find("fc").unwrap();
    assert!(engine.tap(node).is_none());
    engine.set_taps(&[node, fc]);
    engine.set_grad_taps(&[node, fc]);
    let (pixels, labels) = batch(3, 0);
    let (loss, context) = (LossConfig::default(), StepContext::default());
    let targets = Targets::Classes(&labels);
    let out = engine.forward_backward(&input(&pixels, 3), &targets, &loss, &context).unwrap();
    assert_eq!(engine.tap(fc).unwrap(), out.logits());
    let value = engine.tap(node).unwrap();
    assert_eq!(value.len(), 3 * 14 * 13 * 8);
    assert!(value.iter().all(|v| *v >= 0.0) && value.iter().any(|v| *v > 0.0));
    // The gradients to the logits of a sample sum to zero; the layer's are not all zero.
    for row in engine.tap_grad(fc).unwrap().chunks(4) {
        assert!(row.iter().sum::<f32>().abs() < 1e-6);
    }
    assert!(engine.tap_grad(node).unwrap().iter().any(|v| *v != 0.0));
    engine.infer(&input(&pixels, 3), WeightSet::Live).unwrap();
    assert_eq!(engine.tap(node).unwrap().len(), value.len());
}

#[test]
fn the_first_value_that_is_not_finite_is_named_and_nothing_changes() {
    let (mut pixels, labels) = (vec![0.5f32; 4 * 364], [0, 1, 2, 3]);
    let targets = Targets::Classes(&labels);
    let (loss, context) = (LossConfig::default(), StepContext::default());
    let mut engine = cpu(small(true), 1);
    let diagnose = |engine: &mut Engine, pixels: &[f32]| {
        let input = Input { images: Images::F32(pixels), shape: [4, 14, 13, 2], mix: None };
        let before = engine.export_state();
        let found = engine.diagnose_non_finite(&input, &targets, &loss, &context).unwrap();
        assert!(engine.export_state() == before);
        found
    };
    assert_eq!(diagnose(&mut engine, &pixels), None);
    pixels[7] = f32::NAN;
    assert_eq!(diagnose(&mut engine, &pixels).unwrap().kind, NonFiniteKind::Input);
    pixels[7] = 0.5;
    let start = engine.param(0).unwrap();
    engine.set_param(0, &vec![3e38; start.len()]).unwrap();
    let found = diagnose(&mut engine, &pixels).unwrap();
    assert_eq!((found.kind, found.layer.as_str()), (NonFiniteKind::Activations, "stem.conv"));
    engine.set_param(0, &start).unwrap();
    let index = engine.params().iter().position(|p| p.name == "stage2.0.conv1.weight").unwrap();
    let mut weights = engine.param(index).unwrap();
    weights[3] = f64::INFINITY;
    engine.set_param(index, &weights).unwrap();
    let found = diagnose(&mut engine, &pixels).unwrap();
    assert_eq!((found.kind, found.layer.as_str()), (NonFiniteKind::Weights, "stage2.0.conv1.weight"));
    assert_eq!(found.count.0, 1);
}

#[test]
fn plans_of_several_sizes_share_one_arena_and_training_goes_on() {
    let mut engine = cpu(small(true), 2);
    let keys = [PlanKey::train(8, 14, 13), PlanKey::infer(50, 14, 13), PlanKey::train(3, 28, 28)];
    engine.reserve(&keys).unwrap();
    let (pixels, labels) = batch(8, 0);
    let run = |engine: &mut Engine| {
        let (loss, context) = (LossConfig::default(), StepContext::default());
        let targets = Targets::Classes(&labels);
        engine.forward_backward(&input(&pixels, 8), &targets, &loss, &context).unwrap().loss
    };
    let first = run(&mut engine);
    let large: Vec<f32> = vec![0.1; 3 * 28 * 28 * 2];
    let large = Input { images: Images::F32(&large), shape: [3, 28, 28, 2], mix: None };
    engine.infer(&large, WeightSet::Live).unwrap();
    assert_eq!(run(&mut engine), first, "another size in between leaves nothing behind");
}

#[test]
fn inputs_that_do_not_fit_are_refused_with_their_sizes() {
    let mut engine = cpu(small(true), 1);
    let pixels = vec![0u8; 364];
    let wrong = |engine: &mut Engine, shape: [usize; 4], mean: &[f32]| {
        let images = Images::U8 { data: &pixels, mean, std: &[0.2, 0.2] };
        engine.infer(&Input { images, shape, mix: None }, WeightSet::Live).unwrap_err().to_string()
    };
    assert!(wrong(&mut engine, [1, 14, 13, 3], &[0.0; 2]).contains("3 channels"));
    assert!(wrong(&mut engine, [2, 14, 13, 2], &[0.0; 2]).contains("364 values"));
    assert!(wrong(&mut engine, [1, 14, 13, 2], &[0.0]).contains("1 means"));
    let input = input(&pixels, 1);
    assert!(engine.infer(&input, WeightSet::Ema).unwrap_err().to_string().contains("ema_start"));
    let mut net = GraphBuilder::new(2, 14, 13);
    let x = net.conv("conv", net.input(), Conv::cbr(3, 3)).unwrap();
    net.linear("fc", x, 4).unwrap();
    let mut fixed = cpu(net.build().unwrap(), 1);
    let other = vec![0.0; 12 * 13 * 2];
    let other = Input { images: Images::F32(&other), shape: [1, 12, 13, 2], mix: None };
    let error = fixed.infer(&other, WeightSet::Live).unwrap_err();
    assert!(error.to_string().contains("`fc`") && error.hint().unwrap().contains("14x13"), "{error}");
    let f64_cpu = EngineConfig { precision: Precision::F64, ..Default::default() };
    assert!(matches!(Engine::new(small(true), &f64_cpu), Err(NnError::Unsupported { .. })));
    let mut net = GraphBuilder::new(2, 4, 4);
    let x = net.pool("gap", net.input(), Pool::global()).unwrap();
    let x = net.conv("one", x, Conv::cbr(3, 1)).unwrap();
    net.linear("fc", x, 4).unwrap();
    let mut single = cpu(net.build().unwrap(), 1);
    let error = single.memory(&PlanKey::train(1, 4, 4)).unwrap_err();
    assert!(error.to_string().contains("`one`") && error.to_string().contains("one value"), "{error}");
}

#[test]
fn the_reference_device_in_f32_trains_as_the_cpu_does() {
    let losses = |device| {
        let mut engine = Engine::new(small(true), &EngineConfig { device, ..Default::default() }).unwrap();
        engine.initialize(&InitConfig::default(), 1).unwrap();
        let mut optimizer = sgd(&engine);
        train(&mut engine, &mut optimizer, 0..3)
    };
    for (a, b) in losses(DeviceKind::Reference).iter().zip(losses(DeviceKind::Cpu)) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn a_resnet18_step_keeps_at_most_seven_tenths_of_what_pytorch_keeps() {
    // Bytes that autograd saves for the backward pass (`saved_tensors_hooks`, each storage once, parameters left out) of
    // torchvision's resnet18 with the CIFAR stem, batch 64 at 32x32, f32, PyTorch 2.
    let pytorch = 301_424_640;
    let config =
        NetworkConfig::Resnet18(danlu_nn::ResNetConfig { stem: danlu_nn::Stem::Cifar, ..Default::default() });
    let graph = config.build(3, 10, [32, 32]).unwrap();
    let mut engine = Engine::new(graph, &EngineConfig { threads: 2, ..Default::default() }).unwrap();
    let memory = engine.memory(&PlanKey::train(64, 32, 32)).unwrap();
    assert!(memory.kept * 10 <= pytorch * 7, "{} of {pytorch} bytes\n{memory}", memory.kept);
}

#[test]
fn a_new_last_layer_trains_and_everything_else_stays() {
    for name in ["resnet18", "mobilenet_v2", "small"] {
        let graph = NetworkConfig::by_name(name).unwrap().build(3, 7, [32, 32]).unwrap();
        let mut engine = Engine::new(graph, &EngineConfig { threads: 1, ..Default::default() }).unwrap();
        engine.initialize(&InitConfig::default(), 0).unwrap();
        let before = engine.state_dict(WeightSet::Live).unwrap();
        engine.set_trainable(&vec![false; engine.params().len()]).unwrap();
        engine.set_bn_mode(BnMode::RunningWhereFrozen);
        // As many classes as before is a new layer, too.
        for classes in [7, 4] {
            engine.replace_head(classes, &InitConfig::default(), 1).unwrap();
            let after = engine.state_dict(WeightSet::Live).unwrap();
            let changed: Vec<&str> = after
                .iter()
                .filter(|(name, tensor)| before.get(name) != Some(tensor))
                .map(|(n, _)| n)
                .collect();
            let trains = engine.params().iter().zip(engine.trainable()).filter(|(_, trains)| **trains);
            let trains: Vec<&str> = trains.map(|(param, _)| param.name.as_str()).collect();
            assert_eq!((trains.len(), engine.graph().classes()), (2, classes), "{name}");
            // Biases that begin at zero are the same again.
            assert!(changed.contains(&trains[0]), "{name}: {changed:?}");
            assert!(changed.iter().all(|name| trains.contains(name)), "{name}: {changed:?}");
            assert_eq!(after.get(trains[1]).unwrap().shape, [classes]);
        }
        assert_eq!(engine.bn_mode(), BnMode::RunningWhereFrozen);
        assert!(engine.replace_head(1, &InitConfig::default(), 1).is_err());
    }
}
