//! `danlu show curves RUN...`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::train::{RunFolder, TrainError};
use danlu::view::terminal::{TermChart, line_chart};
use danlu::view::{Look, PngOptions, curves};

use super::output::term;

#[derive(Debug, Args)]
pub(crate) struct CurvesArgs {
    /// Run folders; several are drawn into one picture
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Write the picture as SVG instead of drawing it in the terminal
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the picture as PNG instead of drawing it in the terminal
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

pub(crate) fn run(args: CurvesArgs) -> anyhow::Result<()> {
    let runs = args.runs.iter().map(|run| RunFolder::open(run)).collect::<Result<Vec<_>, _>>()?;
    let input = danlu::curves::of_runs(&runs)?;
    let mut out = std::io::stdout().lock();
    if args.svg.is_none() && args.png.is_none() {
        let term = term();
        for panel in input.panels {
            let chart = TermChart {
                title: panel.title,
                x_title: input.x_title.clone(),
                curves: panel.curves,
                ..TermChart::default()
            };
            writeln!(out, "{}", line_chart(&chart, term))?;
        }
        return Ok(());
    }
    let svg = curves::curves(&input, &Look::default());
    let mut files = Vec::new();
    files.extend(args.svg.map(|path| (path, svg.to_file().into_bytes())));
    if let Some(path) = args.png {
        files.push((path, svg.to_png(&PngOptions::default())?));
    }
    for (path, bytes) in files {
        danlu::weights::write_atomic(&path, |writer| writer.write_all(&bytes)).map_err(TrainError::from)?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}
