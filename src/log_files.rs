//! `corelog log`: from the command line to the tool and from its verdict to the exit code.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use ctl::log_files::{DumpOptions, Form, Verdict, dump, verify};

use crate::cli::LogCommand;

/// Shows or checks files. The exit code is 1 if anything is damaged.
pub fn run(command: &LogCommand) -> Result<ExitCode, String> {
    let mut out = BufWriter::new(io::stdout().lock());
    let (path, verdict) = match command {
        LogCommand::Dump(options) => {
            let asked = DumpOptions { form: form(options.json), records: options.records };
            (&options.file, dump(&options.file, asked, &mut out))
        }
        LogCommand::Verify(options) => (&options.directory, verify(&options.directory, form(options.json), &mut out)),
    };
    let verdict = verdict.and_then(|verdict| out.flush().map(|()| verdict));
    match verdict {
        Ok(Verdict::Sound) => Ok(ExitCode::SUCCESS),
        Ok(Verdict::Damaged) => Ok(ExitCode::FAILURE),
        Err(error) => stopped(path, &error),
    }
}

/// Whoever reads the output may have seen enough.
fn stopped(path: &Path, error: &io::Error) -> Result<ExitCode, String> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(format!("{}: {error}", path.display())),
    }
}

fn form(json: bool) -> Form {
    if json { Form::Json } else { Form::Human }
}
