//! Many cases.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use mica::testing::mem::MemUpper;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

use super::above::Above;
use super::layers::{Layer, layers, stack};
use super::memory::{Caching, Memory};
use super::op::{Change, Op, ops};
use super::oracle::Oracle;
use super::view::Case;

/// How a case is run.
#[derive(Debug, Clone, Copy)]
struct How {
    caching: Caching,
    failures: bool,
    disk: bool,
    every: usize,
}

const PLAIN: How = How { caching: Caching::Nothing, failures: false, disk: false, every: 1 };

fn run(layers: &[Layer], stack: &[usize], ops: &[Op], writable: bool, how: How) {
    let oracle = Oracle::new(stack.iter().map(|&at| &layers[at]), !writable);
    let upper = match (writable, how.disk) {
        (false, _) => Above::Nothing,
        (true, false) => Above::Memory(Arc::new(MemUpper::new())),
        (true, true) => Above::on_disk(),
    };
    let mut memory = Memory::new(layers, stack, upper, how.caching);
    let mut case = Case::new(oracle);
    case.every = how.every;
    if how.failures {
        // A name may be given twice on the way to a rename that fails: only a time shows it.
        (case.failures, case.times) = (true, false);
    }
    case.run(&mut memory, ops);
}

/// Runs random cases of up to `most` operations: so many, or as many as `PROPTEST_CASES` says.
fn check(cases: u32, most: usize, how: How) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let config = if asked_for { config } else { Config { cases, ..config } };
    let strategy = (layers(), stack(), ops(most), any::<u8>());
    let result = TestRunner::new(config).run(&strategy, |(layers, stack, mut ops, dice)| {
        let read_only = dice < 8 && !stack.is_empty();
        if how.failures {
            // Of a file that is cut no more is copied up than stays, and so it is cut, whatever
            // comes after that.
            ops.retain(|op| !matches!(op, Op::Change { change: Change::Size(_), .. }));
        }
        run(&layers, &stack, &ops, !read_only, how);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_view_agrees_with_the_oracle_after_every_operation() {
    check(2500, 30, PLAIN);
}

#[test]
fn the_view_agrees_with_the_oracle_while_everything_is_cached() {
    check(2500, 30, How { caching: Caching::Everything, ..PLAIN });
}

#[test]
fn a_listing_goes_on_rightly_after_changes_and_no_look_at_the_whole() {
    check(1500, 60, How { every: 25, ..PLAIN });
}

#[test]
fn an_operation_that_fails_for_want_of_space_shows_nothing() {
    check(700, 20, How { caching: Caching::Everything, failures: true, ..PLAIN });
}

#[test]
fn the_view_agrees_with_the_oracle_over_an_upper_layer_on_disk() {
    if is_root_of_the_machine() {
        check(100, 30, How { disk: true, ..PLAIN });
    } else {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "left out: only root makes files of other owners and devices").unwrap();
    }
}

fn is_root_of_the_machine() -> bool {
    let uid = std::fs::metadata("/proc/self").expect("proc").uid();
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("uid_map");
    uid == 0 && map.split_whitespace().eq(["0", "0", "4294967295"])
}
