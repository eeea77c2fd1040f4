//! What to do about what was found.

use serde::Serialize;

use super::Audit;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// What was found, and why it matters.
    pub problem: String,
    /// What to do about it.
    pub action: String,
    /// A command that does it, where there is one.
    pub command: Option<String>,
}

/// `1 file`, `2 files`.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(super) fn suggestions(audit: &Audit) -> Vec<Suggestion> {
    let mut list = Vec::new();
    let mut add = |problem: String, action: &str, command: Option<String>| {
        list.push(Suggestion { problem, action: action.into(), command });
    };
    let data = audit.path.display();
    let fix = || {
        Some(format!(
            "danlu audit {data} --fix clean.csv && danlu train {data} --set data.split_file=clean.csv"
        ))
    };
    if audit.leaks > 0 {
        add(
            format!(
                "{} in the validation or test set too, and {} seen in training or validation: what is measured there is too good",
                counted(audit.leaks, "training image is", "training images are"),
                counted(audit.test_seen, "test image was", "test images were")
            ),
            "leave those copies out of the training set",
            fix(),
        );
    }
    if audit.label_conflicts > 0 {
        add(
            format!(
                "{} different labels: no network can be right on all of them",
                counted(
                    audit.label_conflicts,
                    "group of the same image carries",
                    "groups of the same image carry"
                )
            ),
            "look at them and correct the labels; the cleaned split leaves them out of training",
            fix(),
        );
    }
    let within = audit.exact.iter().filter(|group| !group.across_parts && !group.across_classes);
    let copies: usize = within.map(|group| group.images.len() - 1).sum();
    if copies > 0 {
        add(
            format!(
                "{} of another one of the same part and class",
                counted(copies, "image is a copy", "images are copies")
            ),
            "harmless when few; they weigh double",
            fix(),
        );
    }
    if !audit.broken.is_empty() {
        add(
            format!("{} cannot be read", counted(audit.broken.len(), "file", "files")),
            "copy them again or remove them; training leaves them out",
            None,
        );
    }
    if audit.imbalance > 3.0 {
        add(
            format!("the largest class has {:.1} times the training images of the smallest", audit.imbalance),
            "judge by macro-F1, and try drawing every class equally often",
            Some(format!("danlu train {data} --set data.sampling=class_balanced")),
        );
    }
    if let Some((class, count)) = audit.classes.iter().zip(&audit.counts).find(|(_, count)| count[0] < 10) {
        add(
            format!("class `{class}` has only {}", counted(count[0], "training image", "training images")),
            "add images, or start from weights that were trained on many",
            None,
        );
    }
    if !audit.wrongly_named.is_empty() {
        add(
            format!(
                "{} another format than the name says",
                counted(audit.wrongly_named.len(), "file holds", "files hold")
            ),
            "nothing to do: danlu goes by the content",
            None,
        );
    }
    if audit.odd.iter().any(|odd| odd.what.starts_with("one colour")) {
        add("some images are of one colour all over".into(), "look at them; they teach nothing", None);
    }
    list
}
