//! What the host says, in order.
//!
//! The thread that runs scripts reads it itself whenever it waits, so that no message is handed
//! from thread to thread. While it computes, another thread looks from time to time whether the
//! host wants the call to end, or is gone.

use std::collections::VecDeque;
use std::io::{BufReader, Stdin, stdin};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::desk::fault;
use crate::frames::{FrameError, Output, read};
use crate::messages::{Message, parse};
use crate::watch::Watch;

/// Messages that are read ahead.
const AHEAD: usize = 64;

/// Exit status after input that cannot be understood.
const BROKEN_INPUT: i32 = 2;

/// Nothing came in time.
#[derive(Debug)]
pub struct Late;

/// The input of the process.
pub struct Inbox {
    output: Arc<Output>,
    watch: Arc<Watch>,
    input: Mutex<BufReader<Stdin>>,
    ahead: Mutex<VecDeque<Message>>,
}

impl Inbox {
    /// An inbox that reads standard input, and answers to `output` what it cannot understand.
    #[must_use]
    pub fn new(output: Arc<Output>, watch: Arc<Watch>) -> Self {
        Self {
            output,
            watch,
            input: Mutex::new(BufReader::new(stdin())),
            ahead: Mutex::default(),
        }
    }

    /// The next message, waiting for it until `deadline`. The end of the input ends the process.
    pub fn next(&self, deadline: Option<Instant>) -> Result<Message, Late> {
        let mut input = lock(&self.input);
        loop {
            if let Some(message) = lock(&self.ahead).pop_front() {
                return Ok(message);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if !is_ready(&input, left) {
                return Err(Late);
            }
            if let Some(message) = self.take(&mut input) {
                return Ok(message);
            }
        }
    }

    /// Read what is there unless somebody else reads; what it asks to end is told at once.
    pub fn look(&self) {
        let mut input = match self.input.try_lock() {
            Ok(input) => input,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        while lock(&self.ahead).len() < AHEAD && is_ready(&input, Some(Duration::ZERO)) {
            if let Some(message) = self.take(&mut input) {
                lock(&self.ahead).push_back(message);
            }
        }
    }

    /// Read one message; None if it was none.
    fn take(&self, input: &mut BufReader<Stdin>) -> Option<Message> {
        let frame = match read(input) {
            Ok(frame) => frame,
            Err(FrameError::End) => process::exit(0),
            Err(FrameError::Broken(message)) => {
                self.output.send(&fault(None, &message));
                process::exit(BROKEN_INPUT);
            }
        };
        match parse(&frame) {
            Ok(Message::Shutdown) => process::exit(0),
            Ok(message) => {
                if let Message::Cancel(cancel) = &message {
                    self.watch.cancel(cancel.request);
                }
                Some(message)
            }
            Err((request, message)) => {
                self.output.send(&fault(request, &message));
                None
            }
        }
    }
}

/// Whether something can be read within `time`, were it only that the input is at its end.
fn is_ready(input: &BufReader<Stdin>, time: Option<Duration>) -> bool {
    if !input.buffer().is_empty() {
        return true;
    }
    let time = time.map(|time| Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let mut waited = [PollFd::new(input.get_ref(), PollFlags::IN)];
    // After an error, such as one of a signal, reading tells what there is.
    !matches!(poll(&mut waited, time.as_ref()), Ok(0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
