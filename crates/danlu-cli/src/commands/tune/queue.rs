//! Trials that someone wants tried first: given by hand, or the best of an older study.

use danlu::tune::StudyError;
use danlu::tuner::store::{self, Fixed};
use danlu::tuner::{Study, StudySpec};

/// The best of an older study that are tried again.
const WARM: usize = 5;

/// Values of one trial from `KEY=VALUE,KEY=VALUE`; a value is JSON, or a word.
fn parse(text: &str) -> Result<Fixed, StudyError> {
    text.split(',')
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                StudyError::Space(
                    format!("`--enqueue {text}`: `{pair}` is no pair"),
                    Some("for example `--enqueue optimizer.lr=0.1,network.width=32`".into()),
                )
            })?;
            let word = || serde_json::Value::from(value.trim());
            Ok((key.trim().to_owned(), serde_json::from_str(value.trim()).unwrap_or_else(|_| word())))
        })
        .collect()
}

/// Puts trials in the queue of the study; says how many came from the older one.
pub(super) fn fill(
    url: &str,
    spec: &StudySpec,
    by_hand: &[String],
    warm_start: Option<&str>,
) -> Result<Option<usize>, StudyError> {
    if by_hand.is_empty() && warm_start.is_none() {
        return Ok(None);
    }
    // All are read before the first is written.
    let by_hand = by_hand.iter().map(|text| parse(text)).collect::<Result<Vec<Fixed>, _>>()?;
    for fixed in &by_hand {
        spec.space.complete(fixed, |_, domain| domain.from_unit(0.5))?;
    }
    let older = match warm_start {
        None => None,
        Some(text) => {
            let (name, at) = text.split_once('@').unwrap_or((text, url));
            if name == spec.name && at == url {
                let problem = format!("`--warm-start {text}`: a study cannot learn from itself");
                return Err(StudyError::Space(problem, None));
            }
            Some(Study::load(store::open(at, false)?, name)?)
        }
    };
    let mut study = Study::open(store::open(url, false)?, spec.clone())?;
    for fixed in &by_hand {
        study.enqueue(fixed)?;
    }
    older.map(|older| Ok(study.warm_start(older.view(), WARM)?)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand_are_numbers_or_words() {
        let fixed = parse("optimizer.lr=0.1, optimizer.name=sgd,network.width=32").expect("reads");
        assert_eq!(fixed["optimizer.lr"], 0.1);
        assert_eq!(fixed["optimizer.name"], "sgd");
        assert_eq!(fixed["network.width"], 32);
        let error = parse("optimizer.lr").expect_err("is refused");
        assert_eq!(error.to_string(), "`--enqueue optimizer.lr`: `optimizer.lr` is no pair");
    }
}
