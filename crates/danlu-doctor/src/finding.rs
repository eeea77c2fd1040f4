//! What the doctor says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The result is spoiled: the training learned nothing, too little, or the wrong thing.
    Fault,
    /// It works and leaves something on the table.
    Advice,
}

/// Where in the training it shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Epochs from the start, 1 being the end of the first one; may lie within an epoch.
    pub epoch: f64,
    /// What is there, in a word or two.
    pub label: String,
}

/// A change of one key of the recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The key with its full path, `optimizer.lr`.
    pub key: String,
    /// The new value.
    pub value: Value,
    /// Why, in a line.
    pub reason: String,
}

/// One diagnosis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the rule, stable.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// The diagnosis in a sentence.
    pub title: String,
    /// The numbers that show it.
    pub evidence: String,
    /// Where it shows, where that is one place.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<Place>,
    /// What to do where no key of the recipe says it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub advice: String,
    /// Changes of the recipe, the most important first.
    pub proposals: Vec<Proposal>,
    /// What the rule rests on.
    pub source: String,
}

/// `0.0813`, `1.2e-5`, `12`: three significant digits at most.
pub(crate) fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    if !(1e-3..1e5).contains(&value.abs()) {
        return format!("{value:.1e}");
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `81.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Two significant digits: a rate with more would claim a precision that a rule of thumb has not.
pub(crate) fn two_digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    format!("{value:.1e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.0812), "0.0812");
        assert_eq!(short(0.1), "0.1");
        assert_eq!(short(12.0), "12");
        assert_eq!(short(1.23e-5), "1.2e-5");
        assert_eq!(two_digits(0.0353553), 0.035);
    }
}
