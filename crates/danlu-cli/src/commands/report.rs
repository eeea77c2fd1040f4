//! `danlu report RUN`: the page that a training writes at its end, again.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::data::Part;
use danlu::train::{RunFolder, evaluate_run, keep_evaluation, kept_evaluation};
use danlu::view::Lang;

use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu report runs/photos-1\n  danlu report runs/photos-1 --lang zh --output 报告.html\n\nThe test set is not opened for it: what `danlu test` found is shown where it was."
)]
pub(crate) struct ReportArgs {
    /// The run folder of a finished training
    run: PathBuf,
    /// Language: `en` or `zh`
    #[arg(long, value_name = "LANG", default_value = "en", value_parser = language)]
    lang: Lang,
    /// The file to write; without one `report.html` in the run
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `en`, `zh`, and what a locale calls them.
pub(crate) fn language(text: &str) -> Result<Lang, String> {
    Lang::parse(text).ok_or_else(|| "expected `en` or `zh`".to_owned())
}

pub(crate) fn run(args: ReportArgs) -> anyhow::Result<()> {
    let run = RunFolder::open(&args.run)?;
    let evaluation = match kept_evaluation(&run, Part::Test)? {
        Some(test) => test,
        None => match kept_evaluation(&run, Part::Val)? {
            Some(val) => val,
            None => {
                let val = evaluate_run(&run, Part::Val, "report", None, &mut Terminal::new(false))?;
                keep_evaluation(&run, Part::Val, &val)?;
                val
            }
        },
    };
    let file = args.output.unwrap_or_else(|| run.report());
    let path = danlu::report::write_to(&run, Some(&evaluation), args.lang, &file)?;
    writeln!(std::io::stdout().lock(), "{}", path.display())?;
    Ok(())
}
