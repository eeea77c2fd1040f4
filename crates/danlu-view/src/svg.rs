//! A picture as a short list of shapes, written as SVG or drawn to pixels.
//!
//! No scripts, nothing fetched: images are embedded, colours follow the reader's light or dark setting through
//! classes (see [`stylesheet`]).

use std::fmt::Write;
use std::sync::Arc;

use crate::bitmap::Bitmap;
use crate::ink::{Ink, stylesheet};

/// How a line is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dash {
    /// Not at all.
    #[default]
    Solid,
    /// Long strokes.
    Dashed,
    /// Dots.
    Dotted,
}

impl Dash {
    pub(crate) fn pattern(self) -> Option<[f32; 2]> {
        match self {
            Dash::Solid => None,
            Dash::Dashed => Some([5.0, 4.0]),
            Dash::Dotted => Some([1.5, 3.0]),
        }
    }
}

/// The pen of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pen {
    /// Colour.
    pub ink: Ink,
    /// Width in px.
    pub width: f64,
    /// 0 (invisible) to 1.
    pub opacity: f64,
    /// Dashes.
    pub dash: Dash,
}

impl Pen {
    /// A solid, opaque pen.
    pub fn new(ink: Ink, width: f64) -> Self {
        Pen { ink, width, opacity: 1.0, dash: Dash::Solid }
    }

    /// The same pen, fainter.
    pub fn faint(self, opacity: f64) -> Self {
        Pen { opacity, ..self }
    }

    /// The same pen, broken.
    pub fn dashed(self, dash: Dash) -> Self {
        Pen { dash, ..self }
    }
}

/// The filling of a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// Colour.
    pub ink: Ink,
    /// 0 (invisible) to 1.
    pub opacity: f64,
}

impl From<Ink> for Fill {
    fn from(ink: Ink) -> Self {
        Fill { ink, opacity: 1.0 }
    }
}

/// Which point of a text stands at its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// The left end.
    #[default]
    Start,
    /// The middle.
    Middle,
    /// The right end.
    End,
}

/// A text and how it is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The text, one line.
    pub text: String,
    /// Size in px.
    pub size: f64,
    /// Colour.
    pub ink: Ink,
    /// Which point stands at the place.
    pub anchor: Anchor,
    /// Bold.
    pub bold: bool,
    /// Turned by this many degrees, clockwise, around its place.
    pub turn: f64,
}

impl Label {
    /// A label of the usual size and colour, starting at its place.
    pub fn new(text: impl Into<String>) -> Self {
        Label { text: text.into(), size: 12.0, ink: Ink::Text, anchor: Anchor::Start, bold: false, turn: 0.0 }
    }
    /// Of this size.
    pub fn size(self, size: f64) -> Self {
        Label { size, ..self }
    }
    /// In this colour.
    pub fn ink(self, ink: Ink) -> Self {
        Label { ink, ..self }
    }
    /// In the muted colour.
    pub fn muted(self) -> Self {
        self.ink(Ink::Muted)
    }
    /// Centred on its place.
    pub fn middle(self) -> Self {
        Label { anchor: Anchor::Middle, ..self }
    }
    /// Ending at its place.
    pub fn end(self) -> Self {
        Label { anchor: Anchor::End, ..self }
    }
    /// Bold.
    pub fn bold(self) -> Self {
        Label { bold: true, ..self }
    }
    /// Turned clockwise by degrees.
    pub fn turned(self, turn: f64) -> Self {
        Label { turn, ..self }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Rect {
        x: f64,
        y: f64,
        w: f64,
        h: f64,
        round: f64,
        fill: Option<Fill>,
        pen: Option<Pen>,
        hint: Option<String>,
    },
    Circle {
        x: f64,
        y: f64,
        r: f64,
        fill: Option<Fill>,
        pen: Option<Pen>,
        hint: Option<String>,
    },
    /// Open or closed runs of straight lines.
    Path {
        runs: Vec<Vec<(f64, f64)>>,
        closed: bool,
        fill: Option<Fill>,
        pen: Option<Pen>,
        hint: Option<String>,
    },
    Text {
        x: f64,
        y: f64,
        label: Label,
    },
    Image {
        x: f64,
        y: f64,
        w: f64,
        h: f64,
        bitmap: Arc<Bitmap>,
        smooth: bool,
    },
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    title: String,
    pub(crate) shapes: Vec<Shape>,
}

impl Svg {
    /// An empty picture of `width` x `height` px; `title` is what a screen reader says.
    pub fn new(width: f64, height: f64, title: impl Into<String>) -> Self {
        Svg { width, height, title: title.into(), shapes: Vec::new() }
    }

    /// Width in px.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Height in px.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// What the picture shows, in words.
    pub fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn set_height(&mut self, height: f64) {
        self.height = height;
    }

    /// A rectangle.
    pub fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, fill: impl Into<Fill>) {
        let fill = Some(fill.into());
        self.shapes.push(Shape::Rect { x, y, w, h, round: 0.0, fill, pen: None, hint: None });
    }

    /// A rectangle with a text that appears when pointed at.
    pub fn rect_hint(
        &mut self,
        x: f64,
        y: f64,
        w: f64,
        h: f64,
        fill: impl Into<Fill>,
        hint: impl Into<String>,
    ) {
        let (fill, hint) = (Some(fill.into()), Some(hint.into()));
        self.shapes.push(Shape::Rect { x, y, w, h, round: 0.0, fill, pen: None, hint });
    }

    /// The frame of a rectangle.
    pub fn frame(&mut self, x: f64, y: f64, w: f64, h: f64, pen: Pen) {
        self.shapes.push(Shape::Rect { x, y, w, h, round: 0.0, fill: None, pen: Some(pen), hint: None });
    }

    /// A disc.
    pub fn disc(&mut self, x: f64, y: f64, r: f64, fill: impl Into<Fill>) {
        self.shapes.push(Shape::Circle { x, y, r, fill: Some(fill.into()), pen: None, hint: None });
    }

    /// A disc with a text that appears when pointed at, on a rim of the ground's colour.
    pub fn disc_hint(&mut self, x: f64, y: f64, r: f64, fill: impl Into<Fill>, hint: impl Into<String>) {
        let pen = Some(Pen::new(Ink::Ground, 1.0));
        self.shapes.push(Shape::Circle { x, y, r, fill: Some(fill.into()), pen, hint: Some(hint.into()) });
    }

    /// A circle.
    pub fn circle(&mut self, x: f64, y: f64, r: f64, pen: Pen) {
        self.shapes.push(Shape::Circle { x, y, r, fill: None, pen: Some(pen), hint: None });
    }

    /// A straight line.
    pub fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, pen: Pen) {
        self.polyline(vec![vec![(x1, y1), (x2, y2)]], pen);
    }

    /// Runs of connected straight lines.
    pub fn polyline(&mut self, runs: Vec<Vec<(f64, f64)>>, pen: Pen) {
        self.shapes.push(Shape::Path { runs, closed: false, fill: None, pen: Some(pen), hint: None });
    }

    /// Runs of connected lines with a text that appears when pointed at.
    pub fn polyline_hint(&mut self, runs: Vec<Vec<(f64, f64)>>, pen: Pen, hint: impl Into<String>) {
        let hint = Some(hint.into());
        self.shapes.push(Shape::Path { runs, closed: false, fill: None, pen: Some(pen), hint });
    }

    /// Filled polygons.
    pub fn polygon(&mut self, runs: Vec<Vec<(f64, f64)>>, fill: impl Into<Fill>, pen: Option<Pen>) {
        self.shapes.push(Shape::Path { runs, closed: true, fill: Some(fill.into()), pen, hint: None });
    }

    /// A text with its baseline at `y`.
    pub fn text(&mut self, x: f64, y: f64, label: Label) {
        if !label.text.is_empty() {
            self.shapes.push(Shape::Text { x, y, label });
        }
    }

    /// An image scaled into a rectangle; `smooth` interpolates, otherwise pixels stay squares.
    pub fn image(&mut self, x: f64, y: f64, w: f64, h: f64, bitmap: Arc<Bitmap>, smooth: bool) {
        self.shapes.push(Shape::Image { x, y, w, h, bitmap, smooth });
    }

    /// Another picture, moved by `(dx, dy)`.
    pub fn place(&mut self, dx: f64, dy: f64, other: Svg) {
        for mut shape in other.shapes {
            match &mut shape {
                Shape::Rect { x, y, .. }
                | Shape::Circle { x, y, .. }
                | Shape::Text { x, y, .. }
                | Shape::Image { x, y, .. } => {
                    *x += dx;
                    *y += dy;
                }
                Shape::Path { runs, .. } => {
                    for p in runs.iter_mut().flatten() {
                        *p = (p.0 + dx, p.1 + dy);
                    }
                }
            }
            self.shapes.push(shape);
        }
    }

    /// The picture as a file of its own: with its colours, and on a ground of its own.
    pub fn to_file(&self) -> String {
        self.write(true)
    }

    /// The picture as an element of a page that carries [`stylesheet`] once.
    pub fn to_inline(&self) -> String {
        self.write(false)
    }

    fn write(&self, alone: bool) -> String {
        let mut out = String::with_capacity(256 + self.shapes.len() * 64);
        let (w, h) = (Px(self.width), Px(self.height));
        let title = escape(&self.title);
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dv\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" \
             height=\"{h}\" role=\"img\" aria-label=\"{title}\">"
        );
        if alone {
            let _ = write!(
                out,
                "<title>{title}</title><style>{}</style><rect class=\"fbg\" width=\"{w}\" height=\"{h}\"/>",
                stylesheet()
            );
        }
        for shape in &self.shapes {
            write_shape(&mut out, shape);
        }
        out.push_str("</svg>\n");
        out
    }
}

/// A length with at most one decimal: a tenth of a px is finer than any screen shows.
struct Px(f64);

impl std::fmt::Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = if self.0.is_finite() { (self.0 * 10.0).round() as i64 } else { 0 };
        if tenths % 10 == 0 {
            write!(f, "{}", tenths / 10)
        } else {
            let sign = if tenths < 0 { "-" } else { "" };
            write!(f, "{sign}{}.{}", (tenths / 10).abs(), (tenths % 10).abs())
        }
    }
}

/// The attributes of a filling and a pen; classes carry the colours.
fn paint(out: &mut String, fill: Option<Fill>, pen: Option<Pen>, more: &str) {
    let mut class = more.to_owned();
    let mut add = |c: String| {
        if !class.is_empty() {
            class.push(' ');
        }
        class.push_str(&c);
    };
    let mut rest = String::new();
    match fill {
        None => rest.push_str(" fill=\"none\""),
        Some(Fill { ink, opacity }) => {
            match (ink.class(), ink) {
                (Some(c), _) => add(format!("f{c}")),
                (None, Ink::Rgb(r, g, b)) => {
                    let _ = write!(rest, " fill=\"#{r:02x}{g:02x}{b:02x}\"");
                }
                _ => {}
            }
            if opacity < 0.999 {
                let _ = write!(rest, " fill-opacity=\"{:.2}\"", opacity.max(0.0));
            }
        }
    }
    if let Some(Pen { ink, width, opacity, dash }) = pen {
        match (ink.class(), ink) {
            (Some(c), _) => add(format!("s{c}")),
            (None, Ink::Rgb(r, g, b)) => {
                let _ = write!(rest, " stroke=\"#{r:02x}{g:02x}{b:02x}\"");
            }
            _ => {}
        }
        if width != 1.0 {
            let _ = write!(rest, " stroke-width=\"{}\"", Px(width));
        }
        if opacity < 0.999 {
            let _ = write!(rest, " stroke-opacity=\"{:.2}\"", opacity.max(0.0));
        }
        if let Some([on, off]) = dash.pattern() {
            let _ = write!(rest, " stroke-dasharray=\"{on} {off}\"");
        }
    }
    if !class.is_empty() {
        let _ = write!(out, " class=\"{class}\"");
    }
    out.push_str(&rest);
}

fn close(out: &mut String, element: &str, hint: Option<&String>) {
    match hint {
        None => out.push_str("/>"),
        Some(h) => {
            let _ = write!(out, "><title>{}</title></{element}>", escape(h));
        }
    }
}

fn write_shape(out: &mut String, shape: &Shape) {
    match shape {
        Shape::Rect { x, y, w, h, round, fill, pen, hint } => {
            let _ = write!(
                out,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
                Px(*x),
                Px(*y),
                Px(w.max(0.0)),
                Px(h.max(0.0))
            );
            if *round > 0.0 {
                let _ = write!(out, " rx=\"{}\"", Px(*round));
            }
            paint(out, *fill, *pen, "");
            close(out, "rect", hint.as_ref());
        }
        Shape::Circle { x, y, r, fill, pen, hint } => {
            let _ = write!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"{}\"", Px(*x), Px(*y), Px(*r));
            paint(out, *fill, *pen, "");
            close(out, "circle", hint.as_ref());
        }
        Shape::Path { runs, closed, fill, pen, hint } => {
            out.push_str("<path d=\"");
            for run in runs {
                for (i, (x, y)) in run.iter().enumerate() {
                    let _ = write!(out, "{}{} {}", if i == 0 { 'M' } else { 'L' }, Px(*x), Px(*y));
                }
                if *closed && !run.is_empty() {
                    out.push('Z');
                }
            }
            out.push('"');
            if pen.is_some() && !closed {
                out.push_str(" stroke-linejoin=\"round\"");
            }
            paint(out, *fill, *pen, "");
            close(out, "path", hint.as_ref());
        }
        Shape::Text { x, y, label } => {
            let _ = write!(out, "<text x=\"{}\" y=\"{}\" font-size=\"{}\"", Px(*x), Px(*y), Px(label.size));
            match label.anchor {
                Anchor::Start => {}
                Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
                Anchor::End => out.push_str(" text-anchor=\"end\""),
            }
            if label.bold {
                out.push_str(" font-weight=\"600\"");
            }
            if label.turn != 0.0 {
                let _ = write!(out, " transform=\"rotate({} {} {})\"", Px(label.turn), Px(*x), Px(*y));
            }
            paint(out, Some(label.ink.into()), None, "");
            let _ = write!(out, ">{}</text>", escape(&label.text));
        }
        Shape::Image { x, y, w, h, bitmap, smooth } => {
            let class = if *smooth { "" } else { " class=\"px\"" };
            let _ = write!(
                out,
                "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\"{class} href=\"{}\"/>",
                Px(*x),
                Px(*y),
                Px(*w),
                Px(*h),
                bitmap.data_uri()
            );
        }
    }
}

/// Text as it may stand in XML and HTML, in elements and in quoted attributes. Characters that XML forbids (a class
/// name may hold any byte a folder name can) become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// Pictures one below another, as wide as the widest.
pub fn column(title: &str, pictures: impl IntoIterator<Item = Svg>) -> Svg {
    let mut all = Svg::new(0.0, 0.0, title);
    for picture in pictures {
        let top = all.height;
        all.width = all.width.max(picture.width);
        all.height += picture.height;
        all.place(0.0, top, picture);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_alone_carries_both_grounds_and_no_script() {
        let mut svg = Svg::new(100.0, 50.5, "loss <\"&'>");
        svg.rect(1.0, 2.04, 3.0, 4.06, Ink::Series(0));
        svg.text(5.0, 6.0, Label::new("<script>alert(1)</script>\u{1}").bold().end());
        let text = svg.to_file();
        assert!(text.contains("prefers-color-scheme:dark"));
        assert!(!text.contains("<script"));
        assert!(text.contains("&lt;script&gt;"));
        assert!(text.contains("aria-label=\"loss &lt;&quot;&amp;&#39;&gt;\""));
        assert!(text.contains("<rect x=\"1\" y=\"2\" width=\"3\" height=\"4.1\" class=\"f0\"/>"), "{text}");
        assert!(!svg.to_inline().contains("<style"));
    }

    #[test]
    fn lengths_have_one_decimal_and_never_a_nan() {
        let shown = |v: f64| Px(v).to_string();
        assert_eq!(shown(-0.04), "0");
        assert_eq!(shown(-0.26), "-0.3");
        assert_eq!(shown(12.0), "12");
        assert_eq!(shown(f64::NAN), "0");
    }
}
