//! Sources become units: checks, the compiler of Rune, and what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rune::alloc::limit;
use rune::ast::Spanned;
use rune::compile::{CompileVisitor, Located, MetaError, meta::MetaRef};
use rune::diagnostics::{Diagnostic as RuneDiagnostic, FatalDiagnosticKind};
use rune::runtime::RuntimeContext;
use rune::{Diagnostics, Hash, ItemBuf, Options, Source, SourceId, Sources};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::calls::{NamedCall, calls};
use crate::host::Names;
use crate::lexer::{Lines, Token, tokens};
use crate::messages::{Forbidden, Function as HostFunction};
use crate::outline::{Function, outline};
use crate::paths::forbidden_uses;
use crate::repair::{Repaired, repaired};
use crate::slips::{Slip, slips};
use crate::text::{MAX_NESTING, attributes, too_deep, without_tool_attributes};
use crate::values::Variants;

/// Longest source in bytes.
pub const MAX_SOURCE: usize = 10 * 1024 * 1024;

/// Most memory that compiling may take.
const COMPILE_MEMORY: usize = 512 * 1024 * 1024;

/// A finding of the compiler, or about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The byte where it is; None if unknown.
    pub start: Option<usize>,
    /// What kind of finding it is.
    pub code: String,
    /// Whether it is only a warning.
    pub warning: bool,
    /// What is wrong.
    pub message: String,
    /// How to repair it.
    pub hint: Option<String>,
    /// Path and level of something forbidden.
    pub forbidden: Option<(String, String)>,
}

impl Diagnostic {
    fn error(start: usize, code: &str, message: impl Into<String>) -> Self {
        Self {
            start: Some(start),
            code: code.to_owned(),
            warning: false,
            message: message.into(),
            hint: None,
            forbidden: None,
        }
    }

    /// As a message has it.
    #[must_use]
    pub fn json(&self, lines: &Lines<'_>) -> Json {
        let (line, column) = self.start.map_or((0, 0), |start| lines.place(start));
        let mut json = json!({
            "line": line,
            "column": column,
            "code": self.code,
            "severity": if self.warning { "warning" } else { "error" },
            "message": self.message,
            "hint": self.hint,
        });
        if let Some((path, level)) = &self.forbidden {
            json["path"] = Json::from(path.as_str());
            json["level"] = Json::from(level.as_str());
        }
        json
    }
}

/// A source that compiled.
pub struct Unit {
    /// What names it.
    pub hash: String,
    /// The text.
    pub source: String,
    /// Its instructions.
    pub code: Arc<rune::Unit>,
    /// The functions that its instructions call.
    pub runtime: Arc<RuntimeContext>,
    /// Names of its variants.
    pub variants: Variants,
    /// Functions that can be called.
    pub functions: Vec<Function>,
    /// Host functions that it names, and the line if there is only one place.
    pub uses: Vec<(String, usize)>,
    /// Calls of asynchronous host functions.
    pub calls: Vec<NamedCall>,
    /// Warnings.
    pub diagnostics: Vec<Json>,
}

impl Unit {
    /// The only line that names a host function; 0 if there are several.
    #[must_use]
    pub fn line_of(&self, function: &str) -> usize {
        self.uses
            .iter()
            .find(|(path, _)| path == function)
            .map_or(0, |(_, line)| *line)
    }

    /// A function by its path, and its hash; None also for a private one that nothing uses.
    #[must_use]
    pub fn function(&self, path: &str) -> Option<(&Function, Hash)> {
        let function = self.functions.iter().find(|one| one.name() == path)?;
        let item = ItemBuf::with_item(function.path.iter().map(String::as_str)).ok()?;
        let hash = Hash::type_hash(&item);
        // The compiler leaves out what is private and never used.
        let kept = self.code.debug_info()?.functions.contains_key(&hash);
        kept.then_some((function, hash))
    }
}

/// The name of the unit that a source makes together with what it may use.
#[must_use]
pub fn unit_hash(
    source: &str,
    name: &str,
    functions: &[HostFunction],
    forbidden: &[Forbidden],
) -> String {
    let mut digest = Sha256::new();
    for part in [
        source,
        name,
        &format!("{functions:?}"),
        &format!("{forbidden:?}"),
    ] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest
        .finalize()
        .iter()
        .take(16)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Compile a source.
///
/// Args: `appended` is compiled as if it stood at the end of the source.
pub fn compile(
    source: &str,
    name: &str,
    appended: &str,
    names: &Names,
    functions: &[HostFunction],
    forbidden: &[Forbidden],
) -> Result<Unit, Vec<Diagnostic>> {
    if source.len() > MAX_SOURCE {
        return Err(vec![Diagnostic::error(
            0,
            "too-large",
            format!("The source has more than {MAX_SOURCE} bytes."),
        )]);
    }
    let tokens = tokens(source);
    if let Some(start) = too_deep(source, &tokens) {
        return Err(vec![Diagnostic::error(
            start,
            "too-deep",
            format!("The source is nested more than {MAX_NESTING} deep."),
        )]);
    }
    let visible = without_tool_attributes(source, &attributes(source, &tokens)) + appended;
    let mut uses = Uses::new(functions);
    let built = catch_unwind(AssertUnwindSafe(|| build(&visible, name, names, &mut uses)));
    let (built, findings) = built.unwrap_or_else(|_| {
        let finding = Diagnostic::error(0, "internal", "The compiler of Rune panicked.");
        (None, vec![finding])
    });
    match built {
        Some(Repaired { unit, variants }) => {
            let lines = Lines::new(source);
            let calls = calls(source, &tokens, &uses.asynchronous());
            let mut findings = findings;
            findings.extend(calls.iter().filter(|call| call.dropped).map(not_awaited));
            findings.sort_by_key(|finding| finding.start);
            Ok(Unit {
                hash: unit_hash(source, name, functions, forbidden),
                source: source.to_owned(),
                code: Arc::new(unit),
                variants,
                runtime: Arc::clone(&names.runtime),
                functions: outline(source).unwrap_or_default().functions,
                uses: uses.lines(&lines),
                calls,
                diagnostics: findings
                    .iter()
                    .map(|finding| finding.json(&lines))
                    .collect(),
            })
        }
        None => Err(explained(source, &tokens, findings, forbidden)),
    }
}

fn build(
    source: &str,
    name: &str,
    names: &Names,
    uses: &mut Uses<'_>,
) -> (Option<Repaired>, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::new();
    let mut build = || {
        let mut sources = Sources::new();
        sources.insert(Source::new(name, source).ok()?).ok()?;
        rune::prepare(&mut sources)
            .with_context(&names.context)
            .with_diagnostics(&mut diagnostics)
            .with_options(&Options::default())
            .with_visitor(uses)
            .ok()?
            .build()
            .ok()
    };
    let unit = limit::with(COMPILE_MEMORY, || build().and_then(repaired)).call();
    let mut findings: Vec<Diagnostic> = diagnostics
        .diagnostics()
        .iter()
        .filter_map(|diagnostic| finding(diagnostic, source))
        .collect();
    if unit.is_none() && findings.iter().all(|finding| finding.warning) {
        findings.push(Diagnostic::error(
            0,
            "too-large",
            "The source takes too much memory to compile.",
        ));
    }
    (unit, findings)
}

fn finding(diagnostic: &RuneDiagnostic, source: &str) -> Option<Diagnostic> {
    match diagnostic {
        RuneDiagnostic::Fatal(fatal) => {
            let (start, debug) = match fatal.kind() {
                FatalDiagnosticKind::CompileError(error) => {
                    (Some(error.span().range().start), format!("{error:?}"))
                }
                FatalDiagnosticKind::LinkError(error) => (None, format!("kind: {error:?}")),
                _ => (None, String::new()),
            };
            let code = code_of(&debug);
            Some(Diagnostic {
                start: start.map(|start| start.min(source.len())),
                hint: hint(&code, &fatal.to_string()),
                code,
                warning: false,
                message: sentence(&fatal.to_string()),
                forbidden: None,
            })
        }
        RuneDiagnostic::Warning(warning) => {
            let debug = format!("{warning:?}");
            Some(Diagnostic {
                start: Some(warning.span().range().start),
                code: code_of(&debug),
                warning: true,
                message: sentence(&warning.to_string()),
                hint: None,
                forbidden: None,
            })
        }
        _ => None,
    }
}

/// The compiler's own name for a finding, from how it shows it to developers.
///
/// The kinds of errors are not public, and this is the one place where they can be seen.
fn code_of(debug: &str) -> String {
    let name = debug.split_once("kind: ").map_or("", |(_, rest)| rest);
    let name: String = name
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let mut code = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !code.is_empty() {
            code.push('-');
        }
        code.push(c.to_ascii_lowercase());
    }
    if code.is_empty() {
        "internal".to_owned()
    } else if code == "custom" {
        "unsupported".to_owned()
    } else if code == "missing-item-parameters" {
        "missing-item".to_owned()
    } else if code.starts_with("expected") || code.starts_with("un") && code.ends_with("syntax") {
        "syntax".to_owned()
    } else {
        code
    }
}

fn hint(code: &str, message: &str) -> Option<String> {
    let hint = match code {
        "await-outside-async" => "Write `async fn`, or `async` before the block or closure",
        "missing-item" | "missing-local"
            if ["null", "nil", "undefined", "none"]
                .iter()
                .any(|word| message.contains(&format!("`{word}`")) || message.ends_with(word)) =>
        {
            "Write () for nothing, or None for a missing value"
        }
        "unsupported-module-source" | "mod-not-found" => {
            "A script is one file; write the module here: mod name { … }"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn sentence(message: &str) -> String {
    let message = message.trim_end();
    if message.ends_with(['.', '!', '?']) {
        message.to_owned()
    } else {
        format!("{message}.")
    }
}

/// What the compiler found, made clearer by what a look at the text shows.
fn explained(
    source: &str,
    tokens: &[Token],
    mut findings: Vec<Diagnostic>,
    forbidden: &[Forbidden],
) -> Vec<Diagnostic> {
    let lines = Lines::new(source);
    let line = |start: usize| lines.place(start).0;
    for finding in &mut findings {
        if matches!(
            finding.code.as_str(),
            "unsupported-module-source" | "mod-not-found"
        ) {
            "unsupported".clone_into(&mut finding.code);
        }
    }
    let uses = forbidden_uses(source, tokens, forbidden);
    let forbidden_lines: BTreeSet<usize> = uses.iter().map(|one| line(one.start)).collect();
    findings.retain(|finding| {
        let unknown = finding.code.starts_with("missing");
        let explained = finding
            .start
            .is_none_or(|start| forbidden_lines.contains(&line(start)));
        !(unknown && explained) || forbidden_lines.is_empty()
    });
    findings.extend(uses.into_iter().map(|one| Diagnostic {
        forbidden: Some((one.path.clone(), one.level.clone())),
        hint: Some(format!("It exists at the security level {}", one.level)),
        ..Diagnostic::error(
            one.start,
            "security",
            format!("{} needs the security level {}.", one.path, one.level),
        )
    }));
    for slip in slips(source, tokens) {
        let same_line = findings
            .iter_mut()
            .find(|finding| finding.start.map(line) == Some(line(slip.start)) && !finding.warning);
        match same_line {
            Some(finding) if finding.code != "security" => *finding = slipped(&slip),
            _ if slip.certain => findings.push(slipped(&slip)),
            _ => {}
        }
    }
    findings.sort_by_key(|finding| (finding.warning, finding.start));
    findings.dedup();
    findings
}

fn slipped(slip: &Slip) -> Diagnostic {
    Diagnostic {
        hint: Some(slip.hint.clone()),
        ..Diagnostic::error(slip.start, slip.code, slip.message.clone())
    }
}

/// A call whose future nobody keeps. `.await` may be forgotten: such a call is never made.
fn not_awaited(call: &NamedCall) -> Diagnostic {
    Diagnostic {
        warning: true,
        hint: Some("Write .await after the call".to_owned()),
        ..Diagnostic::error(
            call.start,
            "not-awaited",
            format!("{} is not awaited, so nothing comes of it.", call.function),
        )
    }
}

/// Notes which host functions a source names, and where.
struct Uses<'a> {
    known: HashMap<Hash, &'a HostFunction>,
    places: BTreeMap<String, BTreeSet<usize>>,
}

impl<'a> Uses<'a> {
    fn new(functions: &'a [HostFunction]) -> Self {
        let mut known = HashMap::new();
        for function in functions {
            for path in std::iter::once(function.path()).chain(function.aliases.iter().cloned()) {
                let mut segments = path.split("::");
                let first = segments.next().unwrap_or_default();
                if let Ok(item) = ItemBuf::with_crate_item(first, segments) {
                    known.insert(Hash::type_hash(&item), function);
                }
            }
        }
        Self {
            known,
            places: BTreeMap::new(),
        }
    }

    /// The places of the functions that have to be awaited.
    fn asynchronous(&self) -> BTreeMap<String, BTreeSet<usize>> {
        let asynchronous: BTreeSet<String> = self
            .known
            .values()
            .filter(|function| function.asynchronous)
            .map(|function| function.path())
            .collect();
        let mut places = self.places.clone();
        places.retain(|path, _| asynchronous.contains(path));
        places
    }

    fn lines(self, lines: &Lines<'_>) -> Vec<(String, usize)> {
        let mut uses: Vec<(String, usize)> = self
            .places
            .into_iter()
            .map(|(path, places)| {
                let line = places.first().map_or(0, |start| lines.place(*start).0);
                (path, if places.len() == 1 { line } else { 0 })
            })
            .collect();
        uses.sort_unstable();
        uses
    }
}

impl CompileVisitor for Uses<'_> {
    fn visit_meta(&mut self, location: &dyn Located, meta: MetaRef<'_>) -> Result<(), MetaError> {
        if let Some(function) = self.known.get(&meta.hash) {
            let location = location.location();
            if location.source_id == SourceId::new(0) {
                let start = location.span.range().start;
                self.places
                    .entry(function.path())
                    .or_default()
                    .insert(start);
            }
        }
        Ok(())
    }
}
