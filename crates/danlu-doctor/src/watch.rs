//! Early warnings while a training runs.

use crate::finding::Finding;
use crate::history::History;
use crate::rule::RULES;

/// Rules that are sure before the end of a training, with the epochs that they need at least.
const EARLY: &[(&str, usize)] = &[
    ("vanishing_activations", 0),
    ("exploding_activations", 0),
    ("tiny_norm_batch", 1),
    ("far_too_high_lr", 1),
    ("dead_relus", 1),
    ("frozen_layers", 3),
    ("low_lr", 3),
    ("dies_at_first_decay", 4),
    ("label_noise", 3),
    ("augmentation_breaks_label", 3),
    ("imbalance", 3),
    ("overfitting", 4),
];

/// Says each early warning once. What was said is part of the state of a training, so that a resumed one says it at the
/// same place or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    said: Vec<String>,
}

impl Watch {
    /// With what was said before, by rule.
    pub fn after(said: Vec<String>) -> Self {
        Watch { said }
    }

    /// The rules that have spoken.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// The finding that is new, after an epoch. At most one a time: the first cause, so that a bad start is not drowned
    /// in its symptoms.
    pub fn look(&mut self, history: &History) -> Option<Finding> {
        for rule in RULES {
            let Some((_, epochs)) = EARLY.iter().find(|(name, _)| *name == rule.name) else { continue };
            if history.epochs.len() < *epochs || self.is_explained(rule.name) {
                continue;
            }
            if let Some(seen) = (rule.check)(history) {
                self.said.push(rule.name.to_owned());
                return Some(rule.finding(seen));
            }
        }
        None
    }

    fn is_explained(&self, name: &str) -> bool {
        self.said.iter().any(|said| {
            said == name || RULES.iter().any(|rule| rule.name == said && rule.explains.contains(&name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_early_warning_is_a_rule_and_is_said_once() {
        for (name, _) in EARLY {
            assert!(RULES.iter().any(|rule| rule.name == *name), "{name}");
        }
        let mut history = History::default();
        history.setting.norm_batch = Some(2);
        history.epochs = vec![crate::Epoch { val_loss: 1.0, ..Default::default() }];
        let mut watch = Watch::default();
        assert_eq!(watch.look(&history).map(|finding| finding.rule), Some("tiny_norm_batch".into()));
        assert_eq!(watch.look(&history), None);
    }
}
