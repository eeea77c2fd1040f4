//! The audit of a data set as one HTML page with thumbnails.

use std::fmt::Write;
use std::path::Path;

use danlu_data::{Audit, DataError, Dataset, Duplicates, Fit, Interpolation, Likeness, Oddity, fit_image};
use danlu_view::Bitmap;

/// Groups and images shown of each kind; a page of ten thousand thumbnails helps nobody.
const SHOWN: usize = 100;
/// Side of a thumbnail in pixels.
const SIDE: usize = 72;

/// Writes the page, as a whole or not at all.
///
/// # Errors
/// [`DataError::Write`].
pub fn write(path: &Path, audit: &Audit, data: &Dataset) -> Result<(), DataError> {
    let text = page(audit, data);
    danlu_weights::write_atomic(path, |writer| std::io::Write::write_all(writer, text.as_bytes()))
        .map_err(|error| DataError::Write { path: path.to_owned(), source: std::io::Error::other(error) })
}

/// The page. It needs no other file and no network.
pub fn page(audit: &Audit, data: &Dataset) -> String {
    let mut out = String::from(HEAD);
    let name = escape(&audit.path.display().to_string());
    let _ = write!(out, "<title>Audit of {name}</title><h1>Audit of {name}</h1><ul>");
    for line in &audit.found {
        let _ = write!(out, "<li>{}</li>", escape(line));
    }
    let [least, median, most] = audit.sizes.map(|[height, width]| format!("{width} x {height}"));
    let _ = write!(out, "<li>sizes: {least} to {most}, the median {median}</li>");
    let kinds: Vec<String> =
        audit.kinds.iter().map(|kind| format!("{} {}", kind.images, escape(&kind.kind))).collect();
    let _ = write!(out, "<li>stored as: {}</li>", kinds.join("; "));
    if audit.oriented > 0 {
        let _ = write!(out, "<li>{} with an EXIF orientation (it is applied)</li>", audit.oriented);
    }
    out.push_str("</ul>");
    if !audit.suggestions.is_empty() {
        out.push_str("<h2>What to do</h2>");
        for suggestion in &audit.suggestions {
            let _ =
                write!(out, "<p><b>{}</b><br>{}", escape(&suggestion.problem), escape(&suggestion.action));
            if let Some(command) = &suggestion.command {
                let _ = write!(out, "<br><code>{}</code>", escape(command));
            }
            out.push_str("</p>");
        }
    }
    out.push_str("<h2>Classes</h2><table><tr><th>class<th>training<th>validation<th>test</tr>");
    for (class, [train, val, test]) in audit.classes.iter().zip(&audit.counts) {
        let _ = write!(out, "<tr><td>{}<td>{train}<td>{val}<td>{test}</tr>", escape(class));
    }
    out.push_str("</table>");
    groups(&mut out, data, "Identical images", &audit.exact);
    groups(&mut out, data, "Near-duplicates", &audit.near);
    oddities(&mut out, data, "Files that cannot be read", &audit.broken);
    oddities(&mut out, data, "Files whose name says another format", &audit.wrongly_named);
    oddities(&mut out, data, "Images unlike the others", &audit.odd);
    out
}

fn groups(out: &mut String, data: &Dataset, title: &str, list: &[Duplicates]) {
    if list.is_empty() {
        return;
    }
    let _ = write!(out, "<h2>{title}: {} group{}</h2>", list.len(), if list.len() == 1 { "" } else { "s" });
    let mut sorted: Vec<&Duplicates> = list.iter().collect();
    sorted.sort_by_key(|group| (!group.conflict, !group.across_classes, !group.across_parts));
    for group in sorted.iter().take(SHOWN) {
        let class = if group.conflict {
            " conflict"
        } else if group.across_parts {
            " leak"
        } else {
            ""
        };
        let _ = write!(out, "<div class=\"group{class}\">");
        let likeness = match group.likeness {
            Likeness::Turned => "mirrored or turned",
            Likeness::Cropped => "one is a part of the other",
            Likeness::Same | Likeness::Near => "",
        };
        if !likeness.is_empty() {
            let _ = write!(out, "<p>{likeness}</p>");
        }
        for member in group.images.iter().take(12) {
            let (image, label) = (escape(&member.image), escape(&member.class));
            let _ = write!(
                out,
                "<figure>{}<figcaption>{label}<br>{}<br><small>{image}</small></figcaption></figure>",
                thumbnail(data, member.sample),
                member.part
            );
        }
        out.push_str("</div>");
    }
    more(out, list.len());
}

fn oddities(out: &mut String, data: &Dataset, title: &str, list: &[Oddity]) {
    if list.is_empty() {
        return;
    }
    let _ = write!(out, "<h2>{title}: {}</h2>", list.len());
    for oddity in list.iter().take(SHOWN) {
        let picture = oddity.sample.map_or(String::new(), |sample| thumbnail(data, sample));
        let (image, what) = (escape(&oddity.image), escape(&oddity.what));
        let _ = write!(out, "<div class=\"odd\">{picture}<span><code>{image}</code>: {what}</span></div>");
    }
    more(out, list.len());
}

/// Says that the rest of a long list is not shown.
fn more(out: &mut String, length: usize) {
    if length > SHOWN {
        let _ = write!(out, "<p>... {} more: <code>danlu audit --json</code> lists them</p>", length - SHOWN);
    }
}

/// An `<img>`, or nothing where the image has vanished since.
fn thumbnail(data: &Dataset, sample: u32) -> String {
    let Ok(image) = data.decode(sample) else { return String::new() };
    let small = image.height.max(image.width) <= SIDE;
    let image =
        if small { image } else { fit_image(&image, [SIDE, SIDE], Fit::Pad, 1.0, Interpolation::Bilinear) };
    match Bitmap::new(image.height, image.width, image.channels, image.data) {
        Ok(bitmap) => format!("<img width=\"{SIDE}\" src=\"{}\" alt=\"\">", bitmap.data_uri()),
        Err(_) => String::new(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><meta charset=\"utf-8\"><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse}td,th{padding:.1rem .8rem;text-align:right}td:first-child,th:first-child{text-align:left}\
.group{display:flex;flex-wrap:wrap;gap:.6rem;border-left:4px solid #ccc;padding:.4rem .8rem;margin:.6rem 0}\
.leak{border-color:#d80}.conflict{border-color:#c22}figure{margin:0;width:7rem;overflow-wrap:anywhere;font-size:12px}\
.group p{width:100%;margin:0}.odd{display:flex;align-items:center;gap:.8rem;margin:.3rem 0}\
img{image-rendering:pixelated}code{background:#8882;padding:0 .2rem}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}</style>";
