//! Fetches the published artifact that holds the definitions, into a scratch directory that goes when it is dropped.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

/// The release whose definitions are read.
pub(crate) const VERSION: &str = "4.4.0";

/// A directory that is removed on drop.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Where the definitions lie.
    pub(crate) fn definitions(&self) -> PathBuf {
        self.0.join("common/message")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Downloads kafka-clients with Maven and unpacks its message definitions.
pub(crate) fn fetch() -> Result<Scratch, Box<dyn Error>> {
    let scratch = Scratch(std::env::temp_dir().join(format!("codegen-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0)?;
    let jar = format!("kafka-clients-{VERSION}.jar");
    run(Command::new("mvn")
        .args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"])
        .arg(format!("-Dartifact=org.apache.kafka:kafka-clients:{VERSION}"))
        .arg(format!("-DoutputDirectory={}", scratch.0.display())))?;
    run(Command::new("unzip").args(["-q", "-o", &jar, "common/message/*.json"]).current_dir(&scratch.0))?;
    Ok(scratch)
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed: {status}").into()) }
}
