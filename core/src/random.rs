//! Randomness, supplied by the host.

/// The random source of the jitter: a `fastrand::Rng`, or a closure that returns a number from 0 to its argument, inclusive.
pub trait Random {
    /// Uniform in `0..=max`.
    fn up_to(&mut self, max: u64) -> u64;
}

impl Random for fastrand::Rng {
    fn up_to(&mut self, max: u64) -> u64 {
        self.u64(0..=max)
    }
}

impl<F: FnMut(u64) -> u64> Random for F {
    fn up_to(&mut self, max: u64) -> u64 {
        self(max)
    }
}
