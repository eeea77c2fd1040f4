//! How a command ends when it did not succeed: the message, the hint and the exit code.

use std::process::ExitCode;

use danlu::train::TrainError;
use danlu::tune::StudyError;
use danlu::weights::WeightsError;

use crate::commands::Differs;
use crate::terminal::paint;

/// Writes the error to stderr and gives the exit code: 1 the work failed, 2 the request was wrong, 130 Ctrl-C.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of our output has seen enough (`danlu ... | head`); that is no failure of ours.
        return ExitCode::SUCCESS;
    }
    let (hint, code) = if let Some(error) = error.downcast_ref::<TrainError>() {
        let code = match error {
            TrainError::Interrupted { .. } => 130,
            error if error.is_request_error() => 2,
            _ => 1,
        };
        (error.hint(), code)
    } else if let Some(error) = error.downcast_ref::<StudyError>() {
        let code = match error {
            StudyError::Train(TrainError::Interrupted { .. }) => 130,
            error if error.is_request_error() => 2,
            _ => 1,
        };
        (error.hint(), code)
    } else if let Some(error) = error.downcast_ref::<WeightsError>() {
        (error.hint(), if error.is_write_error() { 1 } else { 2 })
    } else if let Some(error) = error.downcast_ref::<danlu_web::WebError>() {
        (error.hint(), if error.is_request_error() { 2 } else { 1 })
    } else if error.is::<Differs>() {
        // `danlu weights diff`, as `diff`: the answer is on stdout.
        return ExitCode::FAILURE;
    } else {
        (None, 1)
    };
    let label = if code == 130 { paint("1;33", "stopped:") } else { paint("1;31", "error:") };
    // Our errors say their cause themselves; others are printed with their chain.
    let message = if error.is::<TrainError>() || error.is::<danlu_web::WebError>() {
        error.to_string()
    } else {
        format!("{error:#}")
    };
    // The label already says so.
    let message = if code == 130 { message.trim_start_matches("stopped ") } else { &message };
    eprintln!("{label} {message}");
    if let Some(hint) = hint {
        eprintln!("{} {hint}", paint("1;36", "hint:"));
    }
    ExitCode::from(code)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
