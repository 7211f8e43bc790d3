//! One call of one function, from its arguments to its result.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rune::alloc::limit;
use rune::runtime::{Future as RuneFuture, budget};
use rune::{TypeHash, Value, Vm};
use serde_json::Value as Json;

use crate::desk::{Desk, Next};
use crate::failures::Failure;
use crate::messages::Arguments;
use crate::units::Unit;
use crate::values::{ValueError, Variants, result_to_json, to_rune};

/// What a call may use.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Instructions; None for no limit.
    pub instructions: Option<usize>,
    /// Bytes; None for no limit.
    pub memory: Option<usize>,
    /// Bytes of the result.
    pub result: usize,
}

/// How a call went.
pub struct Outcome {
    /// Its value, or why there is none.
    pub value: Result<Json, Failure>,
    /// Instructions; None if unknown.
    pub instructions: Option<usize>,
    /// Most bytes above what the process held before.
    pub memory_peak: u64,
    /// From beginning to end.
    pub took: Duration,
    /// Whether the worker itself came to harm.
    pub broken: bool,
}

impl Outcome {
    /// A call that did not begin.
    #[must_use]
    pub fn refused(failure: Failure) -> Self {
        Self {
            value: Err(failure),
            instructions: Some(0),
            memory_peak: 0,
            took: Duration::ZERO,
            broken: false,
        }
    }
}

/// Call a function of `unit`.
#[must_use]
pub fn call(
    desk: &Desk,
    unit: &Unit,
    function: &str,
    arguments: Arguments,
    allowed: Allowed,
) -> Outcome {
    let Some((found, hash)) = unit.function(function) else {
        let message = format!("There is no function {function:?}.");
        return Outcome::refused(Failure::new("arguments", message));
    };
    let arguments = match bound(function, &found.parameters, arguments) {
        Ok(arguments) => arguments,
        Err(message) => return Outcome::refused(Failure::new("arguments", message)),
    };
    let begin = Instant::now();
    let work = work(unit, hash, &arguments, allowed.result);
    let limited = budget::with(allowed.instructions.unwrap_or(usize::MAX), work);
    let limited = limit::with(allowed.memory.unwrap_or(usize::MAX), limited);
    let mut driven = None;
    // The future is consumed inside, so that what it frees is counted as well.
    let memory = allocation_counter::measure(|| {
        driven = Some(catch_unwind(AssertUnwindSafe(|| drive(desk, limited))));
    });
    let took = begin.elapsed();
    let (value, broken) = match driven {
        Some(Ok(Some(value))) => (value, false),
        Some(Ok(None)) | None => (Err(Failure::new("runtime", "The call ended.")), false),
        Some(Err(_)) => {
            let failure = Failure::new("runtime", "The virtual machine panicked.");
            (Err(failure), true)
        }
    };
    // Rune lets nobody read a budget; only one that is used up tells how much that was.
    let exhausted = matches!(&value, Err(failure) if failure.kind == "budget");
    Outcome {
        value,
        instructions: allowed.instructions.filter(|_| exhausted),
        memory_peak: memory.bytes_max,
        took,
        broken,
    }
}

/// The arguments in order, with their names for messages.
fn bound(
    function: &str,
    parameters: &[String],
    arguments: Arguments,
) -> Result<Vec<(String, Json)>, String> {
    match arguments {
        Arguments::Positional(values) if values.len() == parameters.len() => {
            Ok(parameters.iter().cloned().zip(values).collect())
        }
        Arguments::Positional(values) => {
            let (most, plural) = (
                parameters.len(),
                if parameters.len() == 1 { "" } else { "s" },
            );
            let given = values.len();
            Err(format!(
                "{function}() takes {most} argument{plural}, not {given}."
            ))
        }
        Arguments::Named(mut named) => {
            let mut unknown = named.keys().filter(|name| !parameters.contains(name));
            if let Some(name) = unknown.next() {
                return Err(format!("{function}() has no parameter {name:?}."));
            }
            Ok(parameters
                .iter()
                .map(|name| (name.clone(), named.shift_remove(name).unwrap_or_default()))
                .collect())
        }
    }
}

async fn work(
    unit: &Unit,
    hash: rune::Hash,
    arguments: &[(String, Json)],
    max_result: usize,
) -> Result<Json, Failure> {
    let mut values = Vec::with_capacity(arguments.len());
    for (name, json) in arguments {
        values.push(to_rune(json, name).map_err(|error| unfit_argument(&error))?);
    }
    let mut vm = Vm::new(Arc::clone(&unit.runtime), Arc::clone(&unit.code));
    let failed = |error: &rune::runtime::VmError| Failure::of(error, &unit.source);
    let mut execution = vm.execute(hash, values).map_err(|error| failed(&error))?;
    let value = execution.async_complete().await.into_result();
    let mut value = value.map_err(|error| failed(&error))?;
    drop(execution);
    if value.type_hash() == RuneFuture::HASH {
        let future = value.into_future().map_err(|error| failed(&error.into()))?;
        value = future.await.into_result().map_err(|error| failed(&error))?;
    }
    vm.with(|| finished(&value, max_result, &unit.variants))
}

fn unfit_argument(error: &ValueError) -> Failure {
    match error {
        ValueError::Memory => Failure::new("memory", error.to_string()),
        _ => Failure::new("arguments", format!("Argument {error}")),
    }
}

fn finished(value: &Value, max_result: usize, variants: &Variants) -> Result<Json, Failure> {
    result_to_json(value, "$", max_result, variants).map_err(|error| match error {
        ValueError::Failed(value) => Failure {
            value: value.as_ref().ok().cloned().map(Box::new),
            ..Failure::new(
                "failure",
                match value {
                    Ok(Json::String(text)) => text,
                    Ok(json) => json.to_string(),
                    Err(reason) => format!("The function returned an Err; {reason}"),
                },
            )
        },
        ValueError::TooLarge => {
            let message = format!("The result takes more than {max_result} bytes.");
            Failure::new("output", message)
        }
        ValueError::Memory => Failure::new("memory", error.to_string()),
        ValueError::Unfit { .. } => Failure::new("value", error.to_string()),
    })
}

/// Remembers that a task can go on.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Run `future` to its end, and the host's answers into it; None if the run ends before.
fn drive<T>(desk: &Desk, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        while !woken.0.swap(false, Ordering::Relaxed) {
            match desk.wait() {
                Next::Settled => {}
                Next::End => return None,
            }
        }
    }
}
