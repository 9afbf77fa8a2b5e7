//! Generates `wire`'s messages from Kafka's published message definitions.
//! Owns the list of APIs and versions that are generated (`apis`) and how a definition becomes Rust (`emit`).
//! The definitions are fetched with Maven when the generator runs; neither they nor their prose are committed.
//!
//! `cargo run -p codegen` fetches and generates; `cargo run -p codegen -- --definitions DIR` takes a directory that
//! holds the `*.json` files.
#![forbid(unsafe_code)]

mod apis;
mod artifact;
mod emit;
mod emit_dispatch;
mod emit_samples;
mod schema;
mod text;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use schema::Message;

/// An API with both of its messages, narrowed to the served versions.
struct Generated {
    api: &'static apis::Served,
    request: Message,
    response: Message,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("codegen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (definitions, _scratch) = definitions()?;
    let mut generated = Vec::new();
    for api in apis::SERVED {
        let load = |kind: &str| Message::load(&definitions.join(format!("{}{kind}.json", api.name)), api.versions);
        let (request, mut response) = (load("Request")?, load("Response")?);
        response.tell_apart(&request);
        generated.push(Generated { api, request, response });
    }

    let wire = root.join("src/wire");
    let mut written = Vec::new();
    for each in &generated {
        let file = wire.join(format!("src/generated/{}.rs", text::snake_case(each.api.name)));
        write(&file, emit::api_file(each), &mut written)?;
    }
    write(&wire.join("src/generated/mod.rs"), emit_dispatch::mod_file(&generated), &mut written)?;
    write(&wire.join("tests/wire/samples.rs"), emit_samples::samples_file(&generated), &mut written)?;
    format(&root, &written)?;
    println!("codegen: {} files from kafka-clients {}", written.len(), artifact::VERSION);
    Ok(())
}

/// The directory of definitions, and what keeps it on disk while it is read.
fn definitions() -> Result<(PathBuf, Option<artifact::Scratch>), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => {
            let scratch = artifact::fetch()?;
            Ok((scratch.definitions(), Some(scratch)))
        }
        (Some("--definitions"), Some(directory)) => Ok((PathBuf::from(directory), None)),
        _ => Err("usage: codegen [--definitions DIR]".into()),
    }
}

fn write(file: &Path, text: String, written: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(file, text)?;
    written.push(file.to_path_buf());
    Ok(())
}

fn format(root: &Path, files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .args(files)
        .status()?;
    if status.success() { Ok(()) } else { Err("rustfmt refused the generated code".into()) }
}
