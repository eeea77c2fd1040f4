//! What class names say about flips and turns: digits and letters must not be mirrored, and classes that bear a direction
//! not turned.

use super::{AugmentConfig, TestViews};

/// An augmentation that may change the class of an image, as far as the class names tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrientationWarning {
    /// Name of the warning, for documents and filters: `flip-changes-class` or `rotation-changes-class`.
    pub name: &'static str,
    /// The key of the recipe.
    pub key: &'static str,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for OrientationWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: `{}` is on and {}; leave it out unless you know better (`--set {}=none`)",
            self.name, self.key, self.reason, self.key
        )
    }
}

/// Whether a mirrored image keeps its class; the error is why it may not.
///
/// # Errors
/// The reason, as the end of a sentence.
pub fn flip_keeps_class(classes: &[String]) -> Result<(), String> {
    if signs(classes) {
        return Err(
            "the class names look like digits or letters: a mirrored one is another sign or none".to_owned()
        );
    }
    match worded(classes, &["left", "right", "clockwise", "counterclockwise", "anticlockwise"]) {
        Some(name) => Err(format!("class `{name}` tells left from right")),
        None => Ok(()),
    }
}

/// Whether an image that was turned by a quarter or more, or mirrored top to bottom, keeps its class.
///
/// # Errors
/// The reason, as the end of a sentence.
pub fn turn_keeps_class(classes: &[String]) -> Result<(), String> {
    if signs(classes) {
        return Err(
            "the class names look like digits or letters: a turned one is another sign or none (6 and 9, n and u)"
                .to_owned(),
        );
    }
    let directions = [
        "left",
        "right",
        "up",
        "down",
        "upward",
        "downward",
        "upwards",
        "downwards",
        "north",
        "south",
        "east",
        "west",
        "horizontal",
        "vertical",
        "portrait",
        "landscape",
        "upright",
        "inverted",
    ];
    match worded(classes, &directions) {
        Some(name) => Err(format!("class `{name}` bears a direction")),
        None => Ok(()),
    }
}

/// The largest small angle that a digit or an arrow still stands.
const SMALL_ANGLE: f64 = 30.0;

impl AugmentConfig {
    /// The augmentations that are on and that the class names speak against.
    pub fn orientation_warnings(&self, classes: &[String]) -> Vec<OrientationWarning> {
        let mut warnings = Vec::new();
        if let Err(reason) = flip_keeps_class(classes)
            && self.horizontal_flip.as_ref().is_some_and(|op| op.alternating || op.p > 0.0)
        {
            let (name, key) = ("flip-changes-class", "augment.horizontal_flip");
            warnings.push(OrientationWarning { name, key, reason });
        }
        if let Err(reason) = turn_keeps_class(classes) {
            let on = [
                (
                    "flip-changes-class",
                    "augment.vertical_flip",
                    self.vertical_flip.as_ref().is_some_and(|op| op.p > 0.0),
                ),
                (
                    "rotation-changes-class",
                    "augment.rotate90",
                    self.rotate90.as_ref().is_some_and(|op| op.p > 0.0),
                ),
                (
                    "rotation-changes-class",
                    "augment.random_rotation",
                    self.random_rotation.as_ref().is_some_and(|op| op.p > 0.0 && op.degrees > SMALL_ANGLE),
                ),
                (
                    "rotation-changes-class",
                    "augment.random_affine",
                    self.random_affine.as_ref().is_some_and(|op| op.p > 0.0 && op.degrees > SMALL_ANGLE),
                ),
                ("rotation-changes-class", "augment.trivial_augment", self.trivial_augment.is_some()),
            ];
            for (name, key, _) in on.into_iter().filter(|(_, _, on)| *on) {
                warnings.push(OrientationWarning { name, key, reason: reason.clone() });
            }
        }
        warnings
    }
}

impl TestViews {
    /// A warning where the views mirror and the class names speak against it.
    pub fn orientation_warning(self, classes: &[String]) -> Option<OrientationWarning> {
        let reason = flip_keeps_class(classes).err().filter(|_| self != TestViews::None)?;
        Some(OrientationWarning { name: "flip-changes-class", key: "data.test_views", reason })
    }
}

/// Whether more than half of the classes are single signs or numbers: an odd class among objects (`other`, a model called
/// `7`) does not make an alphabet.
fn signs(classes: &[String]) -> bool {
    const NUMBERS: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let is_sign = |name: &String| {
        let name = name.trim().to_lowercase();
        let bare = name.trim_end_matches(|c: char| !c.is_alphanumeric());
        bare.chars().count() == 1
            || NUMBERS.contains(&bare)
            || (!bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit()))
    };
    2 * classes.iter().filter(|name| is_sign(name)).count() > classes.len()
}

/// The first class whose name has one of these words.
fn worded<'a>(classes: &'a [String], words: &[&str]) -> Option<&'a String> {
    classes.iter().find(|name| {
        name.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{HorizontalFlip, RandomRotation, Rotate90, VerticalFlip};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn objects_may_be_mirrored_and_signs_may_not() {
        let flip = |classes: &[&str]| flip_keeps_class(&names(classes));
        assert!(flip(&["T-shirt/top", "Trouser", "Bag"]).is_ok());
        assert!(flip(&["cat", "dog", "7"]).is_ok());
        assert!(flip(&["0", "1", "2"]).is_err());
        assert!(flip(&["a", "B", "c"]).is_err());
        assert!(flip(&["Zero", "one"]).is_err());
        assert!(flip(&["turn_left", "stop"]).is_err());
        assert!(flip(&["bright", "cleft"]).is_ok());
        assert!(flip(&["up", "down"]).is_ok() && turn_keeps_class(&names(&["up", "down"])).is_err());
    }

    #[test]
    fn a_warning_names_each_augmentation_that_changes_the_class_and_no_other() {
        let augment = AugmentConfig {
            horizontal_flip: Some(HorizontalFlip::default()),
            vertical_flip: Some(VerticalFlip { p: 0.0 }),
            rotate90: Some(Rotate90::default()),
            random_rotation: Some(RandomRotation::default()),
            ..AugmentConfig::default()
        };
        let keys = |classes: &[&str]| -> Vec<&str> {
            augment.orientation_warnings(&names(classes)).into_iter().map(|warning| warning.key).collect()
        };
        assert_eq!(keys(&["0", "6", "9"]), ["augment.horizontal_flip", "augment.rotate90"]);
        assert_eq!(keys(&["arrow up", "arrow down"]), ["augment.rotate90"]);
        assert!(keys(&["cat", "dog"]).is_empty());
        let views =
            |views: TestViews| views.orientation_warning(&names(&["0", "1"])).map(|warning| warning.key);
        assert_eq!(views(TestViews::Mirror), Some("data.test_views"));
        assert_eq!(views(TestViews::None), None);
    }
}
