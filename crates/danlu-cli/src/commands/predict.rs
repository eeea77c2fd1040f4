//! `danlu predict RUN|FILE IMAGE...`

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use clap::Args;
use danlu::data::{Pixels, TestViews};
use danlu::train::{Prediction, Predictor, TrainError};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu predict runs/photos-1 cat.jpg dog.jpg --top 3\n  danlu predict resnet50.pth *.jpg --json\n  find photos -name '*.jpg' | danlu predict runs/photos-1 - --csv > classes.csv"
)]
pub(crate) struct PredictArgs {
    /// A run folder, a .safetensors, .pth or .onnx file, or a Hugging Face folder
    model: PathBuf,
    /// Image files; `-` reads their paths from stdin, one a line
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// How many classes to show for each image
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Images that are looked at together; the answers do not depend on it
    #[arg(long, value_name = "N", default_value_t = 16)]
    batch_size: usize,
    /// Views of an image to average over: none, mirror or mirror_shift; by default the recipe's `data.test_views`
    #[arg(long, visible_alias = "tta", value_name = "VIEWS", value_parser = crate::test_views::parse)]
    test_views: Option<TestViews>,
    /// Keep the batch norms instead of folding them into their convolutions: the same answers, slower
    #[arg(long)]
    no_fold: bool,
    /// One JSON object a line and image
    #[arg(long)]
    json: bool,
    /// A table: image, rank, class, probability
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(crate) fn run(args: PredictArgs) -> anyhow::Result<()> {
    let mut predictor = Predictor::load(&args.model)?;
    if let Some(views) = args.test_views {
        predictor.set_test_views(views);
    }
    if !args.no_fold {
        predictor.fold()?;
    }
    predictor.notes().iter().for_each(|note| eprintln!("note: {note}"));
    let mut output = Output { args: &args, failed: None };
    if args.csv {
        writeln!(std::io::stdout().lock(), "image,rank,class,probability")?;
    }
    let mut waiting: Vec<(PathBuf, Pixels)> = Vec::new();
    for path in &args.images {
        if path != Path::new("-") {
            output.take(&mut predictor, &mut waiting, path.clone())?;
            continue;
        }
        let lines = lines_of_stdin();
        while let Ok(line) = lines.recv() {
            // What has come meanwhile makes a batch; whoever sends one path and waits gets its answer.
            for line in std::iter::once(line).chain(lines.try_iter()) {
                let line = line?;
                if !line.is_empty() {
                    output.take(&mut predictor, &mut waiting, PathBuf::from(line))?;
                }
            }
            output.look(&mut predictor, &mut waiting)?;
        }
    }
    output.look(&mut predictor, &mut waiting)?;
    match output.failed {
        Some(error) if args.images.len() == 1 && args.images[0] != Path::new("-") => Err(error.into()),
        Some(error) => {
            Err(anyhow::Error::new(error).context("not every image could be read; the last problem"))
        }
        None => Ok(()),
    }
}

/// The lines of stdin as they come, read on a thread of their own; no more than a few thousand wait.
fn lines_of_stdin() -> Receiver<std::io::Result<String>> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(4096);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.send(line).is_err() {
                // Nobody listens any more: an image of before ended the command.
                break;
            }
        }
    });
    receiver
}

struct Output<'a> {
    args: &'a PredictArgs,
    failed: Option<TrainError>,
}

impl Output<'_> {
    /// An unreadable image must not hide the answers for the others.
    fn take(
        &mut self,
        predictor: &mut Predictor,
        waiting: &mut Vec<(PathBuf, Pixels)>,
        path: PathBuf,
    ) -> anyhow::Result<()> {
        match predictor.read(&path) {
            Ok(pixels) => waiting.push((path, pixels)),
            Err(error) => {
                if self.args.images.len() > 1 || self.args.images[0] == Path::new("-") {
                    eprintln!("error: {error}");
                }
                self.failed = Some(error);
            }
        }
        if waiting.len() >= self.args.batch_size.max(1) { self.look(predictor, waiting) } else { Ok(()) }
    }

    fn look(
        &mut self,
        predictor: &mut Predictor,
        waiting: &mut Vec<(PathBuf, Pixels)>,
    ) -> anyhow::Result<()> {
        let (paths, images): (Vec<PathBuf>, Vec<Pixels>) = waiting.drain(..).unzip();
        for (path, mut classes) in paths.iter().zip(predictor.predict_batch(&images)?) {
            classes.truncate(self.args.top);
            self.write(path, &classes)?;
        }
        Ok(())
    }

    fn write(&self, image: &Path, classes: &[Prediction]) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.args.json {
            writeln!(out, "{}", serde_json::json!({ "image": image, "classes": classes }))?;
        } else if self.args.csv {
            let image = quoted(&image.display().to_string());
            for (rank, class) in classes.iter().enumerate() {
                writeln!(out, "{image},{},{},{}", rank + 1, quoted(&class.class), class.probability)?;
            }
        } else {
            let classes: Vec<String> = classes
                .iter()
                .map(|class| format!("{} {:.1} %", class.class, 100.0 * class.probability))
                .collect();
            writeln!(out, "{}: {}", image.display(), classes.join(", "))?;
        }
        // Whoever reads a stream of answers gets each batch as it is known.
        Ok(out.flush()?)
    }
}

/// RFC 4180.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
