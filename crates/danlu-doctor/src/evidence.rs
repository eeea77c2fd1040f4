//! What was seen inside a training at one update: norms, activations, gradient noise.

use serde::{Deserialize, Serialize};

/// What was seen at one update (`"event": "evidence"`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Epochs completed before this one.
    pub epoch: usize,
    /// Updates completed, this one included.
    pub iteration: u64,
    /// Every filter and matrix, in order of depth.
    pub layers: Vec<LayerEvidence>,
    /// The output of every layer with weights, after its activation, on a part of the batch.
    pub activations: Vec<ActivationEvidence>,
    /// For the gradient noise scale; none where the images were mixed or the batch is too small to be halved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noise: Option<NoiseSample>,
}

impl Evidence {
    /// Median over the layers of the update as a share of the weight.
    pub fn update_ratio(&self) -> Option<f64> {
        crate::history::median(
            self.layers.iter().filter_map(|layer| layer.update_ratio).filter(|ratio| ratio.is_finite()),
        )
    }
}

/// Norms (L2) of one weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerEvidence {
    /// Name of the parameter.
    pub name: String,
    /// Of its gradient, before clipping; none where it does not train.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grad_norm: Option<f64>,
    /// Of the weight after the update.
    pub weight_norm: f64,
    /// Norm of the change by this update over that of the weight before; none where it does not train.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub update_ratio: Option<f64>,
}

/// Statistics of one layer's output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActivationEvidence {
    /// Name of the layer.
    pub name: String,
    /// Mean of all values.
    pub mean: f64,
    /// Their standard deviation.
    pub std: f64,
    /// Share of values that are exactly 0 (a ReLU that is off).
    pub zeros: f64,
    /// Share of channels that are 0 everywhere in every image.
    pub dead: f64,
}

/// Two gradients of the same update, of `small` and of `big` images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoiseSample {
    /// Images of the small one.
    pub small: f64,
    /// Its norm.
    pub small_norm: f64,
    /// Images of the big one.
    pub big: f64,
    /// Its norm.
    pub big_norm: f64,
}

/// The simple noise scale of McCandlish et al. 2018 (arXiv 1812.06162, appendix A.1): means of the two unbiased estimates
/// before the ratio, since single ones are noisy and can be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoiseScale {
    squared: f64,
    trace: f64,
    count: usize,
}

impl NoiseScale {
    /// Adds the gradient norms of `small` and `big` images.
    pub fn add(&mut self, small: f64, small_norm: f64, big: f64, big_norm: f64) {
        if big <= small || !small_norm.is_finite() || !big_norm.is_finite() {
            return;
        }
        let (s2, b2) = (small_norm * small_norm, big_norm * big_norm);
        self.squared += (big * b2 - small * s2) / (big - small);
        self.trace += (s2 - b2) / (1.0 / small - 1.0 / big);
        self.count += 1;
    }

    /// Images at which the noise equals the signal; none where the signal drowned (an estimate that is not above 0).
    pub fn images(&self) -> Option<f64> {
        let positive = self.count > 0 && self.squared > 0.0 && self.trace > 0.0;
        positive.then(|| self.trace / self.squared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_scale_of_a_known_gradient_comes_back() {
        // |G|^2 = 4 and tr(S) = 400: the expected squared norm of a batch of B is 4 + 400 / B.
        let norm = |batch: f64| (4.0f64 + 400.0 / batch).sqrt();
        let mut scale = NoiseScale::default();
        scale.add(8.0, norm(8.0), 64.0, norm(64.0));
        assert!((scale.images().expect("positive") - 100.0).abs() < 1e-9);
        assert_eq!(NoiseScale::default().images(), None);
        let mut drowned = NoiseScale::default();
        drowned.add(8.0, 10.0, 64.0, 1.0);
        assert_eq!(drowned.images(), None, "the signal is below what the noise alone would give");
    }
}
