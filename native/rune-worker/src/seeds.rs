//! The order of hash maps: decided by the host, the same on every machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::random_state::RandomSource;
use sha2::{Digest, Sha256};

/// An odd number with bits in all places (the golden ratio), so that no two steps are alike.
const STEP: usize = 0x9e37_79b9_7f4a_7c15;

/// Where the maps of Rune get their keys from.
#[derive(Clone, Default)]
pub struct Seeds {
    next: Arc<AtomicUsize>,
}

impl Seeds {
    /// Seeds that all hash maps of this process use from now on.
    ///
    /// The first ones of a process win. Where there were others already, the new ones decide
    /// nothing; a worker makes them once, before anything else.
    #[must_use]
    pub fn install() -> Self {
        let seeds = Self::default();
        let _ = ahash::random_state::set_random_source(seeds.clone());
        seeds
    }

    /// Begin anew from `seed`.
    pub fn reset(&self, seed: &str) {
        let digest = Sha256::digest(seed.as_bytes());
        let first = digest
            .iter()
            .take(size_of::<usize>())
            .fold(0, |number, byte| (number << 8) | usize::from(*byte));
        self.next.store(first, Ordering::Relaxed);
    }
}

impl RandomSource for Seeds {
    fn gen_hasher_seed(&self) -> usize {
        self.next.fetch_add(STEP, Ordering::Relaxed)
    }
}
