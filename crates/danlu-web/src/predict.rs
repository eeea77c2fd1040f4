//! An image dropped on a run's page: what the network says of it, and where it looked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use danlu::pictures::{Sample, activations, explain};
use danlu::train::{Predictor, RunFolder, TrainError};
use danlu::view::Look;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::api::{blocking, query_values, reply};
use crate::error::Refusal;
use crate::server::App;

/// Layers whose feature maps are drawn, evenly chosen, and channels of each.
const MAPS: usize = 5;
const MOST_CHANNELS: usize = 32;
/// Models that stay in memory; the oldest makes room.
const KEPT: usize = 4;
/// Requests that wait for their turn; further ones are told to come back.
const WAITING: usize = 16;

type Shared = Arc<Mutex<Predictor>>;

/// Loaded models, by weights file and its time.
pub(crate) struct Models {
    loaded: Mutex<HashMap<PathBuf, (SystemTime, u64, Shared)>>,
    /// One at a time: a prediction takes every core.
    turn: Semaphore,
    queue: Semaphore,
}

impl Default for Models {
    fn default() -> Self {
        Models { loaded: Mutex::default(), turn: Semaphore::new(1), queue: Semaphore::new(WAITING) }
    }
}

impl Models {
    fn of(&self, run: &RunFolder) -> Result<Shared, TrainError> {
        let path = run.best_weights();
        let time = std::fs::metadata(&path)
            .and_then(|file| file.modified())
            .map_err(|source| TrainError::Io { action: "read", path: path.clone(), source })?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = loaded.values().map(|entry| entry.1).max().unwrap_or(0);
        // While it trains its best weights change: a file of another time is another model.
        if let Some((of, used, model)) = loaded.get_mut(&path)
            && *of == time
        {
            *used = newest + 1;
            return Ok(model.clone());
        }
        let model = Arc::new(Mutex::new(Predictor::open(run)?));
        loaded.insert(path, (time, newest + 1, model.clone()));
        if loaded.len() > KEPT
            && let Some(oldest) = loaded.iter().min_by_key(|(_, entry)| entry.1).map(|(path, _)| path.clone())
        {
            loaded.remove(&oldest);
        }
        Ok(model)
    }
}

pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Refusal> {
    app.hard_work()?;
    let maps = query_values(query.as_deref().unwrap_or_default(), "maps").iter().any(|value| value == "true");
    let busy = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many images wait already; try again");
    let _place = app.models.queue.try_acquire().map_err(|_| busy())?;
    let _turn = app.models.turn.acquire().await.map_err(|_| busy())?;
    let shared = app.clone();
    let value = blocking(move || {
        let run = shared.runs.find(&name)?;
        if !run.best_weights().is_file() {
            let text = format!("`{name}` has no weights yet: its first epoch is not complete");
            return Err(Refusal::new(StatusCode::CONFLICT, text));
        }
        let model = shared.models.of(&run)?;
        let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
        let pixels = model.read_bytes(&body, "the image")?;
        let sample = Sample { name: "the image".to_owned(), pixels, label: None };
        let mut answer = json!({ "run": name });
        // A network without feature maps predicts all the same.
        if model.last_feature_maps().is_ok() {
            if maps {
                let look = Look { width: 880.0, ..Look::default() };
                let svg = activations::maps(&mut model, &sample.pixels, &[], MAPS, MOST_CHANNELS, &look)?;
                answer["feature_maps"] = json!(svg.to_file());
            }
            let why = explain(&mut model, &sample, None, None, 0)?;
            answer["predictions"] = json!(why.predictions);
            answer["grad_cam"] = json!({
                "class": why.class, "layer": why.grad_cam.layer, "image": why.grad_cam_image()?.data_uri(),
            });
            answer["image"] = json!(why.image()?.data_uri());
        } else {
            answer["predictions"] = json!(model.predict_batch(&[sample.pixels])?.pop());
        }
        Ok(answer)
    })
    .await?;
    Ok(reply(&value))
}
