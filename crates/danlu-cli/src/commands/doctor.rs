//! `danlu doctor RUN`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::doctor::{Examination, RULES, Severity, contradicted, examine, picture};
use danlu::train::doctor::LearningRate;
use danlu::train::{RunFolder, TrainError};
use danlu::view::{Look, curves};

use crate::commands::show::output::{picture_path, write_picture};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu doctor runs/photos-1\n  danlu doctor runs/photos-1 --write next.toml --picture findings.svg --images worst.png\n  danlu train photos/ --recipe next.toml\n\nNothing of the run changes. It may still be training. Exit code 0 whatever is found."
)]
pub(crate) struct DoctorArgs {
    /// The run folder
    #[arg(required_unless_present = "rules")]
    run: Option<PathBuf>,
    /// Write the next recipe (TOML)
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write the learning curves with the places of the findings marked (.svg or .png)
    #[arg(long, value_name = "FILE", value_parser = picture_path)]
    picture: Option<PathBuf>,
    /// Write the training images whose labels the network contradicts, worst first, as thumbnails (.svg or .png)
    #[arg(long, value_name = "FILE", value_parser = picture_path)]
    images: Option<PathBuf>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    /// Print what the rules read, the run in plain numbers, as JSON
    #[arg(long, conflicts_with_all = ["write", "picture", "images", "json"])]
    history: bool,
    /// Print the table of rules with their thresholds and sources instead
    #[arg(long, conflicts_with_all = ["run", "write", "picture", "images", "json", "history"])]
    rules: bool,
}

pub(crate) fn run(args: DoctorArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let Some(path) = args.run.filter(|_| !args.rules) else {
        for rule in RULES {
            writeln!(out, "{}: {}", rule.name, rule.title)?;
            for threshold in rule.thresholds {
                writeln!(out, "  {}: {}", threshold.what, threshold.value)?;
            }
            writeln!(out, "  source: {}", rule.source)?;
        }
        return Ok(());
    };
    let run = RunFolder::open(&path)?;
    if args.history {
        writeln!(out, "{}", serde_json::to_string(&danlu::train::doctor::history(&run)?)?)?;
        return Ok(());
    }
    let seen = examine(&run)?;
    if let Some(path) = &args.picture {
        write_picture(&curves::curves(&picture(&run, &seen.findings)?, &Look::default()), path)?;
    }
    if let Some(path) = &args.images {
        match contradicted(&run, &Look::default())? {
            Some(picture) => write_picture(&picture, path)?,
            None => eprintln!("no picture: the network contradicts no training label"),
        }
    }
    if let Some(path) = &args.write {
        let text = seen.next.to_toml();
        danlu::weights::write_atomic(path, |writer| writer.write_all(text.as_bytes()))
            .map_err(TrainError::from)?;
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&seen)?)?;
        return Ok(());
    }
    print(&seen, &run, args.write.is_some(), &mut out)?;
    Ok(())
}

fn print(seen: &Examination, run: &RunFolder, written: bool, out: &mut impl Write) -> std::io::Result<()> {
    let rate = match seen.learning_rate {
        Some(LearningRate::TooLow) => "too low",
        Some(LearningRate::Good) => "good",
        Some(LearningRate::High) => "high",
        Some(LearningRate::FarTooHigh) => "far too high",
        None => "not to be read off this curve",
    };
    let state = if seen.finished { "finished" } else { "not finished" };
    writeln!(out, "{}: {} epochs, {state}; learning rate: {rate}", run.path().display(), seen.epochs)?;
    if seen.findings.is_empty() {
        writeln!(out, "nothing found that should be changed")?;
        return Ok(());
    }
    for (index, finding) in seen.findings.iter().enumerate() {
        let kind = match finding.severity {
            Severity::Fault => "fault",
            Severity::Advice => "advice",
        };
        writeln!(out, "\n{}. {kind}: {} [{}]", index + 1, finding.title, finding.rule)?;
        writeln!(out, "   {}", finding.evidence)?;
        if let Some(place) = &finding.place {
            writeln!(out, "   at epoch {:.1}: {}", place.epoch, place.label)?;
        }
        if !finding.advice.is_empty() {
            writeln!(out, "   {}", finding.advice)?;
        }
        writeln!(out, "   source: {}", finding.source)?;
    }
    if !seen.changes.is_empty() {
        writeln!(out, "\nthe next recipe:")?;
        for change in &seen.changes {
            writeln!(out, "  {}  # {}", change.change, change.reason)?;
        }
    }
    for refused in &seen.refused {
        writeln!(out, "  not possible here: {refused}")?;
    }
    if !seen.changes.is_empty() && !written {
        writeln!(out, "write it with `danlu doctor {} --write next.toml`", run.path().display())?;
    }
    Ok(())
}
