//! Training samples that the network is sure have another class than their label: wrong labels, or an augmentation that
//! changes what the image shows.

use danlu_data::Batch;
use danlu_doctor::{SuspectSample, SuspectSamples};

use crate::metrics::softmax;

/// Probability of the label below which the network contradicts it ...
const DOUBT: f64 = 0.05;
/// ... where it gives another class at least this. Label smoothing of 0.1 leaves about 0.9 to a sure network.
const SURE: f64 = 0.7;
/// Of every so many samples one is watched from epoch to epoch.
const WATCHED: u32 = 4;
/// Watched samples that are written down, at most.
const MOST_WATCHED: usize = 512;
/// The samples with the highest loss that are written down.
const WORST: usize = 16;

/// Adds a batch; `logits` is `[batch.len(), classes]`.
pub(crate) fn add(seen: &mut SuspectSamples, logits: &[f32], classes: usize, batch: &Batch) {
    for ((row, &label), &sample) in logits.chunks_exact(classes).zip(&batch.labels).zip(&batch.samples) {
        seen.judged += 1;
        let watched = sample.is_multiple_of(WATCHED);
        seen.watched += u64::from(watched);
        // Most samples are settled by two logits; a softmax of every row would cost more than the rule is worth.
        let predicted = crate::metrics::argmax(row);
        let margin = f64::from(row[predicted]) - f64::from(row[label as usize]);
        if margin < (SURE / DOUBT).ln() {
            continue;
        }
        let probabilities = softmax(row);
        let of_label = probabilities[label as usize];
        if of_label > DOUBT || probabilities[predicted] < SURE {
            continue;
        }
        seen.contradicted += 1;
        if watched && seen.watched_contradicted.len() < MOST_WATCHED {
            seen.watched_contradicted.push(sample);
        }
        let loss = format!("{:.4}", -of_label.max(1e-30).ln()).parse().unwrap_or(f64::MAX);
        let at = seen.worst.partition_point(|other| other.loss >= loss);
        if at < WORST {
            seen.worst.insert(at, SuspectSample { sample, label, predicted: predicted as u32, loss });
            seen.worst.truncate(WORST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sure_contradiction_is_written_down_and_a_doubt_is_not() {
        let batch = Batch { labels: vec![0, 0, 1], samples: vec![4, 5, 6], ..Batch::default() };
        let mut seen = SuspectSamples::default();
        add(&mut seen, &[0.0, 9.0, 0.0, 1.0, 0.0, 9.0], 2, &batch);
        assert_eq!((seen.judged, seen.contradicted, seen.watched), (3, 1, 1));
        assert_eq!(seen.watched_contradicted, [4]);
        assert_eq!((seen.worst[0].sample, seen.worst[0].predicted), (4, 1));
    }
}
