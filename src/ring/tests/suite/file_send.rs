//! Files sent to sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use effect::{Done, File, Op, OpenMode, Socket, Token};

use super::{Harness, TempDir, pattern};

fn file(harness: &mut Harness, dir: &TempDir, bytes: usize) -> File {
    let path = dir.0.join("segment");
    std::fs::write(&path, pattern(bytes, 0)).expect("written");
    harness.open(path, OpenMode::Splice)
}

fn send(harness: &mut Harness, socket: Socket, file: File, offset: usize, len: usize) -> Token {
    harness.push(Op::SendFile { socket, file, offset: offset as u64, len: len as u64 })
}

fn expect(mut client: TcpStream, from: usize, bytes: usize) -> thread::JoinHandle<TcpStream> {
    thread::spawn(move || {
        let mut got = vec![0; bytes];
        client.read_exact(&mut got).expect("all comes");
        assert!(got == pattern(bytes, from % 251));
        client
    })
}

pub fn a_file_arrives_as_it_is_on_disk(harness: &mut Harness) {
    let dir = TempDir::new("file");
    let file = file(harness, &dir, 9 << 20);
    let (socket, client) = harness.connect();
    let reader = expect(client, 12_345, 8 << 20);
    let sent = send(harness, socket, file, 12_345, 8 << 20);
    assert!(matches!(harness.answer(sent), Done::Finished));
    let client = reader.join().expect("all came");
    // The socket is as good as before.
    let reader = expect(client, 1, 100);
    harness.finish(Op::Send { socket, bufs: vec![harness.frozen(100, 1)] });
    drop(reader.join().expect("all came"));
}

pub fn stalled_readers_do_not_hold_up_another(harness: &mut Harness) {
    let dir = TempDir::new("stalled");
    const BYTES: usize = 16 << 20;
    let file = file(harness, &dir, BYTES);
    let stalled: Vec<_> = (0..40).map(|_| harness.connect()).collect();
    let sends: Vec<Token> = stalled.iter().map(|(socket, _)| send(harness, *socket, file, 0, BYTES)).collect();
    let (socket, client) = harness.connect();
    let reader = expect(client, 0, BYTES);
    let sent = send(harness, socket, file, 0, BYTES);
    assert!(matches!(harness.answer(sent), Done::Finished));
    drop(reader.join().expect("all came"));
    // All the others have some, none has all; half leave by cancel, half read on.
    for (index, (token, (socket, client))) in sends.into_iter().zip(stalled).enumerate() {
        assert!(!harness.is_answered(token));
        if index % 2 == 0 {
            harness.push(Op::Cancel { token });
            assert_eq!(harness.failed(token), libc::ECANCELED);
        } else if index < 8 {
            let reader = expect(client, 0, BYTES);
            assert!(matches!(harness.answer(token), Done::Finished));
            drop(reader.join().expect("all came"));
        } else {
            harness.finish(Op::Shutdown { socket });
            assert_eq!(harness.failed(token), libc::EPIPE);
        }
        harness.finish(Op::Close { socket });
    }
}

pub fn receives_go_on_while_a_file_is_sent(harness: &mut Harness) {
    let dir = TempDir::new("both");
    const BYTES: usize = 16 << 20;
    let file = file(harness, &dir, BYTES);
    let (socket, mut client) = harness.connect();
    let sent = send(harness, socket, file, 0, BYTES);
    let recv = harness.push(Op::Recv { socket });
    harness.turn(effect::Wait::No);
    client.write_all(b"one").expect("sent");
    let Done::Received(buf) = harness.answer(recv) else { panic!("received") };
    assert_eq!(&*buf, b"one");
    let exact = harness.pool.take(6).map(|mut buf| {
        buf.limit(6);
        Op::RecvExact { socket, buf }
    });
    let exact = harness.push(exact.expect("fits"));
    client.write_all(b"two").expect("sent");
    harness.turn(effect::Wait::No);
    client.write_all(b"two").expect("sent");
    let Done::Filled(buf) = harness.answer(exact) else { panic!("received") };
    assert_eq!(buf.as_slice(), b"twotwo");
    let recv = harness.push(Op::Recv { socket });
    let reader = expect(client, 0, BYTES);
    assert!(matches!(harness.answer(sent), Done::Finished));
    drop(reader.join().expect("all came"));
    let Done::Received(buf) = harness.answer(recv) else { panic!("received") };
    assert!(buf.is_empty());
}

pub fn a_file_shorter_than_said_is_a_fault(harness: &mut Harness) {
    let dir = TempDir::new("short");
    let file = file(harness, &dir, 10_000);
    let (socket, client) = harness.connect();
    let sent = send(harness, socket, file, 0, 20_000);
    assert_eq!(harness.failed(sent), libc::EIO);
    drop(client);
}

pub fn a_peer_that_leaves_is_a_fault(harness: &mut Harness) {
    let dir = TempDir::new("leaves");
    let file = file(harness, &dir, 16 << 20);
    let (socket, client) = harness.connect();
    let sent = send(harness, socket, file, 0, 16 << 20);
    harness.turn(effect::Wait::No);
    drop(client);
    let errno = harness.failed(sent);
    assert!([libc::EPIPE, libc::ECONNRESET].contains(&errno), "{errno}");
}
