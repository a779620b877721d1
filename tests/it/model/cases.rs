//! Many cases.

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

use super::layers::{Layer, layers, stack};
use super::memory::{Caching, Memory};
use super::op::{Op, op};
use super::oracle::Oracle;
use super::view::Case;

fn run(layers: &[Layer], stack: &[usize], ops: &[Op], writable: bool, caching: Caching) {
    let oracle = Oracle::new(stack.iter().map(|&at| &layers[at]), !writable);
    let mut memory = Memory::new(layers, stack, writable, caching);
    Case::new(oracle).run(&mut memory, ops);
}

/// Runs random cases of up to `ops` operations: 2,500 of them, or as many as `PROPTEST_CASES` says.
fn check(ops: usize, caching: Caching) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let config = if asked_for { config } else { Config { cases: 2500, ..config } };
    let strategy = (layers(), stack(), vec(op(), 0..ops), any::<u8>());
    let result = TestRunner::new(config).run(&strategy, |(layers, stack, ops, dice)| {
        let read_only = dice < 8 && !stack.is_empty();
        run(&layers, &stack, &ops, !read_only, caching);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_view_agrees_with_the_oracle_after_every_operation() {
    check(30, Caching::Nothing);
}

#[test]
fn the_view_agrees_with_the_oracle_while_everything_is_cached() {
    check(30, Caching::Everything);
}
