//! Ends calls in time.
//!
//! A call notices by itself that it should end when it waits, prints or asks the host. One that
//! only computes cannot be stopped: then the process ends, after it said so.

use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::frames::Output;

/// How long a call may take to notice that it should end.
const GRACE: Duration = Duration::from_millis(20);

/// How long the last message of a process may take to be sent.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Exit status of a worker that was stopped in the middle of a call.
const STOPPED: i32 = 3;

/// Why a call should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its time is over.
    Deadline,
    /// The host does not want it any more.
    Cancelled,
}

impl Stop {
    /// The kind of error that it is.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
        }
    }

    /// What people are told.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Deadline => "The time for the call is over.",
            Self::Cancelled => "The call was cancelled.",
        }
    }
}

/// Watches one request at a time.
pub struct Watch {
    state: Mutex<State>,
    changed: Condvar,
    stirred: Condvar,
}

#[derive(Default)]
struct State {
    request: Option<i64>,
    deadline: Option<Instant>,
    cancelled: Option<Instant>,
    /// When the watching thread looks again by itself; None while it sleeps until it is told.
    looks_at: Option<Instant>,
    /// Whether a request began since somebody rested last.
    stirred: bool,
    /// Whether somebody rests until a request begins.
    rests: bool,
}

impl State {
    fn stop(&self, now: Instant) -> Option<Stop> {
        if self.cancelled.is_some() {
            return Some(Stop::Cancelled);
        }
        let over = self.deadline.is_some_and(|deadline| deadline <= now);
        over.then_some(Stop::Deadline)
    }

    /// When the process has to end.
    fn end(&self) -> Option<Instant> {
        self.request?;
        let first = self.cancelled.into_iter().chain(self.deadline).min()?;
        Some(first + GRACE)
    }
}

impl Watch {
    /// A watch that ends this process if it has to, after a message to `output`.
    #[must_use]
    pub fn start(output: Arc<Output>) -> Arc<Self> {
        let watch = Arc::new(Self {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            stirred: Condvar::new(),
        });
        let watching = Arc::clone(&watch);
        thread::spawn(move || watching.run(&output));
        watch
    }

    /// Watch `request` until [`finish`](Self::finish).
    pub fn begin(&self, request: i64, deadline: Option<Instant>) {
        let mut state = self.lock();
        state.request = Some(request);
        state.deadline = deadline;
        state.cancelled = None;
        state.stirred = true;
        if state.rests {
            self.stirred.notify_one();
        }
        self.tell(&state);
    }

    /// Wait until a request is under way, or began since this was asked last.
    ///
    /// So whoever looks after requests from time to time need not be woken for each of them.
    pub fn rest(&self) {
        let mut state = self.lock();
        state.rests = true;
        while state.request.is_none() && !state.stirred {
            let waited = self.stirred.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.rests = false;
        state.stirred = false;
    }

    /// The host wants `request` to end.
    pub fn cancel(&self, request: i64) {
        let mut state = self.lock();
        if state.request == Some(request) && state.cancelled.is_none() {
            state.cancelled = Some(Instant::now());
            self.tell(&state);
        }
    }

    /// The request ended; nothing will happen to it after this.
    pub fn finish(&self) {
        self.lock().request = None;
    }

    /// Whether the request should end.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        self.lock().stop(Instant::now())
    }

    /// When its time is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.lock().deadline
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wake the watching thread if it would look too late.
    fn tell(&self, state: &State) {
        let sleeps = |end| state.looks_at.is_none_or(|looks_at| end < looks_at);
        if state.end().is_some_and(sleeps) {
            self.changed.notify_one();
        }
    }

    fn run(&self, output: &Output) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let end = state.end();
            match (end, state.request) {
                (Some(end), Some(request)) if end <= now => {
                    // The lock is kept: the call cannot finish between these words and the end.
                    let stop = state.stop(now).unwrap_or(Stop::Deadline);
                    last_words(output, &stopped(request, stop));
                    process::exit(STOPPED);
                }
                _ => {}
            }
            state.looks_at = end;
            state = match end {
                Some(end) => {
                    let waited = self.changed.wait_timeout(state, end - now);
                    waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn stopped(request: i64, stop: Stop) -> Json {
    json!({
        "type": "error",
        "request": request,
        "kind": stop.kind(),
        "message": stop.message(),
        "location": null,
        "trace": [],
        "statistics": null,
        "exits": true,
    })
}

/// Send the last message, unless the pipe is stuck.
fn last_words(output: &Output, message: &Json) {
    let begin = Instant::now();
    while !output.try_send(message) && begin.elapsed() < LAST_WORDS {
        thread::sleep(Duration::from_millis(1));
    }
}
