//! `danlu bench machine`: the roofline.

use clap::Args;
use danlu::nn::{EngineConfig, Machine};
use danlu::train::TrainError;

use super::print;

#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Threads; 0 is all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &MachineArgs) -> Result<(), TrainError> {
    let machine = Machine::measure(&EngineConfig { threads: args.threads, ..EngineConfig::default() })?;
    let Machine { isa, threads, peak_flops, bandwidth } = &machine;
    let ridge = peak_flops / bandwidth;
    if args.json {
        let report = serde_json::json!({
            "isa": isa,
            "threads": threads,
            "peak_gflops": peak_flops / 1e9,
            "bandwidth_gb_per_second": bandwidth / 1e9,
            "flops_per_byte": ridge,
        });
        print(&format!("{report:#}"));
    } else {
        print(&format!(
            "{isa}, {threads} threads\n\
             multiply-adds in registers   {:7.1} GFLOP/s f32\n\
             copy in memory               {:7.1} GB/s read and written\n\
             A kernel that does fewer than {ridge:.1} operations a byte waits for memory.",
            peak_flops / 1e9,
            bandwidth / 1e9,
        ));
    }
    Ok(())
}
