//! Paths that a source names, with its imports resolved: for telling which of them are forbidden.
//!
//! Nothing is kept out by this. A forbidden module does not exist for the compiler; here is found
//! out only why a source that does not compile does not.

use crate::lexer::{Kind, Token};
use crate::messages::Forbidden;

/// A use of something forbidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The byte where it begins.
    pub start: usize,
    /// The full path that is named.
    pub path: String,
    /// The lowest level that has it.
    pub level: String,
}

/// Deepest chain of imports that name imports.
const MAX_CHAIN: usize = 8;

struct Import {
    /// The name that it gives; None for `*`.
    name: Option<String>,
    path: Vec<String>,
}

/// All uses of what is forbidden, in their order.
#[must_use]
pub fn forbidden_uses(source: &str, tokens: &[Token], forbidden: &[Forbidden]) -> Vec<Use> {
    let mut reader = Reader {
        source,
        tokens,
        imports: Vec::new(),
        named: Vec::new(),
    };
    reader.read();
    let mut uses: Vec<Use> = Vec::new();
    for (start, path) in &reader.named {
        let full = reader.resolved(path);
        let globs = reader.imports.iter().filter(|import| import.name.is_none());
        let candidates = std::iter::once(full.clone())
            .chain(globs.map(|import| [&import.path[..], &full[..]].concat()));
        for candidate in candidates {
            let path = candidate.join("::");
            if let Some(entry) = entry(&path, forbidden) {
                uses.push(Use {
                    start: *start,
                    path,
                    level: entry.level.clone(),
                });
                break;
            }
        }
    }
    uses
}

/// The most specific entry that covers `path`.
fn entry<'a>(path: &str, forbidden: &'a [Forbidden]) -> Option<&'a Forbidden> {
    forbidden
        .iter()
        .filter(|entry| {
            let rest = path.strip_prefix(entry.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
        .max_by_key(|entry| entry.path.len())
}

struct Reader<'a> {
    source: &'a str,
    tokens: &'a [Token],
    imports: Vec<Import>,
    named: Vec<(usize, Vec<String>)>,
}

impl Reader<'_> {
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

    fn separator(&self, at: usize) -> bool {
        self.text(at) == ":" && self.text(at + 1) == ":"
    }

    fn read(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            let field = at > 0 && self.text(at - 1) == "." && !(at > 1 && self.text(at - 2) == ".");
            if self.text(at) == "use" && self.is_name(at) {
                at = self.import(at + 1, &[], 0);
            } else if self.is_name(at) && !field {
                let start = self.tokens[at].start;
                let mut path = vec![self.text(at).to_owned()];
                at += 1;
                while self.separator(at) && self.is_name(at + 2) {
                    path.push(self.text(at + 2).to_owned());
                    at += 3;
                }
                self.named.push((start, path));
            } else {
                at += 1;
            }
        }
    }

    /// Read an import tree; gives the place after it.
    fn import(&mut self, mut at: usize, prefix: &[String], depth: usize) -> usize {
        let start = self.tokens.get(at).map_or(0, |token| token.start);
        let mut path = prefix.to_vec();
        if self.separator(at) {
            at += 2;
        }
        loop {
            if self.is_name(at) {
                path.push(self.text(at).to_owned());
                at += 1;
                if self.separator(at) {
                    at += 2;
                    continue;
                }
                let mut name = path.last().cloned();
                if self.text(at) == "as" && self.is_name(at + 1) {
                    name = Some(self.text(at + 1).to_owned());
                    at += 2;
                }
                self.named.push((start, path.clone()));
                self.imports.push(Import { name, path });
                return at;
            }
            if self.text(at) == "*" {
                self.named.push((start, path.clone()));
                self.imports.push(Import { name: None, path });
                return at + 1;
            }
            if self.text(at) != "{" || depth > MAX_CHAIN {
                return at + 1;
            }
            at += 1;
            while at < self.tokens.len() && self.text(at) != "}" {
                at = if self.text(at) == "," {
                    at + 1
                } else {
                    self.import(at, &path, depth + 1)
                };
            }
            return at + 1;
        }
    }

    fn resolved(&self, path: &[String]) -> Vec<String> {
        let mut full = path.to_vec();
        for _ in 0..MAX_CHAIN {
            while full.len() > 1 && matches!(full[0].as_str(), "crate" | "self" | "super") {
                full.remove(0);
            }
            let import = self
                .imports
                .iter()
                .find(|import| import.name.as_deref() == full.first().map(String::as_str));
            match import {
                Some(import) if import.path.first() != full.first() || import.path.len() > 1 => {
                    if import.path.last() == full.first() && full.starts_with(&import.path) {
                        break;
                    }
                    full = [&import.path[..], &full[1..]].concat();
                }
                _ => break,
            }
            if full.len() > 64 {
                break;
            }
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::forbidden_uses;
    use crate::lexer::tokens;
    use crate::messages::Forbidden;

    fn uses(source: &str) -> Vec<String> {
        let forbidden = [
            ("crucible::file", "development"),
            ("crucible::http", "production"),
        ]
        .map(|(path, level)| Forbidden {
            path: path.into(),
            level: level.into(),
        });
        forbidden_uses(source, &tokens(source), &forbidden)
            .into_iter()
            .map(|one| format!("{} {}", one.path, one.level))
            .collect()
    }

    #[test]
    fn a_path_is_found_however_it_is_written() {
        for source in [
            "crucible::file::read(1)",
            "::crucible::file::read(1)",
            "`${crucible::file::read(1)}`",
            "println!(\"{}\", crucible::file::read(1))",
        ] {
            assert_eq!(
                uses(source),
                ["crucible::file::read development"],
                "{source}"
            );
        }
    }

    #[test]
    fn an_import_is_followed() {
        for source in [
            "use crucible::file::read as x; fn f() { x(1) }",
            "use crucible::file as y; use y::read as z; fn f() { z(1) }",
            "use crucible::{json, file::{read, write}}; fn f() { read(1) }",
            "use crucible::*; fn f() { file::read(1) }",
            "use crucible as c; fn f() { c::file::read(1) }",
        ] {
            let found = uses(source);
            let last = found.last().map(String::as_str);
            assert_eq!(
                last,
                Some("crucible::file::read development"),
                "{source}: {found:?}"
            );
        }
    }

    #[test]
    fn other_paths_are_left_alone() {
        for source in [
            "crucible::files::read(1)",
            "use crucible::json::parse; parse(1)",
            "\"crucible::file::read\" // crucible::file",
            "x.crucible::file",
            "use a as b; use b as a; a::c()",
        ] {
            assert_eq!(uses(source), [""; 0], "{source}");
        }
    }
}
