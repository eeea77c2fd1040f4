//! What the layers of a network see of an image, and where in it the network looked.

use danlu_data::Pixels;
use danlu_nn::LayerRow;
use danlu_train::{GradCam, Heat, Prediction, Predictor, TrainError};
use danlu_view::svg::column;
use danlu_view::{
    Bitmap, ColorMap, LayerStats, Look, Svg, Tile, contact_sheet, feature_maps, layer_stats, overlay,
};
use serde::Serialize;

use super::samples::Sample;
use super::weights::draw;

/// How strong the hottest place of a heat map lies over the image.
const OPACITY: f64 = 0.65;

/// A layer's output in numbers, over one image or several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerActivity {
    /// Name of the layer.
    pub name: String,
    /// What it computes.
    pub op: String,
    /// `[H, W, C]` of one image.
    pub shape: [usize; 3],
    /// Mean of all values.
    pub mean: f64,
    /// Standard deviation of all values.
    pub std: f64,
    /// Share of the values that are 0 (a ReLU's sparsity).
    pub zeros: f64,
    /// Channels that are constant over every place of every image: they tell nothing.
    pub dead: Vec<usize>,
}

/// What the network makes of one image.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The image.
    pub sample: Sample,
    /// All classes, the most probable first.
    pub predictions: Vec<Prediction>,
    /// The class that is explained.
    pub class: String,
    /// Where the network looked for it.
    pub grad_cam: GradCam,
    /// How much of its probability each place carries; none where it was not asked for.
    pub occlusion: Option<Heat>,
}

/// Predicts, and explains `class` (without one the most probable) at `layer` (without one the last feature maps). `patch` is the
/// side in pixels of the square that is covered for occlusion; 0 leaves occlusion out.
///
/// # Errors
/// [`TrainError::NotInModel`] for an unknown class or layer; [`TrainError::NoFeatureMaps`].
pub fn explain(
    predictor: &mut Predictor,
    sample: &Sample,
    class: Option<&str>,
    layer: Option<&str>,
    patch: usize,
) -> Result<Explanation, TrainError> {
    let predictions =
        predictor.predict_batch(std::slice::from_ref(&sample.pixels))?.pop().unwrap_or_default();
    let best = predictions.first().map(|best| best.class.clone()).unwrap_or_default();
    let class = class.unwrap_or(&best).to_owned();
    let index = predictor.class(&class)?;
    let layer = match layer {
        Some(name) => predictor.layer(name)?,
        None => predictor.last_feature_maps()?,
    };
    if layer.output.h * layer.output.w < 2 {
        return Err(TrainError::NoFeatureMaps);
    }
    let grad_cam = predictor.grad_cam(&sample.pixels, index, &layer)?;
    let occlusion = (patch > 0).then(|| predictor.occlusion(&sample.pixels, index, patch)).transpose()?;
    Ok(Explanation { sample: sample.clone(), predictions, class, grad_cam, occlusion })
}

impl Explanation {
    /// The probability of the explained class.
    pub fn probability(&self) -> f64 {
        self.predictions.iter().find(|p| p.class == self.class).map_or(0.0, |p| p.probability)
    }

    /// The image.
    ///
    /// # Errors
    /// Never for an image that was read.
    pub fn image(&self) -> Result<Bitmap, TrainError> {
        bitmap(&self.sample.pixels)
    }

    /// The image with the Grad-CAM laid over it.
    ///
    /// # Errors
    /// Never for an image that was read.
    pub fn grad_cam_image(&self) -> Result<Bitmap, TrainError> {
        let Heat { height, width, values } = &self.grad_cam.heat;
        draw(overlay(&large(&self.image()?)?, values, *height, *width, OPACITY))
    }

    /// The Grad-CAM alone, black to white, as large as the image.
    ///
    /// # Errors
    /// Never for an image that was read.
    pub fn grad_cam_plain(&self) -> Result<Bitmap, TrainError> {
        let Heat { height, width, values } = &self.grad_cam.heat;
        let most = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let plain = draw(ColorMap::Gray.image(values, *height, *width, 0.0, most))?;
        draw(plain.enlarged((self.sample.pixels.height / (*height).max(1)).max(1)))
    }

    /// The image, Grad-CAM and occlusion side by side.
    ///
    /// # Errors
    /// Never for an image that was read.
    pub fn picture(&self, look: &Look) -> Result<Svg, TrainError> {
        let tile = |image, caption: &str, note: String| Tile { note, ..Tile::new(image, caption) };
        let sure = format!("{} {:.1} %", self.class, 100.0 * self.probability());
        let mut tiles = vec![
            tile(self.image()?, &self.sample.name, sure),
            tile(self.grad_cam_image()?, "Grad-CAM", format!("at {}", self.grad_cam.layer)),
        ];
        if let Some(heat) = &self.occlusion {
            // Only a fall counts: where the class gets more probable nothing is drawn.
            let fall: Vec<f32> = heat.values.iter().map(|v| v.max(0.0)).collect();
            let most = fall.iter().copied().fold(0.0, f32::max);
            let image = draw(overlay(&large(&self.image()?)?, &fall, heat.height, heat.width, OPACITY))?;
            tiles.push(tile(image, "occlusion", format!("at most -{:.1} points", 100.0 * most)));
        }
        Ok(contact_sheet(&format!("where the network looked for {}", self.class), &tiles, 210.0, look))
    }
}

/// Feature maps of one image at the layers named (without names up to `count`, evenly chosen of those larger than 1 x 1), one
/// below another; at most `most` channels of each.
///
/// # Errors
/// [`TrainError::NotInModel`] for an unknown layer; [`TrainError::NoFeatureMaps`].
pub fn maps(
    predictor: &mut Predictor,
    image: &Pixels,
    names: &[String],
    count: usize,
    most: usize,
    look: &Look,
) -> Result<Svg, TrainError> {
    let rows = if names.is_empty() {
        let all: Vec<LayerRow> =
            predictor.layers()?.into_iter().filter(|row| row.output.h * row.output.w > 1).collect();
        let (n, count) = (all.len(), count.clamp(1, all.len().max(1)));
        if n == 0 {
            return Err(TrainError::NoFeatureMaps);
        }
        let place = |i: usize| if count == 1 { n - 1 } else { i * (n - 1) / (count - 1) };
        (0..count).map(|i| all[place(i)].clone()).collect()
    } else {
        names.iter().map(|name| predictor.layer(name)).collect::<Result<Vec<_>, _>>()?
    };
    let nodes: Vec<_> = rows.iter().map(|row| row.node).collect();
    let values = predictor.activations(std::slice::from_ref(image), &nodes)?;
    let parts = rows
        .iter()
        .zip(&values)
        .map(|(row, values)| {
            let shape = [row.output.h, row.output.w, row.output.c];
            draw(feature_maps(&format!("{} ({})", row.name, row.op), values, shape, most, look))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(column("feature maps", parts))
}

/// Every layer in numbers over the images; dropout and the like, which do nothing in prediction, are left out.
///
/// # Errors
/// Where an image is not of the network's input size.
pub fn statistics(predictor: &mut Predictor, images: &[Pixels]) -> Result<Vec<LayerActivity>, TrainError> {
    let rows: Vec<LayerRow> =
        predictor.layers()?.into_iter().filter(|row| !row.op.starts_with("drop")).collect();
    let nodes: Vec<_> = rows.iter().map(|row| row.node).collect();
    let mut sums: Vec<Sums> = rows.iter().map(|row| Sums::new(row.output.c)).collect();
    // A few images at a time: every layer's output is held at once.
    for images in images.chunks(16) {
        for (sums, values) in sums.iter_mut().zip(predictor.activations(images, &nodes)?) {
            sums.add(&values);
        }
    }
    Ok(rows.into_iter().zip(sums).map(|(row, sums)| sums.finish(row)).collect())
}

struct Sums {
    n: f64,
    sum: f64,
    squares: f64,
    zeros: f64,
    low: Vec<f32>,
    high: Vec<f32>,
}

impl Sums {
    fn new(channels: usize) -> Self {
        let channels = channels.max(1);
        let (low, high) = (vec![f32::INFINITY; channels], vec![f32::NEG_INFINITY; channels]);
        Sums { n: 0.0, sum: 0.0, squares: 0.0, zeros: 0.0, low, high }
    }

    fn add(&mut self, values: &[f32]) {
        for place in values.chunks_exact(self.low.len()) {
            for (c, &v) in place.iter().enumerate() {
                self.n += 1.0;
                self.sum += f64::from(v);
                self.squares += f64::from(v).powi(2);
                self.zeros += f64::from(u8::from(v == 0.0));
                self.low[c] = self.low[c].min(v);
                self.high[c] = self.high[c].max(v);
            }
        }
    }

    fn finish(self, row: LayerRow) -> LayerActivity {
        let n = self.n.max(1.0);
        let mean = self.sum / n;
        // An output of one place and one image is constant by nature, and dead only at 0.
        let single = row.output.h * row.output.w == 1 && self.n <= self.low.len() as f64;
        let dead = |(low, high): (&f32, &f32)| low == high && (!single || *low == 0.0);
        LayerActivity {
            name: row.name,
            op: row.op,
            shape: [row.output.h, row.output.w, row.output.c],
            mean,
            std: (self.squares / n - mean * mean).max(0.0).sqrt(),
            zeros: self.zeros / n,
            dead: self
                .low
                .iter()
                .zip(&self.high)
                .enumerate()
                .filter(|(_, v)| dead(*v))
                .map(|(i, _)| i)
                .collect(),
        }
    }
}

/// How values, their spread and dead channels run through the layers.
pub fn statistics_picture(layers: &[LayerActivity], look: &Look) -> Svg {
    let share = |layer: &LayerActivity| layer.dead.len() as f64 / layer.shape[2].max(1) as f64;
    // A line at 0 throughout says less than no line.
    let some_dead = layers.iter().any(|layer| !layer.dead.is_empty());
    let stats = LayerStats {
        name: String::new(),
        std: layers.iter().map(|layer| layer.std).collect(),
        mean: layers.iter().map(|layer| layer.mean).collect(),
        dead: layers.iter().filter(|_| some_dead).map(share).collect(),
    };
    layer_stats(&[stats], look)
}

/// Pixels as an image to draw.
///
/// # Errors
/// Never for an image that was read.
pub fn bitmap(pixels: &Pixels) -> Result<Bitmap, TrainError> {
    draw(Bitmap::new(pixels.height, pixels.width, pixels.channels, pixels.data.clone()))
}

/// A small image enlarged by whole pixels, so that a heat map over it is smooth.
fn large(image: &Bitmap) -> Result<Bitmap, TrainError> {
    let zoom = (224 / image.width().max(image.height())).max(1);
    draw(image.enlarged(zoom))
}
