//! The three parts of a data set: given, or held out of the training images.

use std::path::Path;

use crate::dataset::{Origin, Part, Subset};
use crate::listing::Listing;
use crate::split::{self, Use};
use crate::{DataConfig, DataError, SplitBy};

/// The three parts and what was decided about them, in words.
pub(crate) struct Parts {
    pub(crate) train: Subset,
    pub(crate) val: Subset,
    pub(crate) test: Subset,
    pub(crate) found: Vec<String>,
}

impl Parts {
    /// The given parts; what is not given is held out of the training images.
    pub(crate) fn of(path: &Path, listing: &Listing, config: &DataConfig) -> Result<Self, DataError> {
        let Listing { classes, labels, parts, digests, store, left_out, groups, orders, .. } = listing;
        let mut found = listing.found.clone();
        let samples = |part: Option<Part>| -> Vec<u32> {
            let out = |i: u32| left_out.get(i as usize) == Some(&true);
            (0..labels.len() as u32).filter(|&i| parts[i as usize] == part && !out(i)).collect()
        };
        let mut train = samples(None);
        train.extend(samples(Some(Part::Train)));
        train.sort_unstable();
        let (mut val, mut test) = (samples(Some(Part::Val)), samples(Some(Part::Test)));
        let label = |sample: u32| labels[sample as usize];
        let origin = |given: &[u32]| if given.is_empty() { Origin::Absent } else { Origin::Given };
        let (mut val_origin, mut test_origin) = (origin(&val), origin(&test));
        let train_origin = origin(&train);
        let folds = config.folds.map(|folds| (folds, config.fold));
        for (part, held, origin, fraction, purpose) in [
            ("test", &mut test, &mut test_origin, config.test_fraction, Use::Test),
            ("validation", &mut val, &mut val_origin, config.val_fraction, Use::Validation),
        ] {
            let folds = folds.filter(|_| part == "validation");
            let wanted = fraction > 0.0 || folds.is_some();
            if *origin == Origin::Given || !wanted || train.is_empty() || config.split_file.is_some() {
                continue;
            }
            let mut count = vec![0usize; classes.len()];
            train.iter().for_each(|&sample| count[label(sample) as usize] += 1);
            if let Some(class) = count.iter().position(|&count| count == 1) {
                // Counted before anything was held out: that is what the person sees in the folder.
                let count = (0..labels.len())
                    .filter(|&i| labels[i] as usize == class && matches!(parts[i], None | Some(Part::Train)))
                    .count();
                let both = config.test_fraction > 0.0 && !parts.contains(&Some(Part::Test));
                let needed = if both { 3 } else { 2 };
                let class = classes[class].clone();
                return Err(DataError::ClassTooSmall { path: path.to_owned(), class, count, needed });
            }
            let before = train.len();
            let seed = config.split_seed;
            let units = || {
                let group = |sample: u32| groups.get(sample as usize)?.as_deref();
                split::units(&train, |sample| digests[sample as usize], group, |sample| store.name(sample))
            };
            let mut how = format!("stratified, split seed {seed}");
            let (kept, taken) = if let Some((folds, fold)) = folds {
                how = format!("fold {fold} of {folds}, {how}");
                split::take_fold(units(), label, classes.len(), folds, fold, seed)
            } else if config.split == SplitBy::Ordered {
                let by = config.order_by.as_deref().map_or("name".to_owned(), |column| format!("`{column}`"));
                how = format!("the last by {by}");
                let key = |sample: u32| match orders.get(sample as usize) {
                    Some(order) => order.clone().unwrap_or_default(),
                    None => store.name(sample),
                };
                split::take_last(&train, key, fraction)
            } else {
                let units = units();
                let together = train.len() - units.len();
                if together > 0 && part == "validation" {
                    let what = if groups.is_empty() { "copies of a file" } else { "images of a group" };
                    found.push(format!(
                        "{what} are kept in one part ({} units of {} images)",
                        units.len(),
                        train.len()
                    ));
                }
                split::hold_out(units, label, classes.len(), fraction, seed, purpose)
            };
            train = kept;
            *held = taken;
            // What was asked for where it is a share; a fold, and the end of an order, are what they are.
            let exact = folds.is_none() && config.split == SplitBy::Stratified;
            let share = if exact { fraction } else { held.len() as f64 / before as f64 };
            *origin = Origin::HeldOut(share);
            found.push(format!(
                "{part}: {} of {before} training images held out ({:.0} %, {how})",
                held.len(),
                share * 100.0,
            ));
        }
        let trained: std::collections::HashSet<u32> = train.iter().map(|&sample| label(sample)).collect();
        if train_origin == Origin::Given && config.split == SplitBy::Ordered && trained.len() < classes.len()
        {
            let absent = (0..classes.len() as u32).find(|class| !trained.contains(class)).unwrap_or(0);
            let found = format!(
                "ordered in time, no training image of the class `{}` is left",
                classes[absent as usize]
            );
            return Err(DataError::Empty { path: path.to_owned(), found });
        }
        Ok(Parts {
            train: Subset { samples: train, origin: train_origin },
            val: Subset { samples: val, origin: val_origin },
            test: Subset { samples: test, origin: test_origin },
            found,
        })
    }
}
