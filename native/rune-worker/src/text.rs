//! What can be said about a source by looking at its tokens.

use crate::lexer::{Kind, Token, is_keyword};

/// Deepest nesting of brackets, and longest row of prefix operators.
pub const MAX_NESTING: usize = 200;

/// An attribute such as `#[tool(desc = "…")]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeText {
    /// Its name.
    pub name: String,
    /// The first byte, that of `#`.
    pub start: usize,
    /// The byte after `]`.
    pub end: usize,
    /// The tokens between the name and `]`.
    pub tokens: Vec<Token>,
}

/// The first token that is nested too deep for a parser that recurses.
#[must_use]
pub fn too_deep(source: &str, tokens: &[Token]) -> Option<usize> {
    let mut open = 0_usize;
    let mut prefixes = 0_usize;
    for token in tokens {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => open += 1,
            Kind::Mark(')' | ']' | '}') => open = open.saturating_sub(1),
            _ => {}
        }
        prefixes = match token.kind {
            Kind::Mark('!' | '-' | '&' | '*' | '|') => prefixes + 1,
            Kind::Name if is_keyword(token.text(source)) => prefixes + 1,
            _ => 0,
        };
        if open > MAX_NESTING || prefixes > MAX_NESTING {
            return Some(token.start);
        }
    }
    None
}

/// All attributes, in their order.
#[must_use]
pub fn attributes(source: &str, tokens: &[Token]) -> Vec<AttributeText> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let opening = at + 1 + usize::from(tokens.get(at + 1).is_some_and(|next| next.is('!')));
        let begins = tokens[at].is('#') && tokens.get(opening).is_some_and(|next| next.is('['));
        let Some(closing) = begins.then(|| closing(tokens, opening)).flatten() else {
            at += 1;
            continue;
        };
        let inside = &tokens[opening + 1..closing];
        if let Some(name) = inside.first().filter(|token| token.kind == Kind::Name) {
            found.push(AttributeText {
                name: name.text(source).to_owned(),
                start: tokens[at].start,
                end: tokens[closing].end,
                tokens: inside[1..].to_vec(),
            });
        }
        at = closing + 1;
    }
    found
}

/// The bracket that closes the one at `opening`.
fn closing(tokens: &[Token], opening: usize) -> Option<usize> {
    let mut open = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(opening) {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => open += 1,
            Kind::Mark(')' | ']' | '}') => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// `source` with the attributes of tools made invisible; every other byte keeps its place.
#[must_use]
pub fn without_tool_attributes(source: &str, attributes: &[AttributeText]) -> String {
    let mut bytes = source.as_bytes().to_vec();
    for attribute in attributes {
        if is_tool_attribute(&attribute.name) {
            for byte in &mut bytes[attribute.start..attribute.end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether `name` is an attribute that means nothing to the compiler, but to readers of tools.
#[must_use]
pub fn is_tool_attribute(name: &str) -> bool {
    matches!(name, "tool" | "param")
}

/// The `//!` lines at the top.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The lines without a key, joined.
    pub text: String,
    /// Those such as `//! @entry run`: key, text, line.
    pub entries: Vec<(String, String, usize)>,
}

/// Read the header of a source.
#[must_use]
pub fn header(source: &str) -> Header {
    let mut header = Header::default();
    let mut texts = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("//!") {
            let text = text.trim();
            if let Some(entry) = text.strip_prefix('@') {
                let (key, text) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
                let entry = (key.to_owned(), text.trim().to_owned(), index + 1);
                header.entries.push(entry);
            } else {
                texts.push(text);
            }
        } else if !line.is_empty() && (index > 0 || !line.starts_with("#!")) {
            break;
        }
    }
    texts.join("\n").trim().clone_into(&mut header.text);
    header
}

#[cfg(test)]
mod tests {
    use super::{attributes, header, too_deep, without_tool_attributes};
    use crate::lexer::tokens;

    #[test]
    fn attributes_keep_brackets_in_strings() {
        let source = "#[tool(desc = \")]\", tags = [1]\n)] #[test] fn f() { #{a: [1]} }";
        let found = attributes(source, &tokens(source));
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["tool", "test"]);
        let without = without_tool_attributes(source, &found);
        assert_eq!(without.len(), source.len());
        assert_eq!(without.matches('\n').count(), 1);
        assert_eq!(without.trim(), "#[test] fn f() { #{a: [1]} }");
    }

    #[test]
    fn depth_is_that_of_brackets_and_prefixes() {
        for (source, deep) in [
            ("(".repeat(200), false),
            ("(".repeat(201), true),
            ("()".repeat(300), false),
            ("!".repeat(201), true),
            (format!("\"{}\"", "(".repeat(300)), false),
        ] {
            assert_eq!(too_deep(&source, &tokens(&source)).is_some(), deep);
        }
    }

    #[test]
    fn the_header_ends_with_the_first_line_of_code() {
        let read = header("//! Says it.\n//! @entry run\n\n//! Twice.\nfn f() {}\n//! @late x");
        assert_eq!(read.text, "Says it.\nTwice.");
        assert_eq!(read.entries, [("entry".into(), "run".into(), 2)]);
    }
}
