//! Which layers folding changes, and what each gains.

use danlu::nn::{Engine, KernelTime, LayerOp};
use danlu::view::terminal::table;
use danlu::view::{BarUnit, LayerBars, Look, Svg, ViewError, layer_bars};

use super::median;
use crate::commands::show::output::term;

/// The times of both networks, layer by layer.
pub(super) struct Folding {
    /// Layer, its convolution's name once folded, the batch norm.
    layers: Vec<[String; 3]>,
    /// Of each layer, its seconds in each pass: with its batch norm, and folded.
    seconds: Vec<[Vec<f64>; 2]>,
}

impl Folding {
    /// The convolutions of an unfolded network that have a batch norm.
    pub(super) fn of(engine: &Engine) -> Self {
        let layers: Vec<[String; 3]> = engine
            .graph()
            .nodes()
            .filter_map(|layer| {
                let (LayerOp::Conv(_), Some((norm, _))) = (layer.op, layer.norm) else { return None };
                let weight = layer.params.first()?.name.trim_end_matches(".weight");
                Some([layer.name, weight, norm].map(str::to_owned))
            })
            .collect();
        let seconds = layers.iter().map(|_| Default::default()).collect();
        Folding { layers, seconds }
    }

    /// Adds a pass of each network.
    pub(super) fn add(&mut self, unfolded: &[KernelTime], folded: &[KernelTime]) {
        let sum = |kernels: &[KernelTime], layer: &str| -> f64 {
            kernels.iter().filter(|kernel| kernel.layer == layer).map(|kernel| kernel.seconds).sum()
        };
        for ([layer, conv, _], seconds) in self.layers.iter().zip(&mut self.seconds) {
            seconds[0].push(sum(unfolded, layer));
            seconds[1].push(sum(folded, conv));
        }
    }

    /// Adds the table to both forms of a report.
    pub(super) fn report(&mut self, report: &mut serde_json::Value, text: &mut String) {
        let rows = self.rows();
        let saved: f64 = rows.iter().map(|(_, [before, after])| before - after).sum();
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|([_, conv, norm], [before, after])| {
                let ms = |seconds: f64| format!("{:.3}", 1e3 * seconds);
                vec![conv.clone(), norm.clone(), ms(*before), ms(*after), ms(before - after)]
            })
            .collect();
        text.push_str("\n\n");
        text.push_str(&table(&["layer", "took in", "ms before", "ms folded", "saved"], &cells, term()));
        text.push_str(&format!(
            "{} batch norms folded, {:.3} ms saved in their layers",
            rows.len(),
            1e3 * saved
        ));
        report["folded"] = rows
            .iter()
            .map(|([_, conv, norm], [before, after])| {
                serde_json::json!({ "layer": conv, "norm": norm, "ms_before": 1e3 * before, "ms": 1e3 * after })
            })
            .collect();
    }

    /// Bars: what is left of each layer's time, and what folding took away.
    pub(super) fn picture(&mut self, title: String) -> Result<Svg, ViewError> {
        let layers = self.rows().into_iter().map(|([_, conv, _], [before, after])| {
            (conv, vec![after.min(before), (before - after).max(0.0)])
        });
        let bars = LayerBars {
            title,
            parts: vec!["folded".to_owned(), "gone with the batch norm".to_owned()],
            layers: layers.collect(),
            unit: BarUnit::Seconds,
        };
        layer_bars(&bars, &Look::default())
    }

    fn rows(&mut self) -> Vec<([String; 3], [f64; 2])> {
        let layers = self.layers.iter().cloned();
        layers.zip(&mut self.seconds).map(|(names, [a, b])| (names, [median(a), median(b)])).collect()
    }
}
