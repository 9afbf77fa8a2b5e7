//! The world by itself: a small echo server and a small file writer stand where a broker will.

use effect::{BLOCK_BYTES, Chunk, Done, Fault, File, Op, OpenMode, Pool, Socket, Token, Wait};
use sim::{Bait, Faults, FileClass, Happening, Incoming, Leave, Rng, Snap, Trace, Trap, World};

fn token(slot: u32) -> Token {
    Token { room: 1, kind: 1, generation: 0, slot }
}

/// Starts operations for shard 0 and steps until each is answered.
fn run(world: &mut World, ops: Vec<Op>) -> Vec<Done> {
    let count = ops.len();
    let mut ops: Vec<(Token, Op)> = ops.into_iter().enumerate().map(|(slot, op)| (token(slot as u32), op)).collect();
    let mut done = Vec::new();
    world.collect(0, &mut done);
    world.submit(0, &mut ops, Wait::Forever);
    while done.len() < count {
        match world.step() {
            Some(Happening::Shard(0)) => {
                world.collect(0, &mut done);
                world.submit(0, &mut Vec::new(), Wait::Forever);
            }
            Some(_) => (),
            None => panic!("an operation was never answered"),
        }
    }
    done.sort_by_key(|(token, _)| token.slot);
    done.into_iter().map(|(_, done)| done).collect()
}

fn opened(done: &Done) -> File {
    match done {
        Done::Opened(file) => *file,
        other => panic!("{other:?}"),
    }
}

fn blocks(pool: &Pool, byte: u8) -> Vec<effect::WriteBuf> {
    let mut chunk = Chunk::new(pool.take(BLOCK_BYTES).expect("fits"));
    chunk.append(&[byte; BLOCK_BYTES]);
    vec![chunk.blocks(0..BLOCK_BYTES)]
}

fn read_first(world: &mut World, file: File, pool: &Pool) -> Vec<u8> {
    let buf = pool.take(BLOCK_BYTES).expect("fits");
    match run(world, vec![Op::Read { file, offset: 0, buf }]).pop() {
        Some(Done::Filled(buf)) => buf.as_slice().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn quiet(seed: u64) -> World {
    let mut world = World::new(seed, Faults::none(), Trace::quiet());
    world.boot(1, 1 << 20);
    world
}

/// Writes one block to `/data/file`, synced or not, with the name synced, and cuts the power.
fn after_power_cut(seed: u64, sync: bool) -> Vec<u8> {
    let pool = Pool::new(1 << 20);
    let mut world = quiet(seed);
    run(&mut world, vec![Op::CreateDir { path: "/data".into() }]);
    let file = opened(&run(&mut world, vec![Op::Open { path: "/data/file".into(), mode: OpenMode::Write }])[0]);
    run(&mut world, vec![Op::Allocate { file, offset: 0, len: 8192 }]);
    run(&mut world, vec![Op::Sync { file }, Op::SyncDir { path: "/".into() }, Op::SyncDir { path: "/data".into() }]);
    run(&mut world, vec![Op::Write { file, offset: 0, bufs: blocks(&pool, 5), sync }]);
    world.kill(true);
    world.boot(1, 1 << 20);
    let file = opened(&run(&mut world, vec![Op::Open { path: "/data/file".into(), mode: OpenMode::Read }])[0]);
    read_first(&mut world, file, &pool)
}

#[test]
fn a_synced_write_survives_every_power_cut_and_another_does_not() {
    let mut lost = 0;
    for seed in 0..40 {
        assert_eq!(after_power_cut(seed, true), [5; BLOCK_BYTES]);
        lost += u32::from(after_power_cut(seed, false) != [5; BLOCK_BYTES]);
    }
    assert!(lost > 0);
    assert!(lost < 40);
}

#[test]
fn a_kill_alone_keeps_what_was_written() {
    let pool = Pool::new(1 << 20);
    let mut world = quiet(1);
    let file = opened(&run(&mut world, vec![Op::Open { path: "/file".into(), mode: OpenMode::Write }])[0]);
    run(&mut world, vec![Op::Allocate { file, offset: 0, len: 8192 }]);
    run(&mut world, vec![Op::Write { file, offset: 0, bufs: blocks(&pool, 5), sync: false }]);
    world.kill(false);
    world.boot(1, 1 << 20);
    let file = opened(&run(&mut world, vec![Op::Open { path: "/file".into(), mode: OpenMode::Read }])[0]);
    assert_eq!(read_first(&mut world, file, &pool), [5; BLOCK_BYTES]);
}

#[test]
#[should_panic(expected = "write outside of allocated room")]
fn a_write_to_a_segment_without_room_is_a_bug() {
    let pool = Pool::new(1 << 20);
    let mut world = quiet(1);
    let file = opened(&run(&mut world, vec![Op::Open { path: "/0.log".into(), mode: OpenMode::Write }])[0]);
    run(&mut world, vec![Op::Write { file, offset: 0, bufs: blocks(&pool, 5), sync: false }]);
}

#[test]
fn a_sleeping_shard_wakes_for_its_deadline_and_not_before() {
    let mut world = quiet(1);
    let mut done = Vec::new();
    assert_eq!(world.step(), Some(Happening::Shard(0)));
    world.collect(0, &mut done);
    world.submit(0, &mut Vec::new(), Wait::Until(effect::Instant(5_000_000)));
    assert_eq!(world.step(), Some(Happening::Shard(0)));
    assert!(world.now_ns() >= 5_000_000);
    world.collect(0, &mut done);
    world.submit(0, &mut Vec::new(), Wait::Forever);
    assert_eq!(world.step(), None);
}

/// An echo server on shard 0 and one client that sends `count` bytes; answers the client's view and the hash.
fn echo(seed: u64, faults: Faults, count: usize) -> (Vec<u8>, bool, u64) {
    let mut world = World::new(seed, faults, Trace::quiet());
    world.boot(1, 1 << 20);
    let listener = world.listen();
    let mut ops = vec![(token(0), Op::Accept { listener })];
    let conn = world.connect(0);
    let sent: Vec<u8> = (0..count).map(|at| (at % 251) as u8).collect();
    let (mut given, mut got, mut broken) = (0, Vec::new(), false);
    let mut sockets: Vec<Socket> = Vec::new();
    world.alarm(0, 1);
    while let Some(happening) = world.step() {
        match happening {
            Happening::Shard(shard) => {
                let mut done = Vec::new();
                world.collect(shard, &mut done);
                for (_, done) in done {
                    match done {
                        Done::Accepted { socket, .. } => {
                            sockets.push(socket);
                            ops.push((token(1), Op::Recv { socket }));
                        }
                        Done::Received(buf) if buf.is_empty() => {
                            ops.push((token(3), Op::Close { socket: sockets[0] }));
                        }
                        Done::Received(buf) => {
                            ops.push((token(2), Op::Send { socket: sockets[0], bufs: vec![buf] }));
                        }
                        Done::Finished if !sockets.is_empty() && got.len() < count => {
                            ops.push((token(1), Op::Recv { socket: sockets[0] }));
                        }
                        _ => (),
                    }
                }
                world.submit(shard, &mut ops, Wait::Forever);
            }
            Happening::Client(_) if !broken => {
                given += world.client_send(conn, &sent[given..]);
                match world.client_read(conn, 1000) {
                    Incoming::Bytes(bytes) => {
                        got.extend(bytes);
                        world.alarm(0, 1000);
                    }
                    Incoming::Nothing => (),
                    Incoming::End | Incoming::Reset => broken = true,
                }
                if got.len() == count && !broken {
                    broken = true;
                    world.client_leave(conn, Leave::Close);
                }
            }
            _ => (),
        }
    }
    assert_eq!(got, sent[..got.len()]);
    let whole = got.len() == count || world.is_disturbed(conn);
    (got, whole, world.trace.hash())
}

#[test]
fn bytes_arrive_in_order_through_small_pipes() {
    for seed in 0..30 {
        let (got, _, _) = echo(seed, Faults { run_bytes_max: 40, pipe_bytes: 4096, ..Faults::none() }, 50_000);
        assert_eq!(got.len(), 50_000);
    }
}

#[test]
fn a_connection_ends_early_only_if_the_network_cut_it() {
    let mut cut = 0;
    for seed in 0..60 {
        let faults = Faults { cuts_per_100k: 500, run_bytes_max: 100, ..Faults::none() };
        let (got, whole, _) = echo(seed, faults, 20_000);
        assert!(whole);
        cut += u32::from(got.len() < 20_000);
    }
    assert!(cut > 0);
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    let mut rng = Rng::new(3);
    let faults = Faults::draw(&mut rng, 10_000_000, 1);
    let first = echo(11, faults.clone(), 5000).2;
    assert_eq!(first, echo(11, faults.clone(), 5000).2);
    assert!(first != echo(12, faults, 5000).2);
}

#[test]
fn a_small_disk_fills_up_and_has_room_again_when_a_file_goes() {
    let faults = Faults { budget_bytes: [Some(16 * BLOCK_BYTES as u64), None], ..Faults::none() };
    let mut world = World::new(1, faults, Trace::quiet());
    world.found_directory("/data");
    world.found_directory("/other");
    world.boot(1, 1 << 20);
    let open = |path: &str| Op::Open { path: path.into(), mode: OpenMode::Write };
    let room = |file: File| Op::Allocate { file, offset: 0, len: 10 * BLOCK_BYTES as u64 };
    let first = opened(&run(&mut world, vec![open("/data/a")])[0]);
    let second = opened(&run(&mut world, vec![open("/data/b")])[0]);
    let elsewhere = opened(&run(&mut world, vec![open("/other/c")])[0]);
    assert!(matches!(run(&mut world, vec![room(first)])[0], Done::Finished));
    assert!(matches!(run(&mut world, vec![room(second)])[0], Done::Failed(fault) if fault.errno == Fault::ENOSPC));
    assert!(matches!(run(&mut world, vec![room(elsewhere)])[0], Done::Finished));
    run(&mut world, vec![Op::Remove { path: "/data/a".into() }]);
    // It is still open.
    assert!(matches!(run(&mut world, vec![room(second)])[0], Done::Failed(_)));
    run(&mut world, vec![Op::CloseFile { file: first }]);
    assert!(matches!(run(&mut world, vec![room(second)])[0], Done::Finished));
    let space = run(&mut world, vec![Op::Space { path: "/data".into() }]).pop();
    assert!(matches!(space, Some(Done::Space { free_bytes, .. }) if free_bytes == 6 * BLOCK_BYTES as u64));
}

#[test]
fn a_trap_springs_once_at_the_operation_that_it_waits_for() {
    let trap = Trap { boots: 1, bait: Bait::Class(FileClass::Segment), skip: 1, snap: Snap::Fails, tag: 7 };
    let mut world = World::new(1, Faults { traps: vec![trap], ..Faults::none() }, Trace::quiet());
    world.boot(1, 1 << 20);
    let open = |path: &str| Op::Open { path: path.into(), mode: OpenMode::Write };
    let room = |file: File| Op::Allocate { file, offset: 0, len: BLOCK_BYTES as u64 };
    let other = opened(&run(&mut world, vec![open("/partition.metadata")])[0]);
    let file = opened(&run(&mut world, vec![open("/0.log")])[0]);
    assert!(matches!(run(&mut world, vec![room(other)])[0], Done::Finished));
    assert!(matches!(run(&mut world, vec![room(file)])[0], Done::Failed(fault) if fault.errno == Fault::EIO));
    assert!(matches!(run(&mut world, vec![room(file)])[0], Done::Finished));
    while let Some(happening) = world.step() {
        if happening == Happening::Timer(7) {
            return;
        }
    }
    panic!("the trap's timer never went off");
}
