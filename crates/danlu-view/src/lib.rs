//! Pictures of trainings: curves, filters, feature maps, confusion, and the static report.
//!
//! Plain numbers in; [`Svg`], pixels ([`Bitmap`]), terminal text or an HTML page out. This crate knows no run
//! folder, no network and no dataset: whoever holds the numbers hands them over, so that the same pictures serve the
//! command line, the report and the dashboard.
//!
//! - [`svg`]: the picture itself, written as SVG (light and dark in one file) or drawn to pixels.
//! - [`terminal`]: the same in characters, for terminals of any width, with or without Unicode.
//! - One module a picture or a family of pictures, each with its input type and one function that draws it.

pub mod bitmap;
pub mod confusion;
pub mod curves;
pub mod descent;
pub mod distribution;
pub mod embedding;
pub mod error;
pub mod filters;
mod frame;
pub mod ink;
pub mod interval;
pub mod lang;
pub mod layers;
pub mod range_test;
#[cfg(feature = "png")]
pub mod raster;
pub mod reliability;
pub mod report;
pub mod scale;
pub mod schedule;
pub mod size_test;
pub mod study;
pub mod svg;
pub mod tensorboard;
pub mod terminal;
pub mod text;
pub mod tiles;

pub use bitmap::{Bitmap, ColorMap};
pub use confusion::{ClassScore, Confusion, Order, class_head, class_rows, confusion};
pub use curves::{Curve, Curves, Event, Panel, curves};
pub use descent::{Descent, descent};
pub use distribution::{Histogram, LayerDistribution, distributions};
pub use embedding::{Embedding, embedding};
pub use error::ViewError;
pub use filters::{feature_maps, filters};
pub use frame::Look;
pub use ink::{Ink, Theme, stylesheet};
pub use interval::wilson;
pub use lang::Lang;
pub use layers::{
    BarUnit, LayerBars, LayerStats, Roofline, RooflinePoint, init_comparison, layer_bars, layer_stats,
    roofline,
};
pub use range_test::{RangeTest, Suggestion, range_test};
#[cfg(feature = "png")]
pub use raster::PngOptions;
pub use reliability::{Calibration, reliability};
pub use report::{ReportInput, report};
pub use schedule::{ScheduleGroup, SchedulePlot, ScheduleUnit, schedule};
pub use size_test::{SizePoint, size_test};
pub use study::{Trials, Values, parallel_coordinates, slices};
pub use svg::Svg;
pub use tiles::{Mistake, Tile, contact_sheet, mistakes, overlay, tiles};
