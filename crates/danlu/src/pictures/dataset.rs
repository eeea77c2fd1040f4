//! What the network makes of many images: a map of them, and those that excite a channel most.

use std::sync::Arc;

use danlu_data::Pixels;
use danlu_nn::LayerRow;
use danlu_train::{Predictor, TrainError};
use danlu_view::{Embedding, Look, Svg, Tile, contact_sheet, embedding};

use super::activations::bitmap;
use super::samples::Sample;
use super::weights::draw;

/// Images that go through the network together.
const AT_ONCE: usize = 32;
/// Steps of the power iteration: directions that are still turning then share their spread nearly evenly, and either will do.
const STEPS: usize = 200;

/// Side of a tile, and what is between two, in px.
const TILE: f64 = 82.0;
const GAP: f64 = 10.0;

/// The images as points in a plane: the first two principal components of what the last weight layer sees.
#[derive(Clone, Debug)]
pub struct Map {
    /// `(x, y)` of each image, along the first and second component.
    pub points: Vec<(f64, f64)>,
    /// Share of the variance along each of the two.
    pub variance: [f64; 2],
}

/// Embeds the images and finds their two principal components.
///
/// # Errors
/// Where an image is not of the network's input size.
pub fn map(predictor: &mut Predictor, samples: &[Sample]) -> Result<Map, TrainError> {
    let mut rows: Vec<Vec<f32>> = Vec::with_capacity(samples.len());
    for part in samples.chunks(AT_ONCE) {
        let images: Vec<Pixels> = part.iter().map(|sample| sample.pixels.clone()).collect();
        rows.extend(predictor.embed(&images)?);
    }
    Ok(principal(&rows))
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

/// Principal components by power iteration on the centred rows, the second in what the first leaves over.
fn principal(rows: &[Vec<f32>]) -> Map {
    let (n, d) = (rows.len().max(1), rows.first().map_or(0, Vec::len));
    let mut mean = vec![0f64; d];
    for row in rows {
        mean.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v) / n as f64);
    }
    let mut left: Vec<Vec<f64>> =
        rows.iter().map(|row| row.iter().zip(&mean).map(|(&v, m)| f64::from(v) - m).collect()).collect();
    let square = |rows: &[Vec<f64>]| rows.iter().flatten().map(|v| v * v).sum::<f64>();
    let total = square(&left);
    let (mut coordinates, mut variance) = ([vec![0.0; rows.len()], vec![0.0; rows.len()]], [0.0; 2]);
    for component in 0..2 {
        // A start that no axis is orthogonal to, the same in every run.
        let mut axis: Vec<f64> = (0..d).map(|i| 1.0 + 0.1 * (i as f64 * 0.7).sin()).collect();
        for _ in 0..STEPS {
            let mut next = vec![0f64; d];
            for row in &left {
                let along: f64 = row.iter().zip(&axis).map(|(v, a)| v * a).sum();
                next.iter_mut().zip(row).for_each(|(sum, v)| *sum += along * v);
            }
            let norm = next.iter().map(|v| v * v).sum::<f64>().sqrt();
            if norm <= 0.0 {
                break;
            }
            axis = next.into_iter().map(|v| v / norm).collect();
        }
        let before = square(&left);
        for (row, place) in left.iter_mut().zip(&mut coordinates[component]) {
            *place = row.iter().zip(&axis).map(|(v, a)| v * a).sum();
            row.iter_mut().zip(&axis).for_each(|(v, a)| *v -= *place * a);
        }
        variance[component] = if total > 0.0 { (before - square(&left)) / total } else { 0.0 };
    }
    let [xs, ys] = coordinates;
    Map { points: xs.into_iter().zip(ys).collect(), variance }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_components_are_those_of_numpy() {
        // numpy.linalg.svd of the centred rows below: singular values 5.6568542, 1.4142136, 0; axes (1, 1, 0) / sqrt 2 and (1, -1, 0) / sqrt 2.
        let rows = [[2.0f32, 2.0, 7.0], [-2.0, -2.0, 7.0], [2.0, 2.0, 7.0], [-2.0, -2.0, 7.0]];
        let mut rows: Vec<Vec<f32>> = rows.map(|row| row.to_vec()).to_vec();
        rows.push(vec![std::f32::consts::FRAC_1_SQRT_2, -std::f32::consts::FRAC_1_SQRT_2, 7.0]);
        rows.push(vec![-std::f32::consts::FRAC_1_SQRT_2, std::f32::consts::FRAC_1_SQRT_2, 7.0]);
        let map = principal(&rows);
        let total = 32.0 + 2.0;
        assert!((map.variance[0] - 32.0 / total).abs() < 1e-6, "{:?}", map.variance);
        assert!((map.variance[1] - 2.0 / total).abs() < 1e-6, "{:?}", map.variance);
        let far = 8f64.sqrt();
        assert!((map.points[0].0.abs() - far).abs() < 1e-6 && (map.points[4].1.abs() - 1.0).abs() < 1e-6);
        assert_eq!(principal(&[]).points, []);
        assert!(principal(&[vec![1.0, 1.0], vec![1.0, 1.0]]).points.iter().all(|p| *p == (0.0, 0.0)));
    }
}
