//! A file as the rules see it: its text, its tokens, its syntax tree.
//!
//! Invariant: whatever is in `#[cfg(test)]` or `#[test]`, or below `tests/` and `benches/`, counts as a test.

use std::{cell::OnceCell, ops::RangeInclusive};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{
    Attribute, ItemFn, ItemMod, ItemUse, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

/// All files, for rules that look beyond one.
pub struct Tree {
    pub sources: Vec<Source>,
}

impl Tree {
    pub fn new(sources: Vec<Source>) -> Self {
        Self { sources }
    }
}

/// One file.
pub struct Source {
    /// From the top of the repository, with slashes.
    pub path: String,
    pub bytes: usize,
    /// Empty if it is not text.
    pub text: String,
    syntax: OnceCell<Option<syn::File>>,
    tokens: OnceCell<Vec<Token>>,
    uses: OnceCell<Vec<Use>>,
    tests: OnceCell<Vec<RangeInclusive<usize>>>,
}

/// One token: `::` and `&&` are one, and so are strings; `(`, `[` and `{` stand for themselves.
#[derive(Debug)]
pub struct Token {
    pub text: String,
    pub line: usize,
    /// How many brackets are open around it.
    pub depth: usize,
}

/// One imported path; a glob ends in `*`.
#[derive(Debug)]
pub struct Use {
    pub path: Vec<String>,
    pub line: usize,
    pub public: bool,
}

impl Source {
    pub fn new(path: &str, text: String) -> Self {
        Self {
            path: path.to_owned(),
            bytes: text.len(),
            text,
            syntax: OnceCell::new(),
            tokens: OnceCell::new(),
            uses: OnceCell::new(),
            tests: OnceCell::new(),
        }
    }

    pub fn from_bytes(path: &str, bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        let text = String::from_utf8(bytes).unwrap_or_default();
        Self { bytes: length, ..Self::new(path, text) }
    }

    /// The first part of the path.
    pub fn top(&self) -> &str {
        self.path.split('/').next().expect("split gives at least one part")
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Whether the whole file is a test or a bench.
    pub fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "benches")
            || self.path.ends_with("/tests.rs")
    }

    /// Whether a line is part of a test.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.is_test() || self.tests().iter().any(|range| range.contains(&line))
    }

    pub fn syntax(&self) -> Option<&syn::File> {
        let parse = || match self.is_rust() {
            true => Some(syn::parse_file(&self.text).unwrap_or_else(|error| {
                panic!("{}:{}: {error}", self.path, error.span().start().line);
            })),
            false => None,
        };
        self.syntax.get_or_init(parse).as_ref()
    }

    pub fn tokens(&self) -> &[Token] {
        let read = || match self.is_rust() {
            true => {
                let stream: TokenStream = self.text.parse().expect("what parses as a file has tokens");
                let mut tokens = Vec::new();
                flatten(stream, 0, &mut tokens);
                tokens
            }
            false => Vec::new(),
        };
        self.tokens.get_or_init(read)
    }

    /// Lines at which these tokens stand one after the other.
    pub fn find(&self, pattern: &[&str]) -> Vec<usize> {
        let is_here = |window: &&[Token]| window.iter().zip(pattern).all(|(token, text)| token.text == *text);
        self.tokens().windows(pattern.len()).filter(is_here).map(|window| window[0].line).collect()
    }

    pub fn uses(&self) -> &[Use] {
        let read = || {
            let mut visitor = Uses::default();
            if let Some(file) = self.syntax() {
                visitor.visit_file(file);
            }
            visitor.found
        };
        self.uses.get_or_init(read)
    }

    fn tests(&self) -> &[RangeInclusive<usize>] {
        let read = || {
            let mut visitor = Tests::default();
            if let Some(file) = self.syntax() {
                visitor.visit_file(file);
            }
            visitor.found
        };
        self.tests.get_or_init(read)
    }
}

/// First to last line of something in a file.
pub fn lines(node: &impl Spanned) -> RangeInclusive<usize> {
    let span = node.span();
    span.start().line..=span.end().line
}

fn flatten(stream: TokenStream, depth: usize, tokens: &mut Vec<Token>) {
    let mut joint = false;
    for tree in stream {
        let line = tree.span().start().line;
        let was_joint = std::mem::take(&mut joint);
        match tree {
            TokenTree::Group(group) => {
                let brackets = match group.delimiter() {
                    Delimiter::Parenthesis => ["(", ")"],
                    Delimiter::Brace => ["{", "}"],
                    Delimiter::Bracket => ["[", "]"],
                    Delimiter::None => ["", ""],
                };
                let end = group.span_close().end().line;
                tokens.push(Token { text: brackets[0].to_owned(), line, depth });
                flatten(group.stream(), depth + 1, tokens);
                tokens.push(Token { text: brackets[1].to_owned(), line: end, depth });
            }
            TokenTree::Punct(punct) => {
                let character = punct.as_char();
                let last = tokens.last_mut().filter(|last| was_joint && last.text == character.to_string());
                match last {
                    Some(last) if matches!(character, ':' | '&' | '|') => last.text.push(character),
                    _ => {
                        joint = punct.spacing() == Spacing::Joint;
                        tokens.push(Token { text: character.to_string(), line, depth });
                    }
                }
            }
            TokenTree::Ident(ident) => tokens.push(Token { text: ident.to_string(), line, depth }),
            TokenTree::Literal(literal) => tokens.push(Token { text: literal.to_string(), line, depth }),
        }
    }
}

#[derive(Default)]
struct Uses {
    found: Vec<Use>,
}

impl Uses {
    fn walk(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let with = |name: String| [before, &[name]].concat();
        let line = tree.span().start().line;
        let path = match tree {
            UseTree::Path(path) => return self.walk(&path.tree, &with(path.ident.to_string()), public),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|item| self.walk(item, before, public));
            }
            UseTree::Name(name) => with(name.ident.to_string()),
            UseTree::Rename(rename) => with(rename.ident.to_string()),
            UseTree::Glob(_) => with("*".to_owned()),
        };
        self.found.push(Use { path, line, public });
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        self.walk(&item.tree, &[], public);
    }
}

#[derive(Default)]
struct Tests {
    found: Vec<RangeInclusive<usize>>,
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        match is_test_only(&item.attrs) {
            true => self.found.push(lines(item)),
            false => visit::visit_item_mod(self, item),
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if is_test_only(&item.attrs) {
            self.found.push(lines(item));
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        match is_test_only(&item.attrs) {
            true => self.found.push(lines(item)),
            false => visit::visit_item_impl(self, item),
        }
    }
}

fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.to_string(),
            _ => String::new(),
        };
        attribute.path().is_ident("test") || attribute.path().is_ident("cfg") && text.contains("test")
    })
}
