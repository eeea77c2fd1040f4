//! `danlu advise DATA`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::optim::{OPTIMIZERS, OptimizerConfig, ParamSpec, state_bytes};
use danlu::recipe::{Origin, Preset};
use danlu::train::{Prepared, TrainRequest};

use crate::recipe_args::RecipeArgs;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu advise photos/\n  danlu advise photos/ --preset best --json\n  danlu advise photos/ --write recipe.toml\n\n`danlu train` with the same options uses exactly this recipe."
)]
pub(crate) struct AdviseArgs {
    /// Folder of images, folder of IDX files, or `demo`
    data: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Write the recipe (TOML)
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print recipe, reasons and the table of optimizers as JSON
    #[arg(long)]
    json: bool,
}

/// A row of the table of optimizers, for this network.
#[derive(serde::Serialize)]
struct Row {
    name: &'static str,
    state_bytes: usize,
    typical_lr: [f64; 2],
    strengths: &'static str,
    weaknesses: &'static str,
    source: &'static str,
}

pub(crate) fn run(args: AdviseArgs) -> anyhow::Result<()> {
    let mut layers = Vec::new();
    layers.extend(args.recipe.file().map_err(danlu::train::TrainError::from)?);
    layers.push(args.recipe.flags().map_err(danlu::train::TrainError::from)?);
    let preset = args.recipe.preset().map_err(danlu::train::TrainError::from)?.unwrap_or(Preset::Quick);
    let request = TrainRequest { data: args.data, preset, layers, command: String::new() };
    let prepared = Prepared::observed(&request, &mut Terminal::new(args.json))?;
    let graph = prepared.graph()?;
    let specs: Vec<ParamSpec> =
        graph.params().iter().map(|info| ParamSpec::new(info.name.clone(), info.shape.clone())).collect();
    let rows: Vec<Row> = OPTIMIZERS.iter().map(|info| row(info, &specs)).collect();
    if let Some(path) = &args.write {
        let text = prepared.recipe.to_toml();
        danlu::weights::write_atomic(path, |writer| writer.write_all(text.as_bytes()))
            .map_err(danlu::train::TrainError::from)?;
    }
    let mut out = std::io::stdout().lock();
    let choices = prepared.choice_infos();
    if args.json {
        let value = serde_json::json!({
            "recipe": prepared.recipe.tree(),
            "choices": choices,
            "memory_bytes": prepared.memory()?.total(),
            "parameters": graph.param_count(),
            "iterations_per_epoch": prepared.iterations_per_epoch(),
            "optimizers": rows,
        });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    for line in &prepared.dataset.found {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "\nwhat `danlu train` would use (what is not named is at its default, see docs/recipe.md):"
    )?;
    for choice in &choices {
        let origin = prepared.recipe.origin(&choice.key);
        let why = match (&origin, choice.source.is_empty()) {
            (Origin::File { .. } | Origin::Flag { .. }, _) => format!("asked for: {origin}"),
            (_, true) => choice.reason.clone(),
            (_, false) => format!("{} [{}]", choice.reason, choice.source),
        };
        writeln!(out, "  {} = {}\n      {why}", choice.key, choice.value)?;
    }
    let memory = prepared.memory()?.total();
    writeln!(
        out,
        "\n{} parameters, {:.1} MiB for a training step, {} updates an epoch",
        graph.param_count(),
        memory as f64 / f64::from(1 << 20),
        prepared.iterations_per_epoch()
    )?;
    writeln!(out, "\noptimizers, with the bytes that each keeps beside the weights of this network:")?;
    let chosen = prepared.recipe.recipe.optimizer.rule.name();
    for row in &rows {
        let mark = if row.name == chosen { "*" } else { " " };
        writeln!(
            out,
            "{mark} {:<20} {:>10.1} KiB   lr {} to {}\n      + {}\n      - {}",
            row.name,
            row.state_bytes as f64 / 1024.0,
            crate::terminal::short(row.typical_lr[0]),
            crate::terminal::short(row.typical_lr[1]),
            row.strengths,
            row.weaknesses
        )?;
    }
    Ok(())
}

/// State as the optimizer is used: with momentum where it can have one.
fn row(info: &danlu::optim::OptimizerInfo, specs: &[ParamSpec]) -> Row {
    let config = OptimizerConfig::by_name(info.name).map(|mut config| {
        match &mut config {
            OptimizerConfig::Sgd(c) => c.momentum = 0.9,
            OptimizerConfig::Lars(c) => c.momentum = 0.9,
            OptimizerConfig::RmsProp(c) => c.momentum = 0.9,
            _ => {}
        }
        config
    });
    Row {
        name: info.name,
        state_bytes: config.map_or(0, |config| state_bytes(&config, specs)),
        typical_lr: info.typical_lr,
        strengths: info.strengths,
        weaknesses: info.weaknesses,
        source: info.source,
    }
}
