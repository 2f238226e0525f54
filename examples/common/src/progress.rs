//! Progress bars, on stderr; none where nobody watches.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of a training.
pub fn steps(steps: usize, done: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_position(done as u64);
    bar.reset_eta();
    styled(bar, "{bar:30} {pos}/{len}  {msg}  {eta} left")
}

/// Bytes of a checkpoint that is loaded. Shown only if it takes a while.
pub fn bytes(what: &'static str) -> impl Fn(u64, u64) + Send + Sync {
    let bar = Mutex::new(Late::new("{msg} {bar:30} {bytes}/{total_bytes}  {eta} left", what));
    move |done, all| bar.lock().unwrap_or_else(PoisonError::into_inner).at(done, all)
}

/// Of `unit`, tokens of a prompt or bytes of a text. Shown only if it takes a while.
pub fn reading(unit: &'static str) -> impl FnMut(u64, u64) {
    let mut bar = Late::new("reading {bar:30} {human_pos}/{human_len} {msg}  {per_sec}  {eta} left", unit);
    move |done, all| bar.at(done, all)
}

/// A bar that does not flash by.
struct Late {
    bar: ProgressBar,
    template: &'static str,
    what: &'static str,
    shown: bool,
}

/// What takes less is not worth a bar.
const PATIENCE: Duration = Duration::from_millis(500);

impl Late {
    fn new(template: &'static str, what: &'static str) -> Self {
        Self { bar: ProgressBar::hidden(), template, what, shown: false }
    }

    fn at(&mut self, done: u64, all: u64) {
        if !self.shown && self.bar.elapsed() > PATIENCE && done < all {
            self.shown = true;
            let elapsed = self.bar.elapsed();
            self.bar = styled(ProgressBar::new(all).with_elapsed(elapsed), self.template).with_message(self.what);
        }
        self.bar.set_position(done);
        if done >= all {
            self.bar.finish_and_clear();
        }
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
