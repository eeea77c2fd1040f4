//! The audit of a data set: what is in it, and what is wrong with it. Every image is decoded; nothing is changed.

mod crops;
mod duplicates;
mod look;
mod suggest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::decode::header;
use crate::{DataConfig, DataError, Dataset, Format, Part, parallel, stall, store};
use look::Look;
pub use suggest::Suggestion;

/// How an audit looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditOptions {
    /// Look for near-duplicates too. Default true.
    pub near: bool,
}

impl Default for AuditOptions {
    fn default() -> Self {
        AuditOptions { near: true }
    }
}

/// What was found in a data set.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// The data set.
    pub path: PathBuf,
    /// Its format, and what was found and decided when it was opened, a line each.
    pub found: Vec<String>,
    /// Readable images.
    pub images: usize,
    /// Class names; the lists below go in their order.
    pub classes: Vec<String>,
    /// Images of each class: `[training, validation, test]`.
    pub counts: Vec<[usize; 3]>,
    /// Images of the largest training class over those of the smallest.
    pub imbalance: f64,
    /// Smallest, median and largest `[height, width]` in pixels.
    pub sizes: [[usize; 2]; 3],
    /// Images of each kind, as `JPEG colour`, `PNG grey, alpha`.
    pub kinds: Vec<Kind>,
    /// Images with an EXIF orientation (it is applied when they are read).
    pub oriented: usize,
    /// Files that cannot be read, and why.
    pub broken: Vec<Oddity>,
    /// Files whose name says another format than their content.
    pub wrongly_named: Vec<Oddity>,
    /// Images of the same pixels.
    pub exact: Vec<Duplicates>,
    /// Images of nearly the same pixels.
    pub near: Vec<Duplicates>,
    /// Images further apart than this are no near-duplicates: the smallest and the largest limit of a class, in levels of 255.
    pub near_limit: [f32; 2],
    /// Training images that are in the validation or test set too (same pixels, or nearly).
    pub leaks: usize,
    /// Test images that are in the training or validation set too (same pixels, or nearly).
    pub test_seen: usize,
    /// Groups of duplicates that carry more than one label.
    pub label_conflicts: usize,
    /// Images unlike the others in brightness, contrast, size or shape.
    pub odd: Vec<Oddity>,
    /// What to do, the most urgent first.
    pub suggestions: Vec<Suggestion>,
    /// For the cleaned split: the part of each image that is kept, by name.
    #[serde(skip)]
    pub clean: Vec<(String, String, Part)>,
}

/// How many images are stored in a certain way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// Format and colours.
    pub kind: String,
    /// How many.
    pub images: usize,
}

/// An image and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// Its name in the data set.
    pub image: String,
    /// What is odd.
    pub what: String,
    /// Its number in the data set, where it can be decoded; see [`Dataset::decode`].
    #[serde(skip)]
    pub sample: Option<u32>,
}

/// How two images are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// The same pixels.
    Same,
    /// Nearly the same: another quality, size or brightness.
    #[default]
    Near,
    /// Mirrored or turned. Their labels may differ rightly (arrows, letters): no label conflict.
    Turned,
    /// One is a window of the other. It may show another thing: no label conflict.
    Cropped,
}

impl Likeness {
    /// True where different labels cannot both be right.
    fn conflicts(self) -> bool {
        self <= Likeness::Near
    }
}

/// Images that are the same, or nearly.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Duplicates {
    /// The images.
    pub images: Vec<Member>,
    /// They lie in more than one part: what is measured on it is too good.
    pub across_parts: bool,
    /// They carry more than one label: at least one of them is wrong, or the classes overlap.
    pub across_classes: bool,
    /// Their labels cannot all be right: images of different labels are the same, or nearly, and not turned or cropped.
    pub conflict: bool,
    /// What the least alike of them have in common.
    pub likeness: Likeness,
    /// Mean absolute difference in levels of 255; 0 for the same pixels.
    pub distance: f32,
}

/// One of a group of duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its number in the data set; see [`Dataset::decode`].
    pub sample: u32,
    /// Its name.
    pub image: String,
    /// `training`, `validation` or `test`.
    pub part: &'static str,
    /// Its class.
    pub class: String,
    /// Its label and that of another one cannot both be right.
    #[serde(skip)]
    pub(crate) doubtful: bool,
}

/// Opens a data set and looks at every image of it (`data.limit` and `data.max_broken` do not count here).
///
/// # Errors
/// As [`Dataset::open`]: what is no data set cannot be audited.
pub fn audit(path: &Path, config: &DataConfig, options: AuditOptions) -> Result<(Audit, Dataset), DataError> {
    let config = DataConfig { limit: None, max_broken: 1.0, ..config.clone() };
    let demo = path == Path::new("demo") && !path.exists();
    let data = if demo { Dataset::demo(&config)? } else { Dataset::open(path, &config)? };
    stall::watched(path, Duration::from_secs(config.read_timeout), move || {
        let seen = parallel::each(data.len(), 32, |i| see(&data, i as u32, &config));
        Ok((Findings::new(&data, seen).report(options), data))
    })
}

/// What the file of an image says.
struct Seen {
    look: Look,
    kind: String,
    oriented: bool,
    wrongly_named: Option<String>,
}

fn see(data: &Dataset, sample: u32, config: &DataConfig) -> Result<Seen, String> {
    let image = data.decode(sample).map_err(|error| match error {
        DataError::Image { reason, .. } => reason,
        other => other.to_string(),
    })?;
    let mut seen = Seen {
        look: look::look(&image, data.len() <= crops::MOST_IMAGES),
        kind: String::new(),
        oriented: false,
        wrongly_named: None,
    };
    let Some(bytes) = data.bytes(sample).map_err(|error| error.to_string())? else {
        let format = match data.format {
            Format::Demo => "demo",
            Format::Idx => "IDX",
            _ => "CIFAR",
        };
        seen.kind = format!("{format} {}", if image.channels == 1 { "grey" } else { "colour" });
        return Ok(seen);
    };
    let info = header(&bytes, config.max_pixels)?;
    let format = format!("{:?}", info.format).to_uppercase();
    let alpha = if info.alpha { ", alpha" } else { "" };
    seen.kind = format!("{format} {}{alpha}", if info.gray { "grey" } else { "colour" });
    seen.oriented = info.oriented;
    let name = data.name(sample);
    let named = Path::new(&name).extension().and_then(|extension| extension.to_str());
    let named = named.unwrap_or_default().to_lowercase();
    if !info.format.extensions_str().contains(&named.as_str())
        && !["jpe", "jfif", "dib"].contains(&&named[..])
    {
        seen.wrongly_named = Some(format!("named `.{named}`, holds {format}"));
    }
    Ok(seen)
}

/// A group of near-duplicates longer than this is a chain: its ends need not be near each other.
const LONG: usize = 16;

struct Findings<'a> {
    data: &'a Dataset,
    /// The readable samples, and what was seen of each.
    samples: Vec<u32>,
    seen: Vec<Seen>,
    broken: Vec<Oddity>,
    part: Vec<Option<Part>>,
}

impl<'a> Findings<'a> {
    fn new(data: &'a Dataset, results: Vec<Option<Result<Seen, String>>>) -> Self {
        let mut broken: Vec<Oddity> = data
            .broken
            .iter()
            .map(|broken| Oddity {
                image: store::text(broken.path.as_os_str()),
                what: broken.reason.clone(),
                sample: None,
            })
            .collect();
        let mut part = vec![None; data.len()];
        for which in [Part::Train, Part::Val, Part::Test] {
            data.part(which).samples.iter().for_each(|&sample| part[sample as usize] = Some(which));
        }
        let (mut samples, mut seen) = (Vec::new(), Vec::new());
        for (i, result) in results.into_iter().enumerate() {
            // What a split file leaves out is left out here too.
            if part[i].is_none() {
                continue;
            }
            match result.unwrap_or_else(|| Err("the decoder failed on it".into())) {
                Ok(one) => {
                    samples.push(i as u32);
                    seen.push(one);
                }
                Err(what) => broken.push(Oddity { image: data.name(i as u32), what, sample: None }),
            }
        }
        Findings { data, samples, seen, broken, part }
    }

    fn report(self, options: AuditOptions) -> Audit {
        let data = self.data;
        let looks: Vec<Look> = self.seen.iter().map(|seen| seen.look.clone()).collect();
        let label = |i: u32| data.label(self.samples[i as usize]);
        let found = duplicates::find(&looks, data.classes.len(), label, options.near);
        let exact: Vec<Duplicates> =
            found.exact.iter().map(|group| self.group(group, group, 0.0, Likeness::Same)).collect();
        let near: Vec<Duplicates> = (found.near.iter())
            .map(|group| self.group(&group.members, &group.doubtful, group.distance, group.likeness))
            .collect();
        let mut counts = vec![[0; 3]; data.classes.len()];
        for &sample in &self.samples {
            if let Some(part) = self.part[sample as usize] {
                counts[data.label(sample) as usize][part as usize] += 1;
            }
        }
        let trained = counts.iter().map(|count| count[0]);
        let (smallest, largest) = (trained.clone().min().unwrap_or(0), trained.max().unwrap_or(0));
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        self.seen.iter().for_each(|seen| *kinds.entry(&seen.kind).or_default() += 1);
        let limits = &found.limits;
        let mut audit = Audit {
            path: data.path.clone(),
            found: data.found.clone(),
            images: self.samples.len(),
            classes: data.classes.clone(),
            counts,
            imbalance: largest as f64 / smallest.max(1) as f64,
            sizes: [data.sizes.min, data.sizes.median, data.sizes.max],
            kinds: kinds.into_iter().map(|(kind, images)| Kind { kind: kind.into(), images }).collect(),
            oriented: self.seen.iter().filter(|seen| seen.oriented).count(),
            wrongly_named: (self.samples.iter().zip(&self.seen))
                .filter_map(|(&sample, seen)| {
                    seen.wrongly_named.clone().map(|what| Oddity {
                        image: data.name(sample),
                        what,
                        sample: Some(sample),
                    })
                })
                .collect(),
            leaks: shared(exact.iter().chain(&near), Part::Train),
            test_seen: shared(exact.iter().chain(&near), Part::Test),
            label_conflicts: exact.iter().chain(&near).filter(|group| group.conflict).count(),
            odd: self.odd(),
            near_limit: [
                limits.iter().copied().fold(f32::INFINITY, f32::min),
                limits.iter().copied().fold(0.0, f32::max),
            ],
            exact,
            near,
            suggestions: Vec::new(),
            clean: Vec::new(),
            broken: self.broken.clone(),
        };
        audit.clean = self.clean(&audit);
        audit.suggestions = suggest::suggestions(&audit);
        audit
    }

    /// `doubtful` are those of the members whose labels cannot all be right, if they differ.
    fn group(&self, members: &[u32], doubtful: &[u32], distance: f32, likeness: Likeness) -> Duplicates {
        let label = |i: u32| self.data.label(self.samples[i as usize]);
        let conflict = doubtful.iter().any(|&i| label(i) != label(doubtful[0]));
        let images: Vec<Member> = members
            .iter()
            .map(|&i| {
                let sample = self.samples[i as usize];
                Member {
                    sample,
                    image: self.data.name(sample),
                    part: self.part[sample as usize].map_or("none", Part::name),
                    class: self.data.classes[self.data.label(sample) as usize].clone(),
                    doubtful: conflict && doubtful.binary_search(&i).is_ok(),
                }
            })
            .collect();
        Duplicates {
            conflict,
            across_parts: images.iter().any(|member| member.part != images[0].part),
            across_classes: images.iter().any(|member| member.class != images[0].class),
            images,
            likeness,
            distance,
        }
    }

    /// Images that nobody meant: of one colour, far brighter or darker than the rest, tiny, or long as a ribbon.
    fn odd(&self) -> Vec<Oddity> {
        let median = |mut values: Vec<f32>| {
            values.sort_unstable_by(f32::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        let bright = median(self.seen.iter().map(|seen| seen.look.brightness).collect());
        let spread = median(self.seen.iter().map(|seen| (seen.look.brightness - bright).abs()).collect());
        // 1.4826 median deviations are a standard deviation of a normal distribution; 6 of them are no accident.
        let far = (6.0 * 1.4826 * spread).max(25.0);
        let area = median(self.seen.iter().map(|seen| (seen.look.height * seen.look.width) as f32).collect());
        let mut odd = Vec::new();
        for (&sample, seen) in self.samples.iter().zip(&self.seen) {
            let look = &seen.look;
            let (long, short) = (look.height.max(look.width), look.height.min(look.width));
            let what = if look.contrast < 1.0 {
                format!("one colour all over (grey level {:.0})", look.brightness)
            } else if (look.brightness - bright).abs() > far {
                format!(
                    "mean brightness {:.0}; half of all images are within {spread:.0} of {bright:.0}",
                    look.brightness
                )
            } else if (look.height * look.width) as f32 * 16.0 < area {
                format!("{} x {} pixels, less than a 16th of the usual area", look.width, look.height)
            } else if long > 4 * short {
                format!("{} x {} pixels: more than four times as long as wide", look.width, look.height)
            } else {
                continue;
            };
            odd.push(Oddity { image: self.data.name(sample), what, sample: Some(sample) });
        }
        odd
    }

    /// Every image once, conflicting labels left out, and no copy (or nearly one) in two parts: the test set stays as it is, so that
    /// results on it stay comparable, and the validation set keeps what the training set loses.
    fn clean(&self, audit: &Audit) -> Vec<(String, String, Part)> {
        let mut drop = vec![false; self.data.len()];
        let rank = |member: &Member| match self.part[member.sample as usize] {
            Some(Part::Test) => 0,
            Some(Part::Val) => 1,
            _ => 2,
        };
        let exact = audit.exact.iter().map(|group| (group, true));
        for (group, same) in exact.chain(audit.near.iter().map(|group| (group, false))) {
            let first = group.images.iter().map(rank).min().unwrap_or(0);
            let mut kept = false;
            for member in &group.images {
                let stays = match rank(member) {
                    0 => true, // the test set is left as it is
                    // Nobody knows which label is right. A long chain of near images says that the classes overlap, and
                    // leaving all of it out would leave nothing.
                    _ if member.doubtful && (same || group.images.len() <= LONG) => false,
                    rank if rank > first => false,
                    _ => !(same && kept),
                };
                kept |= stays;
                drop[member.sample as usize] |= !stays;
            }
        }
        self.samples
            .iter()
            .filter(|&&sample| !drop[sample as usize])
            .filter_map(|&sample| {
                let class = self.data.classes[self.data.label(sample) as usize].clone();
                self.part[sample as usize].map(|part| (self.data.name(sample), class, part))
            })
            .collect()
    }
}

/// Images of a part with a copy in another part.
fn shared<'a>(groups: impl Iterator<Item = &'a Duplicates>, part: Part) -> usize {
    let mut leaked: Vec<u32> = groups
        .filter(|group| group.across_parts)
        .flat_map(|group| &group.images)
        .filter(|member| member.part == part.name())
        .map(|member| member.sample)
        .collect();
    leaked.sort_unstable();
    leaked.dedup();
    leaked.len()
}
