//! The `corelog` binary: parses the command line and starts what it names.
#![forbid(unsafe_code)]
// The binary is where clocks and threads begin.
#![allow(clippy::disallowed_methods)]

mod cli;
mod data_dir;
mod dev;
mod log_files;
mod logging;
mod server;
mod start;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match cli.command {
        Command::Start(options) => start::run(&options),
        Command::Dev(options) => dev::run(&options),
        Command::Log(command) => return finish(log_files::run(&command)),
    };
    finish(outcome.map(|()| ExitCode::SUCCESS))
}

fn finish(outcome: Result<ExitCode, String>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(line) => {
            eprintln!("corelog: {line}");
            ExitCode::FAILURE
        }
    }
}
