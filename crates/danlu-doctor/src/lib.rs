//! The doctor: what a training went through, read as a physician reads a chart.
//!
//! For: turning numbers ([`History`]: losses, accuracies, learning rates, norms) into [`Finding`]s: a diagnosis, its
//! evidence with the place, and changes of the recipe with a reason each. A pure function of plain numbers; it must never
//! know a file, an engine or a picture.
//!
//! The rules stand in one table, [`RULES`], in the order of causes before symptoms: a training whose rate is far too high
//! also underfits, and it is the rate that is named first.

mod evidence;
mod finding;
mod history;
mod rate;
mod rule;
mod rules;
mod watch;

pub use evidence::{ActivationEvidence, Evidence, LayerEvidence, NoiseSample, NoiseScale};
pub use finding::{Finding, Place, Proposal, Severity};
pub use history::{
    ClassRecall, Divergence, Epoch, History, Looks, Setting, SuspectSample, SuspectSamples, TestScore, Update,
};
pub use rate::{LearningRate, learning_rate};
pub use rule::{RULES, Rule, Seen, Threshold};
pub use watch::Watch;

/// Everything that is found in a history, causes before symptoms. A finding that an earlier one explains is left out.
pub fn diagnose(history: &History) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for rule in RULES {
        let explained = || {
            findings.iter().any(|finding| {
                RULES
                    .iter()
                    .any(|earlier| earlier.name == finding.rule && earlier.explains.contains(&rule.name))
            })
        };
        if explained() {
            continue;
        }
        if let Some(seen) = (rule.check)(history) {
            findings.push(rule.finding(seen));
        }
    }
    // Stable: within a severity the order of the table stays.
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// The first proposal for every key, in the order of the findings: a second opinion on the same key would undo the first.
pub fn proposals(findings: &[Finding]) -> Vec<&Proposal> {
    let mut chosen: Vec<&Proposal> = Vec::new();
    for proposal in findings.iter().flat_map(|finding| &finding.proposals) {
        let clashes = chosen.iter().any(|other| {
            other.key == proposal.key
                || other.key.starts_with(&format!("{}.", proposal.key))
                || proposal.key.starts_with(&format!("{}.", other.key))
        });
        if !clashes {
            chosen.push(proposal);
        }
    }
    chosen
}
