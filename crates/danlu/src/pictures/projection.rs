//! Points of many dimensions laid out in a plane: along their principal components, or by their neighbours.

use bhtsne::tSNE;
use danlu_train::TrainError;

/// Steps of the power iteration: directions that are still turning then share their spread nearly evenly, and either will do.
const STEPS: usize = 200;

/// Points that t-SNE takes at most: each of its steps looks at all pairs (trees that do not leave a map that is much farther from the
/// points), on one thread.
const MOST: usize = 3000;
/// Points that t-SNE needs: three neighbours each at the smallest perplexity.
const FEWEST: usize = 7;
/// Steps of t-SNE, scikit-learn's default.
const EPOCHS: usize = 1000;
/// How points get their place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Projection {
    /// Along the two directions of the largest variance. The default: distances and directions mean something, and it takes no time.
    #[default]
    Pca,
    /// t-SNE (van der Maaten and Hinton 2008): neighbours stay neighbours; distances between groups mean nothing.
    Tsne {
        /// Neighbours that a point minds, about; 30 is usual. Lowered where there are few points.
        perplexity: f64,
    },
}

/// Points in a plane.
#[derive(Clone, Debug)]
pub struct Map {
    /// `(x, y)` of each image.
    pub points: Vec<(f64, f64)>,
    /// What the axes hold.
    pub axes: Axes,
}

/// What the axes of a [`Map`] hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Axes {
    /// The first and second principal component.
    Components {
        /// Share of the variance along each of the two.
        variance: [f64; 2],
    },
    /// Nothing by themselves: only who is near counts.
    Neighbours {
        /// The perplexity that was used.
        perplexity: f64,
        /// Kullback-Leibler divergence of the map from the points, in nats: what t-SNE makes small.
        divergence: f64,
    },
}

impl Projection {
    /// Lays out the rows, all of one length.
    ///
    /// # Errors
    /// Where t-SNE gets fewer than 7 or more than 3,000 rows.
    pub fn map(self, rows: &[Vec<f32>]) -> Result<Map, TrainError> {
        let ([xs, ys], variance) = principal(rows);
        let points: Vec<(f64, f64)> = xs.into_iter().zip(ys).collect();
        match self {
            Projection::Pca => Ok(Map { points, axes: Axes::Components { variance } }),
            Projection::Tsne { perplexity } => tsne(rows, points, perplexity),
        }
    }
}

/// t-SNE from the principal components on, as scikit-learn starts: the same map in every run.
fn tsne(rows: &[Vec<f32>], start: Vec<(f64, f64)>, perplexity: f64) -> Result<Map, TrainError> {
    if !(FEWEST..=MOST).contains(&rows.len()) {
        return Err(TrainError::ImageCount { found: rows.len(), least: FEWEST, most: MOST });
    }
    let perplexity = perplexity.clamp(2.0, (rows.len() - 1) as f64 / 3.0);
    let spread = (start.iter().map(|p| p.0 * p.0).sum::<f64>() / start.len() as f64).sqrt();
    if spread == 0.0 {
        // All in one place: nobody is nearer than another.
        return Ok(Map { points: start, axes: Axes::Neighbours { perplexity, divergence: 0.0 } });
    }
    // Spread over a ten-thousandth, so that the attraction of neighbours decides from the first step.
    let scale = 1e-4 / spread;
    let start: Vec<f64> = start.iter().flat_map(|&(x, y)| [x * scale, y * scale]).collect();
    // One thread: sums then have one order, and the map is the same in every run.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| TrainError::Internal { problem: error.to_string() })?;
    Ok(pool.install(|| {
        let mut fit: tSNE<'_, f64, Vec<f32>> = tSNE::new(rows);
        fit.perplexity(perplexity).epochs(EPOCHS).initial_embedding(start);
        fit.exact(|a, b| f64::from(distance(a, b)));
        let divergence = fit.kl_divergence().unwrap_or(f64::NAN);
        let points = fit.embedding().chunks_exact(2).map(|p| (p[0], p[1])).collect();
        Map { points, axes: Axes::Neighbours { perplexity, divergence } }
    }))
}

/// The Euclidean distance; the fit squares it for its Gaussians.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

/// Principal components by power iteration on the centred rows, the second in what the first leaves over.
fn principal(rows: &[Vec<f32>]) -> ([Vec<f64>; 2], [f64; 2]) {
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
    (coordinates, variance)
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
        let ([xs, ys], variance) = principal(&rows);
        let total = 32.0 + 2.0;
        assert!((variance[0] - 32.0 / total).abs() < 1e-6, "{:?}", variance);
        assert!((variance[1] - 2.0 / total).abs() < 1e-6, "{:?}", variance);
        let far = 8f64.sqrt();
        assert!((xs[0].abs() - far).abs() < 1e-6 && (ys[4].abs() - 1.0).abs() < 1e-6);
        assert!(principal(&[]).0.iter().all(Vec::is_empty));
        assert_eq!(principal(&[vec![1.0, 1.0], vec![1.0, 1.0]]).0, [[0.0; 2]; 2]);
    }

    /// Three groups of 20 points in ten dimensions, each around a corner of its own.
    fn groups() -> Vec<Vec<f32>> {
        let mut state = 7u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..60).map(|i| (0..10).map(|d| if d == i % 3 { 8.0 } else { 0.0 } + noise()).collect()).collect()
    }

    #[test]
    fn t_sne_keeps_neighbours_together_and_gives_the_same_map_again() {
        let rows = groups();
        let map = Projection::Tsne { perplexity: 10.0 }.map(&rows).expect("a map");
        let Axes::Neighbours { perplexity, divergence } = map.axes else { panic!("{:?}", map.axes) };
        // scikit-learn's exact t-SNE leaves 0.2 of such groups.
        assert!(perplexity == 10.0 && (0.0..0.3).contains(&divergence), "{divergence}");
        let far = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).hypot(a.1 - b.1);
        for (i, &p) in map.points.iter().enumerate() {
            let mut others: Vec<usize> = (0..60).filter(|&j| j != i).collect();
            others.sort_by(|&a, &b| far(p, map.points[a]).total_cmp(&far(p, map.points[b])));
            assert!(others[..10].iter().all(|j| j % 3 == i % 3), "{i}: {:?}", &others[..10]);
        }
        let again = Projection::Tsne { perplexity: 10.0 }.map(&rows).expect("a map");
        assert_eq!(map.points, again.points);
    }

    #[test]
    fn t_sne_lowers_its_perplexity_to_few_points_and_refuses_fewer() {
        let rows = groups();
        let map = Projection::Tsne { perplexity: 30.0 }.map(&rows[..7]).expect("a map");
        assert!(matches!(map.axes, Axes::Neighbours { perplexity: 2.0, .. }), "{:?}", map.axes);
        assert!(map.points.iter().all(|p| p.0.is_finite() && p.1.is_finite()));
        let error = Projection::Tsne { perplexity: 30.0 }.map(&rows[..6]).expect_err("too few").to_string();
        assert!(error.contains("7 to 3000 images, not 6"), "{error}");
        // Points that are all the same have no neighbours to keep.
        let map = Projection::Tsne { perplexity: 5.0 }.map(&vec![vec![1.0; 3]; 30]).expect("a map");
        assert!(map.points.iter().all(|p| p.0.is_finite() && p.1.is_finite()));
    }
}
