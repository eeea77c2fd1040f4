//! `danlu export RUN --to onnx|safetensors|pth|huggingface`

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use danlu::train::{ExportFormat, ExportOptions, RunFolder, export_run};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu export runs/photos-1 --to onnx\n  danlu export runs/photos-1 --to onnx --preprocessing --out model.onnx\n  danlu export runs/photos-1 --to pth --out resnet18.pth\n\nEvery export is compared with the run on validation images (ONNX before it is written, the others read back); one that does not agree to 1e-4 is removed. The result is\nprinted and kept in RUN/export/. int8 is out of scope: weights stay f32."
)]
pub(crate) struct ExportArgs {
    /// The run folder
    run: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    to: Target,
    /// Where; by default RUN/export/model.*
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Fold each batch norm into its convolution (ONNX: always, unless --no-fold or the recipe's `train.fold_batch_norm = false`)
    #[arg(long, conflicts_with = "no_fold")]
    fold: bool,
    /// Keep the batch norms in an ONNX model
    #[arg(long)]
    no_fold: bool,
    /// ONNX: the input is uint8 [batch, height, width, channels], and the normalisation is in the model
    #[arg(long)]
    preprocessing: bool,
    /// Validation images that the check compares
    #[arg(long, value_name = "N", default_value_t = 32)]
    images: usize,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    Onnx,
    Safetensors,
    Pth,
    Huggingface,
}

pub(crate) fn run(args: ExportArgs) -> anyhow::Result<()> {
    let format = match args.to {
        Target::Onnx => ExportFormat::Onnx,
        Target::Safetensors => ExportFormat::Safetensors,
        Target::Pth => ExportFormat::Pth,
        Target::Huggingface => ExportFormat::HuggingFace,
    };
    let options = ExportOptions {
        format,
        out: args.out,
        fold: (args.fold || args.no_fold).then_some(args.fold),
        preprocessing: args.preprocessing,
        images: args.images.max(1),
    };
    let exported = export_run(&RunFolder::open(&args.run)?, &options)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(&exported)?)?;
        return Ok(());
    }
    writeln!(out, "{}", exported.path.display())?;
    writeln!(
        out,
        "  parity on {}: relative difference {:.1e}, the same class for {} of {} ({})",
        exported.checked_on,
        exported.relative_difference,
        exported.same_class,
        exported.images,
        exported.checked
    )?;
    if !exported.folded.is_empty() {
        let values: usize = exported.folded.iter().map(|layer| layer.values_saved).sum();
        writeln!(
            out,
            "  folded {} batch norms into their convolutions, {values} values fewer:",
            exported.folded.len()
        )?;
        for layer in &exported.folded {
            writeln!(out, "    {} <- {}", layer.layer, layer.norm)?;
        }
    }
    Ok(())
}
