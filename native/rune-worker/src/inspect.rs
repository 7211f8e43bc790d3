//! What a source offers, found out without running its work.

use std::sync::Arc;

use rune::alloc::limit;
use rune::runtime::budget;
use rune::{Hash, ItemBuf, Vm};
use serde_json::{Map, Value as Json, json};

use crate::attributes;
use crate::failures::Failure;
use crate::host::Names;
use crate::lexer::Lines;
use crate::messages::Inspect;
use crate::outline::{Function, Outline, outline};
use crate::text::header;
use crate::units::{Unit, compile};
use crate::values::to_json;

const INSTRUCTIONS: usize = 100_000;
const MEMORY: usize = 4 * 1024 * 1024;
const MAX_CONSTANT: usize = 1024 * 1024;

/// The name of the function that gives a constant; nobody else uses such names.
const GETTER: &str = "ccos_value_of_constant_";

/// Look into a source.
///
/// Args: `names` is what exists for the compiler, `core` is the language without host functions.
#[must_use]
pub fn inspect(request: &Inspect, names: &Names, core: &Names) -> Json {
    let source = &request.source;
    let lines = Lines::new(source);
    let outline = outline(source).unwrap_or_default();
    let getters = getters(&outline, &request.constants);
    let compiled = compile(
        source,
        &request.name,
        &appended(&getters),
        names,
        &request.functions,
        &request.forbidden,
    );
    let constants = match &compiled {
        Ok(unit) => constants(unit, core, &outline, &getters, &request.constants),
        Err(_) => Map::new(),
    };
    let diagnostics: Vec<Json> = match &compiled {
        Ok(unit) => unit.diagnostics.clone(),
        Err(findings) => findings.iter().map(|one| one.json(&lines)).collect(),
    };
    let header = header(source);
    let entries = header
        .entries
        .iter()
        .map(|(key, text, line)| json!({"key": key, "text": text, "line": line}));
    let modules = outline
        .modules
        .iter()
        .map(|one| json!({"path": one.path.join("::"), "public": one.public, "line": one.line}));
    let functions = outline
        .functions
        .iter()
        .map(|function| described(source, &lines, function));
    json!({
        "type": "inspected",
        "request": request.id,
        "compiled": compiled.is_ok(),
        "diagnostics": diagnostics,
        "header": {"text": header.text, "entries": entries.collect::<Vec<_>>()},
        "functions": functions.collect::<Vec<_>>(),
        "modules": modules.collect::<Vec<_>>(),
        "constants": constants,
    })
}

fn described(source: &str, lines: &Lines<'_>, function: &Function) -> Json {
    let attributes = function.attributes.iter().map(|attribute| {
        let (arguments, error) = attributes::arguments(source, &attribute.tokens);
        json!({
            "name": attribute.name,
            "line": lines.place(attribute.start).0,
            "arguments": arguments,
            "error": error,
        })
    });
    json!({
        "path": function.name(),
        "parameters": function.parameters,
        "public": function.public,
        "asynchronous": function.asynchronous,
        "line": function.line,
        "documentation": function.documentation,
        "attributes": attributes.collect::<Vec<_>>(),
    })
}

/// Paths of the wanted `const` items.
fn getters(outline: &Outline, wanted: &[String]) -> Vec<String> {
    outline
        .constants
        .iter()
        .filter(|constant| constant.public || constant.path.len() == 1)
        .filter(|constant| {
            constant
                .path
                .last()
                .is_some_and(|name| wanted.contains(name))
        })
        .map(|constant| constant.path.join("::"))
        .collect()
}

/// Functions that give constants, since a virtual machine calls functions only.
fn appended(getters: &[String]) -> String {
    let functions = getters
        .iter()
        .enumerate()
        .map(|(index, path)| format!("\npub fn {GETTER}{index}() {{ {path} }}"));
    functions.chain(["\n".to_owned()]).collect()
}

fn constants(
    unit: &Unit,
    core: &Names,
    outline: &Outline,
    getters: &[String],
    wanted: &[String],
) -> Map<String, Json> {
    let mut found = Map::new();
    for (index, path) in getters.iter().enumerate() {
        let value = value(unit, core, &[format!("{GETTER}{index}")]);
        found.insert(path.clone(), value);
    }
    for function in &outline.functions {
        let named = function
            .path
            .last()
            .is_some_and(|name| wanted.contains(name));
        if !named || !function.public || !function.parameters.is_empty() {
            continue;
        }
        let value = if function.asynchronous {
            json!({"error": "It is asynchronous.", "line": function.line})
        } else {
            value(unit, core, &function.path)
        };
        found.insert(function.name(), value);
    }
    found
}

fn value(unit: &Unit, core: &Names, path: &[String]) -> Json {
    let read = || -> Result<Json, Failure> {
        let item =
            ItemBuf::with_item(path.iter().map(String::as_str)).map_err(|_| out_of_memory())?;
        let mut vm = Vm::new(Arc::clone(&core.runtime), Arc::clone(&unit.code));
        let failed = |error: &rune::runtime::VmError| Failure::of(error, &unit.source);
        let value = vm
            .call(Hash::type_hash(&item), ())
            .map_err(|error| failed(&error))?;
        let json = vm.with(|| to_json(&value, "$", MAX_CONSTANT, &unit.variants));
        json.map_err(|error| Failure::new("value", error.to_string()))
    };
    match limit::with(MEMORY, budget::with(INSTRUCTIONS, read)).call() {
        Ok(value) => json!({"value": value}),
        Err(failure) => json!({
            "error": failure.message,
            "line": failure.location.map_or(0, |(line, _)| line),
        }),
    }
}

fn out_of_memory() -> Failure {
    Failure::new("memory", "The script needs more memory than allowed.")
}
