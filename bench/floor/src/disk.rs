//! One file, written in a circle: batches are copied one behind the other into aligned chunks; whatever came while a
//! write was in flight goes with the next one, synced. All of the file was written once before, so that no write changes
//! its metadata.

use std::fs::File as StdFile;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use effect::{Chunk, Effects, File, Op, OpenMode, Pool, Token};

use crate::Waiter;

/// The file and what goes to it.
pub(crate) struct Disk {
    file: Option<File>,
    memory: Pool,
    position: u64,
    /// What was copied and not yet written.
    chunks: Vec<Chunk>,
    waiting: Vec<(Waiter, Vec<u8>)>,
    /// Who waits for the write in flight.
    in_flight: Option<Vec<(Waiter, Vec<u8>)>>,
}

/// Makes the file, or takes one that is there, and writes all of it.
pub(crate) fn prepare(directory: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("floor.data");
    let mut file = StdFile::create(&path)?;
    let zeros = vec![0; CHUNK_BYTES];
    for _ in 0..CIRCLE_BYTES / CHUNK_BYTES as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    Ok(path)
}

pub(crate) fn open(path: PathBuf) -> Op {
    Op::Open { path, mode: OpenMode::Write }
}

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk {
            file: None,
            memory: Pool::of_slabs(CHUNKS_BYTES),
            position: 0,
            chunks: Vec::new(),
            waiting: Vec::new(),
            in_flight: None,
        }
    }

    pub(crate) fn opened(&mut self, file: File) {
        self.file = Some(file);
    }

    /// Copies a batch behind the last one.
    pub(crate) fn copy(&mut self, mut batch: &[u8]) {
        while !batch.is_empty() {
            if self.chunks.last().is_none_or(|chunk| chunk.room() == 0) {
                self.chunks.push(Chunk::new(self.memory.take_over(CHUNK_BYTES)));
            }
            let chunk = self.chunks.last_mut().expect("pushed above if there was none");
            let (now, later) = batch.split_at(batch.len().min(chunk.room()));
            chunk.append(now);
            batch = later;
        }
    }

    /// Who is to be answered once everything that was copied is written.
    pub(crate) fn wait(&mut self, waiter: Waiter, answer: Vec<u8>) {
        self.waiting.push((waiter, answer));
    }

    /// At the end of a turn: all that is there, if no write is in flight.
    pub(crate) fn write_group(&mut self, token: Token, effects: &mut Effects) {
        let Some(file) = self.file else { return };
        if self.in_flight.is_some() || self.waiting.is_empty() {
            return;
        }
        self.in_flight = Some(std::mem::take(&mut self.waiting));
        let chunks = std::mem::take(&mut self.chunks);
        let bufs: Vec<_> = chunks.into_iter().map(|mut chunk| chunk.blocks(0..chunk.len())).collect();
        let bytes: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        assert!(bytes <= CIRCLE_BYTES, "clients have more in flight than the file holds");
        if self.position + bytes > CIRCLE_BYTES {
            self.position = 0;
        }
        effects.push(token, Op::Write { file, offset: self.position, bufs, sync: true });
        self.position += bytes;
    }

    /// The write in flight has completed.
    pub(crate) fn written(&mut self) -> Vec<(Waiter, Vec<u8>)> {
        self.in_flight.take().expect("a write was in flight")
    }
}

const CIRCLE_BYTES: u64 = 256 << 20;
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_BYTES: usize = 256 << 20;
