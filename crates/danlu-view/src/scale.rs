//! Axes: from values to places, with ticks at round numbers.

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Equal steps.
    #[default]
    Linear,
    /// Equal ratios; values that are not positive have no place.
    Log,
}

/// A scale from `[min, max]` to places `[from, to]` in px.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    kind: Kind,
    min: f64,
    max: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// A scale over exactly `[min, max]`; an empty or unusable range is widened to one that can be drawn.
    pub fn new(kind: Kind, min: f64, max: f64, from: f64, to: f64) -> Self {
        let (mut min, mut max) = if min <= max { (min, max) } else { (max, min) };
        if !min.is_finite() || !max.is_finite() || (kind == Kind::Log && max <= 0.0) {
            (min, max) = if kind == Kind::Log { (0.1, 1.0) } else { (0.0, 1.0) };
        }
        if kind == Kind::Log && min <= 0.0 {
            min = max / 1e6;
        }
        if min == max {
            match kind {
                Kind::Log => (min, max) = (min / 2.0, max * 2.0),
                Kind::Linear => {
                    let by = if min == 0.0 { 1.0 } else { min.abs() * 0.1 };
                    (min, max) = (min - by, max + by);
                }
            }
        }
        Scale { kind, min, max, from, to }
    }

    /// A scale over the values' range, widened by `pad` (a share of the range) on both sides. Non-finite values,
    /// and on a log axis those that are not positive, are left out.
    pub fn around(kind: Kind, values: impl Iterator<Item = f64>, pad: f64, from: f64, to: f64) -> Self {
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.is_finite() && (kind == Kind::Linear || *v > 0.0)) {
            min = min.min(v);
            max = max.max(v);
        }
        if min < max {
            match kind {
                Kind::Linear => {
                    let by = (max - min) * pad;
                    // A quantity that is never negative keeps its axis at 0.
                    (min, max) = (if min >= 0.0 && min < by { 0.0 } else { min - by }, max + by);
                }
                Kind::Log => {
                    let by = ((max.ln() - min.ln()) * pad).exp();
                    (min, max) = (min / by, (max * by).min(f64::MAX));
                }
            }
        }
        Scale::new(kind, min, max, from, to)
    }

    /// The range of values.
    pub fn range(&self) -> (f64, f64) {
        (self.min, self.max)
    }

    /// The place of `v` in px; `None` where it has none (not finite, or not positive on a log axis).
    pub fn at(&self, v: f64) -> Option<f64> {
        if !v.is_finite() || (self.kind == Kind::Log && v <= 0.0) {
            return None;
        }
        let t = match self.kind {
            Kind::Linear => (v - self.min) / (self.max - self.min),
            // A difference of logarithms: the quotient of two extreme values would overflow.
            Kind::Log => (v.ln() - self.min.ln()) / (self.max.ln() - self.min.ln()),
        };
        Some(self.from + t * (self.to - self.from))
    }

    /// As [`Scale::at`], held within the ends of the axis.
    pub fn held(&self, v: f64) -> Option<f64> {
        let (lo, hi) = if self.from < self.to { (self.from, self.to) } else { (self.to, self.from) };
        self.at(v).map(|p| p.clamp(lo, hi))
    }

    /// About `count` ticks at round numbers, with their labels.
    pub fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let count = count.max(2);
        match self.kind {
            Kind::Linear => linear_ticks(self.min, self.max, count),
            Kind::Log => log_ticks(self.min, self.max, count),
        }
    }
}

/// The round step (1, 2, 2.5 or 5 times a power of ten) that gives about `count` ticks.
fn nice_step(span: f64, count: usize) -> f64 {
    let raw = span / count as f64;
    let power = 10f64.powf(raw.log10().floor());
    let lead = raw / power;
    // Bounds between two steps are their geometric means: the nearest in ratio wins.
    let nice = match lead {
        l if l < 1.42 => 1.0,
        l if l < 2.24 => 2.0,
        // Epochs and other counts have no halves.
        l if l < 3.54 && power == 1.0 => {
            if l < 2.5 {
                2.0
            } else {
                5.0
            }
        }
        l if l < 3.54 => 2.5,
        l if l < 7.08 => 5.0,
        _ => 10.0,
    };
    nice * power
}

fn linear_ticks(min: f64, max: f64, count: usize) -> Vec<(f64, String)> {
    let step = nice_step(max - min, count);
    if !step.is_finite() || step <= 0.0 {
        return vec![(min, number(min))];
    }
    let first = (min / step - 1e-9).ceil();
    let last = (max / step + 1e-9).floor();
    let big = min.abs().max(max.abs());
    (0..=(last - first).clamp(0.0, 100.0) as usize)
        .map(|i| {
            let v = (first + i as f64) * step;
            let v = if v.abs() < step * 1e-9 { 0.0 } else { v };
            (v, stepped(v, step, big))
        })
        .collect()
}

/// From where on a unit is used, the unit, its name: thousands only from ten on (a year, a batch of 4096), so that no label reads
/// `1000k` or `1000G`.
const UNITS: [(f64, f64, &str); 4] = [(1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")];

/// A tick label with just the decimals that its step needs.
fn stepped(v: f64, step: f64, big: f64) -> String {
    if v == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&step) || (big < 1e-3) {
        return scientific(v, (v.abs() / step).log10().ceil().max(0.0) as usize);
    }
    for (least, unit, name) in UNITS {
        if big >= least {
            return format!("{}{name}", decimals(v / unit, step / unit));
        }
    }
    decimals(v, step)
}

fn decimals(v: f64, step: f64) -> String {
    let mut places = 0;
    let mut s = step;
    while places < 9 && (s - s.round()).abs() > 1e-6 * s.abs() {
        s *= 10.0;
        places += 1;
    }
    format!("{v:.places$}")
}

fn log_ticks(min: f64, max: f64, count: usize) -> Vec<(f64, String)> {
    let (lo, hi) = (min.log10(), max.log10());
    let decades = hi - lo;
    if decades < 0.7 {
        // Less than a decade: round numbers read better than a lone power of ten.
        return linear_ticks(min, max, count).into_iter().filter(|(v, _)| *v > 0.0).collect();
    }
    let every = (decades / count as f64).ceil().max(1.0) as i32;
    let leads: &[f64] = if decades < 2.5 && count >= 4 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let mut out = Vec::new();
    for e in lo.floor() as i32..=hi.ceil() as i32 {
        if e.rem_euclid(every) != 0 {
            continue;
        }
        for lead in leads {
            let v = lead * 10f64.powi(e);
            if v >= min * (1.0 - 1e-9) && v <= max * (1.0 + 1e-9) {
                out.push((v, number(v)));
            }
        }
    }
    if out.len() < 2 && leads.len() == 1 && every > 1 {
        return log_ticks(min, max, count * 2);
    }
    out
}

fn scientific(v: f64, digits: usize) -> String {
    let text = format!("{v:.*e}", digits.min(6));
    match text.split_once('e') {
        Some((m, e)) if m.contains('.') => format!("{}e{e}", m.trim_end_matches('0').trim_end_matches('.')),
        _ => text,
    }
}

/// A number for a person: three or four significant digits, `12.3k`, `1e-4`; `nan` and `inf` as they are.
pub fn number(v: f64) -> String {
    let a = v.abs();
    if !v.is_finite() {
        return if v.is_nan() { "nan".to_owned() } else { (if v > 0.0 { "inf" } else { "-inf" }).to_owned() };
    }
    if a == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e13).contains(&a) {
        return scientific(v, 2);
    }
    let unit = UNITS.into_iter().find(|(least, ..)| a >= *least);
    let (scaled, unit) = unit.map_or((v, ""), |(_, unit, name)| (v / unit, name));
    let places = (3 - scaled.abs().log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{scaled:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Bytes for a person: `1.5 GiB`, `12 KiB`, `96 B`.
pub fn bytes(n: f64) -> String {
    let mut v = n;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if v.abs() < 1024.0 || unit == "TiB" {
            let places = usize::from(v.abs() < 10.0 && unit != "B");
            return format!("{v:.places$} {unit}");
        }
        v /= 1024.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(s: &Scale, n: usize) -> Vec<String> {
        s.ticks(n).into_iter().map(|(_, l)| l).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_inside() {
        let s = Scale::new(Kind::Linear, 0.0, 1.0, 0.0, 100.0);
        assert_eq!(
            labels(&s, 5),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"].map(|t| if t == "0.0" { "0" } else { t })
        );
        let s = Scale::new(Kind::Linear, 0.0, 234_000.0, 0.0, 100.0);
        assert_eq!(labels(&s, 5), ["0", "50k", "100k", "150k", "200k"]);
        let s = Scale::new(Kind::Linear, 0.0, 30.0, 0.0, 100.0);
        assert_eq!(labels(&s, 12), ["0", "5", "10", "15", "20", "25", "30"]);
        let s = Scale::new(Kind::Linear, -0.31, 0.29, 0.0, 100.0);
        assert_eq!(labels(&s, 6), ["-0.3", "-0.2", "-0.1", "0", "0.1", "0.2"]);
    }

    #[test]
    fn log_ticks_are_powers_of_ten() {
        let s = Scale::new(Kind::Log, 1e-7, 10.0, 0.0, 100.0);
        assert_eq!(labels(&s, 9), ["1e-7", "1e-6", "1e-5", "1e-4", "0.001", "0.01", "0.1", "1", "10"]);
        assert!(labels(&s, 4).len() >= 2);
        let s = Scale::new(Kind::Log, 0.02, 0.6, 0.0, 100.0);
        assert_eq!(labels(&s, 5), ["0.02", "0.05", "0.1", "0.2", "0.5"]);
    }

    #[test]
    fn any_range_gives_finite_places_and_few_ticks() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, 1e-9, 1.0, 1e9, 1e300];
        for kind in [Kind::Linear, Kind::Log] {
            for a in odd {
                for b in odd {
                    let s = Scale::new(kind, a, b, 0.0, 100.0);
                    let ticks = s.ticks(5);
                    assert!(ticks.len() <= 40, "{kind:?} {a} {b}: {} ticks", ticks.len());
                    for (v, _) in ticks {
                        assert!(s.at(v).is_some_and(f64::is_finite), "{kind:?} [{a}, {b}] at {v}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_the_ends_of_the_axis() {
        for kind in [Kind::Linear, Kind::Log] {
            let s = Scale::new(kind, 0.5, 8.0, 200.0, 20.0);
            assert_eq!(s.at(0.5), Some(200.0));
            assert!((s.at(8.0).unwrap_or(0.0) - 20.0).abs() < 1e-9);
        }
        let s = Scale::new(Kind::Log, 0.5, 8.0, 0.0, 4.0);
        assert!((s.at(2.0).unwrap_or(0.0) - 2.0).abs() < 1e-9);
        assert_eq!(s.at(-1.0), None);
    }

    #[test]
    fn numbers_read_as_a_person_would_write_them() {
        let cases = [
            (0.0, "0"),
            (0.1, "0.1"),
            (1234.0, "1234"),
            (0.12345, "0.1235"),
            (1e-4, "1e-4"),
            (2.5e-5, "2.5e-5"),
            (12_345.0, "12.35k"),
            (11_170_000.0, "11.17M"),
            (1e6, "1M"),
            (1e9, "1G"),
            (1e12, "1T"),
            (4096.0, "4096"),
            (100.0, "100"),
            (1e14, "1e14"),
            (-3.5, "-3.5"),
            (f64::NAN, "nan"),
        ];
        for (v, text) in cases {
            assert_eq!(number(v), text);
        }
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(96.0), "96 B");
        assert_eq!(bytes(20.0 * 1024.0 * 1024.0), "20 MiB");
    }
}
