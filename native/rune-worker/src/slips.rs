//! Slips that people make who come from Rust or JSON, and how to repair them.
//!
//! They are looked for only in a source that does not compile, so a find is never in the way.

use crate::lexer::{Kind, Token, is_keyword};

/// A slip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slip {
    /// The byte where it begins.
    pub start: usize,
    /// Its code as a diagnostic.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to repair it.
    pub hint: String,
    /// Whether it is always a mistake, or only where the compiler complains as well.
    pub certain: bool,
}

const RESERVED: &str = "reserved-word";
const RUST_ONLY: &str = "rust-only";

/// The slips of a source, in their order.
#[must_use]
pub fn slips(source: &str, tokens: &[Token]) -> Vec<Slip> {
    let view = View { source, tokens };
    (0..tokens.len())
        .filter_map(|at| {
            view.reserved(at)
                .or_else(|| view.rust_only(at))
                .or_else(|| view.bare_object(at))
        })
        .collect()
}

struct View<'a> {
    source: &'a str,
    tokens: &'a [Token],
}

impl View<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens
            .get(at)
            .map_or("", |token| token.text(self.source))
    }

    fn is_name(&self, at: usize) -> bool {
        self.tokens
            .get(at)
            .is_some_and(|token| token.kind == Kind::Name)
    }

    fn before(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |before| self.text(before))
    }

    /// Whether a single colon stands there, not the two of a path.
    fn colon(&self, at: usize) -> bool {
        self.text(at) == ":" && self.text(at + 1) != ":" && self.before(at) != ":"
    }

    /// Whether these tokens follow each other, from `at` on.
    fn follows(&self, at: usize, texts: &[&str]) -> bool {
        texts
            .iter()
            .enumerate()
            .all(|(offset, text)| self.text(at + offset) == *text)
    }

    #[expect(clippy::unnecessary_wraps, reason = "whoever calls it gives an option")]
    fn slip(
        &self,
        at: usize,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<Slip> {
        Some(Slip {
            start: self.tokens[at].start,
            code,
            message: message.into(),
            hint: hint.into(),
            certain: true,
        })
    }

    fn reserved(&self, at: usize) -> Option<Slip> {
        let word = self.text(at);
        if !self.is_name(at) || !is_keyword(word) {
            return None;
        }
        let before = self.before(at);
        if self.colon(at + 1) && matches!(before, "{" | ",") {
            return self.slip(
                at,
                RESERVED,
                format!("`{word}` is a reserved word and no key."),
                format!("Put the key in quotes: \"{word}\":"),
            );
        }
        let range = at >= 2 && self.text(at - 2) == ".";
        if before == "." && !range && word != "await" {
            return self.slip(
                at,
                RESERVED,
                format!("`{word}` is a reserved word and no field."),
                format!("Write [\"{word}\"] instead of .{word}"),
            );
        }
        if before == "let" && word != "mut" && !matches!(word, "Self" | "true" | "false" | "self") {
            return self.slip(
                at,
                RESERVED,
                format!("`{word}` is a reserved word and no name."),
                format!("Choose another name, such as {word}_value"),
            );
        }
        None
    }

    fn rust_only(&self, at: usize) -> Option<Slip> {
        let text = self.text(at);
        if self.follows(at, &["vec", "!"]) {
            return self.slip(
                at,
                RUST_ONLY,
                "`vec!` is Rust.",
                "Write the list alone: [1, 2, 3]",
            );
        }
        if matches!(text, "eprintln" | "eprint") && self.text(at + 1) == "!" {
            return self.slip(
                at,
                RUST_ONLY,
                format!("`{text}!` is Rust."),
                format!("Use `{}!`", &text[1..]),
            );
        }
        if self.follows(at, &[":", ":", "<"]) {
            let slip = self.slip(
                at,
                RUST_ONLY,
                "Type arguments such as these are Rust.",
                "Leave `::<…>` out, or name a single type as in collect::<Vec>()",
            );
            return slip.map(|slip| Slip {
                certain: false,
                ..slip
            });
        }
        if self.follows(at, &["#", "[", "derive"]) {
            return self.slip(
                at,
                RUST_ONLY,
                "`#[derive(…)]` is Rust.",
                "Remove it; values can be compared, cloned and printed as they are",
            );
        }
        if text == "let" {
            return self.binding(at + 1);
        }
        if matches!(text, "const" | "static") && self.is_name(at + 1) && self.colon(at + 2) {
            return self.slip(
                at + 2,
                RUST_ONLY,
                "A typed constant is Rust.",
                format!("Leave the type out: const {} = …", self.text(at + 1)),
            );
        }
        if text == "fn" && self.is_name(at + 1) {
            return self.function(at + 2);
        }
        if text == "impl" {
            return self.trait_implementation(at);
        }
        if text == "trait" && self.is_name(at + 1) && matches!(self.text(at + 2), "{" | ":") {
            return self.slip(
                at,
                RUST_ONLY,
                "Traits are Rust.",
                "Write the functions in `impl` blocks of the types",
            );
        }
        if self.follows(at, &["&", "mut"]) {
            return self.slip(
                at,
                RUST_ONLY,
                "`&mut` is Rust.",
                "Leave it out: values are shared and can be changed",
            );
        }
        None
    }

    /// After `let`.
    fn binding(&self, at: usize) -> Option<Slip> {
        if self.text(at) == "mut" {
            return self.slip(
                at,
                RUST_ONLY,
                "`mut` is Rust.",
                "Leave it out: every variable can be changed",
            );
        }
        if self.is_name(at) && self.colon(at + 1) {
            return self.slip(
                at + 1,
                RUST_ONLY,
                "A typed variable is Rust.",
                format!("Leave the type out: let {} = …", self.text(at)),
            );
        }
        None
    }

    /// After the name of a function.
    fn function(&self, at: usize) -> Option<Slip> {
        if self.text(at) == "<" {
            return self.slip(
                at,
                RUST_ONLY,
                "Type parameters are Rust.",
                "Leave them out: a function takes values of any type",
            );
        }
        let mut open = 0_usize;
        for index in at..self.tokens.len() {
            match self.text(index) {
                "(" => open += 1,
                ")" => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return self.returned(index + 1);
                    }
                }
                "&" if open == 1 => {
                    return self.slip(
                        index,
                        RUST_ONLY,
                        "References in parameters are Rust.",
                        "Leave the `&` out",
                    );
                }
                ":" if open == 1 && self.colon(index) && self.is_name(index - 1) => {
                    return self.slip(
                        index,
                        RUST_ONLY,
                        "A typed parameter is Rust.",
                        format!("Leave the type out: {}", self.text(index - 1)),
                    );
                }
                "{" | ";" | "" => return None,
                _ => {}
            }
        }
        None
    }

    /// After the parameters of a function.
    fn returned(&self, at: usize) -> Option<Slip> {
        if !self.follows(at, &["-", ">"]) {
            return None;
        }
        let body = (at..self.tokens.len()).find(|index| matches!(self.text(*index), "{" | ";"))?;
        let generic = (at + 2..body).any(|index| matches!(self.text(index), "<" | "&" | "["));
        generic.then(|| {
            self.slip(
                at,
                RUST_ONLY,
                "Such a return type is Rust.",
                "Leave `-> …` out",
            )
        })?
    }

    fn trait_implementation(&self, at: usize) -> Option<Slip> {
        if self.text(at + 1) == "<" {
            return self.slip(
                at + 1,
                RUST_ONLY,
                "Type parameters are Rust.",
                "Leave them out",
            );
        }
        let body = (at..self.tokens.len()).find(|index| self.text(*index) == "{")?;
        let target = (at..body).find(|index| self.text(*index) == "for")?;
        self.slip(
            at,
            RUST_ONLY,
            "Implementing a trait is Rust.",
            format!("Write impl {} {{ … }}", self.text(target + 1)),
        )
    }

    fn bare_object(&self, at: usize) -> Option<Slip> {
        let key = self
            .tokens
            .get(at + 1)
            .is_some_and(|token| matches!(token.kind, Kind::Name | Kind::Text));
        let place = matches!(
            self.before(at),
            "=" | "(" | "," | "[" | ":" | "return" | ">"
        );
        if self.text(at) != "{" || !key || !place || !self.colon(at + 2) {
            return None;
        }
        let slip = self.slip(
            at,
            "syntax",
            "An object begins with `#{`.",
            "Write #{ … } instead of { … }",
        );
        slip.map(|slip| Slip {
            certain: false,
            ..slip
        })
    }
}

#[cfg(test)]
mod tests {
    use super::slips;
    use crate::lexer::tokens;

    fn found(source: &str) -> Vec<(String, String)> {
        slips(source, &tokens(source))
            .into_iter()
            .map(|slip| (slip.code.to_owned(), slip.hint))
            .collect()
    }

    fn one(source: &str, code: &str, hint: &str) {
        let found = found(source);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert_eq!(found[0].0, code, "{source}");
        assert!(found[0].1.contains(hint), "{source}: {}", found[0].1);
    }

    #[test]
    fn reserved_words_are_found() {
        one("#{type_: 1, enum: [1]}", "reserved-word", "\"enum\":");
        one("#{default: 1}", "reserved-word", "\"default\":");
        one("args.default", "reserved-word", "[\"default\"]");
        one("let match = 1;", "reserved-word", "match_value");
    }

    #[test]
    fn rust_is_found() {
        one("let a = vec![1];", "rust-only", "[1, 2, 3]");
        one("a.collect::<Vec<i64>>()", "rust-only", "single type");
        one("fn f(a, b: i64) {}", "rust-only", "b");
        one("fn f<T>(a) {}", "rust-only", "any type");
        one("fn f(a) -> Vec<String> {}", "rust-only", "->");
        one("fn f(&self) {}", "rust-only", "&");
        one("let mut a = 1;", "rust-only", "every variable");
        one("let a: i64 = 1;", "rust-only", "let a");
        one("const A: i64 = 1;", "rust-only", "const A");
        one("#[derive(Debug)] struct A;", "rust-only", "Remove");
        one("impl Display for A {}", "rust-only", "impl A");
        one("trait A { }", "rust-only", "impl");
        one("eprintln!(1)", "rust-only", "println!");
    }

    #[test]
    fn objects_need_their_mark() {
        one("let a = { b: 1 };", "syntax", "#{");
        one("f({\"b\": 1})", "syntax", "#{");
    }

    #[test]
    fn good_rune_has_none() {
        let source = "const A = 1; pub async fn f(a, b) -> i64 { let c = #{a, \"enum\": 1, b: 2};
            for i in 0..self.x { a::b::c(i); } match c { #{a: 1, ..} => 1, _ => 2 } }
            struct P { x: i64 } impl P { fn new(x) { Self { x } } }
            fn g() { f(1).await; 'outer: loop { break 'outer; } }";
        assert_eq!(found(source), []);
    }
}
