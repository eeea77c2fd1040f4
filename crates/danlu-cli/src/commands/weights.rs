//! `danlu weights inspect|diff|average|convert`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use danlu::weights::{
    WeightsError, WriteFormat, average, check_finite, convert, diff, inspect, read_state_dict,
    write_huggingface, write_pth, write_safetensors,
};

/// The weights that were compared differ: exit code 1, as `diff`.
#[derive(Debug, thiserror::Error)]
#[error("the weights differ")]
pub(crate) struct Differs;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu weights inspect resnet50.pth\n  danlu weights diff runs/a runs/b\n  danlu weights average a.pth b.pth c.pth --out mean.safetensors\n  danlu weights convert runs/photos-1 w.pth\n\nWherever weights are read: .pth/.pt, .safetensors, a Hugging Face folder, a run folder. Pickles are parsed, never executed."
)]
pub(crate) struct WeightsArgs {
    #[command(subcommand)]
    what: Weights,
}

#[derive(Debug, Subcommand)]
enum Weights {
    /// Architecture, model card, and every tensor with its sizes, range and values that are not finite
    Inspect {
        /// File or folder
        weights: PathBuf,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// What differs between two files, key by key; exit code 1 where anything does
    Diff {
        /// File or folder
        a: PathBuf,
        /// File or folder
        b: PathBuf,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// The mean of several checkpoints of one network (weight averaging, "model soup")
    Average {
        /// Files or folders
        #[arg(required = true, num_args = 1..)]
        weights: Vec<PathBuf>,
        /// What to write: .safetensors, .pth, or a folder (Hugging Face)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Another format: .safetensors, .pth, or a folder (Hugging Face), by the ending of the second name
    Convert {
        /// File or folder to read
        from: PathBuf,
        /// File or folder to write
        to: PathBuf,
    },
}

pub(crate) fn run(args: WeightsArgs) -> anyhow::Result<()> {
    match args.what {
        Weights::Inspect { weights, json } => show(&weights, json),
        Weights::Diff { a, b, json } => compare(&a, &b, json),
        Weights::Average { weights, out } => mean(&weights, &out),
        Weights::Convert { from, to } => {
            let loaded = convert(&from, &to, format_of(&to)?)?;
            loaded.notes.iter().for_each(|note| eprintln!("{note}"));
            let path = loaded.path.display();
            println(&format!(
                "{path} ({}): {} tensors -> {}",
                loaded.format.name(),
                loaded.state.len(),
                to.display()
            ))
        }
    }
}

fn format_of(path: &Path) -> anyhow::Result<WriteFormat> {
    Ok(WriteFormat::of(path).ok_or_else(|| WeightsError::UnknownEnding { path: path.to_path_buf() })?)
}

fn println(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

fn show(path: &Path, json: bool) -> anyhow::Result<()> {
    let loaded = read_state_dict(path)?;
    let found = inspect(&loaded.state);
    if json {
        let value = serde_json::json!({
            "path": loaded.path,
            "format": loaded.format.name(),
            "dtypes": loaded.dtypes,
            "notes": loaded.notes,
            "metadata": loaded.metadata,
            "inspection": found,
        });
        return println(&format!("{value:#}"));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} ({})", loaded.path.display(), loaded.format.name())?;
    for note in &loaded.notes {
        writeln!(out, "  {note}")?;
    }
    let dtypes: Vec<String> = loaded.dtypes.iter().map(|(dtype, count)| format!("{count} {dtype}")).collect();
    writeln!(
        out,
        "  {} tensors ({}), {} parameters",
        found.tensors.len(),
        dtypes.join(", "),
        found.parameters
    )?;
    if let Some(like) = &found.looks_like {
        let or = |count: Option<usize>| count.map_or("?".to_owned(), |count| count.to_string());
        writeln!(
            out,
            "  looks like {}, {} classes, {} channels",
            like.architecture,
            or(like.classes),
            or(like.channels)
        )?;
    }
    let card = &loaded.card;
    if let Some(version) = &card.danlu_version {
        writeln!(out, "  written by danlu {version}")?;
    }
    if !card.classes.is_empty() {
        writeln!(out, "  classes: {}", card.classes.join(", "))?;
    }
    if !card.mean.is_empty() {
        writeln!(out, "  mean {:?}, std {:?}", card.mean, card.std)?;
    }
    let broken = found.tensors.iter().filter(|tensor| tensor.non_finite > 0).count();
    if broken > 0 {
        writeln!(out, "  {broken} tensors hold values that are NaN or infinite: see their lines")?;
    }
    let width = found.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    writeln!(
        out,
        "{:width$}  {:>20}  {:>10}  {:>10}  {:>10}  {:>10}",
        "tensor", "sizes", "min", "max", "mean", "std"
    )?;
    for tensor in &found.tensors {
        let sizes = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let bad = match tensor.non_finite {
            0 => String::new(),
            count => format!("  {count} NaN or infinite"),
        };
        writeln!(
            out,
            "{:width$}  {sizes:>20}  {:>10.4}  {:>10.4}  {:>10.4}  {:>10.4}{bad}",
            tensor.name, tensor.min, tensor.max, tensor.mean, tensor.std
        )?;
    }
    Ok(())
}

fn compare(a: &Path, b: &Path, json: bool) -> anyhow::Result<()> {
    let found = diff(&read_state_dict(a)?.state, &read_state_dict(b)?.state);
    if json {
        println(&format!("{:#}", serde_json::to_value(&found)?))?;
    } else {
        let mut out = std::io::stdout().lock();
        for (path, names) in [(a, &found.only_in_a), (b, &found.only_in_b)] {
            for name in names {
                writeln!(out, "only in {}: {name}", path.display())?;
            }
        }
        for (name, left, right) in &found.shapes {
            writeln!(out, "{name}: sizes {left:?} and {right:?}")?;
        }
        for tensor in &found.values {
            writeln!(
                out,
                "{}: relative difference {:.2e}, largest {:.2e}",
                tensor.name, tensor.relative, tensor.max_abs
            )?;
        }
        writeln!(out, "{} tensors are equal", found.equal)?;
    }
    if found.is_empty() { Ok(()) } else { Err(Differs.into()) }
}

fn mean(paths: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let format = format_of(out)?;
    let read = |path: &PathBuf| {
        let loaded = read_state_dict(path)?;
        check_finite(&loaded.state).map_err(|error| error.of_file(&loaded.path))?;
        Ok::<_, WeightsError>(loaded)
    };
    let loaded = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let state = average(&loaded.iter().map(|loaded| &loaded.state).collect::<Vec<_>>())?;
    let card = &loaded[0].card;
    match format {
        WriteFormat::Safetensors => write_safetensors(out, &state, card)?,
        WriteFormat::Pth => write_pth(out, &state)?,
        WriteFormat::HuggingFace => write_huggingface(out, &state, card)?,
    }
    println(&format!("mean of {} checkpoints -> {}", loaded.len(), out.display()))?;
    eprintln!(
        "running statistics of batch norms were averaged too: train an epoch at a rate near 0 to measure them again"
    );
    Ok(())
}
