//! Where a running script meets its host: host calls, printing, and the end from outside.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use crate::frames::Output;
use crate::inbox::{Inbox, Late};
use crate::messages::{Answer, Message};
use crate::units::Unit;
use crate::watch::{Stop, Watch};

/// Printed text is sent at the latest when this many bytes of it are waiting.
const PRINT_AT: usize = 8 * 1024;

/// Printed text is sent at once if nothing was sent for this long.
const PRINT_AFTER: Duration = Duration::from_millis(50);

/// So many calls that were dropped are told.
const MOST_UNAWAITED: usize = 20;

/// Why a run ends, whatever the script does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The kind of the error.
    pub kind: &'static str,
    /// What people are told.
    pub message: String,
}

/// Numbers of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Host calls.
    pub calls: u64,
    /// Bytes of printed text.
    pub printed: usize,
    /// Time that the script waited for the host.
    pub waited: Duration,
}

/// What there is to say of a run that is over.
#[derive(Debug, Default)]
pub struct Finish {
    /// What it counted.
    pub counts: Counts,
    /// Why it was ended, if it was.
    pub end: Option<End>,
    /// Calls that the script dropped before they were made: the function, and the line if known.
    pub unawaited: Vec<(String, usize)>,
}

/// The one run that there can be.
struct Run {
    request: i64,
    unit: Arc<Unit>,
    counts: Counts,
    max_printed: usize,
    max_result: usize,
    calls: BTreeMap<u64, Slot>,
    /// Answers that came while a blocking call waited for its own.
    kept: VecDeque<Vec<Answer>>,
    printed: String,
    sent_at: Option<Instant>,
    end: Option<End>,
    unawaited: Vec<(String, usize)>,
}

/// A host call that the script has not taken the answer of.
enum Slot {
    Pending(Option<Waker>),
    Settled(Result<Json, String>),
}

/// What a script waits for.
pub enum Next {
    /// Some calls were settled, and their tasks woken.
    Settled,
    /// The run ends.
    End,
}

/// The meeting place.
pub struct Desk {
    output: Arc<Output>,
    watch: Arc<Watch>,
    inbox: Inbox,
    run: Mutex<Option<Run>>,
}

impl Desk {
    /// A desk that is fed through `inbox`.
    #[must_use]
    pub fn new(output: Arc<Output>, watch: Arc<Watch>, inbox: Inbox) -> Self {
        Self {
            output,
            watch,
            inbox,
            run: Mutex::new(None),
        }
    }

    /// The next message while nothing runs.
    pub fn message(&self) -> Result<Message, Late> {
        self.inbox.next(None)
    }

    /// Look for what the host has to say to a script that computes.
    pub fn look(&self) {
        self.inbox.look();
    }

    /// Begin a run.
    pub fn begin(&self, request: i64, unit: Arc<Unit>, max_printed: usize, max_result: usize) {
        *lock(&self.run) = Some(Run {
            request,
            unit,
            counts: Counts::default(),
            max_printed,
            max_result,
            calls: BTreeMap::new(),
            kept: VecDeque::new(),
            printed: String::new(),
            sent_at: None,
            end: None,
            unawaited: Vec::new(),
        });
    }

    /// End the run.
    pub fn finish(&self) -> Finish {
        let mut run = lock(&self.run);
        match run.take() {
            Some(mut run) => {
                self.send_printed(&mut run);
                Finish {
                    counts: run.counts,
                    end: run.end,
                    unawaited: run.unawaited,
                }
            }
            None => Finish::default(),
        }
    }

    /// The unit that runs, and how long the arguments of a host call may be as JSON.
    #[must_use]
    pub fn unit(&self) -> Option<(Arc<Unit>, usize)> {
        let run = lock(&self.run);
        run.as_ref()
            .map(|run| (Arc::clone(&run.unit), run.max_result))
    }

    /// Decide that the run ends; the first reason stays.
    pub fn end(&self, kind: &'static str, message: impl Into<String>) -> String {
        let message = message.into();
        if let Some(run) = lock(&self.run).as_mut() {
            run.end.get_or_insert(End {
                kind,
                message: message.clone(),
            });
        }
        message
    }

    /// End the run if it is time to.
    fn check(&self) -> Result<(), String> {
        match self.watch.stop() {
            Some(stop) => Err(self.end_by(stop)),
            None => Ok(()),
        }
    }

    fn end_by(&self, stop: Stop) -> String {
        self.end(stop.kind(), stop.message())
    }

    /// Take what the script prints.
    pub fn print(&self, text: &str) -> Result<(), String> {
        let excess = {
            let mut guard = lock(&self.run);
            let Some(run) = guard.as_mut() else {
                return Ok(());
            };
            run.counts.printed += text.len();
            if run.counts.printed <= run.max_printed {
                run.printed.push_str(text);
                let quiet = run.sent_at.is_none_or(|at| at.elapsed() >= PRINT_AFTER);
                if quiet || run.printed.len() >= PRINT_AT {
                    self.send_printed(run);
                    self.output.flush();
                    run.sent_at = Some(Instant::now());
                }
                None
            } else {
                Some(run.max_printed)
            }
        };
        match excess {
            Some(most) => Err(self.end(
                "output",
                format!("The script printed more than {most} bytes."),
            )),
            None => self.check(),
        }
    }

    fn send_printed(&self, run: &mut Run) {
        let mut rest = run.printed.as_str();
        while !rest.is_empty() {
            // Text can take six times its length as JSON; a chunk fits into a frame in any case.
            let mut length = rest.len().min(1024 * 1024);
            while !rest.is_char_boundary(length) {
                length -= 1;
            }
            let (chunk, others) = rest.split_at(length);
            let message = json!({"type": "print", "request": run.request, "text": chunk});
            let _ = self.output.queue(&message);
            rest = others;
        }
        run.printed.clear();
    }

    /// Send a host call; gives its number.
    pub fn ask(
        &self,
        function: &str,
        arguments: &Map<String, Json>,
        blocking: bool,
    ) -> Result<u64, String> {
        self.check()?;
        let too_long = {
            let mut guard = lock(&self.run);
            let Some(run) = guard.as_mut() else {
                return Err("There is no host.".into());
            };
            self.send_printed(run);
            let id = run.counts.calls;
            let queued = self.output.queue(&json!({
                "type": "host_call",
                "request": run.request,
                "id": id,
                "function": function,
                "arguments": arguments,
                "blocking": blocking,
                "line": run.unit.line_of(function),
            }));
            match queued {
                Ok(()) => {
                    run.counts.calls += 1;
                    run.calls.insert(id, Slot::Pending(None));
                    return Ok(id);
                }
                Err(length) => length,
            }
        };
        Err(self.end(
            "output",
            format!("The arguments of {function} take {too_long} bytes, too many for a message."),
        ))
    }

    /// The answer to an asynchronous call; None if there is none yet, `waker` is told then.
    pub fn answer(&self, id: u64, waker: &Waker) -> Option<Result<Json, String>> {
        let mut guard = lock(&self.run);
        let run = guard.as_mut()?;
        if let Some(Slot::Pending(waiting)) = run.calls.get_mut(&id) {
            *waiting = Some(waker.clone());
            return None;
        }
        match run.calls.remove(&id) {
            Some(Slot::Settled(settled)) => Some(settled),
            _ => None,
        }
    }

    /// A call was dropped before it was made.
    pub fn never_awaited(&self, function: &str) {
        if let Some(run) = lock(&self.run).as_mut()
            && run.unawaited.len() < MOST_UNAWAITED
        {
            let line = run.unit.line_of(function);
            run.unawaited.push((function.to_owned(), line));
        }
    }

    /// Nobody wants the answer to a call any more.
    pub fn forget(&self, id: u64) {
        if let Some(run) = lock(&self.run).as_mut() {
            run.calls.remove(&id);
        }
    }

    /// Wait for the answer to a blocking call, and keep the others for later.
    pub fn wait_for(&self, id: u64) -> Result<Result<Json, String>, String> {
        self.output.flush();
        loop {
            let mut answers = match self.receive() {
                Ok(answers) => answers,
                Err(stop) => return Err(self.end_by(stop)),
            };
            let mut guard = lock(&self.run);
            let Some(run) = guard.as_mut() else {
                return Err("There is no host.".into());
            };
            let mine = answers.iter().position(|answer| answer.id == id);
            let mine = mine.map(|index| answers.remove(index));
            if !answers.is_empty() {
                run.kept.push_back(answers);
            }
            if let Some(answer) = mine {
                run.calls.remove(&id);
                return Ok(answer.settled);
            }
        }
    }

    /// Wait until some calls are settled: every task of the script waits.
    pub fn wait(&self) -> Next {
        let kept = {
            let mut guard = lock(&self.run);
            let Some(run) = guard.as_mut() else {
                return Next::End;
            };
            if run.end.is_some() {
                return Next::End;
            }
            self.send_printed(run);
            let pending: Vec<u64> = run
                .calls
                .iter()
                .filter(|(_, slot)| matches!(slot, Slot::Pending(_)))
                .map(|(id, _)| *id)
                .collect();
            let kept = run.kept.pop_front();
            if kept.is_none() {
                if pending.is_empty() {
                    drop(guard);
                    self.end(
                        "runtime",
                        "The script waits for something that never comes.",
                    );
                    return Next::End;
                }
                let _ = self.output.queue(&json!({
                    "type": "waiting",
                    "request": run.request,
                    "pending": pending,
                }));
            }
            kept
        };
        self.output.flush();
        let answers = match kept.map_or_else(|| self.receive(), Ok) {
            Ok(answers) => answers,
            Err(stop) => {
                self.end_by(stop);
                return Next::End;
            }
        };
        let mut guard = lock(&self.run);
        let Some(run) = guard.as_mut() else {
            return Next::End;
        };
        for answer in answers {
            if let Some(slot @ Slot::Pending(_)) = run.calls.get_mut(&answer.id) {
                let before = std::mem::replace(slot, Slot::Settled(answer.settled));
                if let Slot::Pending(Some(waker)) = before {
                    waker.wake();
                }
            }
        }
        Next::Settled
    }

    /// The next answers for this run.
    fn receive(&self) -> Result<Vec<Answer>, Stop> {
        let begin = Instant::now();
        let received = self.receive_answers();
        if let Some(run) = lock(&self.run).as_mut() {
            run.counts.waited += begin.elapsed();
        }
        received
    }

    fn receive_answers(&self) -> Result<Vec<Answer>, Stop> {
        let request = lock(&self.run).as_ref().map(|run| run.request);
        loop {
            let message = self.next_message()?;
            match message {
                Message::Answer(given) if Some(given.request) == request => {
                    return Ok(given.answers);
                }
                Message::Cancel(cancel) if Some(cancel.request) == request => {
                    return Err(Stop::Cancelled);
                }
                Message::Answer(_) | Message::Cancel(_) => {}
                _ => self.output.send(&fault(request, "A call is running.")),
            }
        }
    }

    fn next_message(&self) -> Result<Message, Stop> {
        let deadline = self.watch.deadline();
        self.inbox.next(deadline).map_err(|Late| Stop::Deadline)
    }
}

/// The message for something that the host got wrong.
#[must_use]
pub fn fault(request: Option<i64>, message: &str) -> Json {
    json!({"type": "fault", "request": request, "message": message})
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
