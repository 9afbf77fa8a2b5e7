//! Shards that rouse each other through their mailboxes.

use std::thread;

use effect::{Endpoint, Io, Pool, ShardId, Wait};
use ring::{Backend, Probe, Setup, Wakers, World};

/// Sends a number to and fro until it has grown to `ROUNDS`, sleeping in between.
fn play(mut end: Endpoint<u64>, wakers: Wakers, backend: Backend) {
    let own = end.own();
    let other = ShardId(1 - own.0);
    let setup = Setup::new(own, wakers, Pool::new(8 << 20));
    let mut world = World::open(backend, &Probe::run(), setup).expect("opens");
    let (mut ops, mut done) = (effect::Effects::default(), Vec::new());
    let mut next = if own.0 == 0 { Some(1) } else { None };
    let mut last = 0;
    while last < ROUNDS {
        if let Some(number) = next.take() {
            last = number;
            end.send(other, number).expect("room for one");
        }
        end.wakes(|shard| ops.wake(shard));
        let wait = if last < ROUNDS && end.sleep() { Wait::Forever } else { Wait::No };
        world.turn(&mut ops.ops, &mut done, wait);
        end.awake();
        end.receive(|_, number| {
            last = number;
            next = Some(number + 1).filter(|number| *number <= ROUNDS);
        });
    }
    assert!(done.is_empty());
}

fn check(first: Backend, second: Backend) {
    let wakers = Wakers::new(2).expect("event counters");
    let ends = effect::mesh(2, 1);
    let players: Vec<_> = ends
        .into_iter()
        .zip([first, second])
        .map(|(end, backend)| {
            let wakers = wakers.clone();
            thread::spawn(move || play(end, wakers, backend))
        })
        .collect();
    players.into_iter().for_each(|player| player.join().expect("played to the end"));
}

#[test]
fn sleeping_shards_rouse_each_other_whatever_their_worlds() {
    check(Backend::Auto, Backend::Auto);
    check(Backend::Auto, Backend::Poll);
    check(Backend::Poll, Backend::Poll);
}

const ROUNDS: u64 = 2000;
