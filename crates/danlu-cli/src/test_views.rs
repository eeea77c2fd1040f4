//! `--test-views`, as several commands take it.

use danlu::data::TestViews;

/// The recipe's own names of the views.
pub(crate) fn parse(text: &str) -> Result<TestViews, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected none, mirror or mirror_shift".to_owned())
}
