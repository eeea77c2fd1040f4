//! The server: its settings, its routes, its start and its end.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use danlu::train::StopFlag;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::error::{Refusal, WebError};
use crate::predict::Models;
use crate::rate::Rate;
use crate::runs::Runs;
use crate::studies::Studies;
use crate::{api, draw, files, guard, live, pages, predict};

/// Shortest token that is taken: 16 characters are beyond guessing over a network.
const SHORTEST_TOKEN: usize = 16;

/// What a server is asked for.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Folder of the runs.
    pub runs: PathBuf,
    /// Address to listen on; beyond loopback a token is needed.
    pub host: IpAddr,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// What every client must show; none on loopback leaves the server open to the users of this machine.
    pub token: Option<String>,
    /// Largest image that is taken for a prediction, in bytes.
    pub max_image_bytes: usize,
    /// Store of the studies; without one the file that `danlu tune` makes beside its runs.
    pub store: Option<String>,
}

/// What the handlers share.
pub(crate) struct App {
    pub(crate) runs: Runs,
    pub(crate) studies: Studies,
    pub(crate) models: Models,
    pub(crate) token: Option<String>,
    /// Everything that is asked.
    pub(crate) requests: Rate,
    /// What takes a core for a while: predictions, and pictures that are drawn on demand.
    heavy: Rate,
    /// Pages that watch a run or a study.
    pub(crate) watchers: Arc<Semaphore>,
}

/// Pages that may watch at a time: each looks at its run's files every second.
const WATCHERS: usize = 64;

impl App {
    /// Asks for leave to do what takes a core for a while.
    pub(crate) fn hard_work(&self) -> Result<(), Refusal> {
        self.heavy.take().map_err(guard::too_many)
    }
}

/// A server that listens.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    max_image_bytes: usize,
}

impl Server {
    /// Checks the settings and listens; nothing is answered before [`run`](Server::run).
    ///
    /// # Errors
    /// [`WebError::NoRuns`], [`WebError::NeedsToken`], [`WebError::OddToken`], [`WebError::Listen`].
    pub fn bind(config: &ServeConfig) -> Result<Self, WebError> {
        let runs = Runs::open(&config.runs)?;
        let long_enough = config.token.as_ref().is_some_and(|token| token.len() >= SHORTEST_TOKEN);
        if !config.host.is_loopback() && !long_enough {
            return Err(WebError::NeedsToken { host: config.host });
        }
        let fits = |c: &char| c.is_ascii_alphanumeric() || "-._~".contains(*c);
        if let Some(odd) = config.token.iter().flat_map(|token| token.chars()).find(|c| !fits(c)) {
            return Err(WebError::OddToken(odd));
        }
        // Requests wait for files and models, not for one another: one thread answers, others compute.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
        let asked = SocketAddr::new(config.host, config.port);
        let listener = runtime
            .block_on(TcpListener::bind(asked))
            .map_err(|source| WebError::Listen { address: asked, source })?;
        let address = listener.local_addr()?;
        let app = Arc::new(App {
            studies: Studies::new(runs.root(), config.store.clone()),
            runs,
            models: Models::default(),
            token: config.token.clone(),
            requests: Rate::new(200.0, 400.0),
            heavy: Rate::new(5.0, 20.0),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
        });
        Ok(Server { runtime, listener, address, app, max_image_bytes: config.max_image_bytes })
    }

    /// The address to open in a browser, the token included.
    pub fn url(&self) -> String {
        let token = self.app.token.as_ref().map_or(String::new(), |token| format!("?token={token}"));
        format!("http://{}/{token}", self.address)
    }

    /// Answers until `stop` is set.
    ///
    /// # Errors
    /// [`WebError::System`].
    pub fn run(self, stop: &StopFlag) -> Result<(), WebError> {
        let Server { runtime, listener, app, max_image_bytes, .. } = self;
        let router = router(app, max_image_bytes);
        let stopped = async {
            while !stop.is_set() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let served = runtime.block_on(async {
            tokio::select! {
                served = async { axum::serve(listener, router).await } => served,
                // Open live connections would hold a graceful end up for ever; none of them writes.
                () = stopped => Ok(()),
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(2));
        Ok(served?)
    }
}

fn router(app: Arc<App>, max_image_bytes: usize) -> Router {
    Router::new()
        .route("/", get(pages::list))
        .route("/compare", get(pages::compare))
        .route("/studies/{study}", get(pages::study))
        .route("/studies/{study}/progress", get(pages::study_progress))
        .route("/studies/{study}/live", get(live::study))
        .route("/runs/{run}", get(pages::run))
        .route("/runs/{run}/progress", get(pages::progress))
        .route("/runs/{run}/live", get(live::run))
        .route("/runs/{run}/draw", get(draw::draw))
        .route("/runs/{run}/stop", post(api::stop))
        .route("/runs/{run}/predict", post(predict::predict).layer(DefaultBodyLimit::max(max_image_bytes)))
        .route("/runs/{run}/report.html", get(files::report))
        .route("/runs/{run}/pictures/{file}", get(files::picture))
        .route("/runs/{run}/recipe.toml", get(files::recipe))
        .route("/runs/{run}/metrics.csv", get(files::metrics))
        .route("/api/runs", get(api::runs))
        .route("/api/runs/{run}", get(api::run))
        .route("/api/runs/{run}/findings", get(api::findings))
        .route("/api/compare", get(api::compare))
        .route("/api/studies", get(api::studies))
        .route("/api/studies/{study}", get(api::study))
        .route("/api/openapi.json", get(api::openapi))
        .route("/assets/app.js", get(script))
        .route("/assets/app.css", get(style))
        .fallback(|| async { Refusal::not_found("such page") })
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("assets/app.js"))
}

async fn style() -> impl IntoResponse {
    let css = format!("{}{}", include_str!("assets/app.css"), danlu::view::stylesheet());
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], css)
}
