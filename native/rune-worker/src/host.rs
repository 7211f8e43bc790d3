//! Host functions as functions of Rune, and the language core around them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use rune::runtime::{Function as RuneFunction, InstAddress, Memory, Object, Output, Protocol};
use rune::runtime::{RuntimeContext, TypeOf, Vec as RuneVec, VmResult};
use rune::{Context, ContextError, Module, Value, vm_try};
use serde_json::{Map, Value as Json};

use crate::desk::Desk;
use crate::lexer::is_keyword;
use crate::messages::{Function, Returns};
use crate::values::{ValueError, to_json, to_rune};

/// The names that exist for a script while it is compiled, and while it runs.
pub struct Names {
    /// For the compiler.
    pub context: Context,
    /// For the virtual machine.
    pub runtime: Arc<RuntimeContext>,
}

impl Names {
    /// The language core and `functions`, whose calls go to `desk`.
    pub fn new(functions: &[Function], desk: &Arc<Desk>) -> Result<Self, String> {
        Self::build(functions, desk).map_err(|error| error.to_string())
    }

    fn build(functions: &[Function], desk: &Arc<Desk>) -> Result<Self, ContextError> {
        let mut context = Context::with_config(false)?;
        context.install(printing(desk)?)?;
        context.install(awaiting()?)?;
        for function in functions {
            let shared = Arc::new(function.clone());
            let aliases = function.aliases.iter().cloned();
            for path in std::iter::once(function.path()).chain(aliases) {
                context.install(host_function(&path, &shared, desk)?)?;
            }
        }
        let runtime = Arc::new(context.runtime()?);
        Ok(Self { context, runtime })
    }
}

/// What is wrong with the functions that a host grants; None if nothing is.
#[must_use]
pub fn complaint(functions: &[Function]) -> Option<String> {
    for function in functions {
        let paths = std::iter::once(function.path()).chain(function.aliases.iter().cloned());
        for path in paths {
            let segments: Vec<&str> = path.split("::").collect();
            if segments.len() < 2 || !segments.iter().all(|name| is_identifier(name)) {
                return Some(format!("{path:?} is no path of a function."));
            }
        }
        let required = function.required();
        let optional_first = function
            .parameters
            .iter()
            .take(required)
            .any(|parameter| !parameter.required());
        if optional_first {
            let path = function.path();
            return Some(format!(
                "{path} has an optional parameter before a required one."
            ));
        }
    }
    None
}

fn is_identifier(name: &str) -> bool {
    let plain = name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    plain
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && !is_keyword(name)
}

fn printing(desk: &Arc<Desk>) -> Result<Module, ContextError> {
    let mut module = Module::with_crate_item("std", ["io"])?;
    let here = Arc::clone(desk);
    module
        .function("print", move |text: &str| shown(here.print(text)))
        .build()?;
    let here = Arc::clone(desk);
    module
        .function("println", move |text: &str| {
            shown(here.print(&format!("{text}\n")))
        })
        .build()?;
    let here = Arc::clone(desk);
    module
        .raw_function(
            "dbg",
            move |stack: &mut dyn Memory, address, count, output: Output| {
                for value in vm_try!(stack.slice_at(address, count)) {
                    vm_try!(shown(here.print(&format!("{value:?}\n"))));
                }
                vm_try!(output.store(stack, ()));
                VmResult::Ok(())
            },
        )
        .build()?;
    Ok(module)
}

fn shown(result: Result<(), String>) -> VmResult<()> {
    match result {
        Ok(()) => VmResult::Ok(()),
        Err(reason) => VmResult::panic(reason),
    }
}

/// `.await` on a plain value gives the value itself.
fn awaiting() -> Result<Module, ContextError> {
    let mut module = Module::with_crate_item("std", ["future"])?;
    plain::<()>(&mut module)?;
    plain::<bool>(&mut module)?;
    plain::<i64>(&mut module)?;
    plain::<f64>(&mut module)?;
    plain::<rune::alloc::String>(&mut module)?;
    plain::<RuneVec>(&mut module)?;
    plain::<Object>(&mut module)?;
    plain::<Option<Value>>(&mut module)?;
    plain::<Result<Value, Value>>(&mut module)?;
    Ok(module)
}

fn plain<T: TypeOf>(module: &mut Module) -> Result<(), ContextError> {
    module
        .raw_function(
            &Protocol::INTO_FUTURE,
            |stack: &mut dyn Memory, address, _, output: Output| {
                let value = vm_try!(stack.slice_at(address, 1))[0].clone();
                let ready = RuneFunction::new(|value: Value| async move { VmResult::Ok(value) });
                let future = vm_try!(ready.call::<Value>((value,)));
                vm_try!(output.store(stack, future));
                VmResult::Ok(())
            },
        )
        .build_associated::<T>()?;
    Ok(())
}

fn host_function(
    path: &str,
    function: &Arc<Function>,
    desk: &Arc<Desk>,
) -> Result<Module, ContextError> {
    let mut segments: Vec<&str> = path.split("::").collect();
    let name = segments.pop().unwrap_or_default();
    let mut module = Module::with_crate_item(segments[0], &segments[1..])?;
    let function = Arc::clone(function);
    let desk = Arc::clone(desk);
    module
        .raw_function(name, move |stack, address, count, output| {
            call(&desk, &function, stack, address, count, output)
        })
        .build()?;
    Ok(module)
}

fn call(
    desk: &Arc<Desk>,
    function: &Arc<Function>,
    stack: &mut dyn Memory,
    address: InstAddress,
    count: usize,
    output: Output,
) -> VmResult<()> {
    let arguments = match arguments(desk, function, vm_try!(stack.slice_at(address, count))) {
        Ok(arguments) => arguments,
        Err(reason) => return VmResult::panic(reason),
    };
    let value = if function.asynchronous {
        let call = HostCall {
            desk: Arc::clone(desk),
            function: Arc::clone(function),
            state: State::Unsent(arguments),
        };
        vm_try!(future(call))
    } else {
        vm_try!(blocking(desk, function, &arguments))
    };
    vm_try!(output.store(stack, value));
    VmResult::Ok(())
}

fn arguments(
    desk: &Desk,
    function: &Function,
    values: &[Value],
) -> Result<Map<String, Json>, String> {
    let most = function.parameters.len();
    if values.len() > most || values.len() < function.required() {
        let least = function.required();
        let wanted = if least == most {
            most.to_string()
        } else {
            format!("{least} to {most}")
        };
        let plural = if wanted == "1" { "" } else { "s" };
        let (name, given) = (&function.name, values.len());
        let message = format!("{name}() takes {wanted} argument{plural}, not {given}.");
        return Err(desk.end("runtime", message));
    }
    let Some((unit, limit)) = desk.unit() else {
        return Err("There is no host.".into());
    };
    let mut arguments = Map::new();
    for (parameter, value) in function.parameters.iter().zip(values) {
        let json = to_json(value, parameter.name(), limit, &unit.variants).map_err(|error| {
            let kind = match error {
                ValueError::TooLarge => "output",
                _ => "value",
            };
            desk.end(kind, format!("Argument of {}: {error}", function.path()))
        })?;
        arguments.insert(parameter.name().to_owned(), json);
    }
    Ok(arguments)
}

fn blocking(
    desk: &Arc<Desk>,
    function: &Function,
    arguments: &Map<String, Json>,
) -> VmResult<Value> {
    let settled = desk
        .ask(&function.path(), arguments, true)
        .and_then(|id| desk.wait_for(id));
    match settled {
        Ok(settled) => answered(desk, function, settled),
        Err(reason) => VmResult::panic(reason),
    }
}

/// The value that the script gets for an answer.
fn answered(desk: &Desk, function: &Function, settled: Result<Json, String>) -> VmResult<Value> {
    let settled = settled.and_then(|json| {
        let value = to_rune(&json, "$").map_err(|error| {
            if error == ValueError::Memory {
                desk.end("memory", error.to_string());
            }
            format!("The answer of {} is unfit: {error}", function.path())
        })?;
        Ok((json.is_null(), value))
    });
    VmResult::Ok(match (function.returns, settled) {
        (Returns::Value, Ok((_, value))) => value,
        (Returns::Result, Ok((_, value))) => vm_try!(rune::to_value(Ok::<Value, Value>(value))),
        (Returns::Result, Err(message)) => {
            let message = vm_try!(rune::to_value(message));
            vm_try!(rune::to_value(Err::<Value, Value>(message)))
        }
        (Returns::Option, Ok((null, value))) => {
            vm_try!(rune::to_value((!null).then_some(value)))
        }
        (Returns::Value | Returns::Option, Err(message)) => {
            return VmResult::panic(desk.end("host", message));
        }
    })
}

/// A future of Rune for a call that is sent when it is first awaited.
fn future(call: HostCall) -> VmResult<Value> {
    // Rune makes futures of its own only out of asynchronous functions, so here is one.
    let held = Mutex::new(Some(call));
    let function = RuneFunction::new(move || {
        let call = held.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            match call {
                Some(call) => call.await,
                None => VmResult::panic("The call was made already."),
            }
        }
    });
    function.call::<Value>(())
}

struct HostCall {
    desk: Arc<Desk>,
    function: Arc<Function>,
    state: State,
}

enum State {
    Unsent(Map<String, Json>),
    Sent(u64),
    Over,
}

impl Future for HostCall {
    type Output = VmResult<Value>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let id = match std::mem::replace(&mut self.state, State::Over) {
            State::Unsent(arguments) => {
                match self.desk.ask(&self.function.path(), &arguments, false) {
                    Ok(id) => id,
                    Err(reason) => return Poll::Ready(VmResult::panic(reason)),
                }
            }
            State::Sent(id) => id,
            State::Over => return Poll::Ready(VmResult::panic("The call is over.")),
        };
        let Some(settled) = self.desk.answer(id, context.waker()) else {
            self.state = State::Sent(id);
            return Poll::Pending;
        };
        Poll::Ready(answered(&self.desk, &self.function, settled))
    }
}

impl Drop for HostCall {
    fn drop(&mut self) {
        match self.state {
            State::Unsent(_) => self.desk.never_awaited(&self.function.path()),
            State::Sent(id) => self.desk.forget(id),
            State::Over => {}
        }
    }
}
