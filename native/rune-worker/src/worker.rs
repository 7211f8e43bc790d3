//! The conversation with the host.

use std::collections::VecDeque;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rune::runtime::{Function as RuneFunction, VmError};
use rune::{Unit as RuneUnit, Vm};
use serde_json::{Value as Json, json};

use crate::desk::{Desk, Finish, fault};
use crate::frames::{MAX_FRAME, Output};
use crate::host::{Names, complaint};
use crate::inspect::inspect;
use crate::lexer::Lines;
use crate::messages::{Call, Compile, Function, Hello, Inspect, Message};
use crate::run::{Allowed, Outcome, call};
use crate::seeds::Seeds;
use crate::units::{Unit, compile, unit_hash};
use crate::watch::Watch;
use crate::{PROTOCOL, RUNE_VERSION, VERSION};

const UNITS: usize = 64;
const NAMES: usize = 16;
const PRINTED: u64 = 16 * 1024 * 1024;
const RESULT: u64 = 8 * 1024 * 1024;

/// How long compiling may take if the host says nothing.
const COMPILE_TIME: Duration = Duration::from_secs(10);

/// How long reading constants may take.
const INSPECT_TIME: Duration = Duration::from_secs(2);

/// Exit status of a worker that came to harm in a call, or ended it from outside.
const BROKEN: i32 = 3;

/// Answers the host, one request after the other.
pub struct Worker {
    output: Arc<Output>,
    watch: Arc<Watch>,
    desk: Arc<Desk>,
    seeds: Seeds,
    jail: Json,
    core: Arc<Names>,
    names: Recent<Vec<Function>, Names>,
    units: Recent<String, Unit>,
}

impl Worker {
    /// A worker that says `jail` about itself. An error is one of Rune itself.
    pub fn new(
        output: Arc<Output>,
        watch: Arc<Watch>,
        desk: Arc<Desk>,
        seeds: Seeds,
        jail: Json,
    ) -> Result<Self, String> {
        let core = Arc::new(Names::new(&[], &desk)?);
        fix_hashes(&core, &seeds).map_err(|error| error.to_string())?;
        Ok(Self {
            output,
            watch,
            desk,
            seeds,
            jail,
            core,
            names: Recent::new(NAMES),
            units: Recent::new(UNITS),
        })
    }

    /// Answer until there is nobody left to answer.
    pub fn serve(&mut self) {
        while let Ok(message) = self.desk.message() {
            match message {
                Message::Hello(hello) => self.hello(&hello),
                Message::Compile(request) => self.compile(&request),
                Message::Inspect(request) => self.inspect(&request),
                Message::Call(request) => self.call(request),
                // They belong to a call that ended in the meantime.
                Message::Answer(_) | Message::Cancel(_) => {}
                Message::Shutdown => return,
            }
        }
    }

    fn hello(&self, hello: &Hello) {
        if hello.protocol != PROTOCOL {
            let message = format!("This worker speaks version {PROTOCOL} of the protocol.");
            return self.output.send(&fault(None, &message));
        }
        self.output.send(&json!({
            "type": "ready",
            "protocol": PROTOCOL,
            "worker": VERSION,
            "rune": RUNE_VERSION,
            "format": format!("rune-{RUNE_VERSION}/1"),
            "max_frame": MAX_FRAME,
            "jail": self.jail,
        }));
    }

    fn names(&mut self, functions: &[Function]) -> Result<Arc<Names>, String> {
        if functions.is_empty() {
            return Ok(Arc::clone(&self.core));
        }
        if let Some(message) = complaint(functions) {
            return Err(message);
        }
        if let Some(names) = self.names.get(&functions.to_vec()) {
            return Ok(names);
        }
        let names = Names::new(functions, &self.desk)?;
        Ok(self.names.put(functions.to_vec(), names))
    }

    fn compile(&mut self, request: &Compile) {
        let allowed = request
            .deadline_ms
            .map_or(COMPILE_TIME, Duration::from_millis);
        self.watch
            .begin(request.id, Instant::now().checked_add(allowed));
        let answer = self.compiled(request);
        self.watch.finish();
        self.send(request.id, &answer);
    }

    fn compiled(&mut self, request: &Compile) -> Json {
        let Compile {
            source,
            name,
            functions,
            forbidden,
            ..
        } = request;
        let hash = unit_hash(source, name, functions, forbidden);
        if let Some(unit) = self.units.get(&hash) {
            return compiled(request.id, &unit);
        }
        let names = match self.names(functions) {
            Ok(names) => names,
            Err(message) => return fault(Some(request.id), &message),
        };
        match compile(source, name, "", &names, functions, forbidden) {
            Ok(unit) => compiled(request.id, &self.units.put(hash, unit)),
            Err(findings) => {
                let lines = Lines::new(source);
                let diagnostics: Vec<Json> = findings
                    .iter()
                    .map(|finding| finding.json(&lines))
                    .collect();
                json!({"type": "rejected", "request": request.id, "diagnostics": diagnostics})
            }
        }
    }

    fn inspect(&mut self, request: &Inspect) {
        let names = match self.names(&request.functions) {
            Ok(names) => names,
            Err(message) => return self.output.send(&fault(Some(request.id), &message)),
        };
        let deadline = Instant::now() + COMPILE_TIME + INSPECT_TIME;
        self.watch.begin(request.id, Some(deadline));
        self.seeds.reset("");
        let answer = inspect(request, &names, &self.core);
        self.watch.finish();
        self.send(request.id, &answer);
    }

    fn call(&mut self, request: Call) {
        let Some(unit) = self.units.get(&request.unit) else {
            let message = json!({"type": "unknown_unit", "request": request.id});
            return self.output.send(&message);
        };
        let limits = request.limits;
        let deadline = limits
            .deadline_ms
            .and_then(|time| Instant::now().checked_add(Duration::from_millis(time)));
        let allowed = Allowed {
            instructions: limits.instructions.map(size),
            memory: limits.memory_bytes.map(size),
            result: size(limits.result_bytes.unwrap_or(RESULT)),
        };
        let printed = size(limits.printed_bytes.unwrap_or(PRINTED));
        self.seeds.reset(&request.seed);
        self.watch.begin(request.id, deadline);
        self.desk
            .begin(request.id, Arc::clone(&unit), printed, allowed.result);
        let outcome = call(
            &self.desk,
            &unit,
            &request.function,
            request.arguments,
            allowed,
        );
        self.watch.finish();
        let broken = outcome.broken;
        let message = self.ended(request.id, outcome);
        if self.output.queue(&message).is_err() {
            let error = json!({
                "type": "error",
                "request": request.id,
                "kind": "output",
                "message": "The result is too long for a message.",
                "location": null,
                "trace": [],
                "statistics": message["statistics"],
                "exits": broken,
            });
            let _ = self.output.queue(&error);
        }
        self.output.flush();
        if broken {
            process::exit(BROKEN);
        }
    }

    /// The last message of a call.
    fn ended(&self, request: i64, outcome: Outcome) -> Json {
        let Finish {
            counts,
            end,
            unawaited,
        } = self.desk.finish();
        let statistics = json!({
            "instructions": outcome.instructions,
            "memory_peak": outcome.memory_peak,
            "compute_us": microseconds(outcome.took.saturating_sub(counts.waited)),
            "calls": counts.calls,
            "printed": counts.printed,
        });
        let unawaited: Vec<Json> = unawaited
            .iter()
            .map(|(function, line)| json!({"function": function, "line": line}))
            .collect();
        let mut failure = match (outcome.value, &end) {
            (Ok(value), None) => {
                return json!({
                    "type": "result",
                    "request": request,
                    "value": value,
                    "unawaited": unawaited,
                    "statistics": statistics,
                });
            }
            (Ok(_), Some(end)) => crate::failures::Failure::new(end.kind, &*end.message),
            (Err(failure), _) => failure,
        };
        if let Some(end) = end {
            failure.kind = end.kind;
            failure.message = end.message;
        }
        let mut error = json!({
            "type": "error",
            "request": request,
            "kind": failure.kind,
            "message": failure.message,
            "location": failure
                .location
                .map(|(line, column)| json!({"line": line, "column": column})),
            "trace": failure.trace,
            "statistics": statistics,
            "exits": outcome.broken,
        });
        if let Some(value) = failure.value {
            error["value"] = *value;
        }
        error
    }

    fn send(&self, request: i64, message: &Json) {
        if self.output.queue(message).is_err() {
            let message = "The answer is too long for a message.";
            let _ = self.output.queue(&fault(Some(request), message));
        }
        self.output.flush();
    }
}

fn compiled(request: i64, unit: &Unit) -> Json {
    let functions: Vec<Json> = unit
        .functions
        .iter()
        .map(|function| {
            json!({
                "path": function.name(),
                "parameters": function.parameters,
                "public": function.public,
                "asynchronous": function.asynchronous,
                "line": function.line,
            })
        })
        .collect();
    let lines = Lines::new(&unit.source);
    let calls: Vec<Json> = unit
        .calls
        .iter()
        .map(|call| {
            let (line, column) = lines.place(call.start);
            json!({
                "function": call.function,
                "line": line,
                "column": column,
                "literal": call.literal,
            })
        })
        .collect();
    let uses: Vec<&str> = unit.uses.iter().map(|(path, _)| path.as_str()).collect();
    json!({
        "type": "compiled",
        "request": request,
        "unit": unit.hash,
        "functions": functions,
        "uses": uses,
        "calls": calls,
        "diagnostics": unit.diagnostics,
    })
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn size(number: u64) -> usize {
    // The two highest values mean something else to Rune.
    usize::try_from(number)
        .unwrap_or(usize::MAX)
        .min(usize::MAX - 1)
}

/// Let `std::ops::hash` take its key, once in a process, where the seed is known.
fn fix_hashes(core: &Names, seeds: &Seeds) -> Result<(), VmError> {
    seeds.reset("");
    let vm = Vm::new(Arc::clone(&core.runtime), Arc::new(RuneUnit::default()));
    let hash: RuneFunction = vm.lookup_function(rune::item!(::std::ops::hash))?;
    hash.call::<u64>((0_i64,)).into_result()?;
    Ok(())
}

/// The things that were used last.
struct Recent<K, V> {
    most: usize,
    entries: VecDeque<(K, Arc<V>)>,
}

impl<K: PartialEq, V> Recent<K, V> {
    fn new(most: usize) -> Self {
        Self {
            most,
            entries: VecDeque::new(),
        }
    }

    fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let index = self.entries.iter().position(|(one, _)| one == key)?;
        let entry = self.entries.remove(index)?;
        let value = Arc::clone(&entry.1);
        self.entries.push_front(entry);
        Some(value)
    }

    fn put(&mut self, key: K, value: V) -> Arc<V> {
        let value = Arc::new(value);
        self.entries.push_front((key, Arc::clone(&value)));
        self.entries.truncate(self.most);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_was_used_longest_ago_is_forgotten() {
        let mut recent = Recent::new(2);
        recent.put(1, "a");
        recent.put(2, "b");
        assert!(recent.get(&1).is_some());
        recent.put(3, "c");
        assert!(recent.get(&2).is_none());
        assert_eq!(*recent.get(&1).unwrap(), "a");
    }
}
