//! The table of rules, and what a row of it is.

use crate::finding::{Finding, Place, Proposal, Severity};
use crate::history::History;
use crate::rules::{batch, data, divergence, fit, length, rate, schedule, start};

/// A number that decides, with its meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What is compared.
    pub what: &'static str,
    /// The value.
    pub value: f64,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable name, in the field's words.
    pub name: &'static str,
    /// The diagnosis in a sentence.
    pub title: &'static str,
    /// How bad it is where it holds.
    pub severity: Severity,
    /// Paper, page or measurement that it rests on.
    pub source: &'static str,
    /// The numbers that decide. They were set on one half of the cases in `tests/` and tried on the other half.
    pub thresholds: &'static [Threshold],
    /// Rules whose findings are only symptoms where this one holds.
    pub explains: &'static [&'static str],
    /// Looks at a history.
    pub check: fn(&History) -> Option<Seen>,
}

/// What a rule saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The numbers that show it.
    pub evidence: String,
    /// Where it shows.
    pub place: Option<Place>,
    /// What to do beside the proposals.
    pub advice: String,
    /// Changes of the recipe.
    pub proposals: Vec<Proposal>,
}

impl Seen {
    pub(crate) fn new(evidence: impl Into<String>) -> Self {
        Seen { evidence: evidence.into(), ..Seen::default() }
    }

    pub(crate) fn at(mut self, epoch: f64, label: impl Into<String>) -> Self {
        self.place = Some(Place { epoch, label: label.into() });
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    pub(crate) fn propose(
        mut self,
        key: &str,
        value: impl Into<serde_json::Value>,
        reason: impl Into<String>,
    ) -> Self {
        self.proposals.push(Proposal { key: key.to_owned(), value: value.into(), reason: reason.into() });
        self
    }
}

impl Rule {
    pub(crate) fn finding(&self, seen: Seen) -> Finding {
        Finding {
            rule: self.name.to_owned(),
            severity: self.severity,
            title: self.title.to_owned(),
            evidence: seen.evidence,
            place: seen.place,
            advice: seen.advice,
            proposals: seen.proposals,
            source: self.source.to_owned(),
        }
    }
}

/// All rules, causes before symptoms.
pub const RULES: &[Rule] = &[
    start::EXPLODING,
    divergence::DIVERGED,
    start::VANISHING,
    rate::FAR_TOO_HIGH,
    data::FROZEN_LAYERS,
    start::DEAD_RELUS,
    batch::TINY_NORM_BATCH,
    schedule::DIES_AT_FIRST_DECAY,
    rate::TOO_LOW,
    fit::WEIGHT_DECAY,
    data::AUGMENTATION_BREAKS_LABEL,
    data::LABEL_NOISE,
    data::IMBALANCE,
    batch::TOO_LARGE,
    batch::NOISY_GRADIENTS,
    rate::HIGH,
    fit::OVERFITTING,
    data::VALIDATION_EASIER,
    schedule::PLATEAU,
    fit::UNDERFITTING,
    data::VALIDATION_BEATS_TEST,
    data::DATA_BOUND,
    length::TOO_LONG,
    length::TOO_SHORT,
    schedule::NO_DECAY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_a_source_and_known_symptoms() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(RULES[..index].iter().all(|other| other.name != rule.name), "{}", rule.name);
            assert!(!rule.source.is_empty() && !rule.thresholds.is_empty(), "{}", rule.name);
            for symptom in rule.explains {
                let place = RULES.iter().position(|other| other.name == *symptom);
                assert!(place.is_some_and(|place| place > index), "{} explains {symptom}", rule.name);
            }
        }
    }

    #[test]
    fn a_history_of_nothing_has_no_finding() {
        assert_eq!(crate::diagnose(&History::default()), []);
    }
}
