//! Learning curves of one or more runs, from their `events.jsonl`: finished, interrupted or still training.

use danlu_doctor::NoiseScale;
use danlu_train::{Event, RunFolder, TrainError, read_events};
use danlu_view::scale::Kind;
use danlu_view::{Curve, Curves, Lang, Panel, curves};

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

/// What every update of a run said: loss of the batch (nats), gradient norm, learning rate, and the gradient noise scale where it was
/// measured. `smoothing` as of [`Curve::smoothing`]; the raw lines stay behind it.
///
/// # Errors
/// As [`of_runs`].
pub fn updates(run: &RunFolder, smoothing: f64) -> Result<Curves, TrainError> {
    let mut lines: [Vec<(f64, f64)>; 4] = Default::default();
    let mut noise = NoiseScale::default();
    for event in read_events(&run.events())? {
        match event {
            Event::Iteration { iteration, loss, lr, grad_norm, .. } => {
                let x = iteration as f64;
                lines[0].push((x, loss));
                lines[1].push((x, grad_norm));
                lines[2].extend(lr.first().map(|lr| (x, *lr)));
            }
            Event::Evidence(evidence) => {
                if let Some(at) = evidence.noise {
                    noise.add(at.small, at.small_norm, at.big, at.big_norm);
                    lines[3].extend(noise.images().map(|images| (evidence.iteration as f64, images)));
                }
            }
            _ => {}
        }
    }
    let titles = [
        ("loss of the batch (nats)", Kind::Linear, smoothing),
        ("gradient norm", Kind::Log, smoothing),
        ("learning rate", Kind::Linear, 0.0),
        ("gradient noise scale so far (images)", Kind::Log, 0.0),
    ];
    let panels = titles.into_iter().zip(lines).filter(|(_, points)| !points.is_empty());
    Ok(Curves {
        x_title: "iteration".to_owned(),
        panels: panels
            .map(|((title, scale, smoothing), points)| Panel {
                title: title.to_owned(),
                scale,
                // Each panel has one line, of one colour.
                curves: vec![Curve { name: String::new(), points, smoothing, ..Curve::default() }],
                ..Panel::default()
            })
            .collect(),
        ..Curves::default()
    })
}

/// The texts of [`of_runs`] in another language; names of runs and labels of findings stay.
pub fn translate(curves: &mut Curves, lang: Lang) {
    if lang == Lang::En {
        return;
    }
    const ZH: [(&str, &str); 8] = [
        ("epoch", "轮次"),
        ("loss (nats)", "损失（nat）"),
        ("top-1 (%)", "top-1（%）"),
        ("learning rate", "学习率"),
        ("train", "训练"),
        ("validation", "验证"),
        ("lr", "学习率"),
        ("best", "最好"),
    ];
    let say = |text: &mut String| {
        if let Some((_, zh)) = ZH.iter().find(|(en, _)| *en == text.as_str()) {
            *text = (*zh).to_owned();
        }
    };
    say(&mut curves.x_title);
    for panel in &mut curves.panels {
        say(&mut panel.title);
        panel.curves.iter_mut().for_each(|curve| say(&mut curve.name));
    }
    curves.events.iter_mut().for_each(|event| say(&mut event.label));
}
