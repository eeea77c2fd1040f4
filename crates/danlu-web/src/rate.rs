//! How often: work that costs is done a bounded number of times a second, whoever asks.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A bucket of permissions that fills at a steady rate.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    most: f64,
    left: Mutex<(f64, Instant)>,
}

impl Rate {
    /// `per_second` in the long run, `burst` at once.
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Rate { per_second, most: burst, left: Mutex::new((burst, Instant::now())) }
    }

    /// Takes a permission, or says in how many seconds there is one again.
    pub(crate) fn take(&self) -> Result<(), u64> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<(), u64> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(left.1).as_secs_f64();
        *left = ((left.0 + since * self.per_second).min(self.most), now);
        if left.0 >= 1.0 {
            left.0 -= 1.0;
            return Ok(());
        }
        Err(((1.0 - left.0) / self.per_second).ceil().max(1.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_served_then_the_rate_holds() {
        let rate = Rate::new(2.0, 3.0);
        let start = Instant::now();
        let served = |seconds: f64, asked: usize| {
            let at = start + Duration::from_secs_f64(seconds);
            (0..asked).filter(|_| rate.take_at(at).is_ok()).count()
        };
        assert_eq!(served(0.0, 10), 3);
        assert_eq!(rate.take_at(start), Err(1));
        assert_eq!(served(1.0, 10), 2);
        assert_eq!(served(1000.0, 10), 3, "what is not used does not pile up");
    }
}
