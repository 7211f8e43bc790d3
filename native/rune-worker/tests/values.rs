//! JSON data goes through a script and comes back as it was.

mod common;

use common::Host;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Number, Value as Json, json};

fn any_data() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_filter_map("finite", |float| Number::from_f64(float).map(Json::Number)),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// The same data, numbers as Rust reads them: `-0.0` and `1e5` keep their kind, not their spelling.
fn plain(json: &Json) -> Json {
    match json {
        Json::Number(number) if number.as_str().contains(['.', 'e', 'E']) => {
            json!(number.as_str().parse::<f64>().unwrap())
        }
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(key, item)| (key.clone(), plain(item)))
                .collect(),
        ),
        _ => json.clone(),
    }
}

#[test]
fn data_comes_back_as_it_was() {
    let mut runner = TestRunner::deterministic();
    let mut host = Host::start();
    let unit = host.unit("pub fn main(x) { x }", &json!([]));
    let data = any_data();
    for _ in 0..500 {
        let json = data.new_tree(&mut runner).unwrap().current();
        let call =
            json!({"type": "call", "unit": unit, "function": "main", "arguments": {"x": json}});
        let end = host.run(call, &mut String::new());
        assert_eq!(plain(&end["value"]), plain(&json), "{end}");
    }
}

#[test]
fn data_goes_out_and_comes_in_as_it_was() {
    let mut runner = TestRunner::deterministic();
    let mut host = Host::start();
    let functions =
        json!([{"module": "m", "name": "echo", "parameters": ["x"], "asynchronous": true}]);
    let unit = host.unit("pub async fn main(x) { m::echo(x).await }", &functions);
    let data = any_data();
    for _ in 0..200 {
        let json = data.new_tree(&mut runner).unwrap().current();
        let call = json!({"type": "call", "unit": unit, "function": "main", "arguments": [json]});
        let id = host.begin(call);
        let asked = host.receive().unwrap();
        assert_eq!(plain(&asked["arguments"]["x"]), plain(&json));
        assert_eq!(host.receive().unwrap()["type"], "waiting");
        let answers = json!([{"id": 0, "value": asked["arguments"]["x"]}]);
        host.send(&json!({"type": "answer", "request": id, "answers": answers}));
        assert_eq!(plain(&host.receive().unwrap()["value"]), plain(&json));
    }
}

#[test]
fn numbers_keep_their_kind() {
    let mut host = Host::start();
    let unit = host.unit("pub fn main(x) { x }", &json!([]));
    for (given, expected) in [
        ("1", "1"),
        ("1.0", "1.0"),
        ("1e2", "100.0"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
    ] {
        let text = format!(
            r#"{{"type": "call", "id": 1, "unit": "{unit}", "function": "main", "arguments": [{given}]}}"#
        );
        host.frame(text.as_bytes());
        assert_eq!(host.receive().unwrap()["value"].to_string(), expected);
    }
    for (given, path) in [
        ("9223372036854775808", "x: the integer"),
        ("[1, {\"a b\": [1e999]}]", "x[1][\"a b\"][0]: the number"),
        ("{\"k\": -9223372036854775809}", "x.k: the integer"),
    ] {
        let text = format!(
            r#"{{"type": "call", "id": 1, "unit": "{unit}", "function": "main", "arguments": [{given}]}}"#
        );
        host.frame(text.as_bytes());
        let end = host.receive().unwrap();
        assert_eq!(end["kind"], "arguments");
        assert!(end["message"].as_str().unwrap().contains(path), "{end}");
    }
}

#[test]
fn depth_is_limited_in_both_directions() {
    let mut host = Host::start();
    let unit = host.unit("pub fn main(x) { x }", &json!([]));
    for (depth, fine) in [(100, true), (101, false)] {
        let nested = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let call = json!({"type": "call", "unit": unit, "function": "main", "arguments": [nested]});
        let end = host.run(call, &mut String::new());
        assert_eq!(end["type"] == "result", fine, "{end}");
    }
}
