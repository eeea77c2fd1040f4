//! Where pictures go: a file whose name says the format, or the terminal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use danlu::recipe::{Preset, Resolved};
use danlu::train::{TrainError, TrainRequest};
use danlu::view::terminal::Term;
use danlu::view::{PngOptions, Svg};

use crate::recipe_args::RecipeArgs;

/// What stdout can show: block characters where the locale has them, colour where a person looks.
pub(crate) fn term() -> Term {
    let looks = std::io::stdout().is_terminal();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_default()
        .to_lowercase();
    let color = looks && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // What the user says, else what the terminal says, else what every terminal has.
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = asked
        .or_else(|| looks.then(terminal_size::terminal_size).flatten().map(|(width, _)| usize::from(width.0)))
        .unwrap_or(80);
    Term { width, unicode: locale.contains("utf-8") || locale.contains("utf8"), color }
}

/// A file name whose ending names a picture format; others are refused before any work is done.
pub(crate) fn picture_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg" | "png") => Ok(path),
        _ => Err("expected a name that ends in .svg or .png".to_owned()),
    }
}

/// Writes the picture, as a whole or not at all.
pub(crate) fn write_picture(svg: &Svg, path: &Path) -> anyhow::Result<()> {
    let bytes = if path.extension().is_some_and(|ending| ending == "png") {
        svg.to_png(&PngOptions::default()).context("cannot draw the picture")?
    } else {
        svg.to_file().into_bytes()
    };
    danlu::weights::write_atomic(path, |writer| std::io::Write::write_all(writer, &bytes))
        .map_err(TrainError::from)?;
    Ok(())
}

/// What `train` would be asked for with the same data and options.
pub(super) fn request(data: PathBuf, args: &RecipeArgs) -> Result<TrainRequest, TrainError> {
    let mut layers = Vec::new();
    layers.extend(args.file()?);
    layers.push(args.flags()?);
    let preset = args.preset()?.unwrap_or(Preset::Quick);
    Ok(TrainRequest { data, preset, layers, command: String::new() })
}

/// The recipe of the options alone, where no data are looked at.
pub(super) fn recipe(args: &RecipeArgs) -> Result<Resolved<danlu::recipe::Recipe>, TrainError> {
    let mut layers = Vec::new();
    layers.extend(args.file()?);
    layers.push(args.flags()?);
    Ok(danlu::recipe::resolve(&layers)?)
}
