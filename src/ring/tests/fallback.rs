//! A machine that forbids io_uring, as the default profile of containers does.

use effect::{Done, Io, Op, Pool, ShardId, Token, Wait};
use ring::{Backend, Probe, Setup, Wakers, World};

/// Makes `io_uring_setup` fail with EPERM for the calling thread, for good.
fn forbid_io_uring() {
    let load_number = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let filter = [
        libc::sock_filter { code: load_number as u16, jt: 0, jf: 0, k: 0 },
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        },
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: no pointer is passed.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: `program` points to the filter, which lives through the call and is only read.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) }, 0);
}

#[test]
fn where_io_uring_is_forbidden_the_world_is_epoll_and_the_report_says_why() {
    forbid_io_uring();
    let probe = Probe::run();
    assert!(!probe.fits_ring());
    assert!(probe.refusal().is_some_and(|reason| reason.contains("seccomp")), "{probe}");
    let setup = Setup::new(ShardId(0), Wakers::new(1).expect("an event counter"), Pool::new(1 << 20));
    assert!(World::open(Backend::Ring, &probe, setup.clone()).is_err());
    let mut world = World::open(Backend::Auto, &probe, setup).expect("opens");
    assert_eq!(world.backend_name(), "epoll");
    let token = Token { room: 0, kind: 0, generation: 0, slot: 0 };
    let (mut ops, mut done) = (vec![(token, Op::List { path: "/proc/self/fd".into() })], Vec::new());
    while done.is_empty() {
        world.turn(&mut ops, &mut done, Wait::Forever);
    }
    assert!(matches!(done[..], [(_, Done::Listed(_))]));
}
