//! The rdkafka client of the client tests: librdkafka as Rust programs run it.
//! Owns what is done with the client; `jobs` owns the command line and the manifest. Never starts a broker.
//!
//! ```text
//! client-rdkafka produce --bootstrap B (--topic T --codec C --input F)...
//! client-rdkafka consume --bootstrap B (--topic T --count N --output F)...
//! client-rdkafka checks  --bootstrap B --prefix P --broker corelog|kafka
//! ```
#![forbid(unsafe_code)]

mod checks;
mod client;
mod jobs;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = jobs::Arguments::parse(std::env::args().skip(1))?;
    match arguments.verb.as_str() {
        "produce" => arguments.jobs.iter().try_for_each(|job| client::produce(&arguments.bootstrap, job)),
        "consume" => client::consume(&arguments.bootstrap, &arguments.jobs),
        "checks" => {
            checks::run(&arguments);
            Ok(())
        }
        other => Err(format!("unknown verb {other}").into()),
    }
}
