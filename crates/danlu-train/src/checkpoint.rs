//! The checkpoint: one file with everything that an exact resume needs.
//!
//! It is a safetensors file (raw bytes of every weight, BN statistic, moving average and optimizer state) whose metadata holds the
//! position and the small state as JSON. It is written under a temporary name, synced and renamed: a kill at any moment leaves the
//! old checkpoint or the new one.

use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::averaging::SwaState;
use crate::error::TrainError;
use crate::progress::BestSoFar;

const META_KEY: &str = "danlu.checkpoint";
/// Version of this format; another one is refused.
const FORMAT: u32 = 1;

/// A tensor as bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawTensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl RawTensor {
    pub(crate) fn f32(shape: Vec<usize>, data: &[f32]) -> Self {
        RawTensor { dtype: Dtype::F32, shape, bytes: data.iter().flat_map(|x| x.to_le_bytes()).collect() }
    }

    pub(crate) fn f64(shape: Vec<usize>, data: &[f64]) -> Self {
        RawTensor { dtype: Dtype::F64, shape, bytes: data.iter().flat_map(|x| x.to_le_bytes()).collect() }
    }

    pub(crate) fn u64(shape: Vec<usize>, data: &[u64]) -> Self {
        RawTensor { dtype: Dtype::U64, shape, bytes: data.iter().flat_map(|x| x.to_le_bytes()).collect() }
    }

    pub(crate) fn to_f32(&self) -> Vec<f32> {
        self.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    pub(crate) fn to_f64(&self) -> Vec<f64> {
        self.bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }

    pub(crate) fn to_u64(&self) -> Vec<u64> {
        self.bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    }
}

/// Where the training stands and the state that is no tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) format: u32,
    /// danlu's version and arithmetic (instruction set, precision, threads do not matter): equal means byte-exact.
    pub(crate) made_by: String,
    /// Fingerprint of data and split.
    pub(crate) fingerprint: String,
    /// Epochs completed.
    pub(crate) epoch: usize,
    /// Updates completed within the running epoch.
    pub(crate) iteration_in_epoch: usize,
    /// Updates completed in all.
    pub(crate) iteration: u64,
    /// Sums of the running epoch.
    pub(crate) running: Running,
    /// The best epoch so far.
    pub(crate) best: Option<BestSoFar>,
    /// Samples of the training set that could not be decoded so far, by name.
    pub(crate) broken: Vec<String>,
    /// State of the schedule.
    pub(crate) schedule: serde_json::Value,
    /// The last epoch that counted as an improvement for early stopping.
    pub(crate) improved: Option<BestSoFar>,
    /// State of stochastic weight averaging, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) swa: Option<SwaState>,
    /// Lengths of the log files.
    pub(crate) events_offset: u64,
    pub(crate) metrics_offset: u64,
    /// How often the training went back after a divergence.
    #[serde(default)]
    pub(crate) rollbacks: u32,
    /// What the scheduled learning rates are multiplied with: halved by every rollback.
    #[serde(default = "unscaled")]
    pub(crate) rate_scale: f64,
}

fn unscaled() -> f64 {
    1.0
}

/// Sums over the batches of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) loss: f64,
    pub(crate) samples: u64,
    pub(crate) correct: u64,
    /// Samples whose labels were not mixed: what `correct` is a share of.
    pub(crate) judged: u64,
    /// What of them the network contradicts.
    #[serde(default)]
    pub(crate) suspects: danlu_doctor::SuspectSamples,
}

/// A checkpoint in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    pub(crate) tensors: Vec<(String, RawTensor)>,
}

impl Position {
    pub(crate) const FORMAT: u32 = FORMAT;
}

impl Checkpoint {
    /// Writes the file atomically.
    pub(crate) fn write(&self, path: &Path) -> Result<(), TrainError> {
        let meta = serde_json::to_string(&self.position)
            .map_err(|error| TrainError::Internal { problem: format!("not serialisable: {error}") })?;
        let views = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).map(|view| (name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TrainError::Internal { problem: format!("checkpoint: {error}") })?;
        let bytes = safetensors::serialize(views, Some(HashMap::from([(META_KEY.to_owned(), meta)])))
            .map_err(|error| TrainError::Internal { problem: format!("checkpoint: {error}") })?;
        danlu_weights::write_atomic(path, |writer| std::io::Write::write_all(writer, &bytes))?;
        Ok(())
    }

    /// Reads the file; none if there is none yet.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, TrainError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TrainError::io("read", path, source)),
        };
        let damaged = |problem: String| TrainError::Damaged { path: path.to_path_buf(), problem };
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| damaged(format!("is no checkpoint: {error}")))?;
        let meta = header
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(META_KEY))
            .ok_or_else(|| damaged("has no position in its metadata".into()))?;
        let position: Position = serde_json::from_str(meta)
            .map_err(|error| damaged(format!("has an unreadable position: {error}")))?;
        if position.format != FORMAT {
            return Err(damaged(format!(
                "has format {}, and this version of danlu reads format {FORMAT}",
                position.format
            )));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let tensors = file
            .iter()
            .map(|(name, view)| {
                let tensor = RawTensor {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    bytes: view.data().to_vec(),
                };
                (name.to_owned(), tensor)
            })
            .collect();
        Ok(Some(Checkpoint { position, tensors }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            position: Position {
                format: FORMAT,
                made_by: "danlu".into(),
                fingerprint: "f".into(),
                epoch: 2,
                iteration_in_epoch: 3,
                iteration: 23,
                running: Running { loss: 0.1 + 0.2, samples: 3, correct: 1, judged: 3, ..Running::default() },
                best: None,
                broken: vec![],
                schedule: serde_json::json!({"x": 1.0 / 3.0}),
                improved: None,
                swa: None,
                events_offset: 7,
                metrics_offset: 8,
                rollbacks: 1,
                rate_scale: 0.5,
            },
            tensors: vec![
                ("a".into(), RawTensor::f32(vec![2], &[f32::MIN_POSITIVE / 2.0, -0.0])),
                ("b".into(), RawTensor::f64(vec![], &[0.1])),
            ],
        }
    }

    #[test]
    fn a_checkpoint_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.safetensors");
        assert_eq!(Checkpoint::read(&path).expect("reads"), None);
        checkpoint().write(&path).expect("writes");
        let mut read = Checkpoint::read(&path).expect("reads").expect("is there");
        read.tensors.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(read, checkpoint());
        assert_eq!(read.tensors[0].1.to_f32()[1].to_bits(), (-0.0f32).to_bits());
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_cut_off_checkpoint_is_named_as_damaged() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.safetensors");
        checkpoint().write(&path).expect("writes");
        let bytes = std::fs::read(&path).expect("reads");
        for length in [0, 4, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).expect("writes");
            assert!(matches!(Checkpoint::read(&path), Err(TrainError::Damaged { .. })), "{length} bytes");
        }
    }
}
