//! A lexer of Rune that is fit for looking at a text: it never fails, and keeps positions.
//!
//! The compiler has one of its own. This one serves what has to work on texts that do not compile:
//! hints, depth limits, attributes, and the paths that a script names.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name, or a keyword if [`is_keyword`] says so.
    Name,
    /// A number, its suffix included.
    Number,
    /// A string, or the part of a template between expressions, quotes included.
    Text,
    /// A character or byte literal.
    Character,
    /// A label such as `'outer`.
    Label,
    /// A single character of punctuation.
    Mark(char),
}

/// A token and where it stands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Token {
    /// The text of the token.
    #[must_use]
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether it is the punctuation `mark`.
    #[must_use]
    pub fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    /// Whether it is the name `name`.
    #[must_use]
    pub fn is_name(&self, source: &str, name: &str) -> bool {
        self.kind == Kind::Name && self.text(source) == name
    }
}

/// The words that Rune reserves (`rune::ast::Kind`).
const KEYWORDS: [&str; 53] = [
    "Self", "abstract", "alignof", "as", "async", "await", "become", "break", "const", "continue",
    "crate", "default", "do", "else", "enum", "extern", "false", "final", "fn", "for", "if",
    "impl", "in", "is", "let", "loop", "macro", "match", "mod", "move", "mut", "not", "offsetof",
    "override", "priv", "proc", "pub", "pure", "ref", "return", "select", "self", "sizeof",
    "static", "struct", "super", "true", "typeof", "unsafe", "use", "virtual", "while", "yield",
];

/// Whether Rune reserves `word`.
#[must_use]
pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.binary_search(&word).is_ok()
}

/// The tokens of `source`, without white space and comments.
#[must_use]
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        source,
        at: 0,
        found: Vec::new(),
        templates: Vec::new(),
    };
    if source.starts_with("#!") && !source.starts_with("#![") {
        lexer.skip_line();
    }
    while lexer.step() {}
    lexer.found
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    found: Vec<Token>,
    /// For each template around this place, how many braces are open in its expression.
    templates: Vec<usize>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    /// Keep a token; the pieces of a template can be empty, and are none then.
    fn push(&mut self, kind: Kind, start: usize) {
        if start < self.at {
            self.found.push(Token {
                kind,
                start,
                end: self.at,
            });
        }
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    /// Read one token; false at the end.
    fn step(&mut self) -> bool {
        self.skip_while(char::is_whitespace);
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return false;
        };
        let second = self.rest()[first.len_utf8()..].chars().next();
        match (first, second) {
            ('/', Some('/')) => self.skip_line(),
            ('/', Some('*')) => self.skip_block_comment(),
            ('"', _) => self.quoted(start, 1),
            ('b', Some('"')) => self.quoted(start, 2),
            ('b', Some('\'')) => {
                self.at += 1;
                self.character(start);
            }
            ('\'', _) => self.character(start),
            ('`', _) => {
                self.at += 1;
                self.template(start);
            }
            ('0'..='9', _) => self.number(start),
            _ if first == '_' || first.is_alphabetic() => {
                self.skip_while(|c| c == '_' || c.is_alphanumeric());
                self.push(Kind::Name, start);
            }
            _ => self.mark(first, start),
        }
        true
    }

    fn mark(&mut self, mark: char, start: usize) {
        self.at += mark.len_utf8();
        self.push(Kind::Mark(mark), start);
        match (mark, self.templates.last_mut()) {
            ('{', Some(open)) => *open += 1,
            ('}', Some(0)) => {
                self.templates.pop();
                self.template(self.at);
            }
            ('}', Some(open)) => *open -= 1,
            _ => {}
        }
    }

    /// Comments of Rune do not nest.
    fn skip_block_comment(&mut self) {
        let rest = &self.rest()[2..];
        self.at += 2 + rest.find("*/").map_or(rest.len(), |end| end + 2);
    }

    fn quoted(&mut self, start: usize, opening: usize) {
        self.at += opening;
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices() {
            if !escaped && c == '"' {
                self.at += offset + 1;
                self.push(Kind::Text, start);
                return;
            }
            escaped = !escaped && c == '\\';
        }
        self.at = self.source.len();
        self.push(Kind::Text, start);
    }

    /// A character such as `'a'` or `'\u{1f600}'`, or a label.
    fn character(&mut self, start: usize) {
        self.at += 1;
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices() {
            if !escaped && c == '\'' && offset > 0 {
                self.at += offset + 1;
                self.push(Kind::Character, start);
                return;
            }
            if c == '\n' || offset > 16 {
                break;
            }
            escaped = !escaped && c == '\\';
        }
        self.skip_while(|c| c == '_' || c.is_alphanumeric());
        self.push(Kind::Label, start);
    }

    /// The text of a template up to its end or to the next expression.
    fn template(&mut self, start: usize) {
        let mut escaped = false;
        let mut dollar = false;
        for (offset, c) in self.rest().char_indices() {
            if !escaped && c == '`' {
                self.at += offset + 1;
                self.push(Kind::Text, start);
                return;
            }
            if !escaped && dollar && c == '{' {
                self.at += offset - 1;
                self.push(Kind::Text, start);
                let opening = self.at;
                self.at += 2;
                self.push(Kind::Mark('{'), opening);
                self.templates.push(0);
                return;
            }
            dollar = !escaped && c == '$';
            escaped = !escaped && c == '\\';
        }
        self.at = self.source.len();
        self.push(Kind::Text, start);
    }

    fn number(&mut self, start: usize) {
        self.skip_while(|c| c == '_' || c.is_alphanumeric());
        let mut rest = self.rest().chars();
        let fraction =
            rest.next() == Some('.') && rest.next().is_some_and(|digit| digit.is_ascii_digit());
        if fraction {
            self.at += 1;
            self.skip_while(|c| c == '_' || c.is_alphanumeric());
        }
        self.push(Kind::Number, start);
    }
}

/// Lines and columns of a text.
pub struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Of `source`.
    #[must_use]
    pub fn new(source: &'a str) -> Self {
        let ends = source.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            source,
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The line of a byte and its column in characters, both counted from 1.
    #[must_use]
    pub fn place(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line - 1];
        let before = self
            .source
            .get(start..byte)
            .map_or(0, |text| text.chars().count());
        (line, before + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEYWORDS, Kind, Lines, tokens};

    fn texts(source: &str) -> Vec<&str> {
        tokens(source)
            .iter()
            .map(|token| token.text(source))
            .collect()
    }

    #[test]
    fn keywords_are_sorted() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn comments_and_strings_hide_what_they_hold() {
        let source = "a /* { /* } */ // {\n\"{ \\\" }\" b";
        assert_eq!(texts(source), ["a", "\"{ \\\" }\"", "b"]);
    }

    #[test]
    fn templates_show_their_expressions() {
        let source = "`a ${ f(`${x}`) } \\${no} $`";
        assert_eq!(
            texts(source),
            [
                "`a ",
                "${",
                "f",
                "(",
                "`",
                "${",
                "x",
                "}",
                "`",
                ")",
                "}",
                " \\${no} $`"
            ]
        );
    }

    #[test]
    fn empty_pieces_are_no_tokens() {
        assert_eq!(texts("`${a}${b}"), ["`", "${", "a", "}", "${", "b", "}"]);
    }

    #[test]
    fn characters_are_not_labels() {
        let kinds: Vec<Kind> = tokens("'a' '\\'' b'x' 'outer: loop")
            .iter()
            .map(|token| token.kind)
            .collect();
        assert_eq!(
            kinds,
            [
                Kind::Character,
                Kind::Character,
                Kind::Character,
                Kind::Label,
                Kind::Mark(':'),
                Kind::Name
            ]
        );
    }

    #[test]
    fn numbers_leave_ranges_and_methods_alone() {
        assert_eq!(
            texts("1.5 1..2 1.max(2)"),
            ["1.5", "1", ".", ".", "2", "1", ".", "max", "(", "2", ")"]
        );
    }

    #[test]
    fn places_count_characters_from_one() {
        let lines = Lines::new("äb\ncd");
        assert_eq!(lines.place(2), (1, 2));
        assert_eq!(lines.place(4), (2, 1));
        assert_eq!(lines.place(99), (2, 1));
    }
}
