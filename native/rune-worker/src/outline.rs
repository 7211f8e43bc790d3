//! What is in a source: functions, modules and constants, as Rune's own parser sees them.

use rune::SourceId;
use rune::ast::{self, Spanned};

use crate::lexer::{Lines, tokens};
use crate::text::{AttributeText, attributes};

/// A function that can be called by its path.
#[derive(Clone, Debug)]
pub struct Function {
    /// Modules and name.
    pub path: Vec<String>,
    /// Names of the parameters, in order.
    pub parameters: Vec<String>,
    /// Whether it is `pub`.
    pub public: bool,
    /// Whether it is `async`.
    pub asynchronous: bool,
    /// The line of its name.
    pub line: usize,
    /// Its `///` lines.
    pub documentation: Option<String>,
    /// Its attributes.
    pub attributes: Vec<AttributeText>,
}

impl Function {
    /// The path as it is written.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.join("::")
    }
}

/// A module or a constant.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Modules and name.
    pub path: Vec<String>,
    /// Whether it is `pub`.
    pub public: bool,
    /// The line of its name.
    pub line: usize,
}

/// What is in a source, in its order.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// At any depth of modules, but not in `impl` blocks.
    pub functions: Vec<Function>,
    /// At any depth.
    pub modules: Vec<Entry>,
    /// At any depth.
    pub constants: Vec<Entry>,
}

/// Read a source; None if it cannot be parsed.
#[must_use]
pub fn outline(source: &str) -> Option<Outline> {
    let file = rune::parse::parse_all::<ast::File>(source, SourceId::EMPTY, true).ok()?;
    let mut reader = Reader {
        source,
        lines: Lines::new(source),
        outline: Outline::default(),
    };
    reader.file(&file, &[]);
    Some(reader.outline)
}

struct Reader<'a> {
    source: &'a str,
    lines: Lines<'a>,
    outline: Outline,
}

impl<'a> Reader<'a> {
    fn text(&self, spanned: &dyn Spanned) -> &'a str {
        let range = spanned.span().range();
        self.source.get(range).unwrap_or_default()
    }

    fn line(&self, spanned: &dyn Spanned) -> usize {
        self.lines.place(spanned.span().range().start).0
    }

    fn file(&mut self, file: &ast::File, module: &[String]) {
        for (item, _) in &file.items {
            match item {
                ast::Item::Fn(function) => self.function(function, module),
                ast::Item::Mod(inner) => {
                    let entry = self.entry(&inner.name, &inner.visibility, module);
                    let path = entry.path.clone();
                    self.outline.modules.push(entry);
                    if let ast::ItemModBody::InlineBody(body) = &inner.body {
                        self.file(&body.file, &path);
                    }
                }
                ast::Item::Const(constant) => {
                    let entry = self.entry(&constant.name, &constant.visibility, module);
                    self.outline.constants.push(entry);
                }
                _ => {}
            }
        }
    }

    fn entry(&self, name: &ast::Ident, visibility: &ast::Visibility, module: &[String]) -> Entry {
        Entry {
            path: self.path(module, name),
            public: matches!(visibility, ast::Visibility::Public(_)),
            line: self.line(name),
        }
    }

    fn path(&self, module: &[String], name: &ast::Ident) -> Vec<String> {
        let own = self.text(name).to_owned();
        module.iter().cloned().chain([own]).collect()
    }

    fn function(&mut self, function: &ast::ItemFn, module: &[String]) {
        let parameters = function
            .args
            .iter()
            .enumerate()
            .map(|(index, (parameter, _))| self.parameter(parameter, index))
            .collect();
        let mut documentation = Vec::new();
        let mut found = Vec::new();
        for attribute in &function.attributes {
            let start = attribute.hash.span().range().start;
            let text = self.source.get(start..).unwrap_or_default();
            if text.starts_with("///") {
                let line = text.lines().next().unwrap_or_default();
                documentation.push(line.trim_start_matches('/').trim());
            } else if text.starts_with('#') {
                found.extend(self.attribute(start, attribute.close.span().range().end));
            }
        }
        let documented = !documentation.is_empty();
        self.outline.functions.push(Function {
            path: self.path(module, &function.name),
            parameters,
            public: matches!(function.visibility, ast::Visibility::Public(_)),
            asynchronous: function.async_token.is_some(),
            line: self.line(&function.name),
            documentation: documented.then(|| documentation.join("\n")),
            attributes: found,
        });
    }

    fn attribute(&self, start: usize, end: usize) -> Option<AttributeText> {
        let text = self.source.get(start..end)?;
        let mut attribute = attributes(text, &tokens(text)).into_iter().next()?;
        attribute.start += start;
        attribute.end += start;
        for token in &mut attribute.tokens {
            token.start += start;
            token.end += start;
        }
        Some(attribute)
    }

    /// The name of a parameter; a pattern gets one that no argument can have.
    fn parameter(&self, parameter: &ast::FnArg, index: usize) -> String {
        let text = self.text(parameter);
        let name = text.chars().all(|c| c == '_' || c.is_alphanumeric());
        if name && text != "_" {
            text.to_owned()
        } else {
            format!("#{index}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::outline;

    #[test]
    fn functions_are_found_at_any_depth() {
        let source = "/// Adds.\n/// Well.\n#[tool(desc = \"x\")]\n#[test]\npub async fn add(a, (b, c), _) {}\n\
            mod inner { pub mod deep { fn f(self_, ) {} const C = 1; } } pub const D = 2;\n\
            struct S; impl S { fn method(self) {} }";
        let outline = outline(source).unwrap();
        let names: Vec<String> = outline
            .functions
            .iter()
            .map(super::Function::name)
            .collect();
        assert_eq!(names, ["add", "inner::deep::f"]);
        let add = &outline.functions[0];
        assert_eq!(add.parameters, ["a", "#1", "#2"]);
        assert!(add.public && add.asynchronous && !outline.functions[1].public);
        assert_eq!(add.documentation.as_deref(), Some("Adds.\nWell."));
        assert_eq!(add.line, 5);
        let attributes: Vec<&str> = add.attributes.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(attributes, ["tool", "test"]);
        let constants: Vec<String> = outline
            .constants
            .iter()
            .map(|one| one.path.join("::"))
            .collect();
        assert_eq!(constants, ["inner::deep::C", "D"]);
        assert_eq!(outline.modules.len(), 2);
    }

    #[test]
    fn what_cannot_be_parsed_has_none() {
        assert!(outline("fn f( {").is_none());
    }
}
