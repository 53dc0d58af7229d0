//! How far it is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::cause::chain;
use crate::cli::client::ClientError;
use crate::tasks;

const REDRAW: Duration = Duration::from_millis(100);
/// Between two lines in a log of CI.
const LINE: Duration = Duration::from_secs(5);

/// What is being done, and how much of it is done, in bytes.
pub struct Progress {
    done: Arc<AtomicU64>,
    stage: Mutex<Stage>,
    form: Form,
}

#[derive(Clone, Copy)]
struct Stage {
    label: &'static str,
    total: u64,
    began: Instant,
}

enum Form {
    Bar(ProgressBar),
    Lines,
    Silent,
}

impl Progress {
    pub fn new(silent: bool) -> Progress {
        let form = if silent {
            Form::Silent
        } else if std::io::stderr().is_terminal() {
            let template =
                "{msg:8} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
            // The template is right; without it the bar would be merely plainer.
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            Form::Bar(ProgressBar::new(0).with_style(style.progress_chars("=> ")))
        } else {
            Form::Lines
        };
        let stage = Stage {
            label: "",
            total: 0,
            began: Instant::now(),
        };
        Progress {
            done: Arc::new(AtomicU64::new(0)),
            stage: Mutex::new(stage),
            form,
        }
    }

    /// Where bytes are counted.
    pub fn counter(&self) -> Arc<AtomicU64> {
        self.done.clone()
    }

    /// Begins to count from nothing towards `total` bytes.
    pub fn begin(&self, label: &'static str, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        let began = Instant::now();
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Stage {
            label,
            total,
            began,
        };
        if let Form::Bar(bar) = &self.form {
            bar.set_length(total);
            bar.set_message(label);
            bar.reset();
        }
    }

    /// Shows how far it is, for ever: runs beside the work.
    pub async fn show(&self) {
        loop {
            match &self.form {
                Form::Bar(bar) => {
                    tasks::pause(REDRAW).await;
                    bar.set_position(self.done.load(Ordering::Relaxed));
                }
                Form::Lines => {
                    tasks::pause(LINE).await;
                    if let Some(line) = self.line() {
                        self.say(&line);
                    }
                }
                Form::Silent => std::future::pending().await,
            }
        }
    }

    /// The bar goes, and leaves the screen to what is printed next.
    pub fn end(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    /// A line for whoever watches.
    #[expect(clippy::print_stderr, reason = "the progress of a command")]
    pub fn say(&self, line: &str) {
        match &self.form {
            Form::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Form::Lines => eprintln!("{line}"),
            Form::Silent => {}
        }
    }

    /// Something failed and is tried again.
    pub fn again(&self, what: &str, error: &ClientError, pause: Duration) {
        let (error, pause) = (chain(error), pause.as_secs_f32());
        self.say(&format!("again in {pause:.1} s: {what}: {error}"));
    }

    /// `None` before there is anything to count.
    fn line(&self) -> Option<String> {
        let stage = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.done.load(Ordering::Relaxed);
        (stage.total > 0).then(|| line(stage.label, done, stage.total, stage.began.elapsed()))
    }
}

fn line(label: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let rate = done.saturating_mul(1000) / u64::try_from(elapsed.as_millis()).unwrap_or(1).max(1);
    let left = match total.saturating_sub(done).checked_div(rate) {
        Some(seconds) => format!(", {} left", HumanDuration(Duration::from_secs(seconds))),
        None => String::new(),
    };
    let (done, total, rate) = (HumanBytes(done), HumanBytes(total), HumanBytes(rate));
    format!("{label}: {done} of {total} ({percent} %), {rate}/s{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_bytes_rate_and_what_is_left() {
        let mib = 1024 * 1024;
        assert_eq!(
            line("sending", 30 * mib, 120 * mib, Duration::from_secs(10)),
            "sending: 30.00 MiB of 120.00 MiB (25 %), 3.00 MiB/s, 30 seconds left"
        );
        assert_eq!(
            line("sending", 0, 0, Duration::ZERO),
            "sending: 0 B of 0 B (100 %), 0 B/s"
        );
    }
}
