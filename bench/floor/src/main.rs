//! The floor program: what a durable produce costs at least on this machine and this ring. It receives, checks the
//! checksum of each batch, copies it into aligned memory, writes that directly and synced, and answers: no log, no
//! offsets that mean anything, no reads. One thread.
//!
//! Speaks as much of the protocol as producers with acks=all need: ApiVersions, Metadata, CreateTopics, Produce 3 to 11.
//! A topic that is asked for is there. A program for measurements: what is wrong outside ends it.
#![forbid(unsafe_code)]

mod answers;
mod connection;
mod disk;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use effect::{Done, Effects, Io, Op, Pool, ShardId, Slots, Token, Wait};
use ring::{Backend, Probe, Setup, Wakers, World};

use crate::answers::{Answer, Answers};
use crate::connection::Connection;
use crate::disk::Disk;

/// The least that a durable produce costs.
#[derive(Debug, Parser)]
#[command(name = "floor", version)]
struct Options {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the file is written; made if it is missing.
    #[arg(long)]
    dir: PathBuf,
    /// Partitions of a topic that nobody created.
    #[arg(long, default_value_t = 6)]
    partitions: usize,
}

fn main() -> Result<(), String> {
    let options = Options::parse();
    let path = disk::prepare(&options.dir).map_err(|error| format!("{}: {error}", options.dir.display()))?;
    let probe = Probe::run();
    let wakers = Wakers::new(1).map_err(|error| error.to_string())?;
    let setup = Setup::new(ShardId(0), wakers, Pool::new(RECEIVE_BYTES));
    let mut world = World::open(Backend::Auto, &probe, setup).map_err(|error| error.to_string())?;
    let (address, listeners) = ring::bind(options.listen, 1).map_err(|error| format!("{}: {error}", options.listen))?;
    println!("floor listens on {address}, {}", world.backend_name());
    let mut floor = Floor {
        memory: Pool::new(REQUEST_BYTES),
        connections: Slots::default(),
        answers: Answers::new(address, options.partitions),
        disk: Disk::new(),
        effects: Effects::default(),
    };
    for listener in listeners {
        floor.effects.push(token(ACCEPT, 0, 0), Op::Accept { listener });
    }
    floor.effects.push(token(OPEN, 0, 0), disk::open(path));
    let mut done = Vec::new();
    loop {
        world.turn(&mut floor.effects.ops, &mut done, Wait::Forever);
        for (of, done) in done.drain(..) {
            floor.done(of, done);
        }
        floor.disk.write_group(token(WRITE, 0, 0), &mut floor.effects);
    }
}

struct Floor {
    memory: Pool,
    connections: Slots<Connection>,
    answers: Answers,
    disk: Disk,
    effects: Effects,
}

impl Floor {
    fn done(&mut self, of: Token, done: Done) {
        match (of.kind, done) {
            (ACCEPT, Done::Accepted { socket, .. }) => {
                let (slot, generation) = self.connections.insert(Connection::new(socket));
                self.effects.push(token(RECEIVE, slot, generation), Op::Recv { socket });
            }
            (OPEN, Done::Opened(file)) => self.disk.opened(file),
            (WRITE, Done::Finished) => self.written(),
            (ACCEPT | OPEN | WRITE, done) => panic!("the machine fails: {done:?}"),
            (CLOSE, _) => {}
            (SEND, _) => self.sent(of),
            (RECEIVE, done) => self.received(of, done),
            (_, done) => unreachable!("no such operation: {done:?}"),
        }
    }

    fn received(&mut self, of: Token, done: Done) {
        let connection = self.connections.get_mut(of.slot, of.generation).expect("open while it receives");
        let next = connection.received(done, &self.memory);
        while let Some(frame) = connection.frame() {
            let sequence = connection.expect_answer();
            match self.answers.request(&frame, |batch| self.disk.copy(batch)) {
                Ok(Answer::Now(answer)) => connection.answer(sequence, answer),
                Ok(Answer::WhenWritten(answer)) => {
                    self.disk.wait(Waiter { slot: of.slot, generation: of.generation, sequence }, answer);
                }
                // Its receive ends with it.
                Err(_) => self.effects.push(token(CLOSE, of.slot, of.generation), connection.shut_down()),
            }
        }
        if let Some(op) = next {
            self.effects.push(of, op);
        }
        self.send(of.slot, of.generation);
    }

    fn written(&mut self) {
        for (waiter, answer) in self.disk.written() {
            let Some(connection) = self.connections.get_mut(waiter.slot, waiter.generation) else { continue };
            connection.answer(waiter.sequence, answer);
            self.send(waiter.slot, waiter.generation);
        }
    }

    fn sent(&mut self, of: Token) {
        self.connections.get_mut(of.slot, of.generation).expect("open while it sends").sent();
        self.send(of.slot, of.generation);
    }

    /// Sends what can be sent, closes what is over.
    fn send(&mut self, slot: u32, generation: u32) {
        let Some(connection) = self.connections.get_mut(slot, generation) else { return };
        if let Some(op) = connection.send(&self.memory) {
            self.effects.push(token(SEND, slot, generation), op);
        }
        if let Some(op) = connection.close() {
            self.effects.push(token(CLOSE, slot, generation), op);
            self.connections.remove(slot, generation);
        }
    }
}

/// Who gets an answer when a group is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    slot: u32,
    generation: u32,
    sequence: u64,
}

fn token(kind: u8, slot: u32, generation: u32) -> Token {
    Token { room: 0, kind, generation, slot }
}

const ACCEPT: u8 = 0;
const OPEN: u8 = 1;
const WRITE: u8 = 2;
const RECEIVE: u8 = 3;
const SEND: u8 = 4;
const CLOSE: u8 = 5;
/// As a shard of the broker has them.
const RECEIVE_BYTES: usize = 8 << 20;
const REQUEST_BYTES: usize = 256 << 20;
