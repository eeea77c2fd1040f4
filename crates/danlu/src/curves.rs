//! Learning curves of one or more runs, from their `events.jsonl`: finished, interrupted or still training.

use danlu_train::{Event, RunFolder, TrainError, read_events};
use danlu_view::{Curve, Curves, Panel, curves};

/// The name of a run: that of its folder.
fn name(run: &RunFolder) -> String {
    run.path()
        .file_name()
        .map_or_else(|| run.path().display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Loss (nats), top-1 (%) and learning rate over epochs, a panel each. With several runs the lines carry the runs' names.
/// A run without a whole epoch adds empty lines.
///
/// # Errors
/// [`TrainError::Io`] or [`TrainError::Damaged`] where the events of a run cannot be read.
pub fn of_runs(runs: &[RunFolder]) -> Result<Curves, TrainError> {
    let panel = |title: &str| Panel { title: title.to_owned(), ..Panel::default() };
    let mut panels = vec![panel("loss (nats)"), panel("top-1 (%)"), panel("learning rate")];
    let (mut marks, mut switches) = (Vec::new(), Vec::new());
    for run in runs {
        let prefix = if runs.len() > 1 { format!("{} ", name(run)) } else { String::new() };
        let mut an_epoch = 1.0;
        let mut lines: [Vec<(f64, f64)>; 5] = Default::default();
        for event in read_events(&run.events())? {
            let epoch = match event {
                Event::Start { iterations_per_epoch, .. } => {
                    an_epoch = iterations_per_epoch.max(1) as f64;
                    continue;
                }
                Event::Note { kind, iteration, .. } if kind == "optimizer_switch" => {
                    let (x, label) = (iteration as f64 / an_epoch, format!("{prefix}SGD from here"));
                    switches.push(curves::Event { x, label, warning: false });
                    continue;
                }
                Event::Epoch(epoch) => epoch,
                _ => continue,
            };
            let x = epoch.epoch as f64;
            lines[0].push((x, epoch.train_loss));
            lines[1].push((x, epoch.val.loss));
            lines[2].extend(epoch.train_top1.map(|top1| (x, 100.0 * top1)));
            lines[3].push((x, 100.0 * epoch.val.top1));
            lines[4].extend(epoch.lr.first().map(|lr| (x, *lr)));
            if epoch.best && runs.len() == 1 {
                // Only the last best epoch is the one whose weights were kept.
                marks = vec![curves::Event { x, label: "best".to_owned(), warning: false }];
            }
        }
        let names = [(0, "train"), (0, "validation"), (1, "train"), (1, "validation"), (2, "lr")];
        for ((to, what), points) in names.into_iter().zip(lines) {
            panels[to].curves.push(Curve { name: format!("{prefix}{what}"), points, ..Curve::default() });
        }
    }
    marks.append(&mut switches);
    Ok(Curves { x_title: "epoch".to_owned(), panels, events: marks, ..Curves::default() })
}
