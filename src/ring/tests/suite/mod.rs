//! What the tests drive a world with.

pub mod disk;
pub mod file_send;
pub mod net;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use effect::{Buf, BufMut, Done, File, Io, Listener, Op, OpenMode, Pool, ShardId, Socket, Token, Wait};
use ring::{Backend, Probe, Setup, Wakers, World};

/// A world, and what has come out of it unasked.
#[derive(Debug)]
pub struct Harness {
    pub world: World,
    pub wakers: Wakers,
    pub pool: Pool,
    ops: Vec<(Token, Op)>,
    done: Vec<(Token, Done)>,
    next: u32,
}

impl Harness {
    pub fn new(backend: Backend, probe: &Probe) -> Harness {
        let wakers = Wakers::new(1).expect("an event counter");
        let pool = Pool::new(256 << 20);
        let setup = Setup::new(ShardId(0), wakers.clone(), pool.clone());
        let world = World::open(backend, probe, setup).expect("opens");
        Harness { world, wakers, pool, ops: Vec::new(), done: Vec::new(), next: 0 }
    }

    /// Opens the same kind of world again, on a small pool of its own.
    pub fn starve(&mut self, pool_bytes: usize, recv_buffer_count: u16) {
        let backend = if self.world.backend_name() == "epoll" { Backend::Poll } else { Backend::Ring };
        self.pool = Pool::new(pool_bytes);
        let setup = Setup::new(ShardId(0), self.wakers.clone(), self.pool.clone());
        let setup = Setup { recv_buffer_count, ..setup };
        self.world = World::open(backend, &Probe::run(), setup).expect("opens");
    }

    /// Asks for an operation, to be started with the next turn.
    pub fn push(&mut self, op: Op) -> Token {
        self.next += 1;
        let token = Token { room: 1, kind: 2, generation: 3, slot: self.next };
        self.ops.push((token, op));
        token
    }

    pub fn turn(&mut self, wait: Wait) {
        self.world.turn(&mut self.ops, &mut self.done, wait);
        assert!(self.ops.is_empty());
    }

    /// Whatever has completed next.
    pub fn any(&mut self) -> (Token, Done) {
        while self.done.is_empty() {
            self.turn(Wait::Forever);
        }
        self.done.remove(0)
    }

    /// What has completed already.
    pub fn take(&mut self) -> Option<(Token, Done)> {
        if self.done.is_empty() { None } else { Some(self.done.remove(0)) }
    }

    /// The next completion of `token`; others are kept.
    pub fn answer(&mut self, token: Token) -> Done {
        loop {
            if let Some(at) = self.done.iter().position(|(of, _)| *of == token) {
                return self.done.remove(at).1;
            }
            self.turn(Wait::Forever);
        }
    }

    pub fn is_answered(&self, token: Token) -> bool {
        self.done.iter().any(|(of, _)| *of == token)
    }

    pub fn run(&mut self, op: Op) -> Done {
        let token = self.push(op);
        self.answer(token)
    }

    pub fn finish(&mut self, op: Op) {
        let kind = op.kind();
        let done = self.run(op);
        assert!(matches!(done, Done::Finished), "{kind:?}: {done:?}");
    }

    /// The errno of an operation that must fail.
    pub fn fails(&mut self, op: Op) -> i32 {
        let token = self.push(op);
        self.failed(token)
    }

    pub fn failed(&mut self, token: Token) -> i32 {
        match self.answer(token) {
            Done::Failed(fault) => fault.errno,
            done => panic!("{done:?}"),
        }
    }

    pub fn listen(&mut self) -> (SocketAddr, Listener) {
        let any = "127.0.0.1:0".parse().expect("an address");
        let (address, listeners) = ring::bind(any, 1).expect("a free port");
        (address, listeners[0])
    }

    /// Both ends of a new connection.
    pub fn connect(&mut self) -> (Socket, TcpStream) {
        let (address, listener) = self.listen();
        let accept = self.push(Op::Accept { listener });
        let client = TcpStream::connect(address).expect("connects");
        let Done::Accepted { socket, peer, local } = self.answer(accept) else { panic!("accepted") };
        assert_eq!(peer, client.local_addr().expect("connected"));
        assert_eq!(local, address);
        self.push(Op::Cancel { token: accept });
        assert_eq!(self.failed(accept), libc::ECANCELED);
        self.finish(Op::CloseListener { listener });
        (socket, client)
    }

    pub fn open(&mut self, path: PathBuf, mode: OpenMode) -> File {
        match self.run(Op::Open { path, mode }) {
            Done::Opened(file) => file,
            done => panic!("{done:?}"),
        }
    }

    /// A buffer full of a pattern that shows where a byte belongs.
    pub fn pattern(&self, bytes: usize, salt: usize) -> BufMut {
        let mut buf = self.pool.take(bytes).expect("fits");
        buf.extend(&pattern(bytes, salt));
        buf
    }

    pub fn frozen(&self, bytes: usize, salt: usize) -> Buf {
        self.pattern(bytes, salt).freeze()
    }
}

pub fn pattern(bytes: usize, salt: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at + salt) % 251) as u8).collect()
}

/// A directory that goes with the test.
#[derive(Debug)]
pub struct TempDir(pub PathBuf);

impl TempDir {
    /// Under cargo's directory for tests, which unlike `/tmp` is on a disk.
    pub fn new(name: &str) -> TempDir {
        let thread = std::thread::current().name().unwrap_or("main").replace(':', "-");
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{thread}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
