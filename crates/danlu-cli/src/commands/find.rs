//! `danlu find lr|batch|size DATA`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use danlu::recipe::Preset;
use danlu::train::find::{LrFound, SizeFound, find_batch, find_lr, find_size};
use danlu::train::{Prepared, TrainError, TrainRequest};
use danlu::view::{Look, RangeTest, SizePoint, Suggestion, range_test, size_test};

use crate::commands::show::output::{picture_path, write_picture};
use crate::recipe_args::RecipeArgs;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu find lr photos/ --picture lr.svg\n  danlu find lr photos/ --optimizer adamw --batch-size 64 --json\n  danlu find batch photos/\n  danlu find size photos/ --picture size.svg\n  danlu train photos/ --batch-size auto --lr auto\n\nNothing of a run changes: every experiment works on a copy of the state."
)]
pub(crate) struct FindArgs {
    #[command(subcommand)]
    what: Find,
}

#[derive(Debug, Subcommand)]
enum Find {
    /// The learning rate for the recipe's optimizer, batch size and augmentation, by a range test and short trainings
    Lr(FindPictured),
    /// The batch size: what fits, what is fast, what learns well
    Batch(FindWhat),
    /// The image size: accuracy against cost for three sizes
    Size(FindPictured),
}

#[derive(Debug, Args)]
struct FindWhat {
    /// Folder of images, folder of IDX files, or `demo`
    data: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct FindPictured {
    #[command(flatten)]
    common: FindWhat,
    /// Write the picture of what was tried (.svg or .png)
    #[arg(long, value_name = "FILE", value_parser = picture_path)]
    picture: Option<PathBuf>,
}

pub(crate) fn run(args: FindArgs) -> anyhow::Result<()> {
    match args.what {
        Find::Lr(args) => lr(&args),
        Find::Batch(args) => batch(&args),
        Find::Size(args) => size(&args),
    }
}

/// The training that is asked about; a value that is `auto` and not looked for is left at its usual start.
fn prepare(args: &FindWhat, looked_for: &str, terminal: &mut Terminal) -> Result<Prepared, TrainError> {
    let mut layers = Vec::new();
    layers.extend(args.recipe.file()?);
    layers.push(args.recipe.flags()?);
    for layer in &mut layers {
        layer.remove_auto(looked_for);
    }
    let preset = args.recipe.preset()?.unwrap_or(Preset::Quick);
    let request = TrainRequest { data: args.data.clone(), preset, layers, command: String::new() };
    Prepared::observed(&request, terminal)
}

fn print_json(found: &impl serde::Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string_pretty(found)?)?;
    Ok(())
}

fn lr(args: &FindPictured) -> anyhow::Result<()> {
    if let Some(path) = &args.picture {
        check_picture(path)?;
    }
    let mut terminal = Terminal::new(args.common.json);
    let prepared = prepare(&args.common, "optimizer.lr", &mut terminal)?;
    let found = find_lr(&prepared, &mut terminal)?;
    if let Some(path) = &args.picture {
        write_picture(&range_test(&picture_of(&found), &Look::default()), path)?;
    }
    if args.common.json {
        return print_json(&found);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "lr = {}  ({}, batch of {})", found.lr, found.optimizer, found.batch_size)?;
    writeln!(out, "  {}", found.reason)?;
    for suggestion in &found.suggestions {
        writeln!(out, "  {:<13} {:.2e}", suggestion.rule, suggestion.lr)?;
    }
    match found.uncertainty {
        Some(factor) => writeln!(out, "  uncertainty   the rules differ by a factor of {factor:.1}")?,
        None => writeln!(
            out,
            "  uncertainty   the range test showed nothing; the usual start is {}",
            found.prior
        )?,
    }
    for trial in &found.trials {
        match (trial.loss, trial.top1) {
            (Some(loss), Some(top1)) => writeln!(
                out,
                "  trial         lr {:<8} loss {loss:.4}, top-1 {:.1} %",
                trial.lr,
                100.0 * top1
            )?,
            _ => writeln!(out, "  trial         lr {:<8} diverged", trial.lr)?,
        }
    }
    writeln!(out, "  {:.0} s; use it with `--lr {}`", found.seconds, found.lr)?;
    Ok(())
}

/// A picture that could not be written is refused before a minute is spent on it.
fn check_picture(path: &Path) -> Result<(), TrainError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(TrainError::Unsupported {
            key: "--picture".into(),
            value: path.display().to_string(),
            instead: "a folder that exists".into(),
        });
    }
    Ok(())
}

fn picture_of(found: &LrFound) -> RangeTest {
    let suggestion = |rule: &str, lr: f64, chosen| Suggestion { rule: rule.to_owned(), lr, chosen };
    let mut suggestions: Vec<Suggestion> =
        found.suggestions.iter().map(|rule| suggestion(&rule.rule, rule.lr, false)).collect();
    suggestions.push(suggestion("chosen", found.lr, true));
    RangeTest {
        lr: found.range.lr.clone(),
        loss: found.range.loss.clone(),
        smoothed: found.range.smoothed.clone(),
        suggestions,
        diverged_at: found.range.diverged_at,
    }
}

fn batch(args: &FindWhat) -> anyhow::Result<()> {
    let mut terminal = Terminal::new(args.json);
    let prepared = prepare(args, "train.batch_size", &mut terminal)?;
    let found = find_batch(&prepared, &mut terminal)?;
    if args.json {
        return print_json(&found);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "batch_size = {}", found.batch_size)?;
    writeln!(out, "  {}", found.reason)?;
    writeln!(
        out,
        "  fits          up to {} within {:.1} GiB (exact, from the memory plan)",
        found.fits,
        found.memory_budget as f64 / f64::from(1 << 30)
    )?;
    writeln!(out, "  fast          from {} on 95 % of the best speed", found.fast)?;
    let noise =
        |value: Option<f64>| value.map_or("not measurable".to_owned(), |value| format!("{value:.0} images"));
    writeln!(
        out,
        "  learns well   gradient noise scale {} at the start, {} later",
        noise(found.noise_early),
        noise(found.noise_later)
    )?;
    for size in &found.sizes {
        let speed = size.images_per_second.map_or("-".to_owned(), |speed| format!("{speed:.0} images/s"));
        let mib = size.bytes as f64 / f64::from(1 << 20);
        writeln!(out, "  {:>6} images {mib:>9.1} MiB  {speed}", size.batch_size)?;
    }
    writeln!(out, "  learning rate rescaled to it: {}", found.lr)?;
    writeln!(out, "  {:.0} s; use it with `--batch-size {}`", found.seconds, found.batch_size)?;
    Ok(())
}

fn size(args: &FindPictured) -> anyhow::Result<()> {
    if let Some(path) = &args.picture {
        check_picture(path)?;
    }
    let mut terminal = Terminal::new(args.common.json);
    let prepared = prepare(&args.common, "data.image_size", &mut terminal)?;
    let found = find_size(&prepared, &mut terminal)?;
    if let Some(path) = &args.picture {
        write_picture(&size_test(&points_of(&found), &Look::default()), path)?;
    }
    if args.common.json {
        return print_json(&found);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "image_size = {}", found.image_size)?;
    writeln!(out, "  {}", found.reason)?;
    for trial in &found.trials {
        writeln!(
            out,
            "  {:>4} pixels  top-1 {:.1} %  {:.1} ms an update  {:.1} MiB",
            trial.image_size,
            100.0 * trial.top1,
            trial.step_ms,
            trial.bytes as f64 / f64::from(1 << 20)
        )?;
    }
    writeln!(out, "  {:.0} s; use it with `--image-size {}`", found.seconds, found.image_size)?;
    Ok(())
}

fn points_of(found: &SizeFound) -> Vec<SizePoint> {
    let point = |trial: &danlu::train::find::SizeTrial| SizePoint {
        side: trial.image_size,
        top1: trial.top1,
        step_ms: trial.step_ms,
        bytes: trial.bytes,
        chosen: trial.image_size == found.image_size,
    };
    found.trials.iter().map(point).collect()
}
