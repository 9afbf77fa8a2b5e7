//! `corelog log dump`: one file, from its beginning to its end.

use std::io::{self, Write};
use std::path::Path;

use model::Offset;
use record::{BatchView, Header, Record, RecordHeader, Records, TimestampType};
use serde_json::{Value, json};

use super::Verdict;
use super::frames;
use super::index::{Entries, Entry, OffsetEntry, TimeEntry};
use super::kind::{FileKind, base_offset};
use super::line::{Form, Lines, nullable_json, nullable_text, text};
use super::segment::{Found, Segment};
use super::window::Window;

/// How to show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DumpOptions {
    /// What lines look like.
    pub form: Form,
    /// Every record too, not the batches alone.
    pub records: bool,
}

/// Shows a file on `out`. An error is the file's or the output's; damage is shown and told by the verdict.
pub fn dump(path: &Path, options: DumpOptions, out: &mut dyn Write) -> io::Result<Verdict> {
    let mut window = Window::open(path)?;
    let kind = FileKind::of(path, window.bytes(0, record::HEADER_BYTES)?);
    let mut lines = Lines::new(options.form, out);
    let base_offset = base_offset(path).unwrap_or(Offset::ZERO);
    match kind {
        Some(FileKind::Segment) => dump_segment(path, options.records, &mut lines),
        Some(FileKind::OffsetIndex) => dump_index::<OffsetEntry>(path, base_offset, &mut lines),
        Some(FileKind::TimeIndex) => dump_index::<TimeEntry>(path, base_offset, &mut lines),
        Some(FileKind::Frames) => frames::dump(path, &mut lines),
        Some(FileKind::Headed(known)) => match known.check(&mut window)? {
            Ok(head) => {
                let (version, bytes) = (head.version, head.payload_bytes);
                lines.line(
                    || format!("{}, version {version}, {bytes} bytes, checksum right", known.name),
                    || json!({"type": "head", "name": known.name, "version": version, "payload_bytes": bytes}),
                )?;
                Ok(Verdict::Sound)
            }
            Err(what) => {
                damage(0, &what, &mut lines)?;
                Ok(Verdict::Damaged)
            }
        },
        None => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "neither a segment nor an index nor a file of the broker's"))
        }
    }
}

#[derive(Default)]
struct Sum {
    batches: u64,
    records: u64,
    damaged: u64,
    offsets: Option<(Offset, Offset)>,
}

fn dump_segment(path: &Path, records: bool, lines: &mut Lines<'_>) -> io::Result<Verdict> {
    let mut segment = Segment::open(path)?;
    let mut sum = Sum::default();
    while let Some((position, found)) = segment.next()? {
        match found {
            Found::Batch(batch) => {
                let header = batch.header();
                sum.batches += 1;
                sum.records += u64::from(header.record_count);
                let first = sum.offsets.map_or(header.base_offset, |(first, _)| first);
                sum.offsets = Some((first, header.last_offset()));
                batch_line(position, header, true, lines)?;
                if records && !dump_records(position, batch, lines)? {
                    sum.damaged += 1;
                }
            }
            Found::Bad { header, error, .. } => {
                sum.damaged += 1;
                if let Some(header) = header {
                    batch_line(position, &header, false, lines)?;
                }
                damage(position, error.message(), lines)?;
            }
            Found::Noise { bytes, error } => {
                sum.damaged += 1;
                damage(position, &format!("{bytes} bytes are no batch: {}", error.message()), lines)?;
            }
            Found::Room { bytes } => lines.line(
                || format!("position {position}: zeros to the end, {bytes} bytes"),
                || json!({"type": "room", "position": position, "bytes": bytes}),
            )?,
        }
    }
    sum.line(segment.length_bytes(), lines)?;
    Ok(if sum.damaged == 0 { Verdict::Sound } else { Verdict::Damaged })
}

impl Sum {
    fn line(&self, bytes: u64, lines: &mut Lines<'_>) -> io::Result<()> {
        let Sum { batches, records, damaged, offsets } = self;
        lines.line(
            || {
                let offsets = offsets.map_or("none".to_owned(), |(first, last)| format!("{first} to {last}"));
                format!("{batches} batches, {records} records, offsets {offsets}, {bytes} bytes, {damaged} damaged")
            },
            || {
                json!({
                    "type": "summary", "batches": batches, "records": records, "damaged": damaged, "bytes": bytes,
                    "first_offset": offsets.map(|(first, _)| first.get()),
                    "last_offset": offsets.map(|(_, last)| last.get()),
                })
            },
        )
    }
}

fn damage(position: u64, what: &str, lines: &mut Lines<'_>) -> io::Result<()> {
    lines.line(
        || format!("position {position}: DAMAGED: {what}"),
        || json!({"type": "damage", "position": position, "what": what}),
    )
}

fn batch_line(position: u64, header: &Header, crc_ok: bool, lines: &mut Lines<'_>) -> io::Result<()> {
    lines.line(|| batch_text(position, header, crc_ok), || batch_json(position, header, crc_ok))
}

fn batch_text(position: u64, header: &Header, crc_ok: bool) -> String {
    let producer = header.producer.map_or("none".to_owned(), |producer| {
        format!("{} epoch {} sequence {}", producer.id.0, producer.epoch.0, producer.base_sequence)
    });
    let epoch = header.partition_leader_epoch.map_or("none".to_owned(), |epoch| epoch.0.to_string());
    let marks = [
        (header.timestamp_type == TimestampType::LogAppendTime, ", log append time"),
        (header.transactional, ", transactional"),
        (header.control, ", control"),
        (header.delete_horizon, ", delete horizon"),
    ];
    let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    format!(
        "position {position}: offsets {} to {}, {} records, {} bytes, codec {}, checksum {}, leader epoch {epoch}, \
         producer {producer}, timestamps {} to {}{marks}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.size_bytes,
        header.codec.name(),
        if crc_ok { "right" } else { "wrong" },
        header.base_timestamp.0,
        header.max_timestamp.0,
    )
}

fn batch_json(position: u64, header: &Header, crc_ok: bool) -> Value {
    json!({
        "type": "batch", "position": position, "size_bytes": header.size_bytes, "crc_ok": crc_ok, "crc": header.crc,
        "base_offset": header.base_offset.get(), "last_offset": header.last_offset().get(),
        "record_count": header.record_count, "codec": header.codec.name(),
        "leader_epoch": header.partition_leader_epoch.map(|epoch| epoch.0),
        "producer_id": header.producer.map(|producer| producer.id.0),
        "producer_epoch": header.producer.map(|producer| producer.epoch.0),
        "base_sequence": header.producer.map(|producer| producer.base_sequence),
        "base_timestamp": header.base_timestamp.0, "max_timestamp": header.max_timestamp.0,
        "log_append_time": header.timestamp_type == TimestampType::LogAppendTime,
        "transactional": header.transactional, "control": header.control, "delete_horizon": header.delete_horizon,
    })
}

/// Whether all records could be read.
fn dump_records(position: u64, batch: BatchView<'_>, lines: &mut Lines<'_>) -> io::Result<bool> {
    let records = match Records::read(batch, RECORDS_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => {
            damage(position, error.message(), lines)?;
            return Ok(false);
        }
    };
    for record in &records {
        match record {
            Ok(record) => lines.line(|| record_text(&record), || record_json(&record))?,
            Err(error) => {
                damage(position, error.message(), lines)?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn record_text(record: &Record<'_>) -> String {
    let header = |header: &RecordHeader<'_>| format!("{}={}", text(header.key), nullable_text(header.value));
    let headers: Vec<String> = record.headers.iter().map(header).collect();
    format!(
        "  offset {}, timestamp {}, key {}, value {}, headers [{}]",
        record.offset,
        record.timestamp.0,
        nullable_text(record.key),
        nullable_text(record.value),
        headers.join(", ")
    )
}

fn record_json(record: &Record<'_>) -> Value {
    let header = |header: &RecordHeader<'_>| json!([nullable_json(Some(header.key)), nullable_json(header.value)]);
    json!({
        "type": "record", "offset": record.offset.get(), "timestamp": record.timestamp.0,
        "key": nullable_json(record.key), "key_bytes": record.key.map(<[u8]>::len),
        "value": nullable_json(record.value), "value_bytes": record.value.map(<[u8]>::len),
        "headers": record.headers.iter().map(header).collect::<Vec<_>>(),
    })
}

trait Shown: Entry {
    fn text(self) -> String;
    fn json(self) -> Value;
}

impl Shown for OffsetEntry {
    fn text(self) -> String {
        format!("offset {} at position {}", self.offset, self.position)
    }

    fn json(self) -> Value {
        json!({"type": "offset_entry", "offset": self.offset.get(), "position": self.position})
    }
}

impl Shown for TimeEntry {
    fn text(self) -> String {
        format!("timestamp {} at offset {}", self.timestamp.0, self.offset)
    }

    fn json(self) -> Value {
        json!({"type": "time_entry", "timestamp": self.timestamp.0, "offset": self.offset.get()})
    }
}

fn dump_index<E: Shown>(path: &Path, base_offset: Offset, lines: &mut Lines<'_>) -> io::Result<Verdict> {
    let mut entries = Entries::<E>::open(path, base_offset)?;
    let mut verdict = Verdict::Sound;
    while let Some((_, entry)) = entries.current() {
        lines.line(|| entry.text(), || entry.json())?;
        if let Some(what) = entries.advance()? {
            let position = entries.current().map_or(0, |(position, _)| position);
            damage(position, what, lines)?;
            verdict = Verdict::Damaged;
        }
    }
    if entries.rest_bytes() > 0 {
        damage(entries.whole_bytes(), "the file ends within an entry", lines)?;
        verdict = Verdict::Damaged;
    }
    Ok(verdict)
}

/// How much of a batch's records is decompressed to be shown.
const RECORDS_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_files::testing::{batch, coded, index, time_index};
    use record::Codec;

    fn shown(name: &str, bytes: &[u8], form: Form) -> (Verdict, String) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let mut out = Vec::new();
        let verdict = dump(&path, DumpOptions { form, records: true }, &mut out).expect("reads");
        (verdict, String::from_utf8(out).expect("text"))
    }

    fn json(name: &str, bytes: &[u8]) -> (Verdict, Vec<Value>) {
        let (verdict, text) = shown(name, bytes, Form::Json);
        (verdict, text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    }

    #[test]
    fn batches_and_records_of_every_codec_are_shown() {
        for codec in Codec::ALL {
            let bytes = [coded(7, 2, codec), vec![0; 100]].concat();
            let (verdict, lines) = json("00000000000000000007.log", &bytes);
            assert_eq!(verdict, Verdict::Sound);
            let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().expect("a type")).collect();
            assert_eq!(kinds, ["batch", "record", "record", "room", "summary"]);
            assert_eq!((&lines[0]["base_offset"], &lines[0]["codec"]), (&json!(7), &json!(codec.name())));
            assert_eq!((&lines[2]["offset"], &lines[2]["timestamp"]), (&json!(8), &json!(1008)));
            assert_eq!((&lines[2]["key"], &lines[2]["value"]), (&json!("key 8"), &json!("value\\n")));
            assert_eq!((&lines[4]["records"], &lines[4]["last_offset"]), (&json!(2), &json!(8)));
        }
    }

    #[test]
    fn records_of_a_damaged_batch_are_not_shown() {
        let mut bytes = [batch(0, 1), batch(1, 1)].concat();
        let size = batch(0, 1).len();
        bytes[size - 1] ^= 1;
        let (verdict, text) = shown("00000000000000000000.log", &bytes, Form::Human);
        assert_eq!(verdict, Verdict::Damaged);
        assert!(text.contains("position 0: DAMAGED: record batch checksum does not match"), "{text}");
        assert!(!text.contains("\"key 0\""), "{text}");
        assert!(text.contains("\"key 1\""), "{text}");
    }

    #[test]
    fn index_entries_are_shown_with_whole_offsets() {
        let (verdict, lines) = json("00000000000000000100.index", &index(&[(5, 4200)]));
        assert_eq!((verdict, &lines[0]["offset"], &lines[0]["position"]), (Verdict::Sound, &json!(105), &json!(4200)));
        let (verdict, lines) = json("00000000000000000100.timeindex", &time_index(&[(9, 5), (8, 6)]));
        assert_eq!(
            (verdict, &lines[0]["offset"], &lines[2]["type"]),
            (Verdict::Damaged, &json!(105), &json!("time_entry"))
        );
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("partition.metadata");
        std::fs::write(&path, "version: 0\n").expect("written");
        let options = DumpOptions { form: Form::Human, records: false };
        assert!(dump(&path, options, &mut Vec::new()).is_err());
    }
}
