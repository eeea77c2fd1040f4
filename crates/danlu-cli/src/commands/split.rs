//! `danlu split DATA FILE`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use danlu::data::{Dataset, write_split};
use danlu::recipe::{Recipe, Resolved, resolve};
use danlu::train::TrainError;

use crate::recipe_args::RecipeArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu split photos/ split.csv && danlu train photos/ --set data.split_file=split.csv\n  danlu split list.csv split.csv --set data.group=patient"
)]
pub(crate) struct SplitArgs {
    /// The data set, as `danlu train` takes it
    data: PathBuf,
    /// The file to write: a table of path, label and split
    file: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
}

pub(crate) fn run(args: SplitArgs) -> anyhow::Result<()> {
    let mut layers = Vec::new();
    layers.extend(args.recipe.file().map_err(TrainError::from)?);
    layers.push(args.recipe.flags().map_err(TrainError::from)?);
    let recipe: Resolved<Recipe> = resolve(&layers).map_err(TrainError::from)?;
    let config = &recipe.recipe.data;
    let demo = args.data == Path::new("demo") && !args.data.exists();
    let data = if demo { Dataset::demo(config) } else { Dataset::open(&args.data, config) };
    let data = data.map_err(TrainError::from)?;
    write_split(&args.file, &data).map_err(TrainError::from)?;
    let mut out = std::io::stdout().lock();
    data.found.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "{}", args.file.display())?;
    Ok(())
}
