//! A file read through one window that moves forward. Owns the window's memory: [`WINDOW_BYTES`], or one batch where
//! that is larger. Never believes a length: what is asked for beyond the file's end is just not there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file and the part of it that is in memory.
#[derive(Debug)]
pub(crate) struct Window {
    file: File,
    length_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(crate) fn open(path: &Path) -> io::Result<Window> {
        let file = File::open(path)?;
        let length_bytes = file.metadata()?.len();
        Ok(Window { file, length_bytes, start: 0, bytes: Vec::new() })
    }

    /// The file's length when it was opened: a broker that writes meanwhile moves no end under a reader.
    pub(crate) fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// `count` bytes from `position`; fewer only at the file's end. The caller bounds `count`.
    pub(crate) fn bytes(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let left = self.length_bytes.saturating_sub(position);
        let count = usize::try_from(left).map_or(count, |left| left.min(count));
        if !self.holds(position, count) {
            let wanted = usize::try_from(left).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES)).max(count);
            self.fill(position, wanted)?;
        }
        let from = usize::try_from(position - self.start).expect("inside the window");
        let to = self.bytes.len().min(from + count);
        Ok(&self.bytes[from..to])
    }

    fn holds(&self, position: u64, count: usize) -> bool {
        let skipped = position.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.is_some_and(|skipped| skipped <= self.bytes.len() && self.bytes.len() - skipped >= count)
    }

    /// A file that became shorter leaves the window shorter.
    fn fill(&mut self, position: u64, wanted: usize) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.shrink_to(WINDOW_BYTES);
        self.bytes.resize(wanted, 0);
        self.start = position;
        let mut filled = 0;
        while filled < wanted {
            match self.file.read_at(&mut self.bytes[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }
}

pub(crate) const WINDOW_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_file_wherever_the_window_stands() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..3 * WINDOW_BYTES as u32).flat_map(|n| n.to_be_bytes()).collect();
        std::fs::write(&path, &content).expect("written");
        let mut window = Window::open(&path).expect("opens");
        for (at, count) in
            [(0, 10), (5, WINDOW_BYTES), (WINDOW_BYTES, 2 * WINDOW_BYTES), (3, 1), (content.len() - 2, 9)]
        {
            let expected = &content[at..content.len().min(at + count)];
            assert_eq!(window.bytes(at as u64, count).expect("reads"), expected);
        }
        assert!(window.bytes(u64::MAX, 5).expect("reads").is_empty());
    }
}
