//! The learning rate by its curve: the article's figure of too low, good, high and far too high.

use serde::{Deserialize, Serialize};

use crate::history::{History, median};

/// What the loss curve says of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRate {
    /// The loss falls, and slowly to the end.
    TooLow,
    /// The loss falls fast and then flattens out at a low level.
    Good,
    /// The loss falls fast at first and then stays at a high level until the rate falls.
    High,
    /// The loss rises, or never falls below that of guessing.
    FarTooHigh,
}

/// An update's loss above this many times that of guessing has thrown the weights far away.
pub(crate) const SPIKE: f64 = 1.5;
/// Median update of a weight, as a share of it, at which the weights are thrown about.
pub(crate) const FAR_RATIO: f64 = 0.3;
/// A single update that is longer than the weights themselves has thrown the initialisation away.
pub(crate) const THROWN: f64 = 1.0;
/// Share of what there was to learn that is left in the last epoch at a rate above half its peak: a rate at which nothing
/// is learned, whatever is saved later by letting it fall, is far too high.
pub(crate) const NOTHING_LEARNED: f64 = 0.85;
/// Times their norm at the first look that the weights grow to under steps that are too long: below a batch norm a weight
/// that is thrown about grows until the steps are small beside it, so that the ratio alone no longer tells.
pub(crate) const GROWN: f64 = 3.0;
/// Median update of a weight, as a share of it, that is high: twenty times the usual thousandth.
pub(crate) const HIGH_RATIO: f64 = 0.02;
/// Share of the loss above its later level that goes when the rate falls to a tenth.
pub(crate) const HIGH_DROP: f64 = 0.3;
/// Median update of a weight, as a share of it, that hardly moves it.
pub(crate) const LOW_RATIO: f64 = 4e-4;
/// Share of what there was to learn that is left by a rate that is too low.
pub(crate) const LOW_LEFT: f64 = 0.12;

/// Reads the rate off the curve; none where fewer than two epochs are complete or the labels were mixed.
pub fn learning_rate(history: &History) -> Option<LearningRate> {
    if is_far_too_high(history) {
        return Some(LearningRate::FarTooHigh);
    }
    if history.setting.mixed || history.epochs.len() < 2 {
        return None;
    }
    if is_too_low(history).is_some() {
        return Some(LearningRate::TooLow);
    }
    if is_high(history).is_some() {
        return Some(LearningRate::High);
    }
    let healthy = !history.is_blind() && history.left().is_some_and(|left| left < 0.5);
    healthy.then_some(LearningRate::Good)
}

/// Losses of the updates, each the median of five, so that a single odd batch decides nothing.
pub(crate) fn calm_losses(history: &History) -> Vec<f64> {
    let losses: Vec<f64> = history.updates.iter().map(|update| update.loss).collect();
    losses.windows(5).filter_map(|window| median(window.iter().copied())).collect()
}

/// Diverged, or thrown away from the start and nothing learned as long as the rate was high.
pub(crate) fn is_far_too_high(history: &History) -> bool {
    if history.divergence.is_some() {
        return true;
    }
    let blind = history.blind_loss();
    // A jump of one or two updates is enough when it dwarfs all others: then it shows in the mean of its epoch.
    let epochs = history.epochs.iter().map(|epoch| epoch.train_loss);
    let highest = calm_losses(history).into_iter().chain(epochs).fold(0.0, f64::max);
    let thrown = highest > SPIKE * blind
        || history.update_ratio().is_some_and(|ratio| ratio > FAR_RATIO)
        || history.evidence.first().and_then(crate::Evidence::update_ratio).is_some_and(|r| r > THROWN);
    let nothing = last_high(history)
        .filter(|_| !history.setting.mixed)
        .is_some_and(|epoch| history.unlearned(history.epochs[epoch].train_loss) > NOTHING_LEARNED);
    let never_back = nothing
        || history.is_blind()
        || history.left().is_some_and(|left| left > 0.9)
        || history.epochs.last().is_some_and(|last| last.val_loss > SPIKE * blind);
    thrown && never_back && !history.epochs.is_empty()
}

/// The last epoch (from 0) whose rate was at least half its peak.
fn last_high(history: &History) -> Option<usize> {
    let peak = history.peak_rate();
    history.rates().iter().rposition(|rate| *rate >= 0.5 * peak)
}

/// Median over the layers of a weight's norm at the last look over that at the first.
pub(crate) fn growth(history: &History) -> Option<f64> {
    let (first, last) = (history.evidence.first()?, history.evidence.last()?);
    median(
        first
            .layers
            .iter()
            .zip(&last.layers)
            .filter(|(before, after)| {
                before.name == after.name && after.update_ratio.is_some() && before.weight_norm > 0.0
            })
            .map(|(before, after)| after.weight_norm / before.weight_norm),
    )
}

/// The median update ratio and what is left, where both say that the weights hardly moved.
pub(crate) fn is_too_low(history: &History) -> Option<(Option<f64>, f64)> {
    let left = history.left()?;
    if left < LOW_LEFT || history.setting.frozen > 0.0 {
        return None;
    }
    let losses: Vec<f64> = history.epochs.iter().map(|epoch| epoch.train_loss).collect();
    // A crawl is lost in the noise of the batches; what rises is something else.
    let (first, last) = (*losses.first()?, *losses.last()?);
    match history.update_ratio() {
        Some(ratio) => (ratio < LOW_RATIO && last < 1.02 * first).then_some((Some(ratio), left)),
        None => {
            // Without a look inside: a loss that falls along a line has not yet begun to bend.
            let half = losses.len() / 2;
            let (first, second) = (losses[0] - losses[half], losses[half] - losses[losses.len() - 1]);
            (losses.len() >= 4 && left > 0.5 && second > 0.6 * first && first > 0.0).then_some((None, left))
        }
    }
}

/// The epoch (from 1) at whose end the rate fell, and the share of the loss that went with it.
pub(crate) fn is_high(history: &History) -> Option<(usize, f64, Option<f64>)> {
    let ratio = history.update_ratio();
    let grown = growth(history).is_some_and(|growth| growth > GROWN);
    if history.is_blind() {
        return None;
    }
    let rates = history.rates();
    let peak = history.peak_rate();
    // The last epoch at a high rate against the end, where the rate fell by then.
    let last_high = last_high(history)?;
    let (high, end) = (&history.epochs[last_high], history.epochs.last()?);
    let fell = rates.last().is_some_and(|rate| *rate <= 0.1 * peak);
    let excess = |loss: f64| history.unlearned(loss).max(0.0);
    let dropped = 1.0 - excess(end.train_loss) / excess(high.train_loss).max(1e-9);
    let spikes = calm_losses(history).into_iter().fold(0.0, f64::max) > 1.2 * history.blind_loss();
    // Weights that move too far for batch norm's running estimates to follow validate worse than guessing, and better
    // once the rate has fallen. The first epoch's estimates are young at any rate.
    let worst = history.epochs[1..=last_high.max(1).min(history.epochs.len() - 1)]
        .iter()
        .map(|epoch| epoch.val_loss)
        .fold(0.0, f64::max);
    let jumps = worst > SPIKE * history.blind_loss() && end.val_loss < history.blind_loss();
    // Long steps are seen in the weights, or in both losses above that of guessing.
    if ratio.is_some_and(|ratio| ratio < HIGH_RATIO) && !grown && !(spikes && jumps) {
        return None;
    }
    let shown = if fell { dropped > HIGH_DROP || spikes || jumps } else { excess(end.train_loss) > 0.2 };
    shown.then_some((last_high + 1, dropped, ratio))
}
