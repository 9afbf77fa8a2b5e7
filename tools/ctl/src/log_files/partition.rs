//! One partition's directory: its segments in order, each against its name, the one before it and its indexes.
//! Owns what is carried from batch to batch and from segment to segment. Invariant: everything that is found is reported
//! with the file and the position in it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use model::{LeaderEpoch, Offset};
use record::Header;

use super::index::{Entries, Entry, OffsetEntry, TimeEntry};
use super::kind::{FileKind, base_offset};
use super::segment::{Found, Segment};
use super::verify::Report;
use super::window::Window;

/// Checks the directory. `at_rest`: no broker writes to it and no journal is beside it, so that even the last segment must
/// be whole.
pub(crate) fn check(directory: &Path, at_rest: bool, report: &mut Report<'_>) -> io::Result<()> {
    let files = files(directory)?;
    let mut state = State::default();
    let segments: Vec<Offset> = files.iter().filter(|(_, of)| of.segment.is_some()).map(|(base, _)| *base).collect();
    for (base, of) in &files {
        let Some(path) = &of.segment else { continue };
        let last = segments.last() == Some(base);
        check_segment(path, *base, of, Place { last, at_rest }, &mut state, report)?;
        report.sum.segments += 1;
    }
    report.sum.partitions += 1;
    // Where compaction took records away, it may have taken the last ones of a segment.
    for (path, text) in std::mem::take(&mut state.holes) {
        match state.thinned {
            true => report.note(&path, 0, &text)?,
            false => report.damage(&path, 0, &text)?,
        }
    }
    for path in files.values().filter_map(|of| of.snapshot.as_ref()) {
        check_head(path, report)?;
    }
    Ok(())
}

/// A file with a head of the broker's own, wherever it lies; others are passed over.
pub(crate) fn check_head(path: &Path, report: &mut Report<'_>) -> io::Result<()> {
    let mut window = Window::open(path)?;
    if let Some(FileKind::Headed(known)) = FileKind::of(path, window.bytes(0, record::HEADER_BYTES)?)
        && let Err(what) = known.check(&mut window)?
    {
        report.damage(path, 0, &what)?;
    }
    Ok(())
}

/// The files of one base offset.
#[derive(Default)]
struct Files {
    segment: Option<PathBuf>,
    offset_index: Option<PathBuf>,
    time_index: Option<PathBuf>,
    snapshot: Option<PathBuf>,
}

fn files(directory: &Path) -> io::Result<BTreeMap<Offset, Files>> {
    let mut files: BTreeMap<Offset, Files> = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(base) = base_offset(&path) else { continue };
        let of = files.entry(base).or_default();
        let place = match path.extension().and_then(|extension| extension.to_str()) {
            Some("log") => &mut of.segment,
            Some("index") => &mut of.offset_index,
            Some("timeindex") => &mut of.time_index,
            Some("snapshot") => &mut of.snapshot,
            _ => continue,
        };
        *place = Some(path);
    }
    Ok(files)
}

#[derive(Clone, Copy)]
struct Place {
    last: bool,
    at_rest: bool,
}

/// What one batch or segment tells the next.
#[derive(Default)]
struct State {
    /// The offset after the last one seen.
    end: Option<Offset>,
    epoch: Option<LeaderEpoch>,
    /// Records are missing inside of a segment: compaction was here.
    thinned: bool,
    /// What stands before the next batch could not be read: which offsets it had is not known.
    unsure: bool,
    /// Offsets between segments that none holds.
    holes: Vec<(PathBuf, String)>,
}

fn check_segment(
    path: &Path,
    base: Offset,
    of: &Files,
    place: Place,
    state: &mut State,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let mut segment = Segment::open(path)?;
    let mut offsets =
        of.offset_index.as_deref().map(|path| Against::<OffsetEntry>::open(path, base, report)).transpose()?;
    let mut times = of.time_index.as_deref().map(|path| Against::<TimeEntry>::open(path, base, report)).transpose()?;
    match state.end {
        Some(end) if base < end => {
            report.damage(path, 0, &format!("begins at offset {base}, the segment before it ends at {end}"))?;
        }
        Some(end) if base > end && !state.unsure => {
            state.holes.push((path.to_owned(), format!("no segment holds offsets from {end} to {base}")));
        }
        _ => {}
    }
    // Where this segment's next batch may begin.
    let mut end = base;
    // Bad bytes with no good batch behind them, yet.
    let mut tail: Option<(u64, &'static str)> = None;
    while let Some((position, found)) = segment.next()? {
        if let Some((position, what)) = tail.take_if(|_| !matches!(found, Found::Room { .. })) {
            report.damage(path, position, what)?;
        }
        match found {
            Found::Batch(batch) => {
                let header = batch.header();
                check_batch(path, position, header, end, state, report)?;
                if let Some(offsets) = &mut offsets {
                    offsets.pass(position, header, report)?;
                }
                if let Some(times) = &mut times {
                    times.pass(header, report)?;
                }
                end = end.max(header.next_offset());
                report.sum.batches += 1;
                report.sum.records += u64::from(header.record_count);
            }
            Found::Bad { error, .. } | Found::Noise { error, .. } => {
                tail = Some((position, error.message()));
                state.unsure = true;
                offsets.iter_mut().for_each(|against| against.lost = true);
                times.iter_mut().for_each(|against| against.lost = true);
            }
            Found::Room { .. } if place.last => {}
            Found::Room { bytes } => report.note(path, position, &format!("{bytes} bytes of zeros are not cut off"))?,
        }
    }
    if let Some((position, what)) = tail {
        match (place.last, place.at_rest) {
            (true, true) => report.damage(path, position, &format!("{what}; a torn tail, if the broker was killed"))?,
            (true, false) => report.note(
                path,
                position,
                &format!("{what}; a broker is writing here, or the journal has the rest"),
            )?,
            (false, _) => report.damage(path, position, what)?,
        }
    }
    if place.at_rest || !place.last {
        offsets.map_or(Ok(()), |offsets| offsets.end(report))?;
        times.map_or(Ok(()), |times| times.end(report))?;
    }
    report.sum.bytes += segment.length_bytes();
    state.end = Some(end.max(state.end.unwrap_or(end)));
    Ok(())
}

fn check_batch(
    path: &Path,
    position: u64,
    header: &Header,
    end: Offset,
    state: &mut State,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let first = header.base_offset;
    if first < end {
        report.damage(path, position, &format!("a batch begins at offset {first}, expected {end} or above"))?;
    }
    let missing = first > end && !state.unsure;
    state.thinned |= missing || header.record_count <= header.last_offset_delta;
    state.unsure = false;
    if let (Some(before), Some(now)) = (state.epoch, header.partition_leader_epoch)
        && now < before
    {
        report.damage(path, position, &format!("leader epoch {} after {}", now.0, before.0))?;
    }
    state.epoch = state.epoch.max(header.partition_leader_epoch);
    Ok(())
}

/// An index file held against the batches as they pass.
struct Against<E> {
    path: PathBuf,
    entries: Entries<E>,
    /// Batches could not be read: entries that point to no known one are no finding of their own.
    lost: bool,
}

impl<E: Entry> Against<E> {
    fn open(path: &Path, base: Offset, report: &mut Report<'_>) -> io::Result<Against<E>> {
        let entries = Entries::open(path, base)?;
        if entries.rest_bytes() > 0 {
            report.damage(path, entries.whole_bytes(), "the file ends within an entry")?;
        }
        Ok(Against { path: path.to_owned(), entries, lost: false })
    }

    /// Goes on, with a report of `what` is wrong with the current entry.
    fn next(&mut self, what: Option<String>, report: &mut Report<'_>) -> io::Result<()> {
        if let (Some(what), Some((at, _))) = (what, self.entries.current()) {
            report.damage(&self.path, at, &what)?;
        }
        if let Some(what) = self.entries.advance()? {
            let at = self.entries.current().map_or(0, |(at, _)| at);
            report.damage(&self.path, at, what)?;
        }
        Ok(())
    }

    /// No batch is left.
    fn end(mut self, report: &mut Report<'_>) -> io::Result<()> {
        if self.entries.current().is_some() && !self.lost {
            self.next(Some("an entry points beyond the last batch".to_owned()), report)?;
        }
        Ok(())
    }
}

impl Against<OffsetEntry> {
    fn pass(&mut self, position: u64, header: &Header, report: &mut Report<'_>) -> io::Result<()> {
        while let Some((_, entry)) = self.entries.current()
            && u64::from(entry.position) <= position
        {
            let within = header.base_offset <= entry.offset && entry.offset <= header.last_offset();
            let right = u64::from(entry.position) == position && within;
            let what = (!right && !self.lost).then(|| {
                format!("offset {} is said to be at position {}, where it is not", entry.offset, entry.position)
            });
            self.next(what, report)?;
        }
        Ok(())
    }
}

impl Against<TimeEntry> {
    fn pass(&mut self, header: &Header, report: &mut Report<'_>) -> io::Result<()> {
        while let Some((_, entry)) = self.entries.current()
            && entry.offset <= header.last_offset()
        {
            let right = header.base_offset <= entry.offset && entry.timestamp == header.max_timestamp;
            let what = (!right && !self.lost).then(|| {
                format!("timestamp {} is said to be at offset {}, where it is not", entry.timestamp.0, entry.offset)
            });
            self.next(what, report)?;
        }
        Ok(())
    }
}
