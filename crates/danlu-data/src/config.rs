//! The recipe's section `data`: how images are found, split and brought to one size.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DataError, TestViews};

/// How the data set is split and how its images become the input of the network (recipe section `data`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Share of the images without a validation set that is held out to choose hyper-parameters, 0 to 0.9. Default
    /// 0.2, the usual 80 % / 20 %. Used only where the data set brings no validation set.
    #[schemars(range(min = 0.0, max = 0.9))]
    pub val_fraction: f64,
    /// Share of the images that is held out first, for the test at the end, 0 to 0.9. Default 0.15. Used only where
    /// the data set brings no test set. 0: no test set (then nothing estimates the error on new images).
    #[schemars(range(min = 0.0, max = 0.9))]
    pub test_fraction: f64,
    /// Seed of the split. Default 0. It is apart from the seed of the training, so that runs with different seeds are
    /// compared on the same images.
    pub split_seed: u64,
    /// How the images that are held out are chosen. Default `stratified`.
    pub split: SplitBy,
    /// What keeps images together on one side of every split: the same patient, product or video. Either a column of a list, or a
    /// pattern of the images' names with one `{}` for the group (`*`: anything within a folder, `**`: anything), as
    /// `*/{}_*.jpg` for `cat/patient7_03.jpg`. Default: none; copies of the same file always stay together.
    pub group: Option<String>,
    /// The column of a list by which `split = "ordered"` orders (numbers, or text such as ISO dates). Default: the images' names.
    pub order_by: Option<String>,
    /// Cross-validation: divide the training images into so many folds, stratified, and validate on the one of number `fold`, 2 to
    /// 100. Default: none. It takes the place of `val_fraction`.
    #[schemars(range(min = 2, max = 100))]
    pub folds: Option<usize>,
    /// Which of the `folds` validates, from 0. Default 0.
    pub fold: usize,
    /// A CSV file with the columns `path`, `label` and `split` (`train`, `val`, `test`), as `danlu audit --fix` and `danlu split`
    /// write it: it says which image is in which part, and images it does not name are left out. Default: none (the split is
    /// made from the shares above).
    pub split_file: Option<String>,
    /// Height and width of the network's input in pixels. Default: chosen from the images. Larger images are usually
    /// more accurate and cost time and memory with the square.
    #[schemars(range(min = 8, max = 4096))]
    pub image_size: Option<usize>,
    /// 1 (grey) or 3 (colour). Default: found by looking (1 where every training image is stored as grey).
    #[schemars(range(min = 1, max = 3))]
    pub channels: Option<usize>,
    /// How an image that is not square becomes square. Default `crop`.
    pub fit: Fit,
    /// Share of the shorter side that `fit = "crop"` keeps, 0.5 to 1. Default 1 (all of it). ImageNet's usual
    /// evaluation (resize to 256, crop 224) is 0.875.
    #[schemars(range(min = 0.5, max = 1.0))]
    pub crop_ratio: f64,
    /// Filter of the resize. Default `bilinear`, as torchvision; it averages over the pixels it shrinks (antialias).
    pub interpolation: Interpolation,
    /// The views of an image that validation, test and prediction average over. Default `none`.
    pub test_views: TestViews,
    /// Use only this share of every set's images, stratified, above 0 to 1. Default: all. Smaller shares are subsets of
    /// larger ones. For fast trials.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub limit: Option<f64>,
    /// How the training images of an epoch are drawn. Default `shuffle`.
    pub sampling: Sampling,
    /// The column of a list that holds each image's weight for `sampling = "weighted"`: a number, 0 or more. Default: none.
    pub weight_by: Option<String>,
    /// Repeated augmentation: each image that an epoch draws is drawn so often in a row, augmented differently each time, 1 to 16
    /// (Hoffer et al. 2019). An epoch keeps its length, and so sees only that fraction of the images. Default 1 (off); 2 to 4 can help large
    /// batches with strong augmentation.
    #[schemars(range(min = 1, max = 16))]
    pub repeats: usize,
    /// Leave out the last batch of an epoch where it is not full. Default false: an epoch is every training image once.
    pub drop_last: bool,
    /// Share of unreadable images above which the data set is refused, 0 to 1. Default 0.05: a few broken files are
    /// left out with a warning, many mean that something else is wrong.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_broken: f64,
    /// Images of more pixels than this are refused before any memory is taken for them. Default 89478485, Pillow's
    /// limit for decompression bombs.
    pub max_pixels: u64,
    /// Files larger than this many bytes are refused. Default 268435456 (256 MiB).
    pub max_file_bytes: u64,
    /// Where decoded images are kept between epochs. Default `auto`. No pixel of any batch depends on it.
    pub cache: Cache,
    /// Most bytes that decoded images may take in memory. Default 1073741824 (1 GiB).
    pub cache_bytes: u64,
    /// Most bytes that the files of decoded images may take on disk, those of all data sets together; the ones that were not used for
    /// the longest time make room. Default 21474836480 (20 GiB).
    pub cache_disk_bytes: u64,
    /// The folder of these files. Default: `$DANLU_HOME/cache`, else `~/.cache/danlu`.
    pub cache_folder: Option<String>,
    /// Shrink images whose shorter side is longer than this to it before random windows are cut, 32 to 4096. Default: none. Photos of a
    /// phone take 36 MB each decoded, and 0.6 MB at 384: with it they fit into the cache.
    #[schemars(range(min = 32, max = 4096))]
    pub shrink: Option<usize>,
    /// Seconds without any progress after which a drive that does not answer is an error, 1 to 86400. Default 120.
    #[schemars(range(min = 1, max = 86400))]
    pub read_timeout: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            val_fraction: 0.2,
            test_fraction: 0.15,
            split_seed: 0,
            split: SplitBy::Stratified,
            group: None,
            order_by: None,
            folds: None,
            fold: 0,
            split_file: None,
            image_size: None,
            channels: None,
            fit: Fit::Crop,
            crop_ratio: 1.0,
            interpolation: Interpolation::Bilinear,
            test_views: TestViews::None,
            limit: None,
            sampling: Sampling::Shuffle,
            weight_by: None,
            repeats: 1,
            drop_last: false,
            max_broken: 0.05,
            max_pixels: 89_478_485,
            max_file_bytes: 256 << 20,
            cache: Cache::Auto,
            cache_bytes: 1 << 30,
            cache_disk_bytes: 20 << 30,
            cache_folder: None,
            shrink: None,
            read_timeout: 120,
        }
    }
}

impl DataConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`DataError::Config`] with the key, the value, the range and the reason.
    pub fn validate(&self) -> Result<(), DataError> {
        let range = |key: &str, value: f64, low: f64, high: f64, why: &str| {
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(DataError::config(key, value, format!("{low} to {high} ({why})")))
            }
        };
        range("data.val_fraction", self.val_fraction, 0.0, 0.9, "some images must remain to train on")?;
        range("data.test_fraction", self.test_fraction, 0.0, 0.9, "some images must remain to train on")?;
        range("data.crop_ratio", self.crop_ratio, 0.5, 1.0, "the share of the shorter side that is kept")?;
        range("data.max_broken", self.max_broken, 0.0, 1.0, "a share")?;
        if let Some(folds) = self.folds
            && !(2..=100).contains(&folds)
        {
            return Err(DataError::config("data.folds", folds, "2 to 100"));
        }
        if self.fold >= self.folds.unwrap_or(1) {
            let expected = match self.folds {
                Some(folds) => format!("below `data.folds` = {folds} (the first fold is 0)"),
                None => "0 where `data.folds` is not set".into(),
            };
            return Err(DataError::config("data.fold", self.fold, expected));
        }
        if self.split == SplitBy::Ordered && (self.group.is_some() || self.folds.is_some()) {
            let key = if self.group.is_some() { "data.group" } else { "data.folds" };
            return Err(DataError::config(
                "data.split",
                "ordered",
                format!("`stratified` together with `{key}`"),
            ));
        }
        if self.order_by.is_some() && self.split != SplitBy::Ordered {
            return Err(DataError::config("data.order_by", "set", "`data.split` = `ordered` beside it"));
        }
        if let Some(limit) = self.limit
            && !(limit > 0.0 && limit <= 1.0)
        {
            return Err(DataError::config(
                "data.limit",
                limit,
                "above 0 to 1 (the share of the images to use)",
            ));
        }
        if let Some(size) = self.image_size
            && !(8..=4096).contains(&size)
        {
            return Err(DataError::config("data.image_size", size, "8 to 4096 (pixels)"));
        }
        if let Some(channels) = self.channels
            && channels != 1
            && channels != 3
        {
            return Err(DataError::config("data.channels", channels, "1 (grey) or 3 (colour)"));
        }
        if let Some(side) = self.shrink
            && !(32..=4096).contains(&side)
        {
            return Err(DataError::config("data.shrink", side, "32 to 4096 (pixels)"));
        }
        if !(1..=16).contains(&self.repeats) {
            return Err(DataError::config("data.repeats", self.repeats, "1 to 16 (1: off)"));
        }
        if (self.sampling == Sampling::Weighted) != self.weight_by.is_some() {
            return match &self.weight_by {
                Some(column) => Err(DataError::config(
                    "data.weight_by",
                    format!("`{column}`"),
                    "`data.sampling` = `weighted` beside it",
                )),
                None => Err(DataError::config(
                    "data.sampling",
                    "weighted",
                    "`data.weight_by`, the column of a list that holds the weights, beside it",
                )),
            };
        }
        if !(1..=86_400).contains(&self.read_timeout) {
            return Err(DataError::config("data.read_timeout", self.read_timeout, "1 to 86400 (seconds)"));
        }
        if self.max_pixels == 0 {
            return Err(DataError::config("data.max_pixels", 0, "at least 1"));
        }
        Ok(())
    }
}

/// How the images that are held out are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// At random, the same share of every class (default).
    #[default]
    Stratified,
    /// The last ones in time, for data that a model will meet in that order: test is the latest, validation the latest of the rest.
    Ordered,
}

/// How an image becomes `image_size` high and wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The shorter side is resized to `image_size / crop_ratio`, then the centre is cropped (torchvision's `Resize` and
    /// `CenterCrop`). Keeps the shape of things; loses the ends of a long image.
    #[default]
    Crop,
    /// Both sides are resized on their own. Loses nothing; distorts.
    Squash,
    /// The longer side is resized to `image_size`, the rest is filled with black. Loses nothing and keeps the shape;
    /// wastes area.
    Pad,
}

/// The filter of a resize; bilinear, bicubic and lanczos equal Pillow's of that name within 1 level of 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The nearest pixel; fast, rough.
    Nearest,
    /// Triangle filter (default).
    #[default]
    Bilinear,
    /// Cubic filter (a = -0.5); a little sharper.
    Bicubic,
    /// Lanczos filter of three lobes; sharpest, may ring.
    Lanczos,
}

/// How the training images of an epoch are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Every image once, in a random order (default).
    #[default]
    Shuffle,
    /// Every image once, in the order of the files. For comparisons; training on sorted classes goes badly.
    Sequential,
    /// As many draws as there are images, with replacement, each class equally often. For imbalanced sets.
    ClassBalanced,
    /// As many draws as there are images, with replacement, each class in proportion to the square root of its size: between
    /// `shuffle` and `class_balanced`, for sets so imbalanced that the images of the smallest class would be seen too often.
    SquareRoot,
    /// As many draws as there are images, with replacement, each in proportion to its weight in the column `data.weight_by` of a list.
    Weighted,
}

/// Where decoded images are kept between epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// In memory where they are few (64 MiB), else on disk; in memory or nowhere where the disk has no room (default).
    #[default]
    Auto,
    /// Nowhere: every epoch decodes again.
    Off,
    /// In memory; an error where they do not fit.
    Ram,
    /// In one file on disk, which the next run and the other trials of a study find there; an error where it does not fit.
    Disk,
}
