//! `danlu train DATA`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use danlu::data::Part;
use danlu::recipe::Preset;
use danlu::tensorboard::TensorBoard;
use danlu::train::{
    Destination, Evaluation, Event, Prepared, RunFolder, RunResult, TrainError, TrainRequest, evaluate_run,
    keep_evaluation, read_events, train,
};
use danlu::view::terminal::sparkline;
use danlu::view::{Lang, Look};

use crate::commands::show::term;
use crate::interrupt::stop_on_ctrl_c;
use crate::recipe_args::RecipeArgs;
use crate::terminal::Terminal;
use crate::tui::Tui;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu train demo\n  danlu train photos/ --preset standard\n  danlu train photos/ --network resnet18 --lr 0.05 --set optimizer.momentum=0.85\n  danlu train photos/ --recipe r.toml --dry-run"
)]
pub(crate) struct TrainArgs {
    /// Folder of images (`class/*.jpg`, or `train/ val/ test/` of such), folder of IDX files, or `demo`
    data: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Name of the run; without one the data set's name and a number
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder in which runs are created
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Evaluate the test set at the end, and write that into the ledger (`train demo` does)
    #[arg(long = "final")]
    final_test: bool,
    /// Show the resolved recipe, the network and the memory of a step, and train nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings while training
    #[arg(long, short)]
    quiet: bool,
    /// Show the training on the whole terminal, with its curves; where stderr is no terminal the usual lines
    #[arg(long, conflicts_with_all = ["quiet", "dry_run"])]
    tui: bool,
}

pub(crate) fn run(args: TrainArgs) -> anyhow::Result<()> {
    let mut layers = Vec::new();
    layers.extend(args.recipe.file().map_err(TrainError::from)?);
    layers.push(args.recipe.flags().map_err(TrainError::from)?);
    let preset = args.recipe.preset().map_err(TrainError::from)?.unwrap_or(Preset::Quick);
    let request = TrainRequest { data: args.data.clone(), preset, layers, command: command_line() };
    if args.dry_run {
        return dry_run(&request);
    }
    let stop = stop_on_ctrl_c()?;
    let destination = Destination { runs: args.runs, name: args.name };
    let screen = if args.tui { Tui::new()? } else { None };
    let mut terminal = Terminal::new(args.quiet);
    let (run, result) = match screen {
        Some(mut screen) => train(&request, &destination, &mut TensorBoard::new(&mut screen), &stop)?,
        None => train(&request, &destination, &mut TensorBoard::new(&mut terminal), &stop)?,
    };
    let demo = args.data == Path::new("demo") && !args.data.exists();
    conclude(&run, &result, args.final_test || demo, args.json, &mut terminal)
}

/// The command as it was typed, with quotes where a word needs them.
fn command_line() -> String {
    let quoted = |word: String| {
        let plain = word.chars().all(|c| c.is_alphanumeric() || "-_./=:,+@%".contains(c));
        if plain && !word.is_empty() { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("danlu".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Tests where that was asked for, and prints the verdict to stdout.
pub(crate) fn conclude(
    run: &RunFolder,
    result: &RunResult,
    test: bool,
    json: bool,
    terminal: &mut Terminal,
) -> anyhow::Result<()> {
    let part = if test { Part::Test } else { Part::Val };
    let evaluation = evaluate_run(run, part, "train --final", None, terminal)?;
    keep_evaluation(run, part, &evaluation)?;
    let report = danlu::report::write(run, Some(&evaluation), Lang::En)?;
    danlu::pictures::write_pictures(run, Some(&evaluation), &Look::default())?;
    let tested = test.then_some(evaluation);
    let mut out = std::io::stdout().lock();
    if json {
        let value = serde_json::json!({
            "run": run.path(),
            "result": result,
            "test": tested.as_ref().map(|test| &test.metrics),
            "test_set_opened": tested.as_ref().and_then(|test| test.opened),
        });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    let path = run.path().display();
    writeln!(out, "\n{}: {} epochs, {} iterations", path, result.epochs, result.iterations)?;
    writeln!(
        out,
        "  validation  top-1 {:.2} %, macro-F1 {:.4}, loss {:.4} (best epoch {})",
        100.0 * result.val.top1,
        result.val.macro_f1,
        result.val.loss,
        result.best_epoch
    )?;
    let curve: Vec<f64> = read_events(&run.events())?
        .iter()
        .filter_map(|event| if let Event::Epoch(epoch) = event { Some(epoch.val.top1) } else { None })
        .collect();
    if let [first, .., last] = curve[..] {
        let term = term();
        let line = sparkline(&curve, term.width.min(60), term.unicode);
        writeln!(out, "              {:.1} % {line} {:.1} %", 100.0 * first, 100.0 * last)?;
    }
    match tested {
        Some(Evaluation { metrics, correct, opened, .. }) => {
            let (low, high) = danlu::view::wilson(correct, metrics.samples);
            writeln!(
                out,
                "  test        top-1 {:.2} % (95 % interval {:.2} to {:.2} %), macro-F1 {:.4}, {} images",
                100.0 * metrics.top1,
                100.0 * low,
                100.0 * high,
                metrics.macro_f1,
                metrics.samples
            )?;
            if let Some(opened) = opened {
                writeln!(out, "              this test set has been opened {opened} time(s)")?;
            }
        }
        None => writeln!(out, "next: `danlu test {path}` opens the held-out test set, once, at the end")?,
    }
    let findings = danlu::doctor::examine(run)?.findings;
    if let Some(first) = findings.first() {
        writeln!(out, "doctor: {} ({} finding(s); `danlu doctor {path}`)", first.title, findings.len())?;
    }
    writeln!(out, "report: {}, pictures: {path}/pictures", report.display())?;
    writeln!(
        out,
        "next: `danlu predict {path} IMAGE...`; the weights are in {path}/weights/best.safetensors"
    )?;
    Ok(())
}

fn dry_run(request: &TrainRequest) -> anyhow::Result<()> {
    let prepared = Prepared::observed(request, &mut Terminal::new(false))?;
    prepared.validate()?;
    let mut out = std::io::stdout().lock();
    for line in &prepared.dataset.found {
        writeln!(out, "# {line}")?;
    }
    writeln!(out, "{}", prepared.recipe.to_toml())?;
    writeln!(out, "{}", prepared.graph()?)?;
    writeln!(out, "memory of a training step:\n{}", prepared.memory()?)?;
    writeln!(out, "iterations an epoch: {}", prepared.iterations_per_epoch())?;
    Ok(())
}
