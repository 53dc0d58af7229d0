//! Whether the processor was taken from this thread, which never sleeps.

use std::time::{Duration, Instant};

/// Less than this is noise of the two clocks.
const AWAY: Duration = Duration::from_micros(100);

/// The two clocks when they were last looked at: that of the wall, and that of the thread's own work.
pub struct Presence {
    wall: Instant,
    work: Duration,
}

impl Presence {
    pub fn new() -> Presence {
        Presence {
            wall: Instant::now(),
            work: work(),
        }
    }

    /// Whether something else ran in the place of this thread since the last call.
    pub fn was_interrupted(&mut self) -> bool {
        let before = std::mem::replace(self, Presence::new());
        let (passed, worked) = (self.wall - before.wall, self.work - before.work);
        passed.saturating_sub(worked) > AWAY
    }
}

/// The processor time of this thread.
fn work() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(read, 0, "no clock of the thread");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
