//! `danlu audit DATA`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::data::{Audit, AuditOptions, Duplicates, Likeness, Oddity, audit, write_rows};
use danlu::train::TrainError;

use crate::recipe_args::RecipeArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu audit photos/\n  danlu audit photos/ --html audit.html\n  danlu audit photos/ --fix clean.csv && danlu train photos/ --set data.split_file=clean.csv\n  danlu audit photos/ --json | jq .suggestions"
)]
pub(crate) struct AuditArgs {
    /// The data set, as `danlu train` takes it
    data: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Write a page with thumbnails of what was found
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a split without copies across parts, copies within a part, conflicting labels and broken files. No image is touched
    #[arg(long, value_name = "FILE")]
    fix: Option<PathBuf>,
    /// Leave out the search for near-duplicates
    #[arg(long)]
    no_near: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Lines shown of a long list; `--json` and `--html` have the rest.
const SHOWN: usize = 8;

pub(crate) fn run(args: AuditArgs) -> anyhow::Result<()> {
    let mut layers = Vec::new();
    layers.extend(args.recipe.file().map_err(TrainError::from)?);
    layers.push(args.recipe.flags().map_err(TrainError::from)?);
    let recipe: danlu::recipe::Resolved<danlu::recipe::Recipe> =
        danlu::recipe::resolve(&layers).map_err(TrainError::from)?;
    let config = recipe.recipe.data;
    let options = AuditOptions { near: !args.no_near };
    let (found, data) = audit(&args.data, &config, options).map_err(TrainError::from)?;
    if let Some(path) = &args.html {
        danlu::audit_page::write(path, &found, &data).map_err(TrainError::from)?;
    }
    if let Some(path) = &args.fix {
        write_rows(path, found.clean.iter().cloned()).map_err(TrainError::from)?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
        return Ok(());
    }
    write(&mut out, &found)?;
    if let Some(path) = &args.fix {
        let left_out = found.images - found.clean.len();
        writeln!(out, "\n{}: {} images kept, {left_out} left out", path.display(), found.clean.len())?;
        writeln!(out, "  danlu train {} --set data.split_file={}", args.data.display(), path.display())?;
    }
    if let Some(path) = &args.html {
        writeln!(out, "\n{}: thumbnails of what was found", path.display())?;
    }
    Ok(())
}

fn write(out: &mut impl Write, found: &Audit) -> std::io::Result<()> {
    writeln!(out, "{}", found.path.display())?;
    for line in &found.found {
        writeln!(out, "  {line}")?;
    }
    let [least, median, most] = found.sizes.map(|[height, width]| format!("{width} x {height}"));
    writeln!(out, "  sizes: {least} to {most}, the median {median}")?;
    let kinds: Vec<String> =
        found.kinds.iter().map(|kind| format!("{} {}", kind.images, kind.kind)).collect();
    writeln!(out, "  stored as: {}", kinds.join("; "))?;
    if found.oriented > 0 {
        writeln!(out, "  {} with an EXIF orientation (it is applied)", found.oriented)?;
    }
    writeln!(out, "\nclasses (training, validation, test)")?;
    let width = found.classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).min(40);
    for (class, [train, val, test]) in found.classes.iter().zip(&found.counts).take(40) {
        writeln!(out, "  {class:width$} {train:>7} {val:>7} {test:>7}")?;
    }
    if found.classes.len() > 40 {
        writeln!(out, "  ... {} more", found.classes.len() - 40)?;
    }
    oddities(out, "files that cannot be read", &found.broken)?;
    oddities(out, "files whose name says another format", &found.wrongly_named)?;
    groups(out, "groups of identical images", &found.exact)?;
    groups(out, "groups of near-duplicates", &found.near)?;
    oddities(out, "images unlike the others", &found.odd)?;
    if found.suggestions.is_empty() {
        return writeln!(out, "\nnothing to mend");
    }
    writeln!(out, "\nwhat to do")?;
    for suggestion in &found.suggestions {
        writeln!(out, "  {}\n    {}", suggestion.problem, suggestion.action)?;
        if let Some(command) = &suggestion.command {
            writeln!(out, "    {command}")?;
        }
    }
    Ok(())
}

fn oddities(out: &mut impl Write, title: &str, list: &[Oddity]) -> std::io::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}: {}", list.len())?;
    for oddity in list.iter().take(SHOWN) {
        writeln!(out, "  {}: {}", oddity.image, oddity.what)?;
    }
    more(out, list.len())
}

fn groups(out: &mut impl Write, title: &str, list: &[Duplicates]) -> std::io::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let parts = list.iter().filter(|group| group.across_parts).count();
    let classes = list.iter().filter(|group| group.across_classes).count();
    writeln!(out, "\n{title}: {} ({parts} across parts, {classes} with different labels)", list.len())?;
    // The harmful ones first.
    let mut sorted: Vec<&Duplicates> = list.iter().collect();
    sorted.sort_by_key(|group| (!group.conflict, !group.across_classes, !group.across_parts));
    for group in sorted.iter().take(SHOWN) {
        let members: Vec<String> = group
            .images
            .iter()
            .take(4)
            .map(|member| format!("{} ({}, {})", member.image, member.part, member.class))
            .collect();
        let rest = group.images.len().saturating_sub(4);
        let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let likeness = match group.likeness {
            Likeness::Turned => " [mirrored or turned]",
            Likeness::Cropped => " [one is a part of the other]",
            Likeness::Same | Likeness::Near => "",
        };
        writeln!(out, "  {}{rest}{likeness}", members.join(" = "))?;
    }
    more(out, list.len())
}

fn more(out: &mut impl Write, length: usize) -> std::io::Result<()> {
    if length > SHOWN {
        writeln!(out, "  ... {} more (`--json` and `--html` list them)", length - SHOWN)?;
    }
    Ok(())
}
