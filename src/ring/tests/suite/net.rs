//! Sockets, waking and memory.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

use effect::{Buf, Done, Io, Op, ShardId, Wait};

use super::{Harness, pattern};

pub fn many_connections_are_echoed(harness: &mut Harness) {
    const CONNECTIONS: usize = 200;
    const ROUNDS: usize = 20;
    let (address, listener) = harness.listen();
    let accept = harness.push(Op::Accept { listener });
    let clients: Vec<_> = (0..4)
        .map(|part| {
            thread::spawn(move || {
                let connect = || TcpStream::connect(address).expect("connects");
                let mut clients: Vec<TcpStream> = (0..CONNECTIONS / 4).map(|_| connect()).collect();
                for round in 0..ROUNDS {
                    for (index, client) in clients.iter_mut().enumerate() {
                        client.write_all(&pattern(1 + 37 * round, part + index)).expect("sent");
                    }
                    for (index, client) in clients.iter_mut().enumerate() {
                        let mut got = vec![0; 1 + 37 * round];
                        client.read_exact(&mut got).expect("echoed");
                        assert_eq!(got, pattern(1 + 37 * round, part + index));
                    }
                }
            })
        })
        .collect();
    let mut sockets = std::collections::BTreeMap::new();
    let mut closed = 0;
    while closed < CONNECTIONS {
        let (token, done) = harness.any();
        let (op, socket) = match done {
            Done::Accepted { socket, .. } => (Op::Recv { socket }, Some(socket)),
            Done::Received(buf) => {
                let socket = sockets.remove(&token).flatten().expect("its socket");
                match buf.is_empty() {
                    true => (Op::Close { socket }, None),
                    false => (Op::Send { socket, bufs: vec![buf] }, Some(socket)),
                }
            }
            Done::Finished => match sockets.remove(&token).expect("asked for") {
                Some(socket) => (Op::Recv { socket }, Some(socket)),
                None => {
                    closed += 1;
                    continue;
                }
            },
            done => panic!("{done:?}"),
        };
        sockets.insert(harness.push(op), socket);
    }
    for client in clients {
        client.join().expect("all echoed");
    }
    harness.push(Op::Cancel { token: accept });
    assert_eq!(harness.failed(accept), libc::ECANCELED);
}

pub fn a_large_frame_lands_in_its_own_buffer(harness: &mut Harness) {
    const BYTES: usize = 5_000_000;
    let (socket, mut client) = harness.connect();
    let sender = thread::spawn(move || {
        let bytes = pattern(BYTES + 10, 4);
        for part in bytes.chunks(700_001) {
            client.write_all(part).expect("sent");
        }
        client
    });
    let mut buf = harness.pool.take(BYTES).expect("fits");
    buf.limit(BYTES);
    let Done::Filled(buf) = harness.run(Op::RecvExact { socket, buf }) else { panic!("received") };
    assert!(buf.as_slice() == pattern(BYTES, 4));
    let Done::Received(rest) = harness.run(Op::Recv { socket }) else { panic!("received") };
    assert_eq!(*rest, pattern(BYTES + 10, 4)[BYTES..]);
    drop(sender.join().expect("all sent"));
}

pub fn an_exact_receive_ends_short_when_the_peer_does(harness: &mut Harness) {
    let (socket, mut client) = harness.connect();
    client.write_all(b"half").expect("sent");
    client.shutdown(Shutdown::Write).expect("ended");
    let mut buf = harness.pool.take(8).expect("fits");
    buf.limit(8);
    let Done::Filled(buf) = harness.run(Op::RecvExact { socket, buf }) else { panic!("received") };
    assert_eq!(buf.as_slice(), b"half");
    let mut full = harness.pool.take(8).expect("fits");
    full.extend(b"full");
    full.limit(4);
    let Done::Filled(full) = harness.run(Op::RecvExact { socket, buf: full }) else { panic!("at once") };
    assert_eq!(full.as_slice(), b"full");
}

pub fn a_send_beyond_the_sockets_buffer_waits_for_a_slow_reader(harness: &mut Harness) {
    const BYTES: usize = 30_000_000;
    let (socket, mut client) = harness.connect();
    let bufs = vec![harness.frozen(BYTES, 5), Buf::EMPTY, harness.frozen(1000, 6)];
    let send = harness.push(Op::Send { socket, bufs });
    let alone = harness.world.now().plus_ms(20);
    harness.turn(Wait::Until(alone));
    assert!(!harness.is_answered(send));
    let reader = thread::spawn(move || {
        let mut got = vec![0; BYTES + 1000];
        for part in got.chunks_mut(65_000) {
            client.read_exact(part).expect("all comes");
        }
        got
    });
    assert!(matches!(harness.answer(send), Done::Finished));
    let got = reader.join().expect("all came");
    assert!(got[..BYTES] == pattern(BYTES, 5));
    assert!(got[BYTES..] == pattern(1000, 6));
    harness.finish(Op::Send { socket, bufs: vec![] });
}

pub fn a_send_of_more_pieces_than_one_call_takes_arrives_in_order(harness: &mut Harness) {
    let (socket, mut client) = harness.connect();
    let whole = harness.frozen(5000 * 100, 0);
    let bufs = (0..5000).map(|index| whole.slice(index * 100..(index + 1) * 100)).collect();
    let reader = thread::spawn(move || {
        let mut got = vec![0; 500_000];
        client.read_exact(&mut got).expect("all comes");
        got
    });
    harness.finish(Op::Send { socket, bufs });
    assert!(reader.join().expect("all came") == pattern(500_000, 0));
}

pub fn shutdown_completes_a_pending_receive_and_send(harness: &mut Harness) {
    let (socket, client) = harness.connect();
    let recv = harness.push(Op::Recv { socket });
    let send = harness.push(Op::Send { socket, bufs: vec![harness.frozen(30_000_000, 0)] });
    harness.turn(Wait::No);
    harness.finish(Op::Shutdown { socket });
    let Done::Received(buf) = harness.answer(recv) else { panic!("ended") };
    assert!(buf.is_empty());
    assert_eq!(harness.failed(send), libc::EPIPE);
    harness.finish(Op::Shutdown { socket });
    harness.finish(Op::Close { socket });
    drop(client);
}

pub fn a_cancelled_operation_answers_that_it_was(harness: &mut Harness) {
    let (socket, mut client) = harness.connect();
    let recv = harness.push(Op::Recv { socket });
    harness.turn(Wait::No);
    harness.push(Op::Cancel { token: recv });
    assert_eq!(harness.failed(recv), libc::ECANCELED);
    let buf = harness.pool.take(100).expect("fits");
    let exact = harness.push(Op::RecvExact { socket, buf });
    harness.push(Op::Cancel { token: exact });
    assert_eq!(harness.failed(exact), libc::ECANCELED);
    let send = harness.push(Op::Send { socket, bufs: vec![harness.frozen(30_000_000, 0)] });
    harness.turn(Wait::No);
    harness.push(Op::Cancel { token: send });
    assert_eq!(harness.failed(send), libc::ECANCELED);
    // Nobody is left to answer, and the socket still works.
    harness.push(Op::Cancel { token: send });
    client.write_all(b"still").expect("sent");
    let Done::Received(buf) = harness.run(Op::Recv { socket }) else { panic!("received") };
    assert_eq!(&*buf, b"still");
}

pub fn a_closed_listener_ends_its_accept(harness: &mut Harness) {
    let (address, listener) = harness.listen();
    let accept = harness.push(Op::Accept { listener });
    harness.turn(Wait::No);
    harness.finish(Op::CloseListener { listener });
    assert_eq!(harness.failed(accept), libc::ECANCELED);
    assert!(TcpStream::connect(address).is_err());
    let (again, listeners) = ring::bind(address, 2).expect("the port is free");
    assert_eq!(again, address);
    for listener in listeners {
        harness.finish(Op::CloseListener { listener });
    }
}

pub fn accept_reports_that_no_descriptor_is_left(harness: &mut Harness) {
    let (address, listener) = harness.listen();
    let client = TcpStream::connect(address).expect("connects");
    // SAFETY: no pointer is passed. From here on this thread has a table of descriptors of its own, so that the other
    // tests keep theirs.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
    // SAFETY: no pointer is passed.
    let filling: Vec<i32> = std::iter::from_fn(|| Some(unsafe { libc::dup(0) }).filter(|fd| *fd >= 0)).collect();
    let accept = harness.push(Op::Accept { listener });
    assert_eq!(harness.failed(accept), libc::EMFILE);
    // SAFETY: no pointer is passed; the descriptors are this test's.
    filling.into_iter().for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
    let accept = harness.push(Op::Accept { listener });
    assert!(matches!(harness.answer(accept), Done::Accepted { .. }));
    drop(client);
}

pub fn a_dry_pool_delays_receives_and_loses_nothing(harness: &mut Harness) {
    harness.starve(64 << 10, 2);
    let mut connections: Vec<_> = (0..6).map(|_| harness.connect()).collect();
    let mut held = Vec::new();
    let mut waiting = std::collections::BTreeMap::new();
    for (index, (socket, client)) in connections.iter_mut().enumerate() {
        client.write_all(&pattern(10_000, index)).expect("sent");
        let recv = harness.push(Op::Recv { socket: *socket });
        waiting.insert(recv, index);
    }
    // Two buffers are all there is: two are served, the others wait for what the first give back.
    while !waiting.is_empty() {
        let soon = harness.world.now().plus_ms(10);
        harness.turn(Wait::Until(soon));
        while let Some((token, done)) = harness.take() {
            let Done::Received(buf) = done else { panic!("{done:?}") };
            let index = waiting.remove(&token).expect("asked for once");
            assert_eq!(*buf, pattern(10_000, index)[..buf.len()]);
            held.push(buf);
        }
        assert!(held.len() <= 2);
        held.clear();
    }
}

pub fn shutdown_ends_a_receive_that_waits_for_memory(harness: &mut Harness) {
    harness.starve(64 << 10, 2);
    let all: Vec<_> = std::iter::from_fn(|| harness.pool.take(32 << 10)).collect();
    let connections: Vec<_> = (0..3).map(|_| harness.connect()).collect();
    let receives: Vec<_> = connections.iter().map(|(socket, _)| harness.push(Op::Recv { socket: *socket })).collect();
    harness.turn(Wait::No);
    for ((socket, _), recv) in connections.iter().zip(receives) {
        harness.finish(Op::Shutdown { socket: *socket });
        let Done::Received(buf) = harness.answer(recv) else { panic!("ended") };
        assert!(buf.is_empty());
    }
    drop(all);
}

pub fn a_wake_from_another_thread_ends_the_wait(harness: &mut Harness) {
    let wakers = harness.wakers.clone();
    for _ in 0..3 {
        let other = wakers.clone();
        let waker = thread::spawn(move || other.wake(ShardId(0)));
        harness.turn(Wait::Forever);
        waker.join().expect("woke");
    }
    // Its own wake too, sent as an operation.
    harness.push(Op::Wake { shard: ShardId(0) });
    harness.turn(Wait::Forever);
}

pub fn a_wait_ends_at_its_deadline(harness: &mut Harness) {
    let begin = harness.world.now();
    let deadline = begin.plus_ms(15);
    harness.turn(Wait::Until(deadline));
    assert!(harness.world.now() >= deadline);
    harness.turn(Wait::Until(begin));
    harness.turn(Wait::No);
    assert_ne!(harness.world.entropy(), harness.world.entropy());
    assert!(harness.world.wall().0 > 1_700_000_000_000);
}

pub fn a_world_dropped_with_operations_in_flight_lets_go_of_all_memory(harness: &mut Harness) {
    harness.starve(64 << 20, 8);
    let (socket, client) = harness.connect();
    let (_, listener) = harness.listen();
    harness.push(Op::Accept { listener });
    harness.push(Op::Recv { socket });
    harness.push(Op::Send { socket, bufs: vec![harness.frozen(20_000_000, 0)] });
    harness.turn(Wait::No);
    let pool = harness.pool.clone();
    assert!(pool.used_bytes() > 20_000_000);
    harness.starve(1 << 20, 8);
    assert_eq!(pool.used_bytes(), 0);
    assert!(client.as_raw_fd() > 0);
}
