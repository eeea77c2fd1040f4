//! The engine: a graph on a device, with its weights, gradients and averages.

use std::sync::Arc;

use danlu_kernels::Isa;
use danlu_optim::{Optimizer, ParamSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::{Backend, Core, KernelTime, LoadReport, NonFinite, RawTensor, WeightSet};
use crate::device::{Cpu, Reference};
use crate::error::{NnError, Result};
use crate::fold;
use crate::graph::{BufferInfo, Graph, LayerRow, NodeId, ParamInfo};
use crate::init::{InitConfig, initial_values};
use crate::input::{Input, StepContext, Targets};
use crate::loss::LossConfig;
use crate::memory::MemoryReport;
use crate::plan::{BnMode, PlanKey};
use crate::state_dict::StateDict;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Fast kernels on the processor.
    #[default]
    Cpu,
    /// Plain loops, for comparison and tests; slow.
    Reference,
}

/// Number type of weights, activations and gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Double precision; the reference device only.
    F64,
}

/// How an engine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineConfig {
    /// What computes.
    pub device: DeviceKind,
    /// Number type.
    pub precision: Precision,
    /// Threads of the cpu device; 0 (default): all cores.
    pub threads: usize,
    /// Instruction set; `None` (default): the best of the machine, or what `DANLU_SIMD` says.
    pub isa: Option<Isa>,
}

/// What a training step gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutput {
    /// Mean loss of the batch, not scaled.
    pub loss: f64,
    logits: Vec<f32>,
}

impl StepOutput {
    /// The logits `[N, classes]` of the training pass.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }
}

/// A network that trains and infers; see the crate's page for an example.
#[derive(Debug)]
pub struct Engine {
    graph: Arc<Graph>,
    config: EngineConfig,
    core: Box<dyn Backend>,
    logits: Vec<f32>,
}

impl Engine {
    /// An engine whose weights are all zero: call [`initialize`](Engine::initialize) or
    /// [`load_state_dict`](Engine::load_state_dict) next.
    ///
    /// # Errors
    /// Where the device does not offer the precision or the machine lacks the instruction set.
    pub fn new(graph: Graph, config: &EngineConfig) -> Result<Engine> {
        let graph = Arc::new(graph);
        let core: Box<dyn Backend> = match (config.device, config.precision) {
            (DeviceKind::Cpu, Precision::F32) => {
                Box::new(Core::<f32>::new(graph.clone(), Box::new(Cpu::new(config.threads, config.isa)?)))
            }
            (DeviceKind::Cpu, Precision::F64) => {
                return Err(NnError::Unsupported {
                    what: "the cpu device has no f64".into(),
                    hint: Some("use `device = \"reference\"` for f64".into()),
                });
            }
            (DeviceKind::Reference, Precision::F32) => {
                Box::new(Core::<f32>::new(graph.clone(), Box::new(Reference)))
            }
            (DeviceKind::Reference, Precision::F64) => {
                Box::new(Core::<f64>::new(graph.clone(), Box::new(Reference)))
            }
        };
        Ok(Engine { graph, config: config.clone(), core, logits: Vec::new() })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What the engine was made with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// The trainable tensors, in the order that the optimizer sees.
    pub fn params(&self) -> &[ParamInfo] {
        &self.graph.params
    }

    /// Names and shapes for [`Optimizer::new`], in the same order.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        self.graph.params.iter().map(|p| ParamSpec { name: p.name.clone(), shape: p.shape.clone() }).collect()
    }

    /// Depth of each parameter's layer from the input, for layer-wise learning rates: 0, 1, 2 without gaps.
    pub fn param_depths(&self) -> Vec<usize> {
        let mut layers: Vec<NodeId> = self.graph.params.iter().map(|p| p.layer).collect();
        layers.dedup();
        let depth = |layer| layers.iter().position(|l| *l == layer).unwrap_or(0);
        self.graph.params.iter().map(|p| depth(p.layer)).collect()
    }

    /// The running estimates of the batch norms.
    pub fn buffers(&self) -> Vec<BufferInfo> {
        self.graph.buffers()
    }

    /// The layer table for the image size that the network was built for.
    ///
    /// # Errors
    /// Never for a graph that was built; the sizes are checked again.
    pub fn layers(&self) -> Result<Vec<LayerRow>> {
        self.graph.layers(self.graph.input.h, self.graph.input.w)
    }

    /// Draws the initial weights and resets the running estimates; the numbers of a parameter depend on the seed and on its
    /// name only. Stops averaging.
    ///
    /// # Errors
    /// Where the config is wrong or one of its patterns matches nothing.
    pub fn initialize(&mut self, init: &InitConfig, seed: u64) -> Result<()> {
        let values = initial_values(&self.graph, init, seed)?;
        let mut dict = StateDict::new();
        for (info, tensor) in self.graph.params.iter().zip(values) {
            dict.insert(info.name.clone(), tensor);
        }
        for buffer in self.graph.buffers() {
            let value = if buffer.name.ends_with("running_var") { 1.0 } else { 0.0 };
            let data = vec![value; buffer.shape.iter().product()];
            dict.insert(buffer.name, crate::state_dict::Tensor { shape: buffer.shape, data });
        }
        self.core.ema_stop();
        self.core.load(&dict, WeightSet::Live, true)?;
        Ok(())
    }

    /// Replaces the last layer by a new linear layer of `classes` outputs (`model.fc = nn.Linear(in, classes)`), drawn as `init`
    /// says. As in PyTorch it trains, whatever is frozen; all else stays as it is. Stops averaging.
    ///
    /// # Errors
    /// As [`Graph::with_classes`] and [`initialize`](Engine::initialize).
    pub fn replace_head(&mut self, classes: usize, init: &InitConfig, seed: u64) -> Result<()> {
        let mut new = Engine::new((*self.graph).clone().with_classes(classes)?, &self.config)?;
        new.initialize(init, seed)?;
        let head = self.graph.params.last().map(|param| param.layer);
        let in_head: Vec<bool> = self.graph.params.iter().map(|param| Some(param.layer) == head).collect();
        let named = |name: &str| self.graph.params.iter().position(|param| param.name == name);
        let mut kept = StateDict::new();
        for (name, tensor) in self.state_dict(WeightSet::Live)?.iter() {
            if named(name).is_none_or(|param| !in_head[param]) {
                kept.insert(name.to_owned(), tensor.clone());
            }
        }
        new.load_matching(&kept, WeightSet::Live)?;
        let trainable: Vec<bool> =
            self.trainable().iter().zip(in_head).map(|(&was, new)| was || new).collect();
        new.set_trainable(&trainable)?;
        new.set_bn_mode(self.bn_mode());
        *self = new;
        Ok(())
    }

    /// Which parameters train (`requires_grad`), in the order of [`params`](Engine::params). Nothing is computed for those
    /// that do not, and there is no backward pass below the first one that does.
    ///
    /// # Errors
    /// Where the number of flags is wrong.
    pub fn set_trainable(&mut self, trainable: &[bool]) -> Result<()> {
        self.core.set_trainable(trainable)
    }

    /// Which parameters train.
    pub fn trainable(&self) -> &[bool] {
        &self.core.settings().trainable
    }

    /// Which batch norms use their running estimates in training. Default: none.
    pub fn set_bn_mode(&mut self, mode: BnMode) {
        if self.core.settings().bn != mode {
            self.core.change_settings(&mut |settings| settings.bn = mode);
        }
    }

    /// Which batch norms use their running estimates in training.
    pub fn bn_mode(&self) -> BnMode {
        self.core.settings().bn
    }

    /// Keeps the values of these nodes until the next pass, for [`tap`](Engine::tap).
    pub fn set_taps(&mut self, nodes: &[NodeId]) {
        if self.core.settings().taps != nodes {
            self.core.change_settings(&mut |settings| settings.taps = nodes.to_vec());
        }
    }

    /// Keeps the gradients to the values of these nodes until the next pass, for [`tap_grad`](Engine::tap_grad). A node
    /// below the first trainable parameter has none.
    pub fn set_grad_taps(&mut self, nodes: &[NodeId]) {
        if self.core.settings().grad_taps != nodes {
            self.core.change_settings(&mut |settings| settings.grad_taps = nodes.to_vec());
        }
    }

    /// The value `[N, H, W, C]` of a tapped node in the last pass.
    pub fn tap(&self, node: NodeId) -> Option<Vec<f32>> {
        Some(narrow(&self.core.tap(node, false)?))
    }

    /// The gradient `[N, H, W, C]` of the loss to a tapped node's value in the last training pass.
    pub fn tap_grad(&self, node: NodeId) -> Option<Vec<f32>> {
        Some(narrow(&self.core.tap(node, true)?))
    }

    /// Exact bytes of a plan under the present settings, before anything is allocated for it.
    ///
    /// # Errors
    /// Where the sizes do not fit the network.
    pub fn memory(&mut self, key: &PlanKey) -> Result<MemoryReport> {
        self.core.memory(key)
    }

    /// Plans for these keys and allocates the arena for the largest, so that nothing is allocated later.
    ///
    /// # Errors
    /// Where the sizes do not fit the network.
    pub fn reserve(&mut self, keys: &[PlanKey]) -> Result<()> {
        self.core.reserve(keys)
    }

    /// Forward and backward pass of one batch: the gradients are replaced or, with `accumulate`, added to; the batch norms'
    /// running estimates move.
    ///
    /// # Errors
    /// Where input or targets do not fit the network. A loss that is not finite is no error: look at it before
    /// [`step`](Engine::step).
    pub fn forward_backward(
        &mut self,
        input: &Input<'_>,
        targets: &Targets<'_>,
        loss: &LossConfig,
        context: &StepContext,
    ) -> Result<StepOutput> {
        let loss = self.core.forward_backward(input, targets, loss, context)?;
        Ok(StepOutput { loss, logits: narrow(self.core.logits()) })
    }

    /// Logits `[N, classes]` with the running estimates and without dropout.
    ///
    /// # Errors
    /// Where the input does not fit the network, or there are no averaged weights.
    pub fn infer(&mut self, input: &Input<'_>, set: WeightSet) -> Result<&[f32]> {
        self.core.infer(input, set)?;
        self.logits.clear();
        self.logits.extend(self.core.logits().iter().map(|&v| v as f32));
        Ok(&self.logits)
    }

    /// The end of the network's frozen prefix under the present settings: the deepest node whose value is a function of the
    /// image alone, so that it can be computed once ([`features`](Engine::features)) and given back as
    /// [`Images::Features`](crate::Images::Features). `None` where the first layer trains already, or its batch norm uses the statistics of the batch.
    pub fn frozen_prefix(&self) -> Option<NodeId> {
        self.core.frozen_cut()
    }

    /// Values `[N, H, W, C]` at the end of the frozen prefix; [`shape_of`](crate::Graph::shape_of) tells `H`, `W`, `C`. In
    /// passes of one number of images a value depends on its image alone, to the bit; the last bits may depend on that number.
    ///
    /// # Errors
    /// Where the input does not fit the network, or nothing is frozen.
    pub fn features(&mut self, input: &Input<'_>, set: WeightSet) -> Result<Vec<f32>> {
        self.core.features(input, set)
    }

    /// The logits of the last pass in the precision of the engine.
    pub fn logits_f64(&self) -> &[f64] {
        self.core.logits()
    }

    /// Runs the step again, layer by layer, and names the first value that is NaN or infinite. Leaves weights, running
    /// estimates and gradients as they were.
    ///
    /// # Errors
    /// Where input or targets do not fit the network.
    pub fn diagnose_non_finite(
        &mut self,
        input: &Input<'_>,
        targets: &Targets<'_>,
        loss: &LossConfig,
        context: &StepContext,
    ) -> Result<Option<NonFinite>> {
        self.core.diagnose(input, targets, loss, context)
    }

    /// Sets all gradients to zero. Needed only before steps that all accumulate; a step without `accumulate` replaces them.
    pub fn zero_grad(&mut self) {
        self.core.zero_grad();
    }

    /// Multiplies all gradients.
    pub fn scale_grads(&mut self, factor: f64) {
        self.core.scale_grads(factor);
    }

    /// L2 norm of all gradients together, summed in f64 independently of the number of threads.
    pub fn grad_norm(&self) -> f64 {
        self.core.grad_norms().iter().map(|n| n * n).sum::<f64>().sqrt()
    }

    /// L2 norm of each parameter's gradient; 0 where it does not train.
    pub fn grad_norms(&self) -> Vec<f64> {
        self.core.grad_norms()
    }

    /// Scales the gradients so that their norm is at most `max_norm`; returns the norm before
    /// (`torch.nn.utils.clip_grad_norm_`).
    pub fn clip_grad_norm(&mut self, max_norm: f64) -> f64 {
        let norm = self.grad_norm();
        let factor = max_norm / (norm + 1e-6);
        if factor < 1.0 {
            self.scale_grads(factor);
        }
        norm
    }

    /// One update of the weights.
    ///
    /// # Errors
    /// Where the optimizer was made for other parameters or another precision.
    pub fn step(&mut self, optimizer: &mut Optimizer) -> Result<()> {
        self.core.step(optimizer)
    }

    /// Starts averaging: the average is the present weights and running estimates.
    pub fn ema_start(&mut self) {
        self.core.ema_start();
    }

    /// `average = decay * average + (1 - decay) * weights`, running estimates included.
    ///
    /// # Errors
    /// Before [`ema_start`](Engine::ema_start).
    pub fn ema_update(&mut self, decay: f64) -> Result<()> {
        self.core.ema_update(decay)
    }

    /// Drops the average.
    pub fn ema_stop(&mut self) {
        self.core.ema_stop();
    }

    /// Whether there is an average.
    pub fn has_ema(&self) -> bool {
        self.core.has_ema()
    }

    /// Sets the averaged weights to those that the optimizer means to be evaluated (schedule-free), with the running estimates of
    /// the live ones, which do not fit them: call [`estimate_norms`](Engine::estimate_norms) next. Says whether the two differ.
    ///
    /// # Errors
    /// Where the optimizer was made for other parameters or another precision.
    pub fn average_from(&mut self, optimizer: &Optimizer) -> Result<bool> {
        self.core.average_from(optimizer)
    }

    /// Estimates the batch norms' means and variances anew under the weights of `set`: a forward pass with the statistics of this
    /// batch, which are averaged with those of the `seen` batches before it (`torch.optim.swa_utils.update_bn`). Frozen batch norms
    /// stay as they are; dropout is on, as in training.
    ///
    /// # Errors
    /// Where the input does not fit the network, or there are no averaged weights.
    pub fn estimate_norms(
        &mut self,
        input: &Input<'_>,
        set: WeightSet,
        context: &StepContext,
        seen: u64,
    ) -> Result<()> {
        self.core.estimate_norms(input, set, context, seen)
    }

    /// Parameters and buffers under PyTorch's names, in f32.
    ///
    /// # Errors
    /// Where there are no averaged weights.
    pub fn state_dict(&self, set: WeightSet) -> Result<StateDict> {
        self.core.state_dict(set)
    }

    /// Loads parameters and buffers; every name must be there (but `num_batches_tracked`) and none too many. Nothing is
    /// loaded where one does not fit.
    ///
    /// # Errors
    /// Names the tensors that are missing, unknown, or of another size.
    pub fn load_state_dict(&mut self, state: &StateDict, set: WeightSet) -> Result<()> {
        self.core.load(state, set, true).map(|_| ())
    }

    /// Loads what fits by name and size (PyTorch's `strict=False`), as for fine-tuning with another number of classes, and
    /// tells what did not.
    ///
    /// # Errors
    /// Never at present.
    pub fn load_matching(&mut self, state: &StateDict, set: WeightSet) -> Result<LoadReport> {
        self.core.load(state, set, false)
    }

    /// Every parameter, running estimate and average, bit by bit, for an exact resume.
    pub fn export_state(&self) -> Vec<RawTensor> {
        self.core.export()
    }

    /// The inverse of [`export_state`](Engine::export_state); averages are on afterwards if they were then.
    ///
    /// # Errors
    /// Where the tensors are of another network or precision; the engine is then unchanged.
    pub fn import_state(&mut self, tensors: &[RawTensor]) -> Result<()> {
        self.core.import(tensors)
    }

    /// Whether passes are timed kernel by kernel, for [`profile`](Engine::profile). Default: no, and nothing is spent on it.
    pub fn set_profiling(&mut self, on: bool) {
        self.core.set_profiling(on);
    }

    /// The kernels of the last pass in the order in which they ran, with their times; empty unless
    /// [`set_profiling`](Engine::set_profiling) is on.
    pub fn profile(&self) -> &[KernelTime] {
        self.core.profile()
    }

    /// The network with each batch norm folded into its convolution and parallel convolutions merged into one (the branches of an
    /// asymmetric convolution become its square one), and its weights.
    ///
    /// # Errors
    /// Where there are no averaged weights.
    pub fn fold(&self, set: WeightSet) -> Result<(Graph, StateDict)> {
        fold::fold(&self.graph, &self.state_dict(set)?)
    }

    /// A parameter by index, exact.
    pub fn param(&self, index: usize) -> Option<Vec<f64>> {
        (index < self.graph.params.len()).then(|| self.core.param(index))
    }

    /// Sets a parameter by index.
    ///
    /// # Errors
    /// Where there is no such parameter or the number of values is wrong.
    pub fn set_param(&mut self, index: usize, values: &[f64]) -> Result<()> {
        match self.graph.params.get(index) {
            Some(info) if info.elements() == values.len() => {
                self.core.set_param(index, values);
                Ok(())
            }
            Some(info) => Err(NnError::Input(format!(
                "`{}` has {} values and {} were given",
                info.name,
                info.elements(),
                values.len()
            ))),
            None => Err(NnError::Input(format!("there is no parameter {index}"))),
        }
    }

    /// The gradient of a parameter by index, exact; empty where it does not train.
    pub fn grad(&self, index: usize) -> Option<Vec<f64>> {
        (index < self.graph.params.len()).then(|| self.core.grad(index))
    }

    /// Running mean, running variance and number of batches of the batch norm called `name`, exact.
    pub fn running_estimates(&self, name: &str) -> Option<(Vec<f64>, Vec<f64>, u64)> {
        let index = self.graph.norms.iter().position(|n| n.name == name)?;
        Some(self.core.norm_state(index))
    }

    /// The pool that the optimizer step runs on; `None` with one thread and on the reference device.
    pub fn rayon_pool(&self) -> Option<&rayon::ThreadPool> {
        self.core.pool()
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}
