//! Features of the frozen prefix of a network: computed once an image, then kept.
//!
//! A value belongs to the pixels that the network saw, not to a sample: a mirrored image has features of its own, and what
//! comes again, in whatever order, is found again. All passes are over the same number of images, so that the bits of an image's
//! features do not depend on which others were missing with it, and a resumed run, whose cache is empty, ends in the same bytes.

use std::collections::HashMap;

use danlu_data::{Batch, ChannelStats};
use danlu_nn::{Engine, Images, Input, NodeId, PlanKey, Span, WeightSet};
use danlu_recipe::Precision;

use crate::error::TrainError;
use crate::progress::Observer;
use crate::session::Session;

/// Images of one pass over the prefix: enough to keep the cores busy, few where one image alone is missing.
const PASS: usize = 16;
/// A prefix that does less of the forward pass than this is not worth its memory.
const LEAST_SHARE: f64 = 0.2;
/// Pictures that one image may become: more would rarely come again.
const MOST_VARIANTS: usize = 8;

type Key = [u8; 16];

/// Kept features of one frozen prefix, whose weights must not change as long as it is used.
#[derive(Debug)]
pub(crate) struct FeatureCache {
    /// Values an image.
    width: usize,
    kept: HashMap<Key, Box<[f32]>>,
    /// Images that may be kept; the others are computed each time.
    most: usize,
}

impl FeatureCache {
    /// Values `[N, H, W, C]` of a batch's images at the end of the prefix.
    pub(crate) fn of(
        &mut self,
        engine: &mut Engine,
        batch: &Batch,
        stats: &ChannelStats,
    ) -> Result<Vec<f32>, TrainError> {
        let [_, h, w, c] = batch.shape;
        let image_bytes = h * w * c;
        let keys: Vec<Key> = batch.images.chunks_exact(image_bytes).map(key).collect();
        let mut fresh: HashMap<Key, Box<[f32]>> = HashMap::new();
        let mut missing: Vec<usize> =
            (0..keys.len()).filter(|&image| !self.kept.contains_key(&keys[image])).collect();
        missing.sort_by_key(|&image| keys[image]);
        missing.dedup_by_key(|image| keys[*image]);
        for group in missing.chunks(PASS) {
            let mut data = Vec::with_capacity(PASS * image_bytes);
            group.iter().for_each(|&image| data.extend_from_slice(batch.image(image)));
            data.resize(PASS * image_bytes, 0);
            let images = Images::U8 { data: &data, mean: &stats.mean, std: &stats.std };
            let values =
                engine.features(&Input { images, shape: [PASS, h, w, c], mix: None }, WeightSet::Live)?;
            for (&image, row) in group.iter().zip(values.chunks_exact(self.width)) {
                fresh.insert(keys[image], row.into());
            }
        }
        let mut out = Vec::with_capacity(keys.len() * self.width);
        for key in &keys {
            if let Some(row) = self.kept.get(key).or_else(|| fresh.get(key)) {
                out.extend_from_slice(row);
            }
        }
        let room = self.most.saturating_sub(self.kept.len());
        self.kept.extend(fresh.into_iter().take(room));
        Ok(out)
    }
}

fn key(image: &[u8]) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(&blake3::hash(image).as_bytes()[..16]);
    key
}

impl Session {
    /// Keeps features from now on, where the recipe wants it, the prefix stays frozen for more than one epoch, and the same
    /// pictures come again. Called when an epoch begins. What it decides follows from the recipe and the epoch alone.
    pub(crate) fn keep_features(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let node = self.engine.frozen_prefix();
        if self.frozen_prefix == node {
            return Ok(());
        }
        (self.frozen_prefix, self.features) = (node, None);
        let (Some(node), true) = (node, self.recipe.finetune.cache_features) else { return Ok(()) };
        let [_, h, w, _] = self.input_shape();
        let share = self.prefix_share(node, [h, w])?;
        if share < LEAST_SHARE || !self.stays_frozen() || self.recipe.train.precision == Precision::F64 {
            return Ok(());
        }
        let percent = 100.0 * share;
        let Some(variants) = self.recipe.augment.variants().filter(|&variants| variants <= MOST_VARIANTS)
        else {
            observer.say(&format!(
                "features of the frozen layers ({percent:.0} % of a forward pass) are computed again in every epoch: the augmentation makes new pictures each time"
            ));
            return Ok(());
        };
        let width = self.engine.graph().shape_of(node, h, w)?.elements();
        let bytes = (width * size_of::<f32>() + size_of::<Key>() + 16) as u64;
        // Where the system does not say, a small laptop is assumed.
        let room = crate::machine::available_memory().unwrap_or(4 << 30) / 4;
        let most = (room / bytes) as usize;
        let wanted = self.train.len() * variants + self.val.len();
        let layer = self.engine.graph().name(node);
        let mib = (wanted.min(most) as u64 * bytes) as f64 / f64::from(1 << 20);
        observer.say(&format!(
            "features of the frozen layers (up to `{layer}`, {percent:.0} % of a forward pass) are computed once an image and kept: up to {mib:.1} MiB{}",
            if wanted > most { format!(", for {most} of {wanted} pictures") } else { String::new() }
        ));
        self.features = Some(FeatureCache { width, kept: HashMap::new(), most });
        let batch = self.recipe.train.batch_size;
        self.engine.reserve(&[
            PlanKey::infer(PASS, h, w).over(Span::Prefix),
            PlanKey::train(batch, h, w).over(Span::Tail),
            PlanKey::infer(batch, h, w).over(Span::Tail),
        ])?;
        Ok(())
    }

    fn input_shape(&self) -> [usize; 4] {
        let input = self.engine.graph().input();
        [self.recipe.train.batch_size, input.h, input.w, input.c]
    }

    /// Share of the forward pass that lies before the cut.
    fn prefix_share(&self, cut: NodeId, [h, w]: [usize; 2]) -> Result<f64, TrainError> {
        let rows = self.engine.graph().layers(h, w)?;
        let all: u64 = rows.iter().map(|row| row.flops).sum();
        let before: u64 = rows.iter().filter(|row| row.node <= cut).map(|row| row.flops).sum();
        Ok(before as f64 / all.max(1) as f64)
    }

    /// Whether the same parameters train in the epoch before or after this one.
    fn stays_frozen(&mut self) -> bool {
        let (epoch, epochs) = (self.position.epoch as u64, u64::from(self.recipe.train.epochs));
        let now = self.optimizer.trainable();
        let mut same = false;
        let neighbours = [epoch.checked_sub(1), Some(epoch + 1).filter(|&next| next < epochs)];
        for other in neighbours.into_iter().flatten() {
            self.optimizer.set_epoch(other);
            same |= self.optimizer.trainable() == now;
        }
        self.optimizer.set_epoch(epoch);
        same
    }
}
