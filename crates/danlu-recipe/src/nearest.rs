//! "Did you mean": the known name closest to what was typed.

/// The candidate that a person who typed `typed` most likely meant, if one is close enough.
///
/// A name that contains the typed one counts as close (`cosine` for `CosineAnnealingLR`); else Jaro-Winkler
/// similarity of at least 0.8 without regard to case, which forgives a swapped, missing or doubled letter.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let score = |name: &str| {
        let name = name.to_lowercase();
        let inside = typed.len() >= 3 && (name.contains(&typed) || typed.contains(&name) && name.len() >= 3);
        let similar = strsim::jaro_winkler(&typed, &name);
        if inside { similar.max(0.9) } else { similar }
    };
    let mut best: Option<(&str, f64)> = None;
    for name in candidates {
        let score = score(name);
        if score >= 0.8 && best.is_none_or(|(_, highest)| score > highest) {
            best = Some((name, score));
        }
    }
    best.map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_the_name_and_another_word_finds_nothing() {
        let names = ["lr", "momentum", "weight_decay", "nesterov", "CosineAnnealingLR"];
        assert_eq!(nearest("momentun", names), Some("momentum"));
        assert_eq!(nearest("weigth_decay", names), Some("weight_decay"));
        assert_eq!(nearest("cosine", names), Some("CosineAnnealingLR"));
        assert_eq!(nearest("LR", names), Some("lr"));
        assert_eq!(nearest("banana", names), None);
        assert_eq!(nearest("", names), None);
    }
}
