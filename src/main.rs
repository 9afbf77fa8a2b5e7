//! The `corelog` binary: parses the command line and starts what it names.
#![forbid(unsafe_code)]
// The binary is where clocks and threads begin.
#![allow(clippy::disallowed_methods)]

mod cli;
mod data_dir;
mod dev;
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
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("corelog: {line}");
            ExitCode::FAILURE
        }
    }
}
