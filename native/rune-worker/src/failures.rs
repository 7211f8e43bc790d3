//! Errors of the virtual machine, in the words and places of the source.

use rune::runtime::{DebugInfo, VmError};
use serde_json::{Value as Json, json};

use crate::lexer::Lines;

/// Most entries of a trace.
const MAX_TRACE: usize = 64;

/// Longest message in bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// One of the kinds of the README.
    pub kind: &'static str,
    /// What people are told.
    pub message: String,
    /// Where: line and column.
    pub location: Option<(usize, usize)>,
    /// The functions that were running, the innermost first.
    pub trace: Vec<Json>,
    /// The error as data, where the script returned one.
    pub value: Option<Box<Json>>,
}

impl Failure {
    /// One that is at no place of the source.
    #[must_use]
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            location: None,
            trace: Vec::new(),
            value: None,
        }
    }

    /// What an error of the virtual machine means.
    #[must_use]
    pub fn of(error: &VmError, source: &str) -> Self {
        let lines = Lines::new(source);
        let places = places(error, &lines, source);
        let span = span(error).and_then(|range| source.get(range));
        let (kind, message) = described(error, span.unwrap_or_default());
        Self {
            kind,
            message: shortened(message),
            location: places.first().map(|place| (place.1, place.2)),
            trace: places
                .into_iter()
                .take(MAX_TRACE)
                .map(|(function, line, column)| {
                    json!({"function": function, "line": line, "column": column})
                })
                .collect(),
            value: None,
        }
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

/// The kind and the words of an error.
///
/// The kinds of errors are not public. They are told apart by how an error shows itself to
/// developers, which begins with the name of its kind; what a script says comes after that.
fn described(error: &VmError, span: &str) -> (&'static str, String) {
    let debug = format!("{:.200?}", error.at());
    let kind = debug.split_once("kind: ").map_or("", |(_, kind)| kind);
    let message = error.to_string();
    if kind.starts_with("Panic ") {
        let message = message.strip_prefix("Panicked: ").unwrap_or(&message);
        return ("panic", message.to_owned());
    }
    if kind.starts_with("Halted { halt: Limited") {
        return (
            "budget",
            "The script took more instructions than allowed.".into(),
        );
    }
    if kind.starts_with("Halted { halt: Yielded") {
        return ("value", "The function is a generator: it yields.".into());
    }
    if kind.starts_with("AllocError") || kind.starts_with("StackError") {
        return (
            "memory",
            "The script needs more memory than allowed.".into(),
        );
    }
    if kind.starts_with("MissingInstanceFunction")
        && let Some(name) = method(span)
    {
        let instance = message.rsplit_once(" for ");
        let instance = instance.map_or("the value", |(_, one)| one);
        let message = format!("There is no function `{name}` for {instance}.");
        return ("runtime", message);
    }
    if kind.starts_with("ObjectIndexMissing")
        && let Some(name) = field(span)
    {
        let hint = format!("`.get(\"{name}\")` gives an Option");
        return ("runtime", format!("There is no field `{name}`; {hint}."));
    }
    if kind.starts_with("MissingFunction") || kind.starts_with("MissingContextFunction") {
        let message = "It calls a host function, and there is none here.";
        return ("runtime", message.into());
    }
    ("runtime", format!("{message}."))
}

/// The name of the method that a piece of source calls.
fn method(span: &str) -> Option<&str> {
    field(span.rfind('(').map_or(span, |end| &span[..end]))
}

/// The field that a piece of source reads.
fn field(span: &str) -> Option<&str> {
    let (_, name) = span.rsplit_once('.')?;
    let plain = name.chars().all(|c| c == '_' || c.is_alphanumeric());
    (plain && !name.is_empty()).then_some(name)
}

fn span(error: &VmError) -> Option<std::ops::Range<usize>> {
    let location = error.first_location()?;
    let debug = location.unit.debug_info()?;
    Some(debug.instruction_at(location.ip)?.span.range())
}

/// Function, line and column of every call that was running, the innermost first.
fn places(error: &VmError, lines: &Lines<'_>, source: &str) -> Vec<(String, usize, usize)> {
    let Some(location) = error.first_location() else {
        return Vec::new();
    };
    let Some(debug) = location.unit.debug_info() else {
        return Vec::new();
    };
    // A frame holds the place to return to, which is the one after the call.
    let outer = location.frames.iter().rev();
    let outer = outer.map(|frame| frame.ip.saturating_sub(1));
    std::iter::once(location.ip)
        .chain(outer)
        .take(MAX_TRACE)
        .filter_map(|ip| {
            let start = debug.instruction_at(ip)?.span.range().start;
            let (line, column) = lines.place(start.min(source.len()));
            Some((function(debug, ip), line, column))
        })
        .collect()
}

/// The function that an instruction belongs to: the last one that begins before it.
fn function(debug: &DebugInfo, ip: usize) -> String {
    debug
        .functions_rev
        .iter()
        .filter(|(start, _)| **start <= ip)
        .max_by_key(|(start, _)| **start)
        .and_then(|(_, hash)| debug.functions.get(hash))
        .map(|signature| signature.path.to_string())
        .unwrap_or_default()
}
