//! Whatever arrives, the worker answers or ends by itself; it never hangs, and never panics.

mod common;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ccos_rune::lexer::tokens;
use ccos_rune::messages::{Forbidden, parse};
use ccos_rune::outline::outline;
use ccos_rune::paths::forbidden_uses;
use ccos_rune::slips::slips;
use ccos_rune::text::{attributes, header, too_deep, without_tool_attributes};
use common::Host;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value as Json, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Send bytes to a worker, close the pipe, and wait for its end: the exit status.
fn fate(bytes: Vec<u8>) -> Option<i32> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut host = Host::with(&["--no-jail"]);
        host.raw(&bytes);
        let _ = sender.send(host.end());
    });
    receiver.recv_timeout(PATIENCE).expect("the worker hangs")
}

fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        ".{0,10}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec(("[a-z]{1,8}", inner), 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// Messages whose members have the right names, and any values.
fn any_message() -> impl Strategy<Value = Json> {
    let names = [
        "type",
        "id",
        "source",
        "name",
        "functions",
        "forbidden",
        "constants",
        "unit",
        "function",
        "arguments",
        "limits",
        "seed",
        "request",
        "answers",
        "protocol",
        "deadline_ms",
    ];
    let kinds = [
        "hello", "compile", "inspect", "call", "answer", "cancel", "x",
    ];
    let member = (prop::sample::select(names.to_vec()), any_json());
    (
        prop::sample::select(kinds.to_vec()),
        prop::collection::vec(member, 0..8),
    )
        .prop_map(|(kind, members)| {
            let mut message = json!({});
            for (name, value) in members {
                message[name] = value;
            }
            message["type"] = json!(kind);
            message
        })
}

/// Texts made of pieces of Rune.
fn any_source() -> impl Strategy<Value = String> {
    let pieces = [
        "pub fn main() {",
        "}",
        "{",
        "(",
        ")",
        "[",
        "]",
        "#{",
        "a",
        "b",
        "1",
        "1.5",
        "\"s\"",
        "`t ${",
        "`",
        "let x = ",
        ";",
        ",",
        ".",
        "..",
        "..=",
        "::",
        "use ",
        "std::",
        "iter",
        "match x {",
        "=>",
        "if ",
        "else ",
        "async ",
        ".await",
        "fn f(a) {",
        "struct S;",
        "enum E { A, B(x) }",
        "impl S {",
        "|",
        "||",
        "&",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "=",
        "==",
        "<",
        "const C = ",
        "mod m {",
        "yield 1",
        "return",
        "loop {",
        "break",
        "while true {",
        "for i in 0..3 {",
        "#[tool(",
        ")]",
        "//!",
        "///",
        "/*",
        "*/",
        "'a'",
        "'a: ",
        "\\",
        "é",
        "\u{1f600}",
        "\n",
        " ",
        "b\"x\"",
        "select {",
        "println!(",
        "vec![",
        "enum: ",
        "default",
        "Self",
        "self",
        "crate",
        "super",
        "macro",
        "#!",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..60)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_end_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let status = fate(bytes);
        prop_assert!(matches!(status, Some(0 | 2)), "{status:?}");
    }

    #[test]
    fn random_frames_end_it(messages in prop::collection::vec(any_message(), 1..6)) {
        let bytes = messages.iter().flat_map(|message| frame(&message.to_string())).collect();
        let status = fate(bytes);
        prop_assert!(matches!(status, Some(0 | 2)), "{status:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_text_can_be_looked_at(text in prop_oneof![any_source(), ".{0,200}"]) {
        let tokens = tokens(&text);
        for pair in tokens.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
        for token in &tokens {
            prop_assert!(!token.text(&text).is_empty());
        }
        let found = attributes(&text, &tokens);
        prop_assert_eq!(without_tool_attributes(&text, &found).len(), text.len());
        let _ = (too_deep(&text, &tokens), header(&text), slips(&text, &tokens), outline(&text));
        let forbidden = [Forbidden { path: "std".into(), level: "x".into() }];
        let _ = forbidden_uses(&text, &tokens, &forbidden);
    }
}

#[test]
fn random_sources_are_answered() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut host = Host::start();
    let source = any_source();
    for _ in 0..1500 {
        let source = source.new_tree(&mut runner).unwrap().current();
        let answer =
            host.ask(json!({"type": "inspect", "source": source, "constants": ["f", "C"]}));
        assert_eq!(answer["type"], "inspected", "{source}");
        let answer = host.compile(&source);
        if answer["type"] == "compiled" {
            let unit = &answer["unit"];
            let limits = json!({"instructions": 10_000, "memory_bytes": 1_000_000});
            let call = json!({"type": "call", "unit": unit, "function": "main", "limits": limits});
            host.run(call, &mut String::new());
        } else {
            assert_eq!(answer["type"], "rejected", "{source}");
            assert!(
                !answer["diagnostics"].as_array().unwrap().is_empty(),
                "{source}"
            );
        }
    }
}
