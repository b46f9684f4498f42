//! Randomness, supplied by the host.

/// The random source of the jitter.
pub trait Random {
    /// Uniform in `0..=max`.
    fn up_to(&mut self, max: u64) -> u64;
}

impl Random for fastrand::Rng {
    fn up_to(&mut self, max: u64) -> u64 {
        self.u64(0..=max)
    }
}
