//! One suite, run against both worlds with a kernel.

mod suite;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use ring::Backend;

/// Names each behaviour once, and makes a test of it for each world.
macro_rules! both_worlds {
    ($($module:ident::$name:ident,)*) => {
        mod ring_world {
            $(#[test] fn $name() { crate::on(ring::Backend::Ring, crate::suite::$module::$name); })*
        }
        mod poll_world {
            $(#[test] fn $name() { crate::on(ring::Backend::Poll, crate::suite::$module::$name); })*
        }
    };
}

both_worlds! {
    net::many_connections_are_echoed,
    net::a_large_frame_lands_in_its_own_buffer,
    net::an_exact_receive_ends_short_when_the_peer_does,
    net::a_send_beyond_the_sockets_buffer_waits_for_a_slow_reader,
    net::a_send_of_more_pieces_than_one_call_takes_arrives_in_order,
    net::shutdown_completes_a_pending_receive_and_send,
    net::a_cancelled_operation_answers_that_it_was,
    net::a_closed_listener_ends_its_accept,
    net::accept_reports_that_no_descriptor_is_left,
    net::a_dry_pool_delays_receives_and_loses_nothing,
    net::shutdown_ends_a_receive_that_waits_for_memory,
    net::a_wake_from_another_thread_ends_the_wait,
    net::a_wait_ends_at_its_deadline,
    net::a_world_dropped_with_operations_in_flight_lets_go_of_all_memory,
    file_send::a_file_arrives_as_it_is_on_disk,
    file_send::stalled_readers_do_not_hold_up_another,
    file_send::receives_go_on_while_a_file_is_sent,
    file_send::a_file_shorter_than_said_is_a_fault,
    file_send::a_peer_that_leaves_is_a_fault,
    disk::what_is_written_directly_is_read_back,
    disk::more_writes_than_the_disk_takes_at_once_all_finish,
    disk::a_read_ends_at_the_files_end,
    disk::room_is_allocated_and_cut,
    disk::directories_are_made_listed_and_removed_with_all_in_them,
    disk::a_rename_replaces_its_target,
    disk::a_missing_file_is_a_fault_and_a_missing_removal_is_none,
    disk::a_filesystem_without_direct_writes_is_used_all_the_same,
}

fn on(backend: Backend, test: fn(&mut suite::Harness)) {
    let probe = ring::Probe::run();
    if backend == Backend::Ring && !probe.fits_ring() {
        eprintln!("skipped: {probe}");
        return;
    }
    let mut harness = suite::Harness::new(backend, &probe);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(&mut harness))) {
        eprintln!("with {harness:?}");
        resume_unwind(panic);
    }
}
