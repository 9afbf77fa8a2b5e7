//! A compacted segment takes the place of those that it was made from.
//!
//! First the sources' index files go: no start shall take them for the new one's. One source: `<base>.log.cleaned` is renamed over it; a crash leaves the one or the other. Several: the new file is
//! renamed to `<base>-<end>.log.swap`, and once that name is durable it counts: reads go to it, the sources are removed,
//! then it gets the first one's name. A start that finds a `.swap` goes on there (`leftover.rs`).
//!
//! Owns the exchange, one at a time for each log. Readers that hold a lease on a source's file keep it; nobody can open
//! a file while its name changes. Invariant: what the segments in memory say is what stands under their names.

use std::path::PathBuf;

use effect::{Done, Effects, Fault, Op};
use model::Offset;

use super::output::Output;
use crate::age::Age;
use crate::engine::is_full;
use crate::index::Place;
use crate::job::{Job, SwapStep, Work};
use crate::partition::{Partition, State};
use crate::segment::Segment;
use crate::{Event, Log, LogRef};

#[derive(Debug)]
pub(crate) struct Swap {
    base: Offset,
    end: Offset,
    /// The bases of the segments that go; the first one's name stays.
    sources: Vec<Offset>,
    /// The new one, until it counts.
    new: Option<Segment>,
    step: SwapStep,
    busy: bool,
    /// Files of the indexes still to be removed, the last first.
    indexes: Vec<PathBuf>,
    /// Other files still to be removed, the last first.
    removing: Vec<PathBuf>,
    swap_path: PathBuf,
    /// The new one counts and stands under `swap_path`.
    at_swap_path: bool,
    /// Its name is about to change: nobody may open it.
    renaming: bool,
    complained: bool,
}

impl Swap {
    /// Where the segment at `base` is, if not under its own name.
    pub(crate) fn path_of(&self, base: Offset) -> Option<PathBuf> {
        (self.at_swap_path && self.base == base).then(|| self.swap_path.clone())
    }
}

impl Partition {
    pub(crate) fn cleaned_path(&self, base: Offset) -> PathBuf {
        self.dir.join(format!("{:020}.log.cleaned", base.get()))
    }

    /// Whether the name of a segment's file is about to change.
    pub(crate) fn is_renaming(&self, base: Offset) -> bool {
        self.swap.as_ref().is_some_and(|swap| swap.renaming && swap.base == base)
    }

    /// Where the segments stand that an output was made from, if they are all there as they were.
    fn sources_of(&self, output: &Output) -> Option<usize> {
        let at = self.segments.binary_search_by_key(&output.base, |segment| segment.base).ok()?;
        let found = self.segments.get(at..at + output.sources.len())?;
        let is_as_it_was = |segment: &Segment| segment.sealed && segment.damages.is_empty();
        let same =
            found.iter().zip(&output.sources).all(|(segment, base)| segment.base == *base && is_as_it_was(segment));
        let last = found.last()?;
        let before_active = at + output.sources.len() < self.segments.len();
        (same && last.end.offset == output.end && before_active).then_some(at)
    }
}

impl Log {
    /// Lets a synced `.cleaned` file take its sources' place. Gives the output back if they are not as they were.
    pub(crate) fn replace_segments(
        &mut self,
        log: LogRef,
        output: Box<Output>,
        out: &mut Effects,
    ) -> Result<(), Box<Output>> {
        let wall = self.house.wall;
        let partition = self.known(log);
        if !matches!(partition.state, State::Open) || partition.is_retiring() || partition.sources_of(&output).is_none()
        {
            return Err(output);
        }
        assert!(output.is_synced);
        let Output { base, end, sources, ages, index, next, .. } = *output;
        let left = index.max_timestamp();
        let mut new = Segment::found(base, Place { offset: end, position: next.position });
        new.index = Some(index);
        new.index_lost = true;
        new.age = Age::merged(ages.into_iter(), left, wall);
        let mut indexes: Vec<_> = sources.iter().flat_map(|base| partition.index_paths(*base)).collect();
        indexes.reverse();
        let mut removing: Vec<_> = (sources.iter().skip(1)).map(|base| partition.segment_path(*base)).collect();
        removing.reverse();
        let swap_path = partition.dir.join(format!("{:020}-{:020}.log.swap", base.get(), end.get()));
        partition.swap = Some(Box::new(Swap {
            base,
            end,
            sources,
            new: Some(new),
            step: SwapStep::Unindex,
            busy: false,
            indexes,
            removing,
            swap_path,
            at_swap_path: false,
            renaming: false,
            complained: false,
        }));
        self.pump_swap(log, out);
        Ok(())
    }

    /// Takes the next step of an exchange.
    pub(crate) fn pump_swap(&mut self, log: LogRef, out: &mut Effects) {
        let is_writing_index = self.is_writing_index(log);
        let Some(partition) = self.partition_mut(log) else { return };
        let (dir, cleaned) = (partition.dir.clone(), partition.swap.as_ref().map(|swap| swap.base));
        let Some(cleaned) = cleaned.map(|base| partition.cleaned_path(base)) else { return };
        let Some(swap) = partition.swap.as_mut().filter(|swap| !swap.busy) else { return };
        let base = swap.base;
        let named = dir.join(format!("{:020}.log", base.get()));
        let op = match swap.step {
            // Looked at again once it is written.
            SwapStep::Unindex if is_writing_index => return,
            SwapStep::Unindex => match swap.indexes.last().cloned() {
                Some(path) => Op::Remove { path },
                None => {
                    swap.step = SwapStep::UnindexSync;
                    Op::SyncDir { path: dir }
                }
            },
            SwapStep::Commit => Op::Rename { from: cleaned, to: swap.swap_path.clone() },
            SwapStep::Remove => match swap.removing.last().cloned() {
                Some(path) => Op::Remove { path },
                None => {
                    swap.step = SwapStep::RemoveSync;
                    Op::SyncDir { path: dir }
                }
            },
            SwapStep::Name => {
                swap.renaming = true;
                let from = if swap.at_swap_path { swap.swap_path.clone() } else { cleaned };
                if self.files.is_opening(log, base) {
                    // Looked at again once it is open.
                    return;
                }
                Op::Rename { from, to: named }
            }
            SwapStep::UnindexSync | SwapStep::CommitSync | SwapStep::RemoveSync | SwapStep::NameSync => {
                Op::SyncDir { path: dir }
            }
        };
        let swap = self.known(log).swap.as_mut().expect("it was seen a moment ago");
        swap.busy = true;
        let step = swap.step;
        self.submit(log, Work::Swap(step), op, out);
    }

    /// A step of an exchange is over.
    pub(crate) fn swap_done(&mut self, log: LogRef, step: SwapStep, done: Result<Done, Fault>, out: &mut Effects) {
        let swap = self.swap(log);
        swap.busy = false;
        if let Err(fault) = done {
            return self.swap_failed(log, step, fault, out);
        }
        let next = match step {
            SwapStep::Unindex => {
                swap.indexes.pop();
                Some(SwapStep::Unindex)
            }
            SwapStep::UnindexSync if swap.sources.len() == 1 => Some(SwapStep::Name),
            SwapStep::UnindexSync => Some(SwapStep::Commit),
            SwapStep::Commit => Some(SwapStep::CommitSync),
            SwapStep::CommitSync => {
                self.swap(log).at_swap_path = true;
                self.exchange(log, out);
                Some(SwapStep::Remove)
            }
            SwapStep::Remove => {
                swap.removing.pop();
                Some(SwapStep::Remove)
            }
            SwapStep::RemoveSync => Some(SwapStep::Name),
            SwapStep::Name => {
                if !std::mem::take(&mut swap.at_swap_path) {
                    self.exchange(log, out);
                }
                self.swap(log).renaming = false;
                // Who wanted to open it meanwhile asks again.
                self.events.push(Event::Ready { log });
                Some(SwapStep::NameSync)
            }
            SwapStep::NameSync => None,
        };
        match next {
            Some(next) => self.swap(log).step = next,
            None => self.swap_over(log, out),
        }
        self.look(log, out);
    }

    /// The new segment stands under its name: its index may go to its files.
    fn swap_over(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let swap = partition.swap.take().expect("an exchange is under way");
        if let Some(segment) = partition.segment_mut(swap.base) {
            segment.index_lost = false;
            self.write_index(log, swap.base, out);
        }
    }

    /// The new segment counts from here on.
    fn exchange(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let swap = partition.swap.as_mut().expect("an exchange is under way");
        let new = swap.new.take().expect("it counts once");
        let (base, end, count) = (swap.base, swap.end, swap.sources.len());
        let at = partition.segments.binary_search_by_key(&base, |segment| segment.base);
        let at = at.expect("the sources stay while they are exchanged");
        let gone: Vec<_> = partition.segments.splice(at..at + count, [new]).collect();
        assert!(gone.last().is_some_and(|last| last.end.offset == end));
        if let Some(cold) = &mut partition.cold {
            cold.forget();
        }
        self.touch(log);
        self.keep_index(log, base);
        self.scrub.forget(log, base, end);
        let chunks = gone.iter().flat_map(|segment| &segment.chunks);
        self.cache_bytes -= chunks.map(|chunk| chunk.chunk.capacity()).sum::<usize>();
        for file in self.files.doom_range(log, base, Some(end)) {
            self.close_file(log, file, out);
        }
    }

    fn swap_failed(&mut self, log: LogRef, step: SwapStep, fault: Fault, out: &mut Effects) {
        self.metrics.log_cleaner_failures_total.add(1);
        let partition = self.known(log);
        let dir = partition.dir.clone();
        let base = partition.swap.as_ref().map(|swap| swap.base).expect("an exchange is under way");
        let cleaned = partition.cleaned_path(base);
        let swap = partition.swap.as_mut().expect("an exchange is under way");
        let is_over = swap.new.is_none();
        match step {
            SwapStep::Unindex => {
                self.swap_given_up(log, cleaned, fault, out);
            }
            SwapStep::Commit | SwapStep::Name if !is_over && (is_full(fault) || fault.errno == Fault::ENOENT) => {
                self.swap_given_up(log, cleaned, fault, out);
            }
            SwapStep::Remove | SwapStep::Name if is_over => {
                if !std::mem::replace(&mut swap.complained, true) {
                    tracing::warn!(dir = %dir.display(), %fault, "compacted segments not exchanged, trying again");
                }
                swap.renaming = false;
                self.events.push(Event::Ready { log });
                self.retry_later(log);
                self.look_after_fault(log, out);
            }
            // Nobody knows what stands under which name.
            _ => self.write_fault(log, fault, out),
        }
    }

    /// Nothing has happened: the log stays as it was.
    fn swap_given_up(&mut self, log: LogRef, cleaned: PathBuf, fault: Fault, out: &mut Effects) {
        self.known(log).swap = None;
        self.jobs.push(Job { log, work: Work::Discard }, Op::Remove { path: cleaned }, out);
        self.events.push(Event::Ready { log });
        self.clean_fault(log, fault);
        self.look(log, out);
    }

    fn swap(&mut self, log: LogRef) -> &mut Swap {
        self.known(log).swap.as_mut().expect("an exchange is under way")
    }
}
