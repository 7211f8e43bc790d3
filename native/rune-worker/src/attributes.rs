//! The arguments of attributes: `(desc = "Adds", tags = ["math"], required)`.

use serde_json::{Map, Value as Json};

use crate::lexer::{Kind, Token};
use crate::text::MAX_NESTING;

/// What could be read, and what stopped the reading.
#[must_use]
pub fn arguments(source: &str, tokens: &[Token]) -> (Map<String, Json>, Option<String>) {
    let mut reader = Reader {
        source,
        tokens,
        at: 0,
    };
    let mut read = Map::new();
    let error = reader.list(&mut read).err();
    (read, error)
}

struct Reader<'a> {
    source: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn takes(&mut self, mark: char) -> bool {
        let there = self.tokens.get(self.at).is_some_and(|next| next.is(mark));
        self.at += usize::from(there);
        there
    }

    fn list(&mut self, read: &mut Map<String, Json>) -> Result<(), String> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        if !self.takes('(') {
            return Err("An opening parenthesis is missing.".into());
        }
        while !self.takes(')') {
            let key = match self.next() {
                Some(token) if token.kind == Kind::Name => token.text(self.source).to_owned(),
                Some(token) => {
                    let found = token.text(self.source);
                    return Err(format!("A name is missing before {found:?}."));
                }
                None => return Err("The attribute ends early.".into()),
            };
            let value = if self.takes('=') {
                self.value(0)?
            } else {
                Json::Bool(true)
            };
            if read.contains_key(&key) {
                return Err(format!("`{key}` is given twice."));
            }
            read.insert(key, value);
            if !self.takes(',') && !self.tokens.get(self.at).is_some_and(|next| next.is(')')) {
                return Err("A comma is missing between arguments.".into());
            }
        }
        if self.at < self.tokens.len() {
            return Err("Something follows the closing parenthesis.".into());
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_NESTING {
            return Err("The value is nested too deep.".into());
        }
        let Some(token) = self.next() else {
            return Err("A value is missing.".into());
        };
        let text = token.text(self.source);
        match token.kind {
            Kind::Text => unquoted(text).map(Json::String),
            Kind::Number => number(text),
            Kind::Name if text == "true" => Ok(Json::Bool(true)),
            Kind::Name if text == "false" => Ok(Json::Bool(false)),
            Kind::Name => Ok(Json::String(text.to_owned())),
            Kind::Mark('-') => match self.next() {
                Some(next) if next.kind == Kind::Number => {
                    number(&format!("-{}", next.text(self.source)))
                }
                _ => Err("A number is missing after the minus.".into()),
            },
            Kind::Mark('[') => {
                let mut items = Vec::new();
                while !self.takes(']') {
                    items.push(self.value(depth + 1)?);
                    let more = self.takes(',');
                    if !more && !self.tokens.get(self.at).is_some_and(|next| next.is(']')) {
                        return Err("A comma is missing in the list.".into());
                    }
                }
                Ok(Json::Array(items))
            }
            _ => Err(format!("{text:?} is no value.")),
        }
    }
}

fn number(text: &str) -> Result<Json, String> {
    let plain = text.replace('_', "");
    if let Ok(integer) = plain.parse::<i64>() {
        return Ok(Json::from(integer));
    }
    match plain.parse::<f64>() {
        Ok(float) if float.is_finite() && plain.contains('.') => Ok(Json::from(float)),
        _ => Err(format!("{text:?} is no number.")),
    }
}

/// The text of a string literal.
pub fn unquoted(text: &str) -> Result<String, String> {
    let inner = text
        .strip_prefix(['"', '`'])
        .and_then(|rest| rest.strip_suffix(['"', '`']))
        .ok_or("A text is not closed.")?;
    let mut result = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some('0') => result.push('\0'),
            Some('u') => {
                let code: String = characters
                    .by_ref()
                    .skip_while(|c| *c == '{')
                    .take_while(|c| *c != '}')
                    .collect();
                let character = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                result.push(character.ok_or("A text has a bad escape.")?);
            }
            Some('\n') => {
                let rest = characters.as_str().trim_start();
                characters = rest.chars();
            }
            Some(c @ ('"' | '\\' | '\'' | '`' | '$')) => result.push(c),
            _ => return Err("A text has a bad escape.".into()),
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::arguments;
    use crate::lexer::tokens;

    fn read(source: &str) -> (Json, Option<String>) {
        let (read, error) = arguments(source, &tokens(source));
        (Json::Object(read), error)
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let source = r#"(desc = "a ) \"b\"\n\u{e4}", tags = ["x", "y",], n = -3, f = 1.5,
            required, on = false, type = string)"#;
        let expected = json!({"desc": "a ) \"b\"\nä", "tags": ["x", "y"], "n": -3, "f": 1.5,
            "required": true, "on": false, "type": "string"});
        assert_eq!(read(source), (expected, None));
        assert_eq!(read(""), (json!({}), None));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_rest_kept() {
        for (source, part) in [
            ("(a = 1, b = )", "no value"),
            ("(a = 1 b)", "comma"),
            ("(a = 1, a = 2)", "twice"),
            ("(a = 1, 2)", "name is missing"),
            ("(a = 1", "comma"),
            ("(a = 1, b = \"\\q\")", "escape"),
        ] {
            let (read, error) = read(source);
            assert_eq!(read["a"], json!(1), "{source}");
            assert!(error.unwrap().contains(part), "{source}");
        }
    }
}
