//! Many cases.

use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

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
}

fn run(layers: &[Layer], stack: &[usize], ops: &[Op], writable: bool, how: How) {
    let oracle = Oracle::new(stack.iter().map(|&at| &layers[at]), !writable);
    let mut memory = Memory::new(layers, stack, writable, how.caching);
    let mut case = Case::new(oracle);
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
    check(2500, 30, How { caching: Caching::Nothing, failures: false });
}

#[test]
fn the_view_agrees_with_the_oracle_while_everything_is_cached() {
    check(2500, 30, How { caching: Caching::Everything, failures: false });
}

#[test]
fn an_operation_that_fails_for_want_of_space_shows_nothing() {
    check(700, 20, How { caching: Caching::Everything, failures: true });
}
