//! The reactor against glommio 0.9 on the same produce-like work: a client sends a frame of 16 KiB, the server
//! answers 64 bytes. Client and server have a core each; the servers take turns, several times over.
//!
//! Reported: processor time of the server's thread for each request, and requests a second, with the spread over the
//! runs. A plain program: criterion times closures on its own thread, while here the server's processor time counts.
// A bench measures by the clock.
#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use effect::{Done, Effects, Io, Op, Pool, ShardId, Token, Wait};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{LocalExecutorBuilder, Placement};
use ring::{Backend, Probe, Setup, Wakers, World};

const FRAME_BYTES: usize = 16 << 10;
const ANSWER_BYTES: usize = 64;
const CONNECTIONS: [usize; 3] = [1, 16, 64];
const REPEATS: usize = 3;
const RUN: Duration = Duration::from_millis(1500);
/// Requests of each connection that are not counted.
const WARM_REQUESTS: usize = 200;

#[derive(Clone, Copy, Debug)]
enum Server {
    Ring,
    Poll,
    Glommio,
}

/// What one server's thread spent, between the end of the warm-up and the first connection's end.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    warm: usize,
    requests: usize,
    begin_ns: u64,
    end_ns: u64,
}

impl Tally {
    fn request(&mut self) {
        self.requests += 1;
        if self.requests == self.warm {
            self.begin_ns = thread_cpu_ns();
        }
    }

    fn end(&mut self) {
        if self.end_ns == 0 {
            self.end_ns = thread_cpu_ns();
        }
    }

    fn us_per_request(&self) -> f64 {
        (self.end_ns - self.begin_ns) as f64 / 1000.0 / (self.requests - self.warm) as f64
    }
}

fn main() {
    // Called by `cargo test`, there is nothing to check.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let probe = Probe::run();
    println!("{probe}; frames of {FRAME_BYTES} bytes, answers of {ANSWER_BYTES}, {REPEATS} runs of {RUN:?} each");
    println!("{:<12}{:<10}{:>24}{:>28}", "connections", "server", "server CPU us/request", "requests/s");
    for connections in CONNECTIONS {
        let servers = [Server::Ring, Server::Glommio, Server::Poll];
        let mut rows = servers.map(|server| (server, Vec::new(), Vec::new()));
        for _ in 0..REPEATS {
            for (server, cpu, rate) in &mut rows {
                let (tally, per_second) = measure(*server, connections, &probe);
                cpu.push(tally.us_per_request());
                rate.push(per_second);
            }
        }
        for (server, cpu, rate) in rows {
            let name = format!("{server:?}").to_lowercase();
            println!("{connections:<12}{name:<10}{:>24}{:>28}", spread(cpu, 2), spread(rate, 0));
        }
    }
}

/// Median, least and most.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    format!("{:.digits$} ({least:.digits$}-{most:.digits$})", values[values.len() / 2])
}

fn measure(server: Server, connections: usize, probe: &Probe) -> (Tally, f64) {
    let cores = ring::allowed_cores();
    let (client_core, server_core) = (cores[0], cores[cores.len() - 1]);
    let (announce, announced) = mpsc::channel();
    let warm = WARM_REQUESTS * connections;
    let tally = Tally { warm, ..Tally::default() };
    let probe = probe.clone();
    let serving = thread::spawn(move || match server {
        Server::Ring => serve(Backend::Ring, &probe, server_core, connections, tally, &announce),
        Server::Poll => serve(Backend::Poll, &probe, server_core, connections, tally, &announce),
        Server::Glommio => serve_glommio(server_core, connections, tally, announce),
    });
    let address = announced.recv().expect("the server says where it is");
    let client = thread::spawn(move || {
        ring::pin_to(client_core).expect("an allowed core");
        drive(address, connections)
    });
    let per_second = client.join().expect("the client ends well");
    (serving.join().expect("the server ends well"), per_second)
}

/// Sends a frame on every connection, takes every answer, again and again. Answers requests a second.
fn drive(address: SocketAddr, connections: usize) -> f64 {
    let connect = || {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("a fresh socket");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..connections).map(|_| connect()).collect();
    let frame = vec![7; FRAME_BYTES];
    let mut answer = [0; ANSWER_BYTES];
    let mut round = || {
        streams.iter_mut().for_each(|stream| stream.write_all(&frame).expect("sent"));
        streams.iter_mut().for_each(|stream| stream.read_exact(&mut answer).expect("answered"));
    };
    (0..WARM_REQUESTS).for_each(|_| round());
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < RUN {
        round();
        rounds += 1;
    }
    (rounds * connections) as f64 / begin.elapsed().as_secs_f64()
}

/// A minimal core on the seam: counts bytes, answers whole frames.
fn serve(
    backend: Backend,
    probe: &Probe,
    core: usize,
    connections: usize,
    mut tally: Tally,
    announce: &mpsc::Sender<SocketAddr>,
) -> Tally {
    ring::pin_to(core).expect("an allowed core");
    let pool = Pool::new(64 << 20);
    let mut answer = pool.take(ANSWER_BYTES).expect("fits");
    answer.extend(&[1; ANSWER_BYTES]);
    let answer = answer.freeze();
    let wakers = Wakers::new(1).expect("an event counter");
    let mut world = World::open(backend, probe, Setup::new(ShardId(0), wakers, pool)).expect("opens");
    let any = "127.0.0.1:0".parse().expect("an address");
    let (address, listeners) = ring::bind(any, 1).expect("a free port");
    let token = |kind, slot| Token { room: 0, kind, generation: 0, slot };
    let (mut effects, mut done) = (Effects::default(), Vec::new());
    effects.push(token(ACCEPT, 0), Op::Accept { listener: listeners[0] });
    announce.send(address).expect("the client listens");
    let mut received: BTreeMap<u32, usize> = BTreeMap::new();
    let mut ended = 0;
    while ended < connections {
        world.turn(&mut effects.ops, &mut done, Wait::Forever);
        for (of, done) in done.drain(..) {
            match done {
                Done::Accepted { socket, .. } => {
                    let slot = u32::try_from(socket.0).expect("descriptors are positive");
                    received.insert(slot, 0);
                    effects.push(token(RECV, slot), Op::Recv { socket });
                }
                Done::Received(buf) if buf.is_empty() => {
                    tally.end();
                    ended += 1;
                    effects.push(token(CLOSE, of.slot), Op::Close { socket: socket(of.slot) });
                }
                Done::Received(buf) => {
                    let count = received.get_mut(&of.slot).expect("a connection");
                    *count += buf.len();
                    if *count >= FRAME_BYTES {
                        *count -= FRAME_BYTES;
                        tally.request();
                        let send = Op::Send { socket: socket(of.slot), bufs: vec![answer.clone()] };
                        effects.push(token(SEND, of.slot), send);
                    }
                    effects.push(token(RECV, of.slot), Op::Recv { socket: socket(of.slot) });
                }
                Done::Finished => {}
                done => panic!("{done:?}"),
            }
        }
    }
    effects.push(token(CLOSE, 0), Op::CloseListener { listener: listeners[0] });
    world.turn(&mut effects.ops, &mut done, Wait::No);
    tally
}

fn socket(slot: u32) -> effect::Socket {
    effect::Socket(slot as i32)
}

fn serve_glommio(core: usize, connections: usize, tally: Tally, announce: mpsc::Sender<SocketAddr>) -> Tally {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(core)).spawn(move || async move {
        let listener = glommio::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        announce.send(listener.local_addr().expect("bound")).expect("the client listens");
        let tally = Rc::new(RefCell::new(tally));
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let mut stream = listener.accept().await.expect("accepted");
            stream.set_nodelay(true).expect("a fresh socket");
            let tally = tally.clone();
            tasks.push(glommio::spawn_local(async move {
                let mut buf = vec![0; 2 * FRAME_BYTES];
                let answer = [1; ANSWER_BYTES];
                let mut received = 0;
                loop {
                    match stream.read(&mut buf).await.expect("received") {
                        0 => break tally.borrow_mut().end(),
                        count => received += count,
                    }
                    if received >= FRAME_BYTES {
                        received -= FRAME_BYTES;
                        tally.borrow_mut().request();
                        stream.write_all(&answer).await.expect("sent");
                    }
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        *tally.borrow()
    });
    executor.expect("glommio starts").join().expect("glommio ends well")
}

/// Processor time of the calling thread, as the scheduler counts it.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
    text.split(' ').next().and_then(|field| field.parse().ok()).expect("a number")
}

const ACCEPT: u8 = 0;
const RECV: u8 = 1;
const SEND: u8 = 2;
const CLOSE: u8 = 3;
