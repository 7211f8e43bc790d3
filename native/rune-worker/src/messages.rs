//! What the host can say; see the README for the meaning of every member.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

/// A message of the host.
#[derive(Debug)]
pub enum Message {
    /// The greeting.
    Hello(Hello),
    /// Compile a source.
    Compile(Compile),
    /// Compile a source and say what is in it.
    Inspect(Inspect),
    /// Call a function of a unit.
    Call(Call),
    /// Settle host calls.
    Answer(Answers),
    /// End a call.
    Cancel(Cancel),
    /// End the worker.
    Shutdown,
}

/// The greeting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The version of the protocol that the host speaks.
    pub protocol: u64,
}

/// A source and what it may use.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compile {
    /// Number of the request.
    pub id: i64,
    /// What people call the source.
    #[serde(default)]
    pub name: String,
    /// The text.
    pub source: String,
    /// Host functions that exist for it.
    #[serde(default)]
    pub functions: Vec<Function>,
    /// What exists, but not for it.
    #[serde(default)]
    pub forbidden: Vec<Forbidden>,
    /// Milliseconds that compiling may take.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// A source to look into.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspect {
    /// Number of the request.
    pub id: i64,
    /// What people call the source.
    #[serde(default)]
    pub name: String,
    /// The text.
    pub source: String,
    /// Host functions that exist for it.
    #[serde(default)]
    pub functions: Vec<Function>,
    /// What exists, but not for it.
    #[serde(default)]
    pub forbidden: Vec<Forbidden>,
    /// Names of the constants to read.
    #[serde(default)]
    pub constants: Vec<String>,
}

/// A host function.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Path of its module.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// In order, optional ones last.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Whether it gives a future.
    #[serde(default)]
    pub asynchronous: bool,
    /// How an answer becomes a value.
    #[serde(default)]
    pub returns: Returns,
    /// Further full paths.
    #[serde(default)]
    pub aliases: Vec<String>,
}

impl Function {
    /// The full path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}::{}", self.module, self.name)
    }

    /// How many parameters have to be given.
    #[must_use]
    pub fn required(&self) -> usize {
        self.parameters
            .iter()
            .filter(|parameter| parameter.required())
            .count()
    }
}

/// A parameter of a host function.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(untagged)]
pub enum Parameter {
    /// A required one.
    Name(String),
    /// One that may be optional.
    Full(FullParameter),
}

/// A parameter that may be optional.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields)]
pub struct FullParameter {
    /// Its name.
    pub name: String,
    /// Whether it has to be given.
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

impl Parameter {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Full(full) => &full.name,
        }
    }

    /// Whether it has to be given.
    #[must_use]
    pub fn required(&self) -> bool {
        match self {
            Self::Name(_) => true,
            Self::Full(full) => full.required,
        }
    }
}

/// How an answer becomes a value of the script.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Returns {
    /// As it is; an error ends the script.
    #[default]
    Value,
    /// As `Ok`, an error as `Err`.
    Result,
    /// Null as `None`, anything else as `Some`.
    Option,
}

/// A module or function that exists elsewhere.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields)]
pub struct Forbidden {
    /// Its path.
    pub path: String,
    /// The lowest level that has it.
    pub level: String,
}

/// A call of a function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Number of the request.
    pub id: i64,
    /// The unit, as `compiled` named it.
    pub unit: String,
    /// Path of the function.
    pub function: String,
    /// By position or by name.
    #[serde(skip)]
    pub arguments: Arguments,
    /// Decides the order of hash maps.
    #[serde(default)]
    pub seed: String,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
}

/// Arguments of a call.
#[derive(Debug)]
pub enum Arguments {
    /// By position.
    Positional(Vec<Json>),
    /// By parameter name.
    Named(Map<String, Json>),
}

impl Default for Arguments {
    fn default() -> Self {
        Self::Positional(Vec::new())
    }
}

/// What a call may use; None is no limit, or the default of the README.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Instructions of the virtual machine.
    pub instructions: Option<u64>,
    /// Bytes of the script's values.
    pub memory_bytes: Option<u64>,
    /// Milliseconds from the start of the call.
    pub deadline_ms: Option<u64>,
    /// Bytes of printed text.
    pub printed_bytes: Option<u64>,
    /// Bytes of the result, and of the arguments of one host call.
    pub result_bytes: Option<u64>,
}

/// Answers to host calls.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// The call they belong to.
    pub request: i64,
    /// In the order in which they are settled.
    #[serde(skip)]
    pub answers: Vec<Answer>,
}

/// One settled host call.
#[derive(Debug)]
pub struct Answer {
    /// Number of the host call.
    pub id: u64,
    /// The value, or why there is none.
    pub settled: Result<Json, String>,
}

/// End a call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The call.
    pub request: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Read a message; the error says what is wrong with it, and the request it may belong to.
pub fn parse(frame: &[u8]) -> Result<Message, (Option<i64>, String)> {
    let json: Json = serde_json::from_slice(frame)
        .map_err(|error| (None, format!("The frame is no JSON: {error}.")))?;
    let Json::Object(mut members) = json else {
        return Err((None, "The frame is no JSON object.".into()));
    };
    let request = members
        .get("id")
        .or_else(|| members.get("request"))
        .and_then(Json::as_i64);
    let Some(Json::String(kind)) = members.shift_remove("type") else {
        return Err((request, "The message has no type.".into()));
    };
    let refused = |error: serde_json::Error| (request, format!("Bad message {kind:?}: {error}."));
    match kind.as_str() {
        "hello" => typed(members).map(Message::Hello).map_err(refused),
        "compile" => typed(members).map(Message::Compile).map_err(refused),
        "inspect" => typed(members).map(Message::Inspect).map_err(refused),
        "call" => {
            let arguments = arguments(members.shift_remove("arguments"))
                .map_err(|message| (request, message))?;
            let call = typed::<Call>(members).map_err(refused)?;
            Ok(Message::Call(Call { arguments, ..call }))
        }
        "answer" => {
            let answers =
                answers(members.shift_remove("answers")).map_err(|message| (request, message))?;
            let given = typed::<Answers>(members).map_err(refused)?;
            Ok(Message::Answer(Answers { answers, ..given }))
        }
        "cancel" => typed(members).map(Message::Cancel).map_err(refused),
        "shutdown" => typed::<Nothing>(members)
            .map(|_| Message::Shutdown)
            .map_err(refused),
        _ => Err((request, format!("There is no message {kind:?}."))),
    }
}

fn typed<T: DeserializeOwned>(members: Map<String, Json>) -> serde_json::Result<T> {
    serde_json::from_value(Json::Object(members))
}

// Data is taken out of a message as it is: on its way through a typed value, Serde would lose the
// numbers that no type of it holds.

fn arguments(data: Option<Json>) -> Result<Arguments, String> {
    match data {
        None => Ok(Arguments::default()),
        Some(Json::Array(values)) => Ok(Arguments::Positional(values)),
        Some(Json::Object(members)) => Ok(Arguments::Named(members)),
        Some(_) => Err("The arguments are neither an array nor an object.".into()),
    }
}

fn answers(data: Option<Json>) -> Result<Vec<Answer>, String> {
    match data {
        Some(Json::Array(answers)) => answers.into_iter().map(answer).collect(),
        _ => Err("The answers are no array.".into()),
    }
}

/// Read one member of `answers`.
fn answer(json: Json) -> Result<Answer, String> {
    let Json::Object(mut members) = json else {
        return Err("An answer is no JSON object.".into());
    };
    let id = members
        .shift_remove("id")
        .and_then(|id| id.as_u64())
        .ok_or("An answer has no id.")?;
    let value = members.shift_remove("value");
    let error = members.shift_remove("error");
    let settled = match (value, error, members.is_empty()) {
        (Some(value), None, true) => Ok(value),
        (None, Some(Json::String(message)), true) => Err(message),
        _ => {
            return Err(format!(
                "The answer to {id} needs either a value or an error text."
            ));
        }
    };
    Ok(Answer { id, settled })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Arguments, Message, answer, parse};

    fn refusal(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().1
    }

    #[test]
    fn a_call_is_read_with_its_arguments_as_they_are() {
        let text = r#"{"type": "call", "id": 3, "unit": "u", "function": "f",
            "arguments": {"n": 12345678901234567890, "x": 1.0}, "limits": {"instructions": 5}}"#;
        let Message::Call(call) = parse(text.as_bytes()).unwrap() else {
            panic!("not a call");
        };
        let Arguments::Named(named) = call.arguments else {
            panic!("not by name");
        };
        assert_eq!(named["n"].to_string(), "12345678901234567890");
        assert_eq!(named["x"].to_string(), "1.0");
        assert_eq!(call.limits.instructions, Some(5));
    }

    #[test]
    fn what_is_unknown_or_of_the_wrong_type_is_refused() {
        assert!(refusal("[]").contains("no JSON object"));
        assert!(refusal("{").contains("no JSON"));
        assert!(refusal("{}").contains("no type"));
        assert!(refusal(r#"{"type": "x"}"#).contains("no message \"x\""));
        assert!(refusal(r#"{"type": "cancel", "request": 1, "y": 2}"#).contains('y'));
        assert!(refusal(r#"{"type": "cancel", "request": "1"}"#).contains("i64"));
    }

    #[test]
    fn a_refusal_names_its_request() {
        let (request, _) = parse(br#"{"type": "call", "id": 9}"#).unwrap_err();
        assert_eq!(request, Some(9));
    }

    #[test]
    fn an_answer_is_a_value_or_an_error() {
        assert_eq!(
            answer(json!({"id": 1, "value": null})).unwrap().settled,
            Ok(json!(null))
        );
        assert_eq!(
            answer(json!({"id": 1, "error": "no"})).unwrap().settled,
            Err("no".into())
        );
        assert!(answer(json!({"id": 1})).is_err());
        assert!(answer(json!({"id": 1, "value": 1, "error": "no"})).is_err());
        assert!(answer(json!({"id": -1, "value": 1})).is_err());
        assert!(parse(br#"{"type": "answer", "request": 1, "answers": [{}]}"#).is_err());
        assert!(parse(br#"{"type": "answer", "request": 1, "answers": []}"#).is_ok());
    }
}
