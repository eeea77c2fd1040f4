//! `danlu serve [RUNS]`: the dashboard.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use danlu_web::{ServeConfig, Server};

use crate::interrupt::stop_on_ctrl_c;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu serve\n  danlu serve runs/ --port 8080\n  danlu serve --host 0.0.0.0 --token \"$(openssl rand -hex 16)\"\n\nThe JSON API is described at /api/openapi.json. Traffic is not encrypted: beyond your own network put it behind a proxy that does."
)]
pub(crate) struct ServeArgs {
    /// Folder of runs
    #[arg(default_value = "runs")]
    runs: PathBuf,
    /// Address to listen on; others than loopback need a token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 8765)]
    port: u16,
    /// What every visitor must show, 16 characters or more; the address that is printed holds it. Without it what the environment
    /// variable DANLU_TOKEN says, which other users of the machine cannot see
    #[arg(long, value_name = "SECRET")]
    token: Option<String>,
    /// Where the studies are kept, `sqlite:FILE` or `postgres://USER@HOST:PORT/DATABASE`; without it `studies.db` beside the runs
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Largest image that is taken for a prediction, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1024))]
    max_image: u64,
}

pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let server = Server::bind(&ServeConfig {
        runs: args.runs,
        host: args.host,
        port: args.port,
        token: args.token.or_else(|| std::env::var("DANLU_TOKEN").ok()).filter(|token| !token.is_empty()),
        max_image_bytes: (args.max_image as usize) << 20,
        store: args.store,
    })?;
    let stop = stop_on_ctrl_c()?;
    writeln!(std::io::stdout().lock(), "{}", server.url())?;
    eprintln!("Ctrl-C ends it");
    server.run(&stop)?;
    Ok(())
}
