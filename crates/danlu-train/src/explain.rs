//! Why a network says what it says of an image: activations layer by layer, Grad-CAM, occlusion.

use danlu_data::Pixels;
use danlu_nn::{BnMode, Images, Input, LayerRow, LossConfig, NodeId, StepContext, Targets, WeightSet};

use crate::error::TrainError;
use crate::metrics::softmax;
use crate::predict::Predictor;

/// A number for each place of an image, in rows from the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width` numbers; what they count is said where they are made.
    pub values: Vec<f32>,
}

/// Where a network looked for a class.
#[derive(Clone, Debug, PartialEq)]
pub struct GradCam {
    /// The layer whose feature maps were weighted.
    pub layer: String,
    /// Evidence for the class, at least 0, in units of the logit per place; all 0 where nothing speaks for it.
    pub heat: Heat,
}

/// Images that occlusion shows the network in one pass.
const OCCLUDED_AT_ONCE: usize = 32;

impl Predictor {
    /// The layers, in the order of computation.
    ///
    /// # Errors
    /// Never for a network that was loaded.
    pub fn layers(&self) -> Result<Vec<LayerRow>, TrainError> {
        Ok(self.engine.layers()?)
    }

    /// The layer of that name.
    ///
    /// # Errors
    /// [`TrainError::NotInModel`].
    pub fn layer(&self, name: &str) -> Result<LayerRow, TrainError> {
        let layers = self.layers()?;
        let known = || layers.iter().map(|row| row.name.clone()).collect();
        layers.iter().find(|row| row.name == name).cloned().ok_or_else(|| TrainError::NotInModel {
            what: "layer",
            name: name.to_owned(),
            known: known(),
        })
    }

    /// The place of that class among the network's outputs.
    ///
    /// # Errors
    /// [`TrainError::NotInModel`].
    pub fn class(&self, name: &str) -> Result<usize, TrainError> {
        let known = self.classes();
        known.iter().position(|class| class == name).ok_or_else(|| TrainError::NotInModel {
            what: "class",
            name: name.to_owned(),
            known: known.to_vec(),
        })
    }

    /// The outputs `[N, H, W, C]` of layers for images that [`read`](Self::read) has read, as in prediction.
    ///
    /// # Errors
    /// Where an image is not of the network's input size.
    pub fn activations(&mut self, images: &[Pixels], nodes: &[NodeId]) -> Result<Vec<Vec<f32>>, TrainError> {
        let data: Vec<u8> = images.iter().flat_map(|image| image.data.iter().copied()).collect();
        self.engine.set_taps(nodes);
        let answer = self.logits(&data, images.len());
        let values = answer.and_then(|_| {
            let value = |node: &NodeId| {
                self.engine
                    .tap(*node)
                    .ok_or_else(|| TrainError::Internal { problem: "a tap is empty".into() })
            };
            nodes.iter().map(value).collect()
        });
        self.engine.set_taps(&[]);
        values
    }

    /// The layer that Grad-CAM looks at unless told otherwise: the last one with parameters (else any) whose output is larger
    /// than 1 x 1, as the paper recommends.
    ///
    /// # Errors
    /// [`TrainError::NoFeatureMaps`].
    pub fn last_feature_maps(&self) -> Result<LayerRow, TrainError> {
        let layers = self.layers()?;
        let spatial = |row: &&LayerRow| row.output.h * row.output.w > 1;
        let weighted = layers.iter().rev().filter(spatial).find(|row| row.params > 0);
        weighted.or(layers.iter().rev().find(spatial)).cloned().ok_or(TrainError::NoFeatureMaps)
    }

    /// Grad-CAM (Selvaraju et al. 2017): the feature maps `A` of `layer`, weighted by the mean gradient of the class's logit to
    /// each, summed, and what is below 0 cut off. Batch norms use their running estimates and nothing is dropped, as in
    /// prediction (`model.eval()`).
    ///
    /// # Errors
    /// Where the image is not of the network's input size or the layer has no feature maps.
    pub fn grad_cam(
        &mut self,
        image: &Pixels,
        class: usize,
        layer: &LayerRow,
    ) -> Result<GradCam, TrainError> {
        let (h, w, c) = (layer.output.h, layer.output.w, layer.output.c);
        let logits = self.logits(&image.data, 1)?;
        // The gradient of binary cross-entropy to a logit x is (sigmoid(x) - t) / classes. Targets that make it 1 for the
        // class and 0 for all others turn the loss's backward pass into that of the class's logit.
        let mut targets: Vec<f32> =
            logits.iter().map(|&x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32).collect();
        targets[class] -= logits.len() as f32;
        self.engine.set_bn_mode(BnMode::Running);
        self.engine.set_taps(&[layer.node]);
        self.engine.set_grad_taps(&[layer.node]);
        let input = Input {
            images: Images::U8 { data: &image.data, mean: &self.mean, std: &self.std },
            shape: [1, self.size[0], self.size[1], self.channels],
            mix: None,
        };
        let loss = LossConfig::Bce { label_smoothing: 0.0, class_weights: None };
        let done =
            self.engine.forward_backward(&input, &Targets::Soft(&targets), &loss, &StepContext::default());
        let taps = (self.engine.tap(layer.node), self.engine.tap_grad(layer.node));
        self.engine.set_taps(&[]);
        self.engine.set_grad_taps(&[]);
        self.engine.set_bn_mode(BnMode::default());
        done?;
        let (Some(maps), Some(gradient)) = taps else {
            return Err(TrainError::Internal { problem: format!("`{}` has no gradient", layer.name) });
        };
        let mut weight = vec![0f64; c];
        for place in gradient.chunks_exact(c) {
            weight.iter_mut().zip(place).for_each(|(sum, &g)| *sum += f64::from(g) / (h * w) as f64);
        }
        let values = maps
            .chunks_exact(c)
            .map(|place| {
                place.iter().zip(&weight).map(|(&a, w)| f64::from(a) * w).sum::<f64>().max(0.0) as f32
            })
            .collect();
        Ok(GradCam { layer: layer.name.clone(), heat: Heat { height: h, width: w, values } })
    }

    /// Occlusion (Zeiler and Fergus 2014): how much the probability of the class falls, place by place, when a square of
    /// `patch` pixels around it shows the data set's mean colour. A negative number: the class is more probable without it.
    /// The square moves by half its side.
    ///
    /// # Errors
    /// Where the image is not of the network's input size.
    pub fn occlusion(&mut self, image: &Pixels, class: usize, patch: usize) -> Result<Heat, TrainError> {
        let [h, w] = self.size;
        let patch = patch.clamp(1, h.min(w));
        let step = (patch / 2).max(1);
        let (height, width) = (h.div_ceil(step), w.div_ceil(step));
        let mean: Vec<u8> = self.mean.iter().map(|m| (m * 255.0).round().clamp(0.0, 255.0) as u8).collect();
        let logits = self.logits(&image.data, 1)?;
        let whole = softmax(&logits)[class];
        let places: Vec<(usize, usize)> =
            (0..height).flat_map(|row| (0..width).map(move |column| (row, column))).collect();
        let mut values = Vec::with_capacity(places.len());
        for places in places.chunks(OCCLUDED_AT_ONCE) {
            let mut data = Vec::with_capacity(places.len() * image.data.len());
            for &(row, column) in places {
                let start = data.len();
                data.extend_from_slice(&image.data);
                // Centred on the middle of the place that its number stands for.
                let reach = |at: usize, side: usize| {
                    let middle = at * step + step / 2;
                    (middle.saturating_sub(patch / 2), (middle + patch.div_ceil(2)).min(side))
                };
                let ((top, bottom), (left, right)) = (reach(row, h), reach(column, w));
                for y in top..bottom {
                    for x in left..right {
                        let at = start + (y * w + x) * self.channels;
                        data[at..at + self.channels].copy_from_slice(&mean);
                    }
                }
            }
            let logits = self.logits(&data, places.len())?;
            let classes = self.classes().len();
            values.extend(logits.chunks_exact(classes).map(|row| (whole - softmax(row)[class]) as f32));
        }
        Ok(Heat { height, width, values })
    }

    /// What the last weight layer sees of each image: its input, averaged over places, `[images][C]`. Points for a map of a data
    /// set.
    ///
    /// # Errors
    /// Where an image is not of the network's input size.
    pub fn embed(&mut self, images: &[Pixels]) -> Result<Vec<Vec<f32>>, TrainError> {
        let graph = self.engine.graph();
        let last = graph.nodes().filter(|layer| !layer.params.is_empty()).last();
        let Some(node) = last.and_then(|layer| layer.inputs.first().copied()) else {
            return Err(TrainError::NoFeatureMaps);
        };
        let layers = self.layers()?;
        let channels = layers.iter().find(|row| row.node == node).map_or(self.channels, |row| row.output.c);
        let values = self.activations(images, &[node])?.pop().unwrap_or_default();
        let per_image = values.len() / images.len().max(1);
        let mean = |maps: &[f32]| {
            let mut sums = vec![0f32; channels];
            for place in maps.chunks_exact(channels) {
                sums.iter_mut().zip(place).for_each(|(sum, v)| *sum += v);
            }
            let places = (maps.len() / channels).max(1) as f32;
            sums.iter_mut().for_each(|sum| *sum /= places);
            sums
        };
        Ok(values.chunks_exact(per_image.max(1)).map(mean).collect())
    }

    /// The weights of the network as they predict.
    ///
    /// # Errors
    /// Never for a network that was loaded.
    pub fn state(&self) -> Result<danlu_nn::StateDict, TrainError> {
        Ok(self.engine.state_dict(WeightSet::Live)?)
    }
}

#[cfg(test)]
mod tests {
    use danlu_nn::{Engine, EngineConfig, InitConfig, NetworkConfig};
    use danlu_weights::ModelCard;

    use super::*;

    /// A small network with drawn weights, from a file as a user has it.
    fn predictor(network: serde_json::Value) -> Predictor {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("w.safetensors");
        let config: NetworkConfig = serde_json::from_value(network.clone()).expect("a network");
        let mut engine =
            Engine::new(config.build(1, 3, [8, 8]).expect("builds"), &EngineConfig::default()).expect("runs");
        engine.initialize(&InitConfig::default(), 3).expect("draws");
        let card = ModelCard {
            classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            channels: Some(1),
            mean: vec![0.5],
            std: vec![0.25],
            crop: Some([8, 8]),
            network: Some(network),
            ..ModelCard::new()
        };
        let state = engine.state_dict(WeightSet::Live).expect("has weights");
        danlu_weights::write_safetensors(&path, &state, &card).expect("writes");
        Predictor::load(&path).expect("loads")
    }

    fn image() -> Pixels {
        let data = (0..64u32).map(|i| (i * 37 % 251) as u8).collect();
        Pixels { data, height: 8, width: 8, channels: 1 }
    }

    #[test]
    fn before_global_pooling_grad_cam_is_the_class_activation_map() {
        // Selvaraju et al., section 3.1: where global average pooling and one linear layer follow, the mean gradient to a
        // feature map is the linear weight over the number of places. Dropout between them must change nothing.
        let network = serde_json::json!({ "name": "blocks", "blocks": ["cbr 4 3x3", "cbr 6 3x3", "gap", "dropout 0.5"] });
        let mut predictor = predictor(network);
        let (image, layer) = (image(), predictor.last_feature_maps().expect("has maps"));
        assert_eq!((layer.output.h, layer.output.w, layer.output.c), (8, 8, 6));
        let state = predictor.state().expect("has weights");
        let (_, linear) = state.iter().filter(|(_, t)| t.shape == [3, 6]).last().expect("a linear layer");
        let maps =
            predictor.activations(std::slice::from_ref(&image), &[layer.node]).expect("runs").remove(0);
        let mut strongest = 0.0f32;
        for class in 0..3 {
            let found = predictor.grad_cam(&image, class, &layer).expect("explains");
            assert_eq!((found.heat.height, found.heat.width), (8, 8));
            for (place, heat) in maps.chunks_exact(6).zip(&found.heat.values) {
                let weights = &linear.data[class * 6..][..6];
                let sum: f32 = place.iter().zip(weights).map(|(a, w)| a * w / 64.0).sum();
                assert!((heat - sum.max(0.0)).abs() < 1e-6, "{heat} {sum}");
                strongest = strongest.max(*heat);
            }
        }
        assert!(strongest > 1e-4, "a map of zeros proves nothing: {strongest}");
    }

    #[test]
    fn occlusion_is_the_fall_of_the_probability_under_a_square_of_the_mean_colour() {
        let mut predictor =
            predictor(serde_json::json!({ "name": "blocks", "blocks": ["cbr 4 3x3", "gap"] }));
        let probability = |predictor: &mut Predictor, image: &Pixels| {
            softmax(&predictor.logits(&image.data, 1).expect("runs"))[1]
        };
        let heat = predictor.occlusion(&image(), 1, 4).expect("runs");
        assert_eq!((heat.height, heat.width), (4, 4), "the square moves by half its side");
        // Place (1, 2) is that of pixels 2..4, 4..6; the square of 4 around its middle (3, 5) is 1..5, 3..7.
        let mut covered = image();
        for at in (1..5).flat_map(|y| (3..7).map(move |x| y * 8 + x)) {
            covered.data[at] = 128;
        }
        let fall = probability(&mut predictor, &image()) - probability(&mut predictor, &covered);
        assert!(fall.abs() > 1e-6 && (f64::from(heat.values[4 + 2]) - fall).abs() < 1e-6, "{heat:?} {fall}");
    }

    #[test]
    fn what_the_model_lacks_is_named_with_what_it_has() {
        let predictor = predictor(serde_json::json!({ "name": "blocks", "blocks": ["cbr 4 3x3", "gap"] }));
        let error = predictor.class("d").expect_err("has a, b, c");
        assert_eq!(error.to_string(), "the model has no class `d`");
        assert_eq!(error.hint().as_deref(), Some("expected a class of: a, b, c"));
        assert!(predictor.layer("blocks.9").expect_err("has no such layer").hint().is_some());
    }
}
