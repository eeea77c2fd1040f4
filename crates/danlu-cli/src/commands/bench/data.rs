//! `danlu bench data`: how fast images become batches.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use danlu::data::{Batch, Dataset, Loader, LoaderConfig, Part};
use danlu::nn::{Images, Input, NnError};
use danlu::recipe::{Recipe, Resolved, resolve};
use danlu::train::TrainError;

use super::print;
use crate::recipe_args::RecipeArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu bench data demo\n  danlu bench data photos/ --image-size 224 --cache off --set augment.random_resized_crop.scale=[0.08,1.0]"
)]
pub(super) struct DataArgs {
    /// The data set, as `danlu train` takes it
    data: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Epochs; the first one decodes, later ones may come from the cache
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    passes: u64,
    /// Batches of an epoch that are made; all without it
    #[arg(long, value_name = "N")]
    batches: Option<usize>,
    /// Threads that make batches; 0 is the loader's own choice
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Turn every batch into normalised floats too, which the engine does when it loads a batch
    #[arg(long)]
    normalize: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

struct Measured {
    images: usize,
    skipped: usize,
    seconds: f64,
    cpu: Option<f64>,
}

pub(super) fn run(args: &DataArgs) -> Result<(), TrainError> {
    let mut layers = Vec::new();
    layers.extend(args.recipe.file()?);
    layers.push(args.recipe.flags()?);
    let recipe: Resolved<Recipe> = resolve(&layers)?;
    let recipe = &recipe.recipe;
    let demo = args.data == Path::new("demo") && !args.data.exists();
    let start = Instant::now();
    let data = if demo { Dataset::demo(&recipe.data)? } else { Dataset::open(&args.data, &recipe.data)? };
    let opened = start.elapsed().as_secs_f64();
    let size = data.suggested_image_size();
    let data = Arc::new(data);
    let batch_size = recipe.train.batch_size.min(data.train.len()).max(1);
    let config = LoaderConfig {
        workers: args.workers,
        ..LoaderConfig::train(&recipe.data, &recipe.augment, [size, size], batch_size, recipe.train.seed)
    };
    let loader = Loader::new(data.clone(), Part::Train, config)?;
    let mut epochs = Vec::new();
    let mut floats = Vec::new();
    for epoch in 0..args.passes {
        let (start, before) = (Instant::now(), cpu_seconds());
        let (mut images, mut skipped) = (0, 0);
        let mut batches = loader.epoch(epoch, 0);
        for _ in 0..args.batches.unwrap_or(usize::MAX) {
            let Some(batch) = batches.next().transpose()? else { break };
            if args.normalize {
                normalize(&batch, &mut floats)?;
            }
            images += batch.len();
            skipped += batch.skipped.len();
            batches.recycle(batch);
        }
        let cpu = before.zip(cpu_seconds()).map(|(before, after)| after - before);
        epochs.push(Measured { images, skipped, seconds: start.elapsed().as_secs_f64(), cpu });
    }
    if args.json {
        let epochs: Vec<serde_json::Value> = epochs
            .iter()
            .map(|epoch| {
                serde_json::json!({
                    "images": epoch.images,
                    "skipped": epoch.skipped,
                    "images_per_second": epoch.images as f64 / epoch.seconds,
                    "cpu_ms_per_image": epoch.cpu.map(|cpu| 1e3 * cpu / epoch.images.max(1) as f64),
                })
            })
            .collect();
        let cache = loader.cache();
        let report = serde_json::json!({
            "open_seconds": opened, "image_size": size, "batch_size": batch_size, "epochs": epochs,
            "cache": {"place": cache.place, "bytes": cache.bytes, "filled": cache.filled, "damaged": cache.damaged},
        });
        print(&format!("{report:#}"));
        return Ok(());
    }
    print(&format!(
        "opened {} images in {opened:.2} s; batches of {batch_size} at {size} x {size}",
        data.len()
    ));
    if let Some(line) = loader.cache().line() {
        print(&line);
    }
    for (number, epoch) in epochs.iter().enumerate() {
        let cpu = epoch.cpu.map_or(String::new(), |cpu| {
            format!(", {:.3} ms of CPU an image", 1e3 * cpu / epoch.images.max(1) as f64)
        });
        print(&format!(
            "epoch {number}: {} images, {:.0} images/s{cpu}",
            epoch.images,
            epoch.images as f64 / epoch.seconds
        ));
    }
    Ok(())
}

/// As the engine does it, with ImageNet's mean and standard deviation.
fn normalize(batch: &Batch, floats: &mut Vec<f32>) -> Result<(), NnError> {
    let (mean, std) = match batch.shape[3] {
        3 => (&[0.485, 0.456, 0.406][..], &[0.229, 0.224, 0.225][..]),
        _ => (&[0.449][..], &[0.226][..]),
    };
    floats.resize(batch.images.len(), 0.0);
    let images = Images::U8 { data: &batch.images, mean, std };
    Input { images, shape: batch.shape, mix: None }.write_f32(floats)?;
    std::hint::black_box(floats);
    Ok(())
}

/// CPU time of the whole process so far, all threads; Linux says it in hundredths of a second.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in brackets, which may hold spaces.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}
