//! The engine behind its public face: one device, one number type.

mod average;
mod diagnose;
mod exec;
mod profile;
mod state;

use std::collections::HashMap;
use std::sync::Arc;

use danlu_optim::{Optimizer, TensorMut};

use crate::device::Device;
use crate::error::{NnError, Result};
use crate::graph::{Graph, NodeId};
use crate::input::{Images, Input, StepContext, Targets};
use crate::loss::LossConfig;
use crate::memory::{LayerMemory, MemoryReport};
use crate::plan::{Buf, Kernel, Plan, PlanKey, Settings, Span, frozen_cut};
use crate::real::Real;
use crate::state_dict::{StateDict, Tensor};

pub use diagnose::{NonFinite, NonFiniteKind};
pub use profile::KernelTime;
pub use state::{LoadReport, RawTensor};

use exec::Bound;
use profile::Profile;

/// Which weights a pass uses or a state dict holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightSet {
    /// Those that train.
    #[default]
    Live,
    /// Their average, with its own running estimates of the batch norms: exponential, equal (SWA), or the optimizer's (schedule-free).
    Ema,
}

/// Running estimates of one batch norm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NormState<T> {
    pub(crate) mean: Vec<T>,
    pub(crate) var: Vec<T>,
    pub(crate) batches: u64,
}

/// What one batch norm works with in a step, a value a channel.
#[derive(Clone, Debug)]
pub(crate) struct NormWork<T> {
    pub(crate) mean: Vec<f64>,
    pub(crate) var: Vec<f64>,
    pub(crate) sum_dz: Vec<f64>,
    pub(crate) sum_dz_xhat: Vec<f64>,
    pub(crate) invstd: Vec<T>,
    pub(crate) scale: Vec<T>,
    pub(crate) shift: Vec<T>,
}

/// Parameters and running estimates.
#[derive(Clone, Debug)]
pub(crate) struct Weights<T> {
    pub(crate) params: Vec<Vec<T>>,
    pub(crate) norms: Vec<NormState<T>>,
}

/// What the engine asks of a device and number type; see [`Engine`](crate::Engine) for each.
pub(crate) trait Backend: Send + std::fmt::Debug {
    fn set_trainable(&mut self, trainable: &[bool]) -> Result<()>;
    fn change_settings(&mut self, change: &mut dyn FnMut(&mut Settings));
    fn settings(&self) -> &Settings;
    fn memory(&mut self, key: &PlanKey) -> Result<MemoryReport>;
    fn reserve(&mut self, keys: &[PlanKey]) -> Result<()>;
    fn forward_backward(
        &mut self,
        input: &Input<'_>,
        targets: &Targets<'_>,
        loss: &LossConfig,
        context: &StepContext,
    ) -> Result<f64>;
    fn infer(&mut self, input: &Input<'_>, set: WeightSet) -> Result<()>;
    fn frozen_cut(&self) -> Option<NodeId>;
    fn features(&mut self, input: &Input<'_>, set: WeightSet) -> Result<Vec<f32>>;
    fn logits(&self) -> &[f64];
    fn diagnose(
        &mut self,
        input: &Input<'_>,
        targets: &Targets<'_>,
        loss: &LossConfig,
        context: &StepContext,
    ) -> Result<Option<NonFinite>>;
    fn tap(&self, node: NodeId, gradient: bool) -> Option<Vec<f64>>;
    fn step(&mut self, optimizer: &mut Optimizer) -> Result<()>;
    fn zero_grad(&mut self);
    fn scale_grads(&mut self, factor: f64);
    fn grad_norms(&self) -> Vec<f64>;
    fn param(&self, index: usize) -> Vec<f64>;
    fn set_param(&mut self, index: usize, values: &[f64]);
    fn grad(&self, index: usize) -> Vec<f64>;
    fn norm_state(&self, index: usize) -> (Vec<f64>, Vec<f64>, u64);
    fn ema_start(&mut self);
    fn ema_update(&mut self, decay: f64) -> Result<()>;
    fn ema_stop(&mut self);
    fn has_ema(&self) -> bool;
    fn average_from(&mut self, optimizer: &Optimizer) -> Result<bool>;
    fn estimate_norms(
        &mut self,
        input: &Input<'_>,
        set: WeightSet,
        context: &StepContext,
        seen: u64,
    ) -> Result<()>;
    fn state_dict(&self, set: WeightSet) -> Result<StateDict>;
    fn load(&mut self, state: &StateDict, set: WeightSet, strict: bool) -> Result<LoadReport>;
    fn export(&self) -> Vec<RawTensor>;
    fn import(&mut self, tensors: &[RawTensor]) -> Result<()>;
    fn pool(&self) -> Option<&rayon::ThreadPool>;
    fn set_profiling(&mut self, on: bool);
    fn profile(&self) -> &[KernelTime];
}

#[derive(Debug)]
pub(crate) struct Core<T: Real> {
    graph: Arc<Graph>,
    device: Box<dyn Device<T>>,
    settings: Settings,
    live: Weights<T>,
    ema: Option<Weights<T>>,
    /// Empty for parameters that do not train.
    grads: Vec<Vec<T>>,
    work: Vec<NormWork<T>>,
    arena: Vec<T>,
    bytes: Vec<u8>,
    plans: HashMap<PlanKey, Arc<Plan>>,
    last: Option<Arc<Plan>>,
    logits: Vec<f64>,
    profile: Option<Profile>,
}

/// Values before the arena's first, so that it starts on a cache line.
const LINE: usize = 64;

impl<T: Real> Core<T> {
    pub(crate) fn new(graph: Arc<Graph>, device: Box<dyn Device<T>>) -> Self {
        let params: Vec<Vec<T>> = graph.params.iter().map(|p| vec![T::ZERO; p.elements()]).collect();
        let norms = graph
            .norms
            .iter()
            .map(|n| NormState { mean: vec![T::ZERO; n.channels], var: vec![T::ONE; n.channels], batches: 0 })
            .collect();
        let work = graph
            .norms
            .iter()
            .map(|n| {
                let (wide, narrow) = (vec![0.0; n.channels], vec![T::ZERO; n.channels]);
                NormWork {
                    mean: wide.clone(),
                    var: wide.clone(),
                    sum_dz: wide.clone(),
                    sum_dz_xhat: wide,
                    invstd: narrow.clone(),
                    scale: narrow.clone(),
                    shift: narrow,
                }
            })
            .collect();
        let settings = Settings {
            trainable: vec![true; params.len()],
            bn: Default::default(),
            taps: Vec::new(),
            grad_taps: Vec::new(),
        };
        let grads = params.iter().map(|p| vec![T::ZERO; p.len()]).collect();
        Core {
            graph,
            device,
            settings,
            live: Weights { params, norms },
            ema: None,
            grads,
            work,
            arena: Vec::new(),
            bytes: Vec::new(),
            plans: HashMap::new(),
            last: None,
            logits: Vec::new(),
            profile: None,
        }
    }

    fn plan(&mut self, key: &PlanKey) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.get(key) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(Plan::new(&self.graph, key, &self.settings, &DeviceSpaces(&*self.device))?);
        self.plans.insert(*key, plan.clone());
        Ok(plan)
    }

    /// Makes the arenas large enough; they never shrink.
    fn grow(&mut self, plan: &Plan) {
        if self.arena.len() < plan.arena + LINE {
            self.arena = Vec::new(); // freed first: the two need never coexist
            self.arena = vec![T::ZERO; plan.arena + LINE];
            self.last = None;
        }
        if self.bytes.len() < plan.byte_arena {
            self.bytes = vec![0; plan.byte_arena];
        }
    }

    fn arena_start(&self) -> usize {
        match self.arena.as_ptr().align_offset(LINE) {
            offset if offset < LINE => offset,
            _ => 0,
        }
    }

    fn slice(&self, plan: &Plan, buf: Buf) -> &[T] {
        &self.arena[self.arena_start()..][plan.places[buf.0].range()]
    }

    fn slice_mut(&mut self, plan: &Plan, buf: Buf) -> &mut [T] {
        let start = self.arena_start();
        &mut self.arena[start..][plan.places[buf.0].range()]
    }

    /// Writes a batch where the plan wants it.
    fn load_input(&mut self, input: &Input<'_>, plan: &Plan, out: Buf) {
        let start = self.arena_start();
        self.device.input(input, &mut self.arena[start..][plan.places[out.0].range()]);
    }

    fn check_input(&self, input: &Input<'_>) -> Result<()> {
        input.check(self.graph.input.c, "the network")
    }

    /// The plan of a pass over `input`, with room for it.
    fn plan_for(&mut self, input: &Input<'_>, key: PlanKey) -> Result<Arc<Plan>> {
        self.check_input(input)?;
        let plan = self.plan(&key)?;
        if let (Images::Features(data), Some(Kernel::Input { out })) =
            (input.images, plan.steps.first().map(|step| &step.kernel))
        {
            let wanted = plan.places[out.0].len;
            if data.len() != wanted {
                let found = data.len();
                return Err(NnError::Input(format!("{found} features were given, the batch needs {wanted}")));
            }
        }
        self.grow(&plan);
        Ok(plan)
    }

    fn run(&mut self, plan: &Plan, step: usize, set: WeightSet, context: &StepContext) -> Result<()> {
        let start = self.arena_start();
        let missing = || NnError::Input("there are no averaged weights: call `ema_start` first".into());
        let weights = match set {
            WeightSet::Live => &mut self.live,
            WeightSet::Ema => self.ema.as_mut().ok_or_else(missing)?,
        };
        let mut bound = Bound {
            norms: &self.graph.norms,
            params: &weights.params,
            grads: &mut self.grads,
            states: &mut weights.norms,
            work: &mut self.work,
            arena: &mut self.arena[start..],
            bytes: &mut self.bytes,
            accumulate: context.accumulate,
            seed: context.seed,
            iteration: context.iteration,
        };
        bound.run(&*self.device, plan, &plan.steps[step].kernel)
    }

    fn read_logits(&mut self, plan: &Plan) {
        let mut logits = std::mem::take(&mut self.logits);
        logits.clear();
        logits.extend(self.slice(plan, plan.logits).iter().map(|v| v.to_f64()));
        self.logits = logits;
    }

    /// The loss between the passes: reads the logits, writes their gradient.
    fn loss(
        &mut self,
        plan: &Plan,
        input: &Input<'_>,
        targets: &Targets<'_>,
        loss: &LossConfig,
        scale: f64,
    ) -> Result<f64> {
        self.read_logits(plan);
        let mut gradient = vec![0.0; self.logits.len()];
        let classes = self.graph.classes;
        let value = loss.compute(&self.logits, classes, targets, input.mix.as_ref(), Some(&mut gradient))?;
        if let Some(dlogits) = plan.dlogits {
            let out = self.slice_mut(plan, dlogits);
            out.iter_mut().zip(&gradient).for_each(|(o, g)| *o = T::from_f64(g * scale));
        }
        Ok(value)
    }
}

/// A device as what a plan asks of it.
struct DeviceSpaces<'a, T: Real>(&'a dyn Device<T>);

impl<T: Real> crate::plan::Workspaces for DeviceSpaces<'_, T> {
    fn conv_forward_space(&self, conv: &crate::plan::ConvShape) -> Result<usize> {
        self.0.conv_forward_space(conv)
    }
    fn conv_backward_input_space(&self, conv: &crate::plan::ConvShape) -> Result<usize> {
        self.0.conv_backward_input_space(conv)
    }
    fn conv_backward_weight_space(&self, conv: &crate::plan::ConvShape) -> Result<usize> {
        self.0.conv_backward_weight_space(conv)
    }
    fn norm_space(&self, rows: usize, channels: usize) -> usize {
        self.0.norm_space(rows, channels)
    }
    fn bias_space(&self, rows: usize, channels: usize) -> usize {
        self.0.bias_space(rows, channels)
    }
}

impl<T: Real> Backend for Core<T> {
    fn set_trainable(&mut self, trainable: &[bool]) -> Result<()> {
        if trainable.len() != self.live.params.len() {
            return Err(NnError::Input(format!(
                "{} flags were given for {} parameters",
                trainable.len(),
                self.live.params.len()
            )));
        }
        if trainable == self.settings.trainable {
            return Ok(());
        }
        for (i, &on) in trainable.iter().enumerate() {
            if on && self.grads[i].is_empty() {
                self.grads[i] = vec![T::ZERO; self.live.params[i].len()];
            } else if !on {
                self.grads[i] = Vec::new();
            }
        }
        self.change_settings(&mut |settings| settings.trainable = trainable.to_vec());
        Ok(())
    }

    fn change_settings(&mut self, change: &mut dyn FnMut(&mut Settings)) {
        change(&mut self.settings);
        self.plans.clear();
        self.last = None;
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn memory(&mut self, key: &PlanKey) -> Result<MemoryReport> {
        let plan = self.plan(key)?;
        let count = |tensors: &[Vec<T>]| tensors.iter().map(|t| t.len() * T::BYTES).sum::<usize>();
        let channels: usize = self.graph.norms.iter().map(|n| n.channels).sum();
        let state = 2 * channels * T::BYTES;
        let weights = count(&self.live.params);
        Ok(MemoryReport {
            weights,
            gradients: count(&self.grads),
            norms: state + channels * (3 * T::BYTES + 4 * size_of::<f64>()),
            ema: if self.ema.is_some() { weights + state } else { 0 },
            optimizer: 0,
            arena: (plan.arena + LINE) * T::BYTES + plan.byte_arena,
            workspace: plan.workspace * T::BYTES,
            kept: plan.kept.iter().sum::<usize>() * T::BYTES + plan.kept_bytes.iter().sum::<usize>(),
            layers: (1..self.graph.nodes.len())
                .map(|i| LayerMemory {
                    name: self.graph.nodes[i].name.clone(),
                    weights: self.graph.nodes[i]
                        .params
                        .iter()
                        .map(|&p| self.live.params[p].len() * T::BYTES)
                        .sum(),
                    output: key.batch * plan.shapes[i].elements() * T::BYTES,
                    kept: plan.kept[i] * T::BYTES + plan.kept_bytes[i],
                })
                .collect(),
        })
    }

    fn reserve(&mut self, keys: &[PlanKey]) -> Result<()> {
        for key in keys {
            let plan = self.plan(key)?;
            self.grow(&plan);
        }
        Ok(())
    }

    fn forward_backward(
        &mut self,
        input: &Input<'_>,
        targets: &Targets<'_>,
        loss: &LossConfig,
        context: &StepContext,
    ) -> Result<f64> {
        let [n, h, w, _] = input.shape;
        let plan = self.plan_for(input, PlanKey::train(n, h, w).over(input.span()))?;
        let mut value = f64::NAN;
        self.begin_profile();
        for step in 0..plan.steps.len() {
            match plan.steps[step].kernel {
                Kernel::Input { out } => self.load_input(input, &plan, out),
                Kernel::Loss { .. } => value = self.loss(&plan, input, targets, loss, context.scale)?,
                _ => self.run(&plan, step, WeightSet::Live, context)?,
            }
            self.end_profile(&plan, step);
        }
        self.last = Some(plan);
        Ok(value)
    }

    fn infer(&mut self, input: &Input<'_>, set: WeightSet) -> Result<()> {
        let [n, h, w, _] = input.shape;
        let plan = self.forward(input, set, PlanKey::infer(n, h, w).over(input.span()))?;
        self.read_logits(&plan);
        self.last = Some(plan);
        Ok(())
    }

    fn frozen_cut(&self) -> Option<NodeId> {
        frozen_cut(&self.graph, &self.settings)
    }

    fn features(&mut self, input: &Input<'_>, set: WeightSet) -> Result<Vec<f32>> {
        if input.span() == Span::Tail {
            return Err(NnError::Input("features of features: give the images".into()));
        }
        let [n, h, w, _] = input.shape;
        let plan = self.forward(input, set, PlanKey::infer(n, h, w).over(Span::Prefix))?;
        let values = self.slice(&plan, plan.logits).iter().map(|v| v.to_f64() as f32).collect();
        self.last = Some(plan);
        Ok(values)
    }

    fn logits(&self) -> &[f64] {
        &self.logits
    }

    fn diagnose(
        &mut self,
        input: &Input<'_>,
        targets: &Targets<'_>,
        loss: &LossConfig,
        context: &StepContext,
    ) -> Result<Option<NonFinite>> {
        diagnose::diagnose(self, input, targets, loss, context)
    }

    fn tap(&self, node: NodeId, gradient: bool) -> Option<Vec<f64>> {
        let plan = self.last.as_ref()?;
        let taps = if gradient { &plan.grad_taps } else { &plan.taps };
        let &(_, buf) = taps.iter().find(|(id, _)| *id == node)?;
        Some(self.slice(plan, buf).iter().map(|v| v.to_f64()).collect())
    }

    fn step(&mut self, optimizer: &mut Optimizer) -> Result<()> {
        let mut tensors: Vec<TensorMut<'_, T>> = self
            .live
            .params
            .iter_mut()
            .zip(&self.grads)
            .map(|(param, grad)| TensorMut { param, grad })
            .collect();
        T::optimizer_step(optimizer, &mut tensors, self.device.pool())
            .map_err(|error| NnError::Optimizer(error.to_string()))
    }

    fn zero_grad(&mut self) {
        self.grads.iter_mut().for_each(|g| g.fill(T::ZERO));
    }

    fn scale_grads(&mut self, factor: f64) {
        for grad in self.grads.iter_mut().filter(|g| !g.is_empty()) {
            self.device.scale(factor, grad);
        }
    }

    fn grad_norms(&self) -> Vec<f64> {
        self.grads
            .iter()
            .map(|g| if g.is_empty() { 0.0 } else { self.device.sum_of_squares(g).sqrt() })
            .collect()
    }

    fn param(&self, index: usize) -> Vec<f64> {
        self.live.params[index].iter().map(|v| v.to_f64()).collect()
    }

    fn set_param(&mut self, index: usize, values: &[f64]) {
        self.live.params[index].iter_mut().zip(values).for_each(|(p, &v)| *p = T::from_f64(v));
    }

    fn grad(&self, index: usize) -> Vec<f64> {
        self.grads[index].iter().map(|v| v.to_f64()).collect()
    }

    fn norm_state(&self, index: usize) -> (Vec<f64>, Vec<f64>, u64) {
        let state = &self.live.norms[index];
        let wide = |v: &[T]| v.iter().map(|v| v.to_f64()).collect();
        (wide(&state.mean), wide(&state.var), state.batches)
    }

    fn ema_start(&mut self) {
        self.ema = Some(self.live.clone());
    }

    fn ema_update(&mut self, decay: f64) -> Result<()> {
        let Some(ema) = &mut self.ema else {
            return Err(NnError::Input("there are no averaged weights: call `ema_start` first".into()));
        };
        for (average, x) in ema.params.iter_mut().zip(&self.live.params) {
            self.device.ema(decay, x, average);
        }
        for (average, x) in ema.norms.iter_mut().zip(&self.live.norms) {
            self.device.ema(decay, &x.mean, &mut average.mean);
            self.device.ema(decay, &x.var, &mut average.var);
            average.batches = x.batches;
        }
        Ok(())
    }

    fn ema_stop(&mut self) {
        self.ema = None;
    }

    fn has_ema(&self) -> bool {
        self.ema.is_some()
    }

    fn average_from(&mut self, optimizer: &Optimizer) -> Result<bool> {
        average::average_from(self, optimizer)
    }

    fn estimate_norms(
        &mut self,
        input: &Input<'_>,
        set: WeightSet,
        context: &StepContext,
        seen: u64,
    ) -> Result<()> {
        average::estimate_norms(self, input, set, context, seen)
    }

    fn state_dict(&self, set: WeightSet) -> Result<StateDict> {
        let weights = self.weights(set)?;
        Ok(state::entries(&self.graph)
            .into_iter()
            .map(|entry| {
                let data = entry.read(weights).iter().map(|v| v.to_f64() as f32).collect();
                (entry.name, Tensor { shape: entry.shape, data })
            })
            .collect())
    }

    fn load(&mut self, dict: &StateDict, set: WeightSet, strict: bool) -> Result<LoadReport> {
        state::load(self, dict, set, strict)
    }

    fn export(&self) -> Vec<RawTensor> {
        state::export(self)
    }

    fn import(&mut self, tensors: &[RawTensor]) -> Result<()> {
        state::import(self, tensors)
    }

    fn pool(&self) -> Option<&rayon::ThreadPool> {
        self.device.pool()
    }

    fn set_profiling(&mut self, on: bool) {
        self.profile = on.then(Profile::default);
    }

    fn profile(&self) -> &[KernelTime] {
        self.profile.as_ref().map_or(&[], |profile| &profile.times)
    }
}

impl<T: Real> Core<T> {
    fn begin_profile(&mut self) {
        if let Some(profile) = &mut self.profile {
            profile.begin();
        }
    }

    fn end_profile(&mut self, plan: &Plan, step: usize) {
        if let Some(profile) = &mut self.profile {
            profile.end(&self.graph, &*self.device, plan, step);
        }
    }

    /// A pass of inference.
    fn forward(&mut self, input: &Input<'_>, set: WeightSet, key: PlanKey) -> Result<Arc<Plan>> {
        let plan = self.plan_for(input, key)?;
        self.begin_profile();
        for step in 0..plan.steps.len() {
            match plan.steps[step].kernel {
                Kernel::Input { out } => self.load_input(input, &plan, out),
                _ => self.run(&plan, step, set, &StepContext::default())?,
            }
            self.end_profile(&plan, step);
        }
        Ok(plan)
    }

    fn weights(&self, set: WeightSet) -> Result<&Weights<T>> {
        match set {
            WeightSet::Live => Ok(&self.live),
            WeightSet::Ema => self.ema.as_ref().ok_or_else(|| {
                NnError::Input("there are no averaged weights: call `ema_start` first".into())
            }),
        }
    }
}
