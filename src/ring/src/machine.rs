//! What the machine allows this process: cores, processor time, memory, open files.

use std::fs;
use std::io;
use std::mem::size_of;
use std::path::{Path, PathBuf};

/// Keeps the calling thread on `core`.
pub fn pin_to(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a `cpu_set_t` is integers only; zero is the empty set.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` lies inside the set, checked above.
    unsafe { libc::CPU_SET(core, &mut cores) };
    set_own_cores(&cores)
}

/// Lets the calling thread run wherever the process may: a thread inherits the one core of the shard that starts it.
pub(crate) fn unpin() {
    // A failure costs speed only.
    let _ = process_cores().and_then(|cores| set_own_cores(&cores));
}

/// The cores that this process may run on (its first thread, which nobody pins), in order; never empty.
pub fn allowed_cores() -> Vec<usize> {
    let allowed = process_cores().map(|cores| {
        // SAFETY: every index is inside the set.
        (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &cores) }).collect()
    });
    allowed.unwrap_or_else(|_| vec![0])
}

fn process_cores() -> io::Result<libc::cpu_set_t> {
    // SAFETY: as in `pin_to`.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the said size into `cores`, which is that long. The process's number is that
    // of its first thread.
    let answer = unsafe { libc::sched_getaffinity(libc::getpid(), size_of::<libc::cpu_set_t>(), &raw mut cores) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(cores) }
}

fn set_own_cores(cores: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: `cores` lives through the call, which only reads it, and its size is what is said.
    let answer = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cores) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// As many shards as there are allowed cores, or as the container's quota of processor time fills.
pub fn default_shards() -> usize {
    let cores = allowed_cores().len();
    match cpu_quota(&Cgroup::own()) {
        Some(quota) => cores.min(quota.ceil() as usize).max(1),
        None => cores,
    }
}

/// The memory that this process may use: the container's limit if there is one, else the machine's.
pub fn memory_allowed_bytes() -> u64 {
    let machine = machine_memory_bytes();
    memory_limit(&Cgroup::own()).map_or(machine, |limit| limit.min(machine))
}

/// Raises the limit of open files as far as it goes, and answers it.
pub fn raise_nofile_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives through the call, which fills it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return 0;
    }
    let wanted = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: `wanted` lives through the call, which only reads it.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) };
    if answer < 0 { limit.rlim_cur } else { wanted.rlim_cur }
}

/// Where the limits of this process's control groups are written, from its own group up to the root.
struct Cgroup {
    unified: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
    memory: Vec<PathBuf>,
}

impl Cgroup {
    fn own() -> Cgroup {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Cgroup::of(&text, Path::new("/sys/fs/cgroup"))
    }

    /// From the lines `hierarchy:controllers:path`; no controllers means the unified hierarchy.
    fn of(text: &str, root: &Path) -> Cgroup {
        let mut cgroup = Cgroup { unified: Vec::new(), cpu: Vec::new(), memory: Vec::new() };
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            if controllers.is_empty() {
                cgroup.unified = upwards(root, path);
            }
            for controller in controllers.split(',') {
                match controller {
                    "cpu" => cgroup.cpu = upwards(&root.join("cpu"), path),
                    "memory" => cgroup.memory = upwards(&root.join("memory"), path),
                    _ => {}
                }
            }
        }
        cgroup
    }
}

/// The group's directory and all above it. Inside a container the path may name directories that only the host has;
/// the root then holds the container's own limits.
fn upwards(root: &Path, path: &str) -> Vec<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().map(|part| root.join(part)).collect()
}

/// Cores' worth of processor time: the least of all quotas on the way up.
fn cpu_quota(cgroup: &Cgroup) -> Option<f64> {
    let unified = cgroup.unified.iter().filter_map(|dir| {
        let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
        let mut fields = text.split_whitespace();
        quota(fields.next()?, fields.next()?)
    });
    let old = cgroup.cpu.iter().filter_map(|dir| {
        let read = |name| fs::read_to_string(dir.join(name)).ok();
        quota(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
    });
    unified.chain(old).min_by(f64::total_cmp)
}

/// `None` for `max` and -1, which mean no limit.
fn quota(quota_us: &str, period_us: &str) -> Option<f64> {
    let (quota_us, period_us) = (quota_us.parse::<u32>().ok()?, period_us.parse::<u32>().ok()?);
    if period_us == 0 { None } else { Some(f64::from(quota_us) / f64::from(period_us)) }
}

fn memory_limit(cgroup: &Cgroup) -> Option<u64> {
    let unified = cgroup.unified.iter().map(|dir| dir.join("memory.max"));
    let old = cgroup.memory.iter().map(|dir| dir.join("memory.limit_in_bytes"));
    unified.chain(old).filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

fn machine_memory_bytes() -> u64 {
    // SAFETY: no pointer is passed.
    let (pages, page_bytes) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(page_bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts_in_both_hierarchies() {
        let root = std::env::temp_dir().join(format!("ring-cgroup-{}", std::process::id()));
        write(&root, "a/b/cpu.max", "max 100000\n");
        write(&root, "a/cpu.max", "150000 100000\n");
        write(&root, "a/b/memory.max", "1048576\n");
        write(&root, "a/memory.max", "max\n");
        let unified = Cgroup::of("0::/a/b\n", &root);
        assert_eq!(cpu_quota(&unified), Some(1.5));
        assert_eq!(memory_limit(&unified), Some(1 << 20));
        write(&root, "cpu/c/cpu.cfs_quota_us", "-1\n");
        write(&root, "cpu/c/cpu.cfs_period_us", "100000\n");
        write(&root, "cpu/cpu.cfs_quota_us", "50000\n");
        write(&root, "cpu/cpu.cfs_period_us", "100000\n");
        write(&root, "memory/memory.limit_in_bytes", "4096\n");
        let old = Cgroup::of("4:memory:/c\n3:cpu,cpuacct:/c\n", &root);
        assert_eq!(cpu_quota(&old), Some(0.5));
        assert_eq!(memory_limit(&old), Some(4096));
        fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn a_process_may_use_at_least_one_core_and_some_memory() {
        assert!(default_shards() > 0);
        assert!(memory_allowed_bytes() > 0);
        assert!(raise_nofile_limit() > 0);
    }
    #[test]
    fn a_thread_started_by_a_pinned_one_can_leave_its_core() {
        let cores = allowed_cores();
        let on_thread = || {
            // SAFETY: as in `process_cores`, for the calling thread.
            let mut own: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: as in `process_cores`.
            assert_eq!(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut own) }, 0);
            // SAFETY: `own` lives through the call.
            unsafe { libc::CPU_COUNT(&own) as usize }
        };
        let all = cores.len();
        let thread = std::thread::spawn(move || {
            pin_to(cores[0]).expect("allowed");
            let pinned = on_thread();
            unpin();
            (pinned, on_thread())
        });
        assert_eq!(thread.join().expect("no panic"), (1, all));
    }
}
