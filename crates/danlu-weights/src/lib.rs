//! Weights and models in and out: safetensors, .pth, ONNX, and the names of torchvision and timm.
//!
//! A user arrives with weights from PyTorch and leaves with a model that other tools run. This crate reads
//! [safetensors](https://github.com/huggingface/safetensors) (sharded too), every container that `torch.save` has
//! written, and Hugging Face folders ([`read_state_dict`]); accounts for every key when a state dict meets a network
//! ([`match_state_dict`]); and writes safetensors, `.pth` and Hugging Face folders.
//!
//! It knows files, names and formats. It never knows training, and it never executes a pickle: `.pth` files are parsed
//! as data, and one that would call the operating system is refused by name.

mod atomic;
mod card;
mod download;
mod dtype;
mod error;
mod filters;
mod huggingface;
mod identify;
mod inspect;
mod load;
mod names;
mod onnx;
mod pickle_scan;
mod pretrained;
mod pth;
mod pth_write;
mod read;
mod safetensors_file;
mod timm;

pub use atomic::write_atomic;
pub use card::{ModelCard, Resize};
pub use download::Progress;
pub use error::{Result, WeightsError};
pub use filters::{FilterReport, filter_reports};
pub use huggingface::write_huggingface;
pub use identify::{Identified, identify};
pub use inspect::{
    Inspection, TensorDiff, TensorSummary, WeightsDiff, WriteFormat, average, check_finite, convert, diff,
    inspect,
};
pub use load::{LoadOptions, LoadReport, Matched, ShapeMismatch, match_state_dict};
pub use onnx::{ONNX_OPSET, OnnxOptions, Parity, export_onnx, onnx_bytes};
pub use pretrained::{IMAGENET_MEAN, IMAGENET_STD, PRETRAINED, Pretrained};
pub use pth_write::write_pth;
pub use read::{Loaded, ReadOptions, WeightsFormat, read_model_card, read_state_dict, read_state_dict_with};
pub use safetensors_file::write_safetensors;

pub use danlu_nn::{StateDict, Tensor};
