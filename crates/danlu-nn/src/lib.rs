//! The engine: a network is a graph, planned before it runs; devices, init, model zoo, folding.

mod activation;
mod builder;
mod core;
mod device;
mod engine;
mod error;
mod fold;
mod graph;
pub mod init;
mod input;
mod layer;
mod loss;
mod machine;
mod memory;
mod merge;
mod ops;
mod plan;
mod real;
mod shape;
mod state_dict;
mod zoo;

pub use activation::Act;
pub use builder::{DefaultInit, GraphBuilder};
pub use core::{KernelTime, LoadReport, NonFinite, NonFiniteKind, RawTensor, WeightSet};
pub use engine::{DeviceKind, Engine, EngineConfig, Precision, StepOutput};
pub use error::{NnError, Result};
pub use graph::{BufferInfo, Graph, LayerRow, NodeId, ParamInfo, ParamKind};
pub use init::{InitConfig, InitMethod};
pub use input::{Images, Input, Mix, StepContext, Targets};
pub use layer::{Layer, LayerOp};
pub use loss::LossConfig;
pub use machine::Machine;
pub use memory::{LayerMemory, MemoryReport};
pub use ops::{BatchNorm, Conv, Pool, PoolKind, SqueezeExcite, convbn_relu};
pub use plan::{BnMode, PlanKey, PlanMode, Span};
pub use shape::Shape;
pub use state_dict::{StateDict, Tensor};
pub use zoo::{
    ActName, Block, BlockEntry, BlocksConfig, Downsample, EfficientNetConfig, KernelSize, MobileNetConfig,
    NetworkConfig, ResNetConfig, SmallConfig, Stem, VggConfig,
};
