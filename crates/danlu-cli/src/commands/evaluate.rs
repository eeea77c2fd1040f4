//! `danlu val RUN [DATA]` and `danlu test RUN [DATA]`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::data::{Part, TestViews};
use danlu::train::{Evaluation, Observer, RunFolder, evaluate_on, evaluate_run, keep_evaluation};
use danlu::view::Lang;

use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// The run folder
    run: PathBuf,
    /// Another data set with the same classes (or some of them), prepared as the run's own. One without parts is
    /// judged as a whole. Default: the run's own data
    data: Option<PathBuf>,
    /// Views of an image to average over: none, mirror or mirror_shift; by default the recipe's `data.test_views`
    #[arg(long, visible_alias = "tta", value_name = "VIEWS", value_parser = crate::test_views::parse)]
    test_views: Option<TestViews>,
    /// Print the metrics as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn val(args: EvaluateArgs) -> anyhow::Result<()> {
    evaluate(&args, Part::Val, "val")
}

pub(crate) fn test(args: EvaluateArgs) -> anyhow::Result<()> {
    evaluate(&args, Part::Test, "test")
}

fn evaluate(args: &EvaluateArgs, part: Part, command: &str) -> anyhow::Result<()> {
    let run = RunFolder::open(&args.run)?;
    let mut terminal = Terminal::new(false);
    let evaluation = match &args.data {
        Some(data) => evaluate_on(&run, data, part, command, args.test_views, &mut terminal)?,
        None => evaluate_run(&run, part, command, args.test_views, &mut terminal)?,
    };
    // The report tells how the run did on its own test set.
    if part == Part::Test && args.data.is_none() {
        keep_evaluation(&run, part, &evaluation)?;
        if run.result().exists() {
            danlu::report::write(&run, Some(&evaluation), Lang::En)?;
        } else {
            terminal.warn(
                "the training is not finished: these are its best weights so far, and it has no report yet",
            );
        }
    }
    let Evaluation { metrics, correct, opened, .. } = evaluation;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", serde_json::json!({ "metrics": metrics, "test_set_opened": opened }))?;
        return Ok(());
    }
    let classes = run.info()?.classes;
    let width = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).max(5);
    writeln!(out, "{:width$}  precision  recall      F1  images", "class")?;
    for (class, row) in classes.iter().zip(&metrics.per_class) {
        writeln!(
            out,
            "{class:width$}  {:9.4} {:7.4} {:7.4} {:7}",
            row.precision, row.recall, row.f1, row.support
        )?;
    }
    let (low, high) = danlu::view::wilson(correct, metrics.samples);
    writeln!(
        out,
        "top-1 {:.2} % (95 % interval {:.2} to {:.2} %), macro-F1 {:.4}, loss {:.4}, {} images",
        100.0 * metrics.top1,
        100.0 * low,
        100.0 * high,
        metrics.macro_f1,
        metrics.loss,
        metrics.samples
    )?;
    if let Some(top5) = metrics.top5 {
        writeln!(out, "top-5 {:.2} %", 100.0 * top5)?;
    }
    if let Some(opened) = opened {
        writeln!(out, "this test set has been opened {opened} time(s)")?;
    }
    Ok(())
}
