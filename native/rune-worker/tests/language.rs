//! The language itself: small programs for every chapter of its book, in `tests/language`.
//!
//! A file is TOML with a list `program`. Each has a `name`; a `body`, which becomes that of
//! `pub async fn main()`, or a whole `source`; and what comes of it: `value` as JSON, the kind of
//! an `error` and part of its `message`, or the code of a diagnostic if it is `rejected`. What it
//! prints is `printed`.

mod common;

use std::fs;
use std::path::Path;

use common::Host;
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chapter {
    program: Vec<Program>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    name: String,
    body: Option<String>,
    source: Option<String>,
    value: Option<String>,
    printed: Option<String>,
    error: Option<String>,
    message: Option<String>,
    rejected: Option<String>,
}

impl Program {
    fn text(&self) -> String {
        match (&self.source, &self.body) {
            (Some(source), None) => source.clone(),
            (None, Some(body)) => format!("pub async fn main() {{\n{body}\n}}"),
            _ => panic!("either a source or a body: {}", self.name),
        }
    }

    /// What is wrong with the outcome; None if it is as expected.
    fn complaint(&self, host: &mut Host) -> Option<String> {
        let compiled = host.compile(&self.text());
        let Some(unit) = compiled["unit"].as_str() else {
            let code = &compiled["diagnostics"][0]["code"];
            let expected = self.rejected.as_deref() == code.as_str();
            return (!expected).then(|| compiled.to_string());
        };
        let call = json!({"type": "call", "unit": unit, "function": "main",
            "limits": {"instructions": 10_000_000, "memory_bytes": 100_000_000, "deadline_ms": 10_000}});
        let mut printed = String::new();
        let end = host.run(call, &mut printed);
        let fine = match (&self.value, &self.error) {
            (Some(value), None) => {
                let value: Json = serde_json::from_str(value).expect(&self.name);
                end["type"] == "result" && end["value"] == value
            }
            (None, Some(kind)) => {
                let part = self.message.as_deref().unwrap_or_default();
                let message = end["message"].as_str().unwrap_or_default();
                end["kind"] == kind.as_str() && message.contains(part)
            }
            _ => false,
        };
        let fine = fine && printed == self.printed.as_deref().unwrap_or_default();
        (!fine).then(|| format!("{end} {printed:?}"))
    }
}

#[test]
fn programs_do_what_the_book_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/language");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let mut host = Host::start();
    let mut count = 0;
    let mut complaints = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let chapter: Chapter = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        for program in chapter.program {
            count += 1;
            if let Some(complaint) = program.complaint(&mut host) {
                let chapter = file.file_stem().unwrap().to_string_lossy();
                complaints.push(format!("{chapter}, {}: {complaint}", program.name));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(count >= 150, "{count}");
}
