//! The dashboard: a small HTTP server over a folder of runs, for people (`/`) and programs (`/api/`).
//!
//! For: looking at runs and studies while they go on and after, comparing them, trying an image. It reads run folders and the
//! store of the studies, and writes nothing but the request to stop; it must never know how training works. Pages are plain HTML with the pictures of `danlu-view`
//! in them and one small script of our own; nothing is fetched from anywhere else.
//!
//! It listens on loopback unless told otherwise, and beyond loopback only with a token. Nothing outside the runs' folder is ever
//! served: names are single path components, links that lead out are refused.

mod api;
mod draw;
mod error;
mod files;
mod guard;
mod live;
mod page;
mod pages;
mod predict;
mod rate;
mod runs;
mod server;
mod status;
mod studies;

pub use error::WebError;
pub use runs::{RunRow, Runs};
pub use server::{ServeConfig, Server};
pub use status::Status;
