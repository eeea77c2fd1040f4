//! What the network makes of many images: a map of them, and those that excite a channel most.

use std::sync::Arc;

use danlu_data::Pixels;
use danlu_nn::LayerRow;
use danlu_train::{Predictor, TrainError};
use danlu_view::{Embedding, Look, Svg, Tile, contact_sheet, embedding};

use super::activations::bitmap;
use super::projection::{Map, Projection};
use super::samples::Sample;
use super::weights::draw;

/// Images that go through the network together.
const AT_ONCE: usize = 32;
/// Side of a tile, and what is between two, in px.
const TILE: f64 = 82.0;
const GAP: f64 = 10.0;

/// Embeds the images (what the last weight layer sees of each) and lays them out in a plane.
///
/// # Errors
/// Where an image is not of the network's input size, or the projection cannot take so many or so few.
pub fn map(predictor: &mut Predictor, samples: &[Sample], projection: Projection) -> Result<Map, TrainError> {
    let mut rows: Vec<Vec<f32>> = Vec::with_capacity(samples.len());
    for part in samples.chunks(AT_ONCE) {
        let images: Vec<Pixels> = part.iter().map(|sample| sample.pixels.clone()).collect();
        rows.extend(predictor.embed(&images)?);
    }
    projection.map(&rows)
}

/// Validation images that are mapped when a training ends.
pub const IMAGES: usize = 300;

/// The t-SNE of the images, for a picture; none of so few that there is nothing to see.
///
/// # Errors
/// Where an image is not of the network's input size.
pub fn neighbours(predictor: &mut Predictor, samples: &[Sample]) -> Result<Option<Map>, TrainError> {
    match map(predictor, samples, Projection::Tsne { perplexity: 30.0 }) {
        Ok(map) => Ok(Some(map)),
        Err(TrainError::ImageCount { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The map as a picture, with thumbnails where there is room.
///
/// # Errors
/// Never for samples of the model's classes.
pub fn map_picture(
    map: &Map,
    samples: &[Sample],
    classes: &[String],
    look: &Look,
) -> Result<Svg, TrainError> {
    let thumbnails = samples
        .iter()
        .enumerate()
        .map(|(i, sample)| Ok((i, Arc::new(bitmap(&sample.pixels)?))))
        .collect::<Result<Vec<_>, TrainError>>()?;
    let labels = samples.iter().map(|sample| sample.label.unwrap_or(0)).collect();
    draw(embedding(
        &Embedding { points: map.points.clone(), labels, classes: classes.to_vec(), thumbnails },
        look,
    ))
}

/// The images that excite each of the first `channels` channels of a layer most, a row a channel: by the largest value anywhere.
///
/// # Errors
/// Where an image is not of the network's input size.
pub fn exciting(
    predictor: &mut Predictor,
    samples: &[Sample],
    layer: &LayerRow,
    channels: usize,
    look: &Look,
) -> Result<Svg, TrainError> {
    let shown = channels.min(layer.output.c);
    let size = layer.output.h * layer.output.w * layer.output.c;
    let mut highest: Vec<Vec<f32>> = Vec::with_capacity(samples.len());
    for part in samples.chunks(AT_ONCE) {
        let images: Vec<Pixels> = part.iter().map(|sample| sample.pixels.clone()).collect();
        let values = predictor.activations(&images, &[layer.node])?.pop().unwrap_or_default();
        for image in values.chunks_exact(size.max(1)) {
            let mut most = vec![f32::NEG_INFINITY; shown];
            for place in image.chunks_exact(layer.output.c) {
                most.iter_mut().zip(place).for_each(|(most, &v)| *most = most.max(v));
            }
            highest.push(most);
        }
    }
    let width = look.width.clamp(240.0, 4000.0);
    // As `contact_sheet` lays them out, so that every channel begins a row; few images make a narrower picture.
    let columns = (((width - GAP) / (TILE + GAP)).floor() as usize).clamp(1, samples.len().max(1));
    let look = Look { width: columns as f64 * (TILE + GAP) + GAP, ..*look };
    let mut tiles = Vec::new();
    for channel in 0..shown {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by(|&a, &b| highest[b][channel].total_cmp(&highest[a][channel]).then(a.cmp(&b)));
        for (rank, &image) in order.iter().take(columns).enumerate() {
            let class = samples[image].label.and_then(|label| predictor.classes().get(label as usize));
            tiles.push(Tile {
                note: format!("{:.2}", highest[image][channel]),
                caption: match rank {
                    0 => format!("channel {channel}"),
                    _ => class.cloned().unwrap_or_default(),
                },
                ..Tile::new(bitmap(&samples[image].pixels)?, "")
            });
        }
    }
    Ok(contact_sheet(&format!("what excites {}", layer.name), &tiles, TILE, &look))
}
