//! Pictures in characters: sparklines, line charts, bars, tables and images for a terminal of any width.
//!
//! Whether the terminal takes Unicode, colour and how wide it is, is the caller's to find out ([`Term`]); nothing here
//! reads the environment. Colours are the 16 of the terminal's own theme, so they fit light and dark.

use std::fmt::Write;

use crate::bitmap::{Bitmap, luma};
use crate::curves::{Curve, smooth};
use crate::scale::{Kind, Scale, number};
use crate::text::is_wide;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Columns.
    pub width: usize,
    /// Unicode (braille and block characters) rather than plain ASCII.
    pub unicode: bool,
    /// ANSI colours.
    pub color: bool,
}

impl Default for Term {
    /// 80 columns, plain ASCII, no colour: right for a pipe, a log or an unknown terminal.
    fn default() -> Self {
        Term { width: 80, unicode: false, color: false }
    }
}

/// Foreground colours in an order that the colour-blind can tell apart: blue, yellow, cyan, magenta, green, red.
const ANSI: [u8; 6] = [94, 33, 36, 35, 32, 31];

fn coloured(text: &str, n: usize, term: Term) -> String {
    if term.color { format!("\x1b[{}m{text}\x1b[0m", ANSI[n % ANSI.len()]) } else { text.to_owned() }
}

/// Columns that a text takes in a terminal.
pub fn columns(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// Cuts (with `~` or `…`) or pads `text` to exactly `width` columns.
fn cell(text: &str, width: usize, unicode: bool) -> String {
    let mut out = String::new();
    let clean = text.chars().map(|c| if c.is_control() { '?' } else { c });
    if columns(text) <= width {
        out.extend(clean);
    } else {
        let mut used = 1;
        for c in clean {
            used += if is_wide(c) { 2 } else { 1 };
            if used > width {
                break;
            }
            out.push(c);
        }
        if width > 0 {
            out.push(if unicode { '…' } else { '~' });
        }
    }
    let used = columns(&out);
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    out
}

/// A line of at most `width` characters that shows how `values` ran; longer series are averaged into the columns. A
/// column without a finite value shows `x` (`×` in Unicode).
pub fn sparkline(values: &[f64], width: usize, unicode: bool) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const PLAIN: [char; 8] = ['_', '.', ',', '-', '~', '=', '*', '#'];
    let n = values.len().min(width);
    let columns: Vec<f64> = (0..n)
        .map(|i| {
            let part = &values[i * values.len() / n..(i + 1) * values.len() / n];
            let finite: Vec<f64> = part.iter().copied().filter(|v| v.is_finite()).collect();
            if finite.is_empty() { f64::NAN } else { finite.iter().sum::<f64>() / finite.len() as f64 }
        })
        .collect();
    let finite = || columns.iter().copied().filter(|v| v.is_finite());
    let (lo, hi) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let ramp = if unicode { BLOCKS } else { PLAIN };
    columns
        .iter()
        .map(|v| {
            if !v.is_finite() {
                return if unicode { '×' } else { 'x' };
            }
            let t = if hi > lo { (v - lo) / (hi - lo) } else { 0.5 };
            ramp[((t * 8.0) as usize).min(7)]
        })
        .collect()
}

/// A line chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TermChart {
    /// Title of the vertical axis, shown above.
    pub title: String,
    /// Title of the horizontal axis.
    pub x_title: String,
    /// Linear or logarithmic vertical axis.
    pub scale: Kind,
    /// Rows of the drawing; 0 means 12.
    pub height: usize,
    /// The lines; [`Curve::smoothing`] replaces the raw line here.
    pub curves: Vec<Curve>,
}

/// Draws a line chart in braille dots (2 x 4 a character), or in letters where there is no Unicode: each curve then
/// has a letter of its own. Every line ends with a newline.
pub fn line_chart(chart: &TermChart, term: Term) -> String {
    let rows = if chart.height == 0 { 12 } else { chart.height.clamp(3, 200) };
    let (cw, ch) = if term.unicode { (2, 4) } else { (1, 1) };
    let curves: Vec<Vec<(f64, f64)>> = chart
        .curves
        .iter()
        .map(|c| {
            let ys: Vec<f64> = c.points.iter().map(|p| p.1).collect();
            c.points.iter().zip(smooth(&ys, c.smoothing)).map(|(p, y)| (p.0, y)).collect()
        })
        .collect();
    let ys = Scale::around(chart.scale, curves.iter().flatten().map(|p| p.1), 0.0, 0.0, 1.0);
    let (lo, hi) = ys.range();
    let labels = [
        number(hi),
        number(if chart.scale == Kind::Log { (lo * hi).sqrt() } else { (lo + hi) / 2.0 }),
        number(lo),
    ];
    let margin = labels.iter().map(|l| l.len()).max().unwrap_or(0) + 2;
    let cols = term.width.saturating_sub(margin + 1).clamp(8, 400);
    let (w, h) = (cols * cw, rows * ch);
    let xs = Scale::around(Kind::Linear, curves.iter().flatten().map(|p| p.0), 0.0, 0.0, (w - 1) as f64);
    let ys = Scale::new(chart.scale, lo, hi, (h - 1) as f64, 0.0);

    // Which curve drew a character last, and which of its dots are set.
    let mut owner = vec![usize::MAX; cols * rows];
    let mut dots = vec![0u8; cols * rows];
    let mut set = |x: i64, y: i64, n: usize| {
        if x < 0 || y < 0 || x >= w as i64 || y >= h as i64 {
            return;
        }
        let (x, y) = (x as usize, y as usize);
        let at = (y / ch) * cols + x / cw;
        owner[at] = n;
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        dots[at] |= if term.unicode { BITS[y % 4][x % 2] } else { 1 };
    };
    for (n, points) in curves.iter().enumerate() {
        let mut before: Option<(f64, f64)> = None;
        for &(x, y) in points {
            let Some(p) = xs.at(x).zip(ys.held(y)) else {
                before = None;
                continue;
            };
            let a = before.unwrap_or(p);
            let steps = (p.0 - a.0).abs().max((p.1 - a.1).abs()).ceil().clamp(1.0, 10_000.0) as i64;
            for s in 0..=steps {
                let t = s as f64 / steps as f64;
                set((a.0 + (p.0 - a.0) * t).round() as i64, (a.1 + (p.1 - a.1) * t).round() as i64, n);
            }
            before = Some(p);
        }
    }

    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    let mut out = String::new();
    let key: Vec<String> = chart
        .curves
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.name.is_empty())
        .map(|(n, c)| {
            let mark = if term.unicode { "──".to_owned() } else { letter(n).to_string() };
            format!("{} {}", coloured(&mark, n, term), c.name)
        })
        .collect();
    let _ = writeln!(out, "{}", [vec![chart.title.clone()], key].concat().join("  ").trim());
    let bar = if term.unicode { '┤' } else { '|' };
    for row in 0..rows {
        let label = match row {
            0 => &labels[0],
            r if r == rows / 2 => &labels[1],
            r if r == rows - 1 => &labels[2],
            _ => "",
        };
        let _ = write!(out, "{label:>w$} {bar}", w = margin - 2);
        let mut line = String::new();
        let mut col = 0;
        while col < cols {
            let who = owner[row * cols + col];
            let mut part = String::new();
            while col < cols && owner[row * cols + col] == who {
                let d = dots[row * cols + col];
                part.push(match (d, term.unicode) {
                    (0, _) => ' ',
                    (_, false) => letter(who),
                    (_, true) => char::from_u32(0x2800 + u32::from(d)).unwrap_or(' '),
                });
                col += 1;
            }
            line.push_str(&if who == usize::MAX { part } else { coloured(&part, who, term) });
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let (corner, dash) = if term.unicode { ('└', '─') } else { ('+', '-') };
    let _ = writeln!(out, "{:w$}{corner}{}", "", dash.to_string().repeat(cols), w = margin - 1);
    let (first, last) = xs.range();
    // What is counted begins and ends at a whole number, also where a single one was widened to be drawn.
    let whole = curves.iter().flatten().all(|p| p.0.fract() == 0.0);
    let (first, last) = if whole { (first.ceil(), last.floor()) } else { (first, last) };
    let (first, last) = (number(first), number(last));
    let middle = cols.saturating_sub(first.len() + last.len());
    let title = cell(&chart.x_title, middle.saturating_sub(2).min(columns(&chart.x_title)), term.unicode);
    let gap = middle.saturating_sub(columns(&title));
    let _ = writeln!(
        out,
        "{:w$}{first}{}{title}{}{last}",
        "",
        " ".repeat(gap / 2),
        " ".repeat(gap - gap / 2),
        w = margin
    );
    out
}

/// Horizontal bars, one line each: name, bar, `text` (the value with its unit).
pub fn bars(rows: &[(String, f64, String)], term: Term) -> String {
    let names = rows.iter().map(|r| columns(&r.0)).max().unwrap_or(0).min(term.width / 3);
    let texts = rows.iter().map(|r| columns(&r.2)).max().unwrap_or(0);
    let room = term.width.saturating_sub(names + texts + 3).max(4);
    let most = rows.iter().map(|r| r.1).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let mut out = String::new();
    for (name, value, text) in rows {
        let share = if most > 0.0 && value.is_finite() { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        let eighths = (share * room as f64 * 8.0).round() as usize;
        let bar = if term.unicode {
            const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
            format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
        } else {
            "#".repeat((eighths + 4) / 8)
        };
        let pad = " ".repeat(room.saturating_sub(bar.chars().count()));
        let _ = writeln!(
            out,
            "{} {}{pad} {}",
            cell(name, names, term.unicode),
            coloured(&bar, 0, term),
            cell(text, texts, term.unicode).trim_end()
        );
    }
    out
}

/// A table with aligned columns; the first is text (left), the others are numbers (right). Columns shrink to the
/// terminal's width, the first one first.
pub fn table(head: &[&str], rows: &[Vec<String>], term: Term) -> String {
    let n = head.len();
    let mut widths: Vec<usize> = head.iter().map(|h| columns(h)).collect();
    for row in rows {
        for (w, text) in widths.iter_mut().zip(row) {
            *w = (*w).max(columns(text));
        }
    }
    let total: usize = widths.iter().sum::<usize>() + 2 * n.saturating_sub(1);
    if let Some(first) = widths.first_mut() {
        *first = first.saturating_sub(total.saturating_sub(term.width)).max(6.min(*first));
    }
    let mut out = String::new();
    let mut line = |texts: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (i, (t, w)) in texts.zip(&widths).enumerate() {
            let c = cell(t, *w, term.unicode);
            if i == 0 {
                text.push_str(&c);
            } else {
                let body = c.trim_end();
                let _ = write!(text, "  {}{body}", " ".repeat(w.saturating_sub(columns(body))));
            }
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    line(&mut head.iter().copied());
    let rule = if term.unicode { "─" } else { "-" };
    let rules: Vec<String> = widths.iter().map(|w| rule.repeat(*w)).collect();
    line(&mut rules.iter().map(String::as_str));
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

/// An image in characters, at most as wide as the terminal: half blocks in 24-bit colour, or a ramp of ten
/// characters from dark to light.
pub fn image(bitmap: &Bitmap, term: Term) -> String {
    let half = term.color && term.unicode;
    let cols = term.width.clamp(4, 400).min(if half { bitmap.width() } else { bitmap.width() * 2 }).max(1);
    // A character is about twice as high as wide: two pixels a character in half blocks, one row for two otherwise.
    let lines = ((cols * bitmap.height()).div_ceil(bitmap.width())).div_ceil(2).clamp(1, 1000);
    let samples = if half { lines * 2 } else { lines };
    let pixel = |col: usize, row: usize| {
        // The mean of the pixels under a sample, so that thin strokes survive.
        let (x0, x1) = (col * bitmap.width() / cols, ((col + 1) * bitmap.width()).div_ceil(cols));
        let (y0, y1) = (row * bitmap.height() / samples, ((row + 1) * bitmap.height()).div_ceil(samples));
        let (x1, y1) =
            (x1.clamp(x0 + 1, bitmap.width().max(x0 + 1)), y1.clamp(y0 + 1, bitmap.height().max(y0 + 1)));
        let mut sum = [0usize; 3];
        for y in y0..y1.min(bitmap.height()) {
            for x in x0..x1.min(bitmap.width()) {
                let p = bitmap.rgba(x, y);
                for c in 0..3 {
                    sum[c] += usize::from(p[c]);
                }
            }
        }
        let n = ((x1 - x0) * (y1 - y0)).max(1);
        sum.map(|s| (s / n).min(255) as u8)
    };
    let mut out = String::new();
    for line in 0..lines {
        for col in 0..cols {
            if half {
                let ([r, g, b], [r2, g2, b2]) = (pixel(col, line * 2), pixel(col, line * 2 + 1));
                let _ = write!(out, "\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m▀");
            } else {
                let [r, g, b] = pixel(col, line);
                const RAMP: &[u8; 10] = b" .:-=+*#%@";
                out.push(char::from(RAMP[usize::from(luma(r, g, b)) * 10 / 256]));
            }
        }
        if half {
            out.push_str("\x1b[0m");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn falling() -> TermChart {
        let line = |name: &str, by: f64| Curve {
            name: name.into(),
            points: (0..40).map(|i| (f64::from(i), 2.0 * (-by * f64::from(i)).exp() + 0.1)).collect(),
            ..Curve::default()
        };
        TermChart {
            title: "loss".into(),
            x_title: "epoch".into(),
            height: 8,
            curves: vec![line("train", 0.12), line("validation", 0.06)],
            ..TermChart::default()
        }
    }

    #[test]
    fn a_sparkline_rises_with_its_values_and_marks_lost_ones() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 80, true), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[0.0, f64::NAN, 7.0], 80, false), "_x#");
        assert_eq!(sparkline(&[1.0; 100], 10, true), "▅▅▅▅▅▅▅▅▅▅");
        assert_eq!(sparkline(&[], 10, true), "");
        assert_eq!(sparkline(&[1.0], 0, true), "");
    }

    #[test]
    fn a_chart_without_unicode_is_ascii_and_with_it_braille() {
        let plain = line_chart(&falling(), Term { width: 60, unicode: false, color: false });
        assert!(plain.is_ascii(), "{plain}");
        assert!(plain.contains('a') && plain.contains('b'));
        let dots = line_chart(&falling(), Term { width: 60, unicode: true, color: false });
        assert!(dots.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
        insta::assert_snapshot!(format!("{plain}\n{dots}"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [20, 33, 80, 200] {
            for unicode in [false, true] {
                let term = Term { width, unicode, color: false };
                let rows: Vec<(String, f64, String)> = (0..5)
                    .map(|i| (format!("layer{i}.0.conv 卷积"), f64::from(i) * 3.0, format!("{i} MiB")))
                    .collect();
                let cells: Vec<Vec<String>> = (0..3)
                    .map(|i| vec![format!("a class with a long name {i}"), "0.91".into(), "123".into()])
                    .collect();
                let ramp: Vec<u8> = (0..48 * 48 * 3).map(|i| (i % 251) as u8).collect();
                let picture = Bitmap::new(48, 48, 3, ramp).expect("shape fits");
                let texts = [
                    line_chart(&falling(), term),
                    bars(&rows, term),
                    table(&["class", "F1", "n"], &cells, term),
                    image(&picture, term),
                ];
                for text in texts {
                    for line in text.lines().skip(usize::from(text.starts_with("loss"))) {
                        assert!(columns(line) <= width, "{width}: {line:?} has {}", columns(line));
                    }
                }
            }
        }
    }

    #[test]
    fn an_image_keeps_its_proportions_and_brightness() {
        let mut data = vec![0u8; 20 * 20];
        data[..200].fill(255);
        let text = image(&Bitmap::new(20, 20, 1, data).expect("shape fits"), Term::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 20);
        assert!(lines[0].chars().all(|c| c == '@') && lines[19].chars().all(|c| c == ' '));
        assert_eq!(lines[0].len(), 40);
    }
}
