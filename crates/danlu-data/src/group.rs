//! Which images belong together: the same patient, product or video, by a pattern of their names.

/// A pattern of names: `{}` is the group (no `/`), `*` is anything (no `/`), `**` is anything, everything else is itself.
pub(crate) struct Pattern {
    tokens: Vec<Token>,
}

enum Token {
    Text(String),
    Group,
    Star,
    Deep,
}

impl Pattern {
    /// `None` where the text has no `{}`, or more than one.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("{}") {
                tokens.push(Token::Group);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("**") {
                tokens.push(Token::Deep);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('*') {
                tokens.push(Token::Star);
                rest = after;
            } else {
                let end = rest.find("{}").into_iter().chain(rest.find('*')).min().unwrap_or(rest.len());
                tokens.push(Token::Text(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
        let groups = tokens.iter().filter(|token| matches!(token, Token::Group)).count();
        (groups == 1).then_some(Pattern { tokens })
    }

    /// The group of a name; `None` where it does not match. Each wildcard takes as little as it can.
    pub(crate) fn group<'a>(&self, name: &'a str) -> Option<&'a str> {
        // Steps are counted: a pattern of many stars against a long name must not take for ever.
        matches(&self.tokens, name, &mut 100_000)?
    }
}

/// `None`: no match; `Some(None)`: a match whose group lies before these tokens.
fn matches<'a>(tokens: &[Token], name: &'a str, steps: &mut u32) -> Option<Option<&'a str>> {
    *steps = steps.checked_sub(1)?;
    let Some((first, rest)) = tokens.split_first() else { return name.is_empty().then_some(None) };
    let (least, slash) = match first {
        Token::Text(text) => return matches(rest, name.strip_prefix(text.as_str())?, steps),
        Token::Group => (1, false),
        Token::Star => (0, false),
        Token::Deep => (0, true),
    };
    let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
    for end in ends {
        if !slash && name[..end].ends_with('/') {
            return None;
        }
        if end < least {
            continue;
        }
        if let Some(inner) = matches(rest, &name[end..], steps) {
            return Some(if matches!(first, Token::Group) { Some(&name[..end]) } else { inner });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_what_stands_at_the_braces() {
        let group = |pattern: &str, name: &str| Pattern::new(pattern).unwrap().group(name).map(str::to_owned);
        assert_eq!(group("*/{}_*", "cat/p17_03.jpg").as_deref(), Some("p17"));
        assert_eq!(group("**/{}/*", "a/b/video3/0001.png").as_deref(), Some("video3"));
        assert_eq!(group("*/{}-*.jpg", "cat/17.jpg"), None);
        assert_eq!(group("*/{}_*", "cat/sub/p17_03.jpg"), None, "a star stays in its folder");
        assert_eq!(group("*/{}.jpg", "ü/é.jpg").as_deref(), Some("é"));
        assert!(Pattern::new("*/x").is_none() && Pattern::new("{}{}").is_none());
        let long = "a".repeat(5000);
        assert_eq!(group("*a*a*a*a*a*a*a*a{}b", &long), None, "and at once");
    }
}
