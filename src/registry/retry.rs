//! When and how often something is tried again.

use std::hash::{BuildHasher as _, RandomState};
use std::thread;
use std::time::Duration;

use super::{Error, Result};

/// How often and after what time a failed request is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many tries in a row may fail before the last error is returned. At least 1.
    pub tries: u32,
    /// The longest wait before the second try; it doubles with each further one.
    pub first_delay: Duration,
    /// The longest wait before any try.
    pub max_delay: Duration,
    /// The longest wait that a registry may ask for; when it asks for more, its answer is final.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(60),
        }
    }
}

/// The tries of one request.
#[derive(Debug)]
pub(super) struct Attempts {
    policy: RetryPolicy,
    failed: u32,
}

impl Attempts {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failed: 0 }
    }

    /// Takes note of a failure: waits and returns when another try makes sense, else gives the
    /// error back.
    pub(super) fn after(&mut self, error: Error) -> Result<()> {
        self.failed = self.failed.saturating_add(1);
        if !error.is_transient() || self.failed >= self.policy.tries {
            return Err(error);
        }
        let delay = match error.retry_after() {
            Some(wanted) if wanted > self.policy.max_retry_after => return Err(error),
            Some(wanted) => wanted,
            None => jittered(self.backoff()),
        };
        log::info!("{error}; trying again in {} ms", delay.as_millis());
        thread::sleep(delay);
        Ok(())
    }

    /// Takes note that something came: the next failure is the first again.
    pub(super) fn progress(&mut self) {
        self.failed = 0;
    }

    fn backoff(&self) -> Duration {
        let doublings = self.failed.saturating_sub(1).min(16);
        self.policy.first_delay.saturating_mul(1 << doublings).min(self.policy.max_delay)
    }
}

/// Half of `delay` and a random part of the other half, so that clients which failed together do
/// not come back together.
fn jittered(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) & 0xffff;
    let half = delay / 2;
    half + half.mul_f64(f64::from(u16::try_from(random).unwrap_or(0)) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Attempts, RetryPolicy, jittered};
    use crate::registry::Error;

    fn busy(retry_after: Option<Duration>) -> Error {
        Error::RateLimited { url: String::new(), retry_after, message: None }
    }

    const POLICY: RetryPolicy = RetryPolicy {
        tries: 3,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(3),
        max_retry_after: Duration::from_millis(5),
    };

    #[test]
    fn tries_are_bounded_and_progress_starts_them_anew() {
        let mut attempts = Attempts::new(POLICY);
        assert!(attempts.after(busy(None)).is_ok());
        assert!(attempts.after(busy(None)).is_ok());
        assert!(attempts.after(busy(None)).is_err());
        attempts.progress();
        assert!(attempts.after(busy(None)).is_ok());
    }

    #[test]
    fn a_wait_that_is_too_long_or_an_error_that_stays_is_final() {
        let mut attempts = Attempts::new(POLICY);
        assert!(attempts.after(busy(Some(Duration::from_millis(6)))).is_err());
        attempts.progress();
        assert!(attempts.after(busy(Some(Duration::from_millis(5)))).is_ok());
        let missing = Error::NotFound { what: String::new(), message: None };
        assert!(attempts.after(missing).is_err());
    }

    #[test]
    fn waits_double_up_to_their_limit_and_vary() {
        let delays: Vec<u128> = (1..=4)
            .map(|failed| Attempts { policy: POLICY, failed }.backoff().as_millis())
            .collect();
        assert_eq!(delays, [1, 2, 3, 3]);
        let second = Duration::from_secs(1);
        let waits: Vec<Duration> = (0..50).map(|_| jittered(second)).collect();
        assert!(waits.iter().all(|wait| (second / 2..=second).contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
