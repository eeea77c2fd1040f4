//! Training samples that the network is sure have another class than their label: wrong labels, or an augmentation that
//! changes what the image shows.

use danlu_data::Batch;
use danlu_doctor::{SuspectSample, SuspectSamples};

use crate::metrics::argmax;

/// Probability of the label below which the network contradicts it ...
const DOUBT: f64 = 0.05;
/// ... where it gives another class at least this. Not more: a network that has learned of a quarter of wrong labels is
/// never surer than three quarters.
const SURE: f64 = 0.5;
/// Samples that are watched one by one from epoch to epoch: about so many, the whole set where it is no larger.
const WATCHED: usize = 4096;
/// Watched samples that are written down in an epoch, at most.
const MOST_WATCHED: usize = 512;
/// The samples with the highest loss that are written down.
const WORST: usize = 16;

/// Adds a batch of a training set of `samples`; `logits` is `[batch.len(), classes]`.
pub(crate) fn add(seen: &mut SuspectSamples, logits: &[f32], classes: usize, batch: &Batch, samples: usize) {
    let every = samples.div_ceil(WATCHED).max(1) as u32;
    for ((row, &label), &sample) in logits.chunks_exact(classes).zip(&batch.labels).zip(&batch.samples) {
        seen.judged += 1;
        let watched = sample.is_multiple_of(every);
        seen.watched += u64::from(watched);
        let predicted = argmax(row);
        let power = |class: usize| (f64::from(row[class]) - f64::from(row[predicted])).exp();
        // The probability of the predicted class is 1 / (1 + rest); most doubtful rows are left after a few classes.
        let mut rest = 0.0;
        for class in (0..row.len()).filter(|class| *class != predicted) {
            rest += power(class);
            if rest > 1.0 / SURE - 1.0 {
                break;
            }
        }
        if rest > 1.0 / SURE - 1.0 || rest.is_nan() {
            continue;
        }
        seen.sure += 1;
        let of_label = power(label as usize) / (1.0 + rest);
        if of_label > DOUBT {
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
        add(&mut seen, &[0.0, 9.0, 0.0, 1.0, 0.0, 9.0], 2, &batch, 3);
        assert_eq!((seen.judged, seen.sure, seen.contradicted, seen.watched), (3, 3, 1, 3));
        assert_eq!(seen.watched_contradicted, [4]);
        assert_eq!((seen.worst[0].sample, seen.worst[0].predicted), (4, 1));
    }
}
