//! Every message of the protocol, spoken with the program.

mod common;

use std::time::{Duration, Instant};

use common::Host;
use serde_json::{Value as Json, json};

fn functions() -> Json {
    json!([
        {"module": "web", "name": "get", "asynchronous": true, "returns": "result",
         "parameters": ["url", {"name": "options", "required": false}], "aliases": ["net::get"]},
        {"module": "web", "name": "find", "returns": "option", "parameters": ["key"]},
        {"module": "math::plain", "name": "add", "parameters": ["a", "b"]},
    ])
}

/// Call `main` of a source that may use the functions; the first message after what it prints.
fn begin(host: &mut Host, source: &str) -> (i64, Json) {
    let unit = host.unit(source, &functions());
    let id = host.begin(json!({"type": "call", "unit": unit, "function": "main"}));
    (id, host.receive().unwrap())
}

fn answer(host: &mut Host, request: i64, answers: &Json) -> Json {
    host.send(&json!({"type": "answer", "request": request, "answers": answers}));
    host.receive().unwrap()
}

#[test]
fn a_worker_says_what_it_is() {
    let mut host = Host::start();
    host.send(&json!({"type": "hello", "protocol": 1}));
    let ready = host.receive().unwrap();
    assert_eq!(ready["type"], "ready");
    assert_eq!(ready["format"], "rune-0.14.2/1");
    assert_eq!(ready["max_frame"], 16 * 1024 * 1024);
    host.send(&json!({"type": "hello", "protocol": 2}));
    assert_eq!(host.receive().unwrap()["type"], "fault");
    assert_eq!(host.end(), Some(0));
}

#[test]
fn a_worker_can_be_left_without_a_jail() {
    let mut host = Host::with(&["--no-jail"]);
    host.send(&json!({"type": "hello", "protocol": 1}));
    let jail = &host.receive().unwrap()["jail"];
    assert_eq!(
        *jail,
        json!({"no_new_privileges": "off", "landlock": "off", "seccomp": "off"})
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_jail_is_that_of_the_kernel() {
    let mut host = Host::start();
    host.send(&json!({"type": "hello", "protocol": 1}));
    let jail = host.receive().unwrap()["jail"].clone();
    let path = format!("/proc/{}/task", host.process_id());
    let mut threads = 0;
    for thread in std::fs::read_dir(path).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        threads += 1;
        for (key, line) in [
            ("no_new_privileges", "NoNewPrivs:\t1"),
            ("seccomp", "Seccomp:\t2"),
        ] {
            assert_eq!(
                jail[key] == "on",
                status.contains(line),
                "{key}: {jail} {status}"
            );
        }
    }
    assert_eq!(threads, 3);
}

#[test]
fn a_source_compiles_once() {
    let mut host = Host::start();
    let source = "mod inner { pub fn f(a, b) {} }\npub async fn main() { net::get(1).await }";
    let request = json!({"type": "compile", "source": source, "functions": functions()});
    let first = host.ask(request.clone());
    assert_eq!(first["type"], "compiled");
    assert_eq!(first["uses"], json!(["web::get"]));
    assert_eq!(
        first["functions"],
        json!([
            {"path": "inner::f", "parameters": ["a", "b"], "public": true, "asynchronous": false, "line": 1},
            {"path": "main", "parameters": [], "public": true, "asynchronous": true, "line": 2},
        ])
    );
    assert_eq!(host.ask(request)["unit"], first["unit"]);
    let other = host.compile("pub fn main() {}");
    assert_ne!(other["unit"], first["unit"]);
}

#[test]
fn a_source_that_does_not_compile_says_where() {
    let mut host = Host::start();
    for (source, line, column, code) in [
        ("pub fn main() {\n    #{enum: 1}\n}", 2, 7, "reserved-word"),
        ("pub fn main() {\n    vec![1]\n}", 2, 5, "rust-only"),
        ("pub fn main() {\n  nothing\n}", 2, 3, "missing-local"),
        ("pub fn main() { a::b() }", 1, 17, "missing-item"),
        ("pub fn main( {}", 1, 14, "syntax"),
        (
            "pub fn main() { f().await } async fn f() {}",
            1,
            17,
            "await-outside-async",
        ),
        ("mod other;", 1, 1, "unsupported"),
    ] {
        let answer = host.compile(source);
        assert_eq!(answer["type"], "rejected", "{source}");
        let first = &answer["diagnostics"][0];
        assert_eq!(
            (
                &first["line"],
                &first["column"],
                &first["code"],
                &first["severity"]
            ),
            (&json!(line), &json!(column), &json!(code), &json!("error")),
            "{source}: {answer}"
        );
    }
    let deep = format!(
        "pub fn main() {{ {}1{} }}",
        "(".repeat(300),
        ")".repeat(300)
    );
    assert_eq!(host.compile(&deep)["diagnostics"][0]["code"], "too-deep");
    let long = " ".repeat(10 * 1024 * 1024 + 1);
    assert_eq!(host.compile(&long)["diagnostics"][0]["code"], "too-large");
}

#[test]
fn warnings_do_not_stop_a_source() {
    let mut host = Host::start();
    let answer = host.compile("pub fn main(a) { let Some(b) = a; b }");
    assert_eq!(answer["type"], "compiled");
    assert_eq!(answer["diagnostics"][0]["severity"], "warning");
}

#[test]
fn what_is_forbidden_is_named_with_its_level() {
    let mut host = Host::start();
    let forbidden = json!([{"path": "disk", "level": "development"}]);
    for source in [
        "pub fn main() { disk::read(1) }",
        "use disk::read as other; pub fn main() { other(1) }",
        "use disk as d; pub fn main() { d::read(1) }",
        "use disk::*; pub fn main() { read(1) }",
        "pub fn main() { let f = disk::read; f(1) }",
    ] {
        let answer = host.ask(json!({"type": "compile", "source": source, "forbidden": forbidden}));
        let diagnostics = answer["diagnostics"].as_array().unwrap();
        let security: Vec<&Json> = diagnostics
            .iter()
            .filter(|one| one["code"] == "security")
            .collect();
        assert!(!security.is_empty(), "{source}: {answer}");
        assert_eq!(security[0]["level"], "development");
        assert!(security[0]["path"].as_str().unwrap().starts_with("disk"));
    }
    let functions = json!([{"module": "disk", "name": "read", "parameters": ["path"]}]);
    host.unit("pub fn main() { disk::read(1) }", &functions);
}

#[test]
fn functions_that_make_no_sense_are_refused() {
    let mut host = Host::start();
    for function in [
        json!({"module": "a b", "name": "f"}),
        json!({"module": "a", "name": "fn"}),
        json!({"module": "", "name": "f"}),
        json!({"module": "a", "name": "f", "aliases": ["g"]}),
        json!({"module": "a", "name": "f", "parameters": [{"name": "x", "required": false}, "y"]}),
        json!({"module": "std::io", "name": "print"}),
    ] {
        let request = json!({"type": "compile", "source": "", "functions": [function]});
        assert_eq!(host.ask(request)["type"], "fault", "{function}");
    }
}

#[test]
fn a_source_is_inspected_without_being_run() {
    let mut host = Host::start();
    let source = "//! Tells things.\n//! @entry run\n\
        pub fn NAME() { \"tool\" }\npub const VERSION = \"2.0.0\";\n\
        pub fn INPUT_SCHEMA() { #{type: \"object\", properties: #{b: #{}, a: #{}}} }\n\
        pub fn BAD() { web::find(1) }\npub fn ENDLESS() { loop {} }\n\
        pub mod inner { pub fn NAME() { \"inner\" } }\n\
        /// Runs it.\n#[tool(desc = \"a ) b\", tags = [\"x\"])]\n#[param(name = \"a\", required)]\n\
        pub async fn run(a) { web::get(a).await }";
    let answer = host.ask(json!({
        "type": "inspect", "source": source, "functions": functions(),
        "constants": ["NAME", "VERSION", "INPUT_SCHEMA", "BAD", "ENDLESS", "run"],
    }));
    assert_eq!(answer["compiled"], true, "{answer}");
    let constants = &answer["constants"];
    assert_eq!(constants["NAME"], json!({"value": "tool"}));
    assert_eq!(constants["VERSION"], json!({"value": "2.0.0"}));
    assert_eq!(constants["inner::NAME"], json!({"value": "inner"}));
    let schema = json!({"type": "object", "properties": {"a": {}, "b": {}}});
    assert_eq!(constants["INPUT_SCHEMA"], json!({"value": schema}));
    assert!(
        constants["BAD"]["error"]
            .as_str()
            .unwrap()
            .contains("host function")
    );
    assert_eq!(constants["BAD"]["line"], 6);
    assert!(
        constants["ENDLESS"]["error"]
            .as_str()
            .unwrap()
            .contains("instructions")
    );
    assert!(constants.get("run").is_none());
    assert_eq!(answer["header"]["text"], "Tells things.");
    assert_eq!(
        answer["header"]["entries"],
        json!([{"key": "entry", "text": "run", "line": 2}])
    );
    let functions = answer["functions"].as_array().unwrap();
    let run = functions.iter().find(|one| one["path"] == "run").unwrap();
    assert_eq!(run["documentation"], "Runs it.");
    assert_eq!(
        run["attributes"],
        json!([
            {"name": "tool", "line": 10, "arguments": {"desc": "a ) b", "tags": ["x"]}, "error": null},
            {"name": "param", "line": 11, "arguments": {"name": "a", "required": true}, "error": null},
        ])
    );
    assert_eq!(
        answer["modules"],
        json!([{"path": "inner", "public": true, "line": 8}])
    );
}

#[test]
fn a_source_that_does_not_compile_is_inspected_as_far_as_it_goes() {
    let mut host = Host::start();
    let source = "//! Text.\npub fn NAME() { \"x\" }\npub fn f() { nothing }";
    let answer = host.ask(json!({"type": "inspect", "source": source, "constants": ["NAME"]}));
    assert_eq!(answer["compiled"], false);
    assert_eq!(answer["constants"], json!({}));
    assert_eq!(answer["header"]["text"], "Text.");
    assert_eq!(answer["functions"].as_array().unwrap().len(), 2);
    assert_eq!(answer["diagnostics"][0]["code"], "missing-local");
}

#[test]
fn arguments_are_bound_by_name_or_by_position() {
    let mut host = Host::start();
    let unit = host.unit(
        "pub fn f(a, b) { [a, b] } pub mod m { pub fn g() { 1 } fn h() { 1 } }",
        &json!([]),
    );
    for (function, arguments, expected) in [
        ("f", json!([1, 2]), json!([1, 2])),
        ("f", json!({"b": 2, "a": 1}), json!([1, 2])),
        ("f", json!({"b": 2}), json!([null, 2])),
        ("m::g", json!([]), json!(1)),
    ] {
        let call =
            json!({"type": "call", "unit": unit, "function": function, "arguments": arguments});
        let result = host.run(call, &mut String::new());
        assert_eq!(result["value"], expected, "{arguments}: {result}");
    }
    for (function, arguments) in [
        ("f", json!([1])),
        ("f", json!({"a": 1, "c": 2})),
        ("g", json!([])),
        ("m::h", json!([])),
        ("", json!([])),
        ("f", json!([1, 9_223_372_036_854_775_808_u64])),
    ] {
        let call =
            json!({"type": "call", "unit": unit, "function": function, "arguments": arguments});
        let error = host.run(call, &mut String::new());
        assert_eq!(error["kind"], "arguments", "{arguments}: {error}");
    }
}

#[test]
fn an_unknown_unit_is_said() {
    let mut host = Host::start();
    let answer = host.ask(json!({"type": "call", "unit": "x", "function": "f"}));
    assert_eq!(answer["type"], "unknown_unit");
}

#[test]
fn printing_comes_in_order_with_calls() {
    let mut host = Host::start();
    let source =
        "pub async fn main() { print!(\"a\"); println!(\"b\"); web::get(1).await; dbg!(2); 3 }";
    let (id, mut message) = begin(&mut host, source);
    let mut seen = Vec::new();
    loop {
        seen.push(message["type"].as_str().unwrap().to_owned());
        message = match seen.last().unwrap().as_str() {
            "waiting" => answer(&mut host, id, &json!([{"id": 0, "value": null}])),
            "result" => break,
            _ => host.receive().unwrap(),
        };
    }
    seen.dedup();
    assert_eq!(seen, ["print", "host_call", "waiting", "print", "result"]);
    assert_eq!(message["statistics"]["printed"], 5);
    assert_eq!(message["statistics"]["calls"], 1);
}

#[test]
fn a_blocking_call_waits_for_its_answer() {
    let mut host = Host::start();
    let source = "use math::plain::add;\npub async fn main() {\n  add(add(1, 2).await, 3) }";
    let (id, call) = begin(&mut host, source);
    assert_eq!(call["function"], "math::plain::add");
    assert_eq!(call["arguments"], json!({"a": 1, "b": 2}));
    assert_eq!(call["blocking"], true);
    let second = answer(&mut host, id, &json!([{"id": 0, "value": 10}]));
    assert_eq!(second["arguments"], json!({"a": 10, "b": 3}));
    let end = answer(
        &mut host,
        id,
        &json!([{"id": 7, "value": 0}, {"id": 1, "value": 20}]),
    );
    assert_eq!(end["value"], 20);
}

#[test]
fn answers_become_results_and_options() {
    let mut host = Host::start();
    let source =
        "pub async fn main() { let a = web::get(1).await; let b = web::get(2, #{x: 1}).await;
        [a.is_ok(), match b { Err(e) => e, _ => 0 }, web::find(1), web::find(2).is_some()] }";
    let (id, call) = begin(&mut host, source);
    assert_eq!(call["arguments"], json!({"url": 1}));
    host.receive().unwrap();
    let call = answer(&mut host, id, &json!([{"id": 0, "value": 5}]));
    assert_eq!(call["arguments"], json!({"url": 2, "options": {"x": 1}}));
    host.receive().unwrap();
    answer(&mut host, id, &json!([{"id": 1, "error": "no route"}]));
    answer(&mut host, id, &json!([{"id": 2, "value": null}]));
    let end = answer(&mut host, id, &json!([{"id": 3, "value": 5}]));
    assert_eq!(end["value"], json!([true, "no route", null, true]));
}

#[test]
fn calls_are_told_with_what_is_written_out() {
    let mut host = Host::start();
    let source = "use net::get as ask;\npub async fn main(url) {\n  ask(\"a\\nb\").await?;\n  \
        let all = [web::get(url), web::get(\"c\", #{}), web::find(\"d\")];\n  web::get(\"e\");\n}";
    let answer = host.ask(json!({"type": "compile", "source": source, "functions": functions()}));
    let told = |literal: Json, line: u64, column: u64| json!({"function": "web::get", "literal": literal, "line": line, "column": column});
    assert_eq!(
        answer["calls"],
        json!([
            told(json!("a\nb"), 3, 3),
            told(json!(null), 4, 14),
            told(json!("c"), 4, 29),
            told(json!("e"), 5, 3),
        ])
    );
    let [warning] = &answer["diagnostics"].as_array().unwrap()[..] else {
        panic!("{answer}");
    };
    assert_eq!(
        (&warning["code"], &warning["severity"], &warning["line"]),
        (&json!("not-awaited"), &json!("warning"), &json!(5))
    );
}

#[test]
fn a_call_that_was_never_awaited_is_told_at_the_end() {
    let mut host = Host::start();
    let source = "pub async fn main() {\n  let a = web::get(1);\n  drop(a);\n  7\n}";
    let (_, end) = begin(&mut host, source);
    assert_eq!(end["value"], 7);
    assert_eq!(
        end["unawaited"],
        json!([{"function": "web::get", "line": 2}])
    );
    let (id, _) = begin(&mut host, "pub async fn main() { web::get(1).await }");
    host.receive().unwrap();
    let end = answer(&mut host, id, &json!([{"id": 0, "value": 1}]));
    assert_eq!(end["unawaited"], json!([]));
}

#[test]
fn what_is_said_ahead_is_heard_in_order() {
    let mut host = Host::start();
    let mut ahead = Vec::new();
    for id in 1..=50 {
        let source = format!("pub fn main() {{ {id} }}");
        let message = json!({"type": "compile", "id": id, "source": source}).to_string();
        ahead.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        ahead.extend(message.bytes());
    }
    assert!(host.raw(&ahead));
    for id in 1..=50 {
        assert_eq!(host.receive().unwrap()["request"], json!(id));
    }
}

#[test]
fn a_worker_that_computes_notices_that_its_host_is_gone() {
    let mut host = Host::start();
    let unit = host.unit("pub fn main() { loop {} }", &json!([]));
    host.begin(json!({"type": "call", "unit": unit, "function": "main"}));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(host.end(), Some(0));
}

#[test]
fn several_calls_are_outstanding() {
    let mut host = Host::start();
    let source = "async fn twice(x) { let a = web::get(x).await?; web::get(a).await }
        pub async fn main() { let (a, b) = std::future::join((twice(1), twice(2))).await; [a?, b?] }";
    let (id, first) = begin(&mut host, source);
    assert_eq!(first["arguments"]["url"], 1);
    assert_eq!(host.receive().unwrap()["arguments"]["url"], 2);
    assert_eq!(host.receive().unwrap()["pending"], json!([0, 1]));
    let third = answer(&mut host, id, &json!([{"id": 1, "value": 20}]));
    assert_eq!(
        (&third["id"], &third["arguments"]["url"]),
        (&json!(2), &json!(20))
    );
    assert_eq!(host.receive().unwrap()["pending"], json!([0, 2]));
    let fourth = answer(
        &mut host,
        id,
        &json!([{"id": 2, "value": 200}, {"id": 0, "value": 10}]),
    );
    assert_eq!(fourth["arguments"]["url"], 10);
    assert_eq!(host.receive().unwrap()["pending"], json!([3]));
    let end = answer(&mut host, id, &json!([{"id": 3, "value": 100}]));
    assert_eq!(end["value"], json!([100, 200]));
}

#[test]
fn a_dropped_call_is_forgotten() {
    let mut host = Host::start();
    let source =
        "pub async fn main() { let first = select { a = web::get(1) => a, b = web::get(2) => b };
        let next = web::get(3).await; [first?, next?] }";
    let (id, _) = begin(&mut host, source);
    host.receive().unwrap();
    assert_eq!(host.receive().unwrap()["pending"], json!([0, 1]));
    let third = answer(&mut host, id, &json!([{"id": 1, "value": "second"}]));
    assert_eq!(third["id"], 2);
    assert_eq!(host.receive().unwrap()["pending"], json!([2]));
    let answers = json!([{"id": 0, "value": "late"}, {"id": 2, "value": "third"}]);
    assert_eq!(
        answer(&mut host, id, &answers)["value"],
        json!(["second", "third"])
    );
}

#[test]
fn errors_of_the_host_end_what_has_no_result() {
    let mut host = Host::start();
    let (id, _) = begin(&mut host, "pub fn main() { math::plain::add(1, 2); 1 }");
    let end = answer(&mut host, id, &json!([{"id": 0, "error": "broken"}]));
    assert_eq!(
        (&end["kind"], &end["message"]),
        (&json!("host"), &json!("broken"))
    );
}

#[test]
fn what_is_no_data_does_not_leave() {
    let mut host = Host::start();
    let source = "pub fn main() { web::find(#{a: [1, || 2]}) }";
    let (_, end) = begin(&mut host, source);
    assert_eq!(end["kind"], "value");
    assert!(
        end["message"].as_str().unwrap().contains("key.a[1]"),
        "{end}"
    );
    for source in [
        "|| 1",
        "0..3",
        "[1].iter()",
        "1.0 / 0.0",
        "Some(#{a: [0.0 / 0.0]})",
        "async { || 1 }",
    ] {
        let end = host.main(&format!("pub fn main() {{ {source} }}"), &json!({}));
        assert_eq!(end["kind"], "value", "{source}: {end}");
    }
}

#[test]
fn a_call_ends_where_its_limits_are() {
    let mut host = Host::start();
    for (source, limits, kind) in [
        (
            "pub fn main() { loop {} }",
            json!({"instructions": 100_000}),
            "budget",
        ),
        (
            "async fn f() { loop {} } pub async fn main() { f().await }",
            json!({"instructions": 100_000}),
            "budget",
        ),
        (
            "pub fn main() { let v = []; loop { v.push([1, 2, 3]); } }",
            json!({"memory_bytes": 1_000_000}),
            "memory",
        ),
        (
            "pub fn main() { let s = \"x\"; loop { s = `${s}${s}`; } }",
            json!({"memory_bytes": 1_000_000}),
            "memory",
        ),
        (
            "fn f(n) { f(n + 1) + 1 } pub fn main() { f(0) }",
            json!({"memory_bytes": 1_000_000}),
            "memory",
        ),
        (
            "pub fn main() { loop { println!(\"x\") } }",
            json!({"printed_bytes": 1000}),
            "output",
        ),
        (
            "pub fn main() { let v = []; for i in 0..1000 { v.push(i) } v }",
            json!({"result_bytes": 1000}),
            "output",
        ),
        (
            "pub fn main() { let v = []; for i in 0..200 { v = [v]; } v }",
            json!({}),
            "value",
        ),
        (
            "pub fn main() { let v = []; v.push(v); v }",
            json!({}),
            "value",
        ),
        (
            "pub fn main() { let v = [1]; for i in 0..60 { v = [v, v]; } v }",
            json!({}),
            "output",
        ),
    ] {
        let end = host.main(source, &limits);
        assert_eq!(end["kind"], kind, "{source}: {end}");
        assert_eq!(end["exits"], false);
        let fine = host.main("pub fn main() { 1 }", &limits);
        assert_eq!(fine["value"], 1, "{source}: {fine}");
    }
}

#[test]
fn failures_say_where_and_why() {
    let mut host = Host::start();
    for (source, kind, message, line) in [
        (
            "pub fn main() {\n panic!(\"oh {}\", 1) }",
            "panic",
            "oh 1",
            Some(2),
        ),
        ("pub fn main() { Err(\"no\") }", "failure", "no", None),
        (
            "pub fn main() { Err(#{a: 1}) }",
            "failure",
            "{\"a\":1}",
            None,
        ),
        (
            "pub fn main() {\n 1 / 0 }",
            "runtime",
            "Division by zero.",
            Some(2),
        ),
        (
            "pub fn main() {\n #{}.x }",
            "runtime",
            "There is no field `x`",
            Some(2),
        ),
        (
            "pub fn main() {\n\n 1.x() }",
            "runtime",
            "There is no function `x`",
            Some(3),
        ),
        (
            "pub fn main() { assert_eq!(1, 2) }",
            "panic",
            "assertion",
            Some(1),
        ),
        (
            "pub fn main() { None.unwrap() }",
            "panic",
            "unwrap",
            Some(1),
        ),
        ("pub fn main() { yield 1; }", "value", "generator", None),
    ] {
        let end = host.main(source, &json!({}));
        assert_eq!(end["kind"], kind, "{source}: {end}");
        assert!(
            end["message"].as_str().unwrap().contains(message),
            "{source}: {end}"
        );
        assert_eq!(end["location"]["line"].as_u64(), line, "{source}: {end}");
    }
    let end = host.main(
        "fn f() { panic!(\"x\") }\npub fn main() {\n f() }",
        &json!({}),
    );
    let lines: Vec<&Json> = end["trace"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["line"])
        .collect();
    assert_eq!(lines, [1, 3], "{end}");
}

#[test]
fn a_deadline_ends_a_call_that_waits() {
    let mut host = Host::start();
    let unit = host.unit("pub async fn main() { web::get(1).await }", &functions());
    let call =
        json!({"type": "call", "unit": unit, "function": "main", "limits": {"deadline_ms": 50}});
    host.begin(call);
    host.receive().unwrap();
    host.receive().unwrap();
    let end = host.receive().unwrap();
    assert_eq!(
        (&end["kind"], &end["exits"]),
        (&json!("deadline"), &json!(false))
    );
    assert_eq!(
        host.main("pub fn main() { 1 }", &json!({"deadline_ms": 5000}))["value"],
        1
    );
}

#[test]
fn a_deadline_ends_a_worker_that_computes() {
    for source in [
        "pub fn main() { loop {} }",
        "pub fn main() { (0..1).iter().map(|x| loop {}).count() }",
        "pub fn main() { (0..9223372036854775807).iter().count() }",
    ] {
        let mut host = Host::start();
        let begin = Instant::now();
        let end = host.main(source, &json!({"deadline_ms": 100}));
        assert_eq!(
            (&end["kind"], &end["exits"]),
            (&json!("deadline"), &json!(true))
        );
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(host.status(), Some(3));
    }
}

#[test]
fn a_call_can_be_cancelled() {
    let mut host = Host::start();
    let (id, _) = begin(&mut host, "pub async fn main() { web::get(1).await }");
    host.receive().unwrap();
    host.send(&json!({"type": "cancel", "request": id + 1}));
    host.send(&json!({"type": "cancel", "request": id}));
    let end = host.receive().unwrap();
    assert_eq!(
        (&end["kind"], &end["exits"]),
        (&json!("cancelled"), &json!(false))
    );
    let unit = host.unit("pub fn main() { loop {} }", &json!([]));
    let id = host.begin(json!({"type": "call", "unit": unit, "function": "main"}));
    std::thread::sleep(Duration::from_millis(100));
    host.send(&json!({"type": "cancel", "request": id}));
    let end = host.receive().unwrap();
    assert_eq!(
        (&end["kind"], &end["exits"]),
        (&json!("cancelled"), &json!(true))
    );
    assert_eq!(host.status(), Some(3));
}

#[test]
fn a_printing_loop_notices_a_deadline() {
    let mut host = Host::start();
    let limits = json!({"deadline_ms": 50, "printed_bytes": 1_000_000_000});
    let end = host.main("pub fn main() { loop { print!(\"x\") } }", &limits);
    // It `exits` where the machine gave it no time to notice by itself.
    assert_eq!(end["kind"], "deadline");
}

#[test]
fn only_one_call_runs() {
    let mut host = Host::start();
    let (id, _) = begin(&mut host, "pub async fn main() { web::get(1).await? }");
    host.receive().unwrap();
    host.begin(json!({"type": "compile", "source": ""}));
    assert_eq!(host.receive().unwrap()["type"], "fault");
    let wrong = answer(&mut host, id, &json!([{"id": 0}]));
    assert_eq!(wrong["type"], "fault");
    assert_eq!(
        answer(&mut host, id, &json!([{"id": 0, "value": 4}]))["value"],
        4
    );
}

#[test]
fn nothing_of_a_call_stays() {
    let mut host = Host::start();
    let source = "const LIST = [1]; pub fn main() { let list = LIST; list.push(2); list.len() }";
    let first = host.main(source, &json!({}));
    assert_eq!(first["value"], 2, "{first}");
    assert_eq!(host.main(source, &json!({}))["value"], 2);
}

#[test]
fn equal_seeds_give_equal_orders() {
    let source = "use std::collections::HashMap; pub fn main() { let map = HashMap::new();
        for i in 0..50 { map.insert(i, ()); } let keys = []; for k in map.keys() { keys.push(k); }
        [keys, std::ops::hash(\"x\").to_string(), #{a: 1, b: 2, c: 3}.keys().collect()] }"
        .replace("collect()", "collect::<Vec>()")
        .replace("::<Vec>", "");
    let source = source.replace("#{a: 1, b: 2, c: 3}.keys().collect()", "1");
    let mut seen = Vec::new();
    for seed in ["a", "a", "b"] {
        for _ in 0..2 {
            let mut host = Host::start();
            let unit = host.unit(&source, &json!([]));
            let call = json!({"type": "call", "unit": unit, "function": "main", "seed": seed});
            seen.push(host.run(call, &mut String::new())["value"].clone());
        }
    }
    assert_eq!(seen[0][0].as_array().map(Vec::len), Some(50), "{}", seen[0]);
    assert!(seen[..4].iter().all(|one| *one == seen[0]));
    assert_eq!(seen[4], seen[5]);
    assert_ne!(seen[4][0], seen[0][0]);
    assert_eq!(seen[4][1], seen[0][1]);
}

#[test]
fn a_worker_ends_when_it_is_told() {
    let mut host = Host::start();
    host.send(&json!({"type": "shutdown"}));
    assert_eq!(host.status(), Some(0));
    let mut host = Host::start();
    let unit = host.unit("pub fn main() { loop {} }", &json!([]));
    host.begin(json!({"type": "call", "unit": unit, "function": "main"}));
    assert_eq!(host.end(), Some(0));
}

#[test]
fn faults_do_not_end_a_worker_but_broken_frames_do() {
    let mut host = Host::start();
    for frame in [&b"{}"[..], b"[]", b"{", b"", b"\xff", br#"{"type": "x"}"#] {
        host.frame(frame);
        assert_eq!(host.receive().unwrap()["type"], "fault");
    }
    host.raw(&[0xff; 4]);
    assert_eq!(host.receive().unwrap()["type"], "fault");
    assert_eq!(host.status(), Some(2));
    let mut host = Host::start();
    host.raw(&[0, 0, 0, 9, b'{']);
    assert_eq!(host.end(), Some(2));
}

#[test]
fn there_is_nothing_to_reach() {
    let mut host = Host::start();
    for path in [
        "std::fs::read",
        "std::net::connect",
        "std::process::exit",
        "std::env::var",
        "std::time::now",
        "std::rand::random",
        "std::thread::spawn",
        "http::get",
        "fs::read",
        "process::Command::new",
        "time::sleep",
        "rand::thread_rng",
        "signal::ctrl_c",
        "toml::parse",
        "json::from_string",
        "std::io::stdin",
        "std::io::stdout",
        "base64::encode",
    ] {
        let answer = host.compile(&format!("pub fn main() {{ {path}(1) }}"));
        assert_eq!(answer["type"], "rejected", "{path}");
    }
    for macro_call in [
        "include_str!(\"/etc/passwd\")",
        "include!(\"x\")",
        "env!(\"PATH\")",
        "file!()",
    ] {
        let end = host.compile(&format!("pub fn main() {{ {macro_call} }}"));
        let harmless = macro_call == "file!()";
        assert_eq!(end["type"] == "compiled", harmless, "{macro_call}: {end}");
    }
}
