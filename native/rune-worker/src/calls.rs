//! Calls of host functions as the text of a script has them.

use std::collections::{BTreeMap, BTreeSet};

use crate::attributes::unquoted;
use crate::lexer::{Kind, Token};

/// Most calls that are told of one script.
const MOST: usize = 10_000;

/// A call that can be seen in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCall {
    /// The full path of the function.
    pub function: String,
    /// The byte where it begins.
    pub start: usize,
    /// The first argument, if it is a string that is written out.
    pub literal: Option<String>,
    /// Whether it is a statement of its own, so that nothing can come of it but by `.await`.
    pub dropped: bool,
}

/// The calls at `places`: for each function, the bytes where the compiler found its name.
#[must_use]
pub fn calls(
    source: &str,
    tokens: &[Token],
    places: &BTreeMap<String, BTreeSet<usize>>,
) -> Vec<NamedCall> {
    let mut found: Vec<NamedCall> = places
        .iter()
        .flat_map(|(function, starts)| starts.iter().map(move |start| (function, *start)))
        .filter_map(|(function, start)| call(source, tokens, function, start))
        .take(MOST)
        .collect();
    found.sort_by_key(|call| call.start);
    found
}

fn call(source: &str, tokens: &[Token], function: &str, start: usize) -> Option<NamedCall> {
    let first = tokens
        .binary_search_by_key(&start, |token| token.start)
        .ok()?;
    let opening = after_path(tokens, first);
    if !tokens.get(opening)?.is('(') {
        return None;
    }
    let argument = tokens.get(opening + 1);
    let ends = tokens
        .get(opening + 2)
        .is_some_and(|token| token.is(',') || token.is(')'));
    let literal = argument
        .filter(|token| ends && token.kind == Kind::Text)
        .and_then(|token| unquoted(token.text(source)).ok());
    let begins = first == 0
        || [';', '{', '}']
            .iter()
            .any(|mark| tokens[first - 1].is(*mark));
    let dropped = begins
        && closing(tokens, opening)
            .and_then(|at| tokens.get(at + 1))
            .is_some_and(|token| token.is(';'));
    Some(NamedCall {
        function: function.to_owned(),
        start,
        literal,
        dropped,
    })
}

/// The place after the path that begins at `at`.
fn after_path(tokens: &[Token], mut at: usize) -> usize {
    let is = |at: usize, mark| tokens.get(at).is_some_and(|token: &Token| token.is(mark));
    let separator = |at: usize| is(at, ':') && is(at + 1, ':');
    if separator(at) {
        at += 2;
    }
    while tokens.get(at).is_some_and(|token| token.kind == Kind::Name) {
        at += 1;
        if !separator(at) {
            break;
        }
        at += 2;
    }
    at
}

/// The bracket that closes the one at `opening`.
fn closing(tokens: &[Token], opening: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, token) in tokens[opening..].iter().enumerate() {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(opening + offset);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::calls;
    use crate::lexer::tokens;

    fn read(source: &str) -> Vec<(usize, Option<String>, bool)> {
        let starts: BTreeSet<usize> = source.match_indices("a::b").map(|(at, _)| at).collect();
        let places = BTreeMap::from([("a::b".to_owned(), starts)]);
        calls(source, &tokens(source), &places)
            .into_iter()
            .map(|call| (call.start, call.literal, call.dropped))
            .collect()
    }

    #[test]
    fn a_literal_is_told_only_where_it_is_the_whole_argument() {
        assert_eq!(read(r#"a::b("x.y")"#), [(0, Some("x.y".into()), false)]);
        assert_eq!(read(r#"a::b("x", 1)"#), [(0, Some("x".into()), false)]);
        assert_eq!(read(r#"a::b("x" + y)"#), [(0, None, false)]);
        assert_eq!(read("a::b(`x.${y}`)"), [(0, None, false)]);
        assert_eq!(read("a::b()"), [(0, None, false)]);
    }

    #[test]
    fn a_name_without_brackets_is_no_call() {
        assert_eq!(read("use a::b; let f = a::b;"), []);
    }

    #[test]
    fn a_statement_of_its_own_is_dropped() {
        assert_eq!(read("{ a::b(f(1), [2]); }"), [(2, None, true)]);
        assert_eq!(read("{ a::b(1).await; }"), [(2, None, false)]);
        assert_eq!(read("{ let x = a::b(1); }"), [(10, None, false)]);
        assert_eq!(read("{ a::b(1) }"), [(2, None, false)]);
        assert_eq!(read("a::b("), [(0, None, false)]);
    }
}
