//! The project's own tasks, the same that CI runs: `cargo xtask check | test | bench-step | bench | golden`.

use std::process::{Command, ExitCode};

const HELP: &str = "cargo xtask <task>

check        formatting, clippy and documentation, warnings are errors
test         the whole test suite (the README's `cargo test`)
ci           check, then test: what `.ci/run` runs
reference    write docs/recipe.md again from the code
bench-step   a training step, danlu and PyTorch alternately (needs Python with torch: bench/README.md)
golden       make the golden values again with PyTorch (needs Python with torch: golden/README.md)
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let ok = match task.as_str() {
        "check" => check(),
        "test" => test(),
        "ci" => check() && test(),
        "reference" => run_with(
            "cargo",
            &["test", "--package", "danlu-recipe", "--quiet", "--test", "recipe"],
            &[("DANLU_UPDATE_DOCS", "1")],
        ),
        "bench-step" => {
            run("cargo", &["build", "--release", "--package", "danlu-cli"]) && python("bench/step.py", &rest)
        }
        "golden" => python("golden/make_all.py", &rest),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check() -> bool {
    run("cargo", &["fmt", "--all", "--", "--check"])
        && run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
        && run_with(
            "cargo",
            &["doc", "--workspace", "--no-deps", "--locked"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        )
}

/// The suite, then the networks once more on the instruction set that every machine has (the kernels' own tests run every one anyway).
fn test() -> bool {
    let networks = ["test", "--locked", "--package", "danlu-nn", "--test", "golden"];
    run("cargo", &["test", "--locked"]) && run_with("cargo", &networks, &[("DANLU_SIMD", "portable")])
}

/// Runs a script of the repository with the Python named by `DANLU_PYTHON` (default `python3`).
fn python(script: &str, args: &[String]) -> bool {
    let python = std::env::var("DANLU_PYTHON").unwrap_or_else(|_| "python3".into());
    let args: Vec<&str> = [script].into_iter().chain(args.iter().map(String::as_str)).collect();
    run(&python, &args)
}

fn run(program: &str, args: &[&str]) -> bool {
    run_with(program, args, &[])
}

fn run_with(program: &str, args: &[&str], environment: &[(&str, &str)]) -> bool {
    eprintln!("$ {program} {}", args.join(" "));
    match Command::new(program).args(args).envs(environment.iter().copied()).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("could not start `{program}`: {error}");
            false
        }
    }
}
