//! `danlu show augment`: training images as the network sees them.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use danlu::data::{AugmentConfig, Batch, Loader, LoaderConfig, Part, Sampling};
use danlu::train::{Prepared, TrainError};
use danlu::view::{Look, Tile, contact_sheet, tiles};

use super::output::{picture_path, request, write_picture};
use crate::recipe_args::RecipeArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show augment photos/ --recipe r.toml\n  danlu show augment photos/ --set augment.horizontal_flip.p=0.5 --images 4 --output flips.svg\n  danlu show augment demo --each"
)]
pub(super) struct AugmentArgs {
    /// The data set: a folder of images, of IDX files, or `demo`
    data: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Images to show, spread over the training set
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=64))]
    images: u64,
    /// Augmented versions of each, as in so many epochs
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=32))]
    versions: u64,
    /// One image under each augmentation that danlu has, one a row, whatever the recipe says
    #[arg(long)]
    each: bool,
    /// The file to draw into (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path, default_value = "augment.png")]
    output: PathBuf,
}

/// Side of a tile in px.
const TILE: f64 = 80.0;

pub(super) fn run(args: AugmentArgs) -> anyhow::Result<()> {
    let mut prepared = Prepared::new(&request(args.data.clone(), &args.recipe)?)?;
    let wanted = if args.each { 4 } else { args.images as usize };
    spread(&mut prepared, wanted)?;
    let mut sheet: Vec<Tile> = Vec::new();
    let mut rows = 0;
    if args.each {
        for (name, augment) in AugmentConfig::each() {
            // Those that do not fit so small an image are left out by name, not drawn wrong.
            if let Err(error) = augment.validate_for(prepared.size) {
                eprintln!("left out `{name}`: {error}");
                continue;
            }
            rows += 1;
            let original = batch(&prepared, None, 0)?;
            sheet.extend(row_of(&original, name, 0)?);
            for epoch in 0..args.versions {
                sheet.extend(row_of(&batch(&prepared, Some(&augment), epoch)?, "", 0)?);
            }
        }
    } else {
        let augment = prepared.recipe.recipe.augment.clone();
        if augment == AugmentConfig::default() {
            eprintln!("no augmentation is on: every version is the image itself (try `--each`)");
        }
        let original = batch(&prepared, None, 0)?;
        let versions: Vec<Batch> = (0..args.versions)
            .map(|epoch| batch(&prepared, Some(&augment), epoch))
            .collect::<Result<_, _>>()?;
        for i in 0..original.len() {
            rows += 1;
            let class = prepared.dataset.classes.get(original.labels[i] as usize);
            sheet.extend(row_of(&original, class.map_or("", String::as_str), i)?);
            for version in versions.iter().filter(|version| i < version.len()) {
                sheet.extend(row_of(version, "", i)?);
            }
        }
    }
    // The width that puts one image and its versions on a row.
    let width = (args.versions + 1) as f64 * (TILE + 10.0) + 10.0;
    let picture =
        contact_sheet("augmented training images", &sheet, TILE, &Look { width, ..Look::default() });
    write_picture(&picture, &args.output)?;
    writeln!(
        std::io::stdout().lock(),
        "{}: {rows} rows, the original first, then as in epochs 1 to {}",
        args.output.display(),
        args.versions
    )?;
    Ok(())
}

/// Keeps `wanted` training images, evenly spread, so that more than the first class is seen.
fn spread(prepared: &mut Prepared, wanted: usize) -> Result<(), TrainError> {
    let internal = || TrainError::Internal { problem: "the data set is shared while it is shown".into() };
    let train = &mut Arc::get_mut(&mut prepared.dataset).ok_or_else(internal)?.train.samples;
    let (count, all) = (wanted.min(train.len()).max(1), train.len());
    *train = (0..count).map(|i| train[(2 * i + 1) * all / (2 * count)]).collect();
    Ok(())
}

fn batch(prepared: &Prepared, augment: Option<&AugmentConfig>, epoch: u64) -> Result<Batch, TrainError> {
    let (recipe, samples) = (&prepared.recipe.recipe, prepared.dataset.train.samples.len());
    let config = LoaderConfig {
        sampling: Sampling::Sequential,
        augment: augment.cloned(),
        ..LoaderConfig::train(&recipe.data, &recipe.augment, prepared.size, samples, recipe.train.seed)
    };
    let mut batch = Loader::new(prepared.dataset.clone(), Part::Train, config)?.batch(epoch, 0)?;
    batch.mix_pixels();
    Ok(batch)
}

fn row_of(batch: &Batch, caption: &str, image: usize) -> anyhow::Result<Vec<Tile>> {
    let [_, h, w, c] = batch.shape;
    tiles(batch.image(image), [1, h, w, c], &[caption.to_owned()]).context("cannot lay out the images")
}
