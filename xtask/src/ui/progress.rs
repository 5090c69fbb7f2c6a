//! How far a fetch or a build is: on a terminal one line with rate and remaining time, elsewhere plain
//! lines now and then.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use builder::base::progress::Progress;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, one line in this time tells how far it is.
const PAUSE: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressUnit {
    /// Bytes that are fetched.
    Bytes,
    /// Steps that are made.
    Steps,
}

/// Where progress is shown.
pub(crate) enum Show {
    /// One line on standard error, drawn again and again.
    Terminal,
    /// Whole lines for a log.
    Lines(Box<dyn Write + Send>),
}

/// Progress of one piece of work.
pub(crate) struct Bar {
    unit: ProgressUnit,
    bar: ProgressBar,
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    out: Box<dyn Write + Send>,
    begun: Instant,
    said: Instant,
}

impl Bar {
    /// Begins with `total` bytes or steps to go.
    pub(crate) fn new(show: Show, unit: ProgressUnit, total: u64) -> Self {
        let terminal = matches!(show, Show::Terminal);
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(style(unit));
        if terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let now = Instant::now();
        let lines = match show {
            Show::Lines(out) => Some(Mutex::new(Lines { out, begun: now, said: now })),
            Show::Terminal => None,
        };
        Self { unit, bar, lines }
    }

    /// Takes the bar away; dropping does it too.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn lines(&self) -> Option<MutexGuard<'_, Lines>> {
        self.lines.as_ref().map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn describe(&self, passed: Duration) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        if self.unit == ProgressUnit::Steps {
            return format!("{done} of {total} steps, {}, {}", HumanDuration(passed), self.bar.message());
        }
        let rate = (done as f64 / passed.as_secs_f64().max(0.001)) as u64;
        let left = total.saturating_sub(done).checked_div(rate).unwrap_or_default();
        let left = HumanDuration(Duration::from_secs(left));
        format!("{} of {}, {}/s, {left} left", HumanBytes(done), HumanBytes(total), HumanBytes(rate))
    }
}

impl Progress for Bar {
    fn expect(&self, more: u64) {
        self.bar.inc_length(more);
    }

    fn name(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    fn advance(&self, count: u64) {
        self.bar.inc(count);
        if let Some(mut lines) = self.lines() {
            let now = Instant::now();
            if now.duration_since(lines.said) >= PAUSE {
                lines.said = now;
                let line = self.describe(now.duration_since(lines.begun));
                // A log that cannot be written must not stop the work.
                let _ = writeln!(lines.out, "{line}");
            }
        }
    }

    fn retreat(&self, count: u64) {
        self.bar.set_position(self.bar.position().saturating_sub(count));
    }

    fn log(&self, line: &str) {
        match self.lines() {
            Some(mut lines) => {
                let _ = writeln!(lines.out, "{line}");
            }
            None => self.bar.println(line),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style(unit: ProgressUnit) -> ProgressStyle {
    let template = match unit {
        ProgressUnit::Bytes => "{bar:24} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        ProgressUnit::Steps => "{bar:24} {pos} of {len} steps, {elapsed}, {eta} left: {msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_gets_whole_lines() {
        let log = Log::default();
        let progress = Bar::new(Show::Lines(Box::new(log.clone())), ProgressUnit::Bytes, 4096);
        progress.advance(1024);
        progress.expect(1024);
        progress.log("kubelet: fetched");
        progress.retreat(512);
        assert_eq!(String::from_utf8(log.0.lock().unwrap().clone()).unwrap(), "kubelet: fetched\n");
        let line = progress.describe(Duration::from_secs(2));
        assert_eq!(line, "512 B of 5.00 KiB, 256 B/s, 18 seconds left");
        let steps = Bar::new(Show::Lines(Box::new(std::io::sink())), ProgressUnit::Steps, 3);
        steps.name("deb hale");
        steps.advance(1);
        assert_eq!(steps.describe(Duration::from_secs(1)), "1 of 3 steps, 1 second, deb hale");
    }
}
