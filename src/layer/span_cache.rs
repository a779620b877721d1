//! Decoded parts of layers, shared by all layers of a process.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::error::Result;

/// One decoded part of a layer's archive.
pub(super) type Span = Arc<Vec<u8>>;

/// Which part: a number for the layer, given out by [`SpanCache::layer`], and one for the span.
type Key = (u64, u64);

/// A bounded cache of decoded spans.
///
/// The lock is held for map operations only, never while a span is decoded. Several readers that
/// want one span wait for the first of them to decode it; readers of other spans do not wait.
pub struct SpanCache {
    limit: usize,
    layers: AtomicU64,
    state: Mutex<State>,
    done: Condvar,
}

struct State {
    ready: LruCache<Key, Span>,
    /// Spans that someone is decoding.
    busy: HashSet<Key>,
    bytes: usize,
}

impl SpanCache {
    /// What a mount uses when nothing else is asked for: 64 MiB.
    pub const DEFAULT: usize = 64 << 20;

    /// A cache that keeps at most `limit` decoded bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let state = State { ready: LruCache::unbounded(), busy: HashSet::new(), bytes: 0 };
        Self { limit, layers: AtomicU64::new(0), state: Mutex::new(state), done: Condvar::new() }
    }

    /// A number for one more layer.
    pub(super) fn layer(&self) -> u64 {
        self.layers.fetch_add(1, Ordering::Relaxed)
    }

    /// The span `key`: as it was kept, or as `decode` makes it.
    pub(super) fn get(&self, key: Key, decode: impl FnOnce() -> Result<Vec<u8>>) -> Result<Span> {
        let mut state = self.lock();
        loop {
            if let Some(span) = state.ready.get(&key) {
                return Ok(Arc::clone(span));
            }
            if state.busy.insert(key) {
                break;
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        // Whatever happens to `decode`, nobody may wait for it for ever.
        let _busy = Busy { cache: self, key };
        let span = Arc::new(decode()?);
        self.lock().keep(key, &span, self.limit);
        Ok(span)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, key: Key, span: &Span, limit: usize) {
        if let Some(old) = self.ready.put(key, Arc::clone(span)) {
            self.bytes = self.bytes.saturating_sub(old.len());
        }
        self.bytes = self.bytes.saturating_add(span.len());
        while self.bytes > limit {
            let Some((_, old)) = self.ready.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(old.len());
        }
    }
}

/// That a span is being decoded, for as long as it lives.
struct Busy<'a> {
    cache: &'a SpanCache,
    key: Key,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.cache.lock().busy.remove(&self.key);
        self.cache.done.notify_all();
    }
}

impl fmt::Debug for SpanCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanCache").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::Duration;

    use super::SpanCache;
    use crate::layer::Error;

    #[test]
    fn readers_of_one_span_decode_it_once() {
        let (cache, decoded) = (SpanCache::new(1 << 20), AtomicUsize::new(0));
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let decode = || {
                        decoded.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(20));
                        Ok(vec![7; 10])
                    };
                    assert_eq!(*cache.get((0, 0), decode).unwrap(), vec![7; 10]);
                });
            }
        });
        assert_eq!(decoded.into_inner(), 1);
    }

    #[test]
    fn a_span_that_is_being_decoded_does_not_hold_up_another() {
        let cache = SpanCache::new(1 << 20);
        let other = || Ok(vec![2]);
        let span = cache.get((0, 0), || {
            assert_eq!(*cache.get((0, 1), other)?, vec![2]);
            Ok(vec![1])
        });
        assert_eq!(*span.unwrap(), vec![1]);
    }

    #[test]
    fn no_more_is_kept_than_the_limit_and_the_latest_used_stays() {
        let cache = SpanCache::new(250);
        let get = |span| cache.get((0, span), || Ok(vec![0; 100])).unwrap();
        let weak = |span| Arc::downgrade(&get(span));
        let (a, b) = (weak(0), weak(1));
        drop(get(0));
        let c = weak(2);
        let alive = [&a, &b, &c].map(|span| span.upgrade().is_some());
        assert_eq!(alive, [true, false, true]);
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = SpanCache::new(250);
        let fail = || Err(Error::Limit { limit: 0, of: "test" });
        assert!(cache.get((0, 0), fail).is_err());
        assert_eq!(*cache.get((0, 0), || Ok(vec![1])).unwrap(), vec![1]);
    }
}
