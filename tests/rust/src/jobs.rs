//! The command line and the manifest: records as JSON lines, bytes in base64, null kept apart from empty.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What the command line asks for.
#[derive(Default)]
pub struct Arguments {
    /// `produce`, `consume` or `checks`.
    pub verb: String,
    /// Address of the broker.
    pub bootstrap: String,
    /// What the topics of `checks` begin with.
    pub prefix: String,
    /// What only Corelog refuses or promises is checked too.
    pub corelog: bool,
    /// The topics of `produce` and `consume`.
    pub jobs: Vec<Job>,
}

/// One topic to fill or to read.
#[derive(Default)]
pub struct Job {
    /// The topic.
    pub topic: String,
    /// The compression to produce with.
    pub codec: String,
    /// The manifest to produce from.
    pub input: String,
    /// Where what was read goes.
    pub output: String,
    /// How many records to read.
    pub count: usize,
}

/// One record of a manifest.
pub struct Record {
    /// Partition to produce to.
    pub partition: i32,
    /// Create time.
    pub timestamp_ms: i64,
    /// `None` is null.
    pub key: Option<Vec<u8>>,
    /// `None` is null.
    pub value: Option<Vec<u8>>,
    /// In order, names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Arguments {
    /// Reads `VERB (--NAME VALUE)...`; each `--topic` begins a job.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut out = Self { verb: words.next().ok_or("a verb is missing")?, ..Self::default() };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} lacks a value"))?;
            match name.as_str() {
                "--bootstrap" => out.bootstrap = value,
                "--prefix" => out.prefix = value,
                "--broker" => out.corelog = value == "corelog",
                "--topic" => out.jobs.push(Job { topic: value, ..Job::default() }),
                _ => out.jobs.last_mut().ok_or("--topic comes first")?.set(&name, value)?,
            }
        }
        Ok(out)
    }
}

impl Job {
    fn set(&mut self, name: &str, value: String) -> Result<(), Box<dyn Error>> {
        match name {
            "--codec" => self.codec = value,
            "--input" => self.input = value,
            "--output" => self.output = value,
            "--count" => self.count = value.parse()?,
            _ => return Err(format!("unknown option {name}").into()),
        }
        Ok(())
    }

    /// The records to produce.
    pub fn records(&self) -> Result<Vec<Record>, Box<dyn Error>> {
        fs::read_to_string(&self.input)?.lines().map(|line| record(&serde_json::from_str(line)?)).collect()
    }
}

fn record(line: &Value) -> Result<Record, Box<dyn Error>> {
    let mut headers = Vec::new();
    for pair in line["headers"].as_array().ok_or("headers")? {
        headers.push((pair[0].as_str().ok_or("header name")?.to_owned(), bytes(&pair[1])?));
    }
    Ok(Record {
        partition: i32::try_from(line["partition"].as_i64().ok_or("partition")?)?,
        timestamp_ms: line["timestamp"].as_i64().ok_or("timestamp")?,
        key: bytes(&line["key"])?,
        value: bytes(&line["value"])?,
        headers,
    })
}

fn bytes(value: &Value) -> Result<Option<Vec<u8>>, Box<dyn Error>> {
    Ok(value.as_str().map(|text| STANDARD.decode(text)).transpose()?)
}

/// Bytes as the manifest writes them.
pub fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| json!(STANDARD.encode(bytes)))
}

/// Lines by topic, until every topic is read.
pub type Lines = BTreeMap<String, String>;
