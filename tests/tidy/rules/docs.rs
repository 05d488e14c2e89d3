//! Rules about what is written for readers: headers, docs, comments.

use std::collections::HashSet;

use syn::{
    Attribute, Expr, Fields, ImplItem, Item, Lit, Meta, TraitItem, Visibility,
    visit::{self, Visit},
};

use super::Complaint;
use crate::source::{Source, Tree, lines};

/// The first lines of a file say what it is.
pub fn header(source: &Source, _: &Tree) -> Vec<Complaint> {
    let Some(file) = source.syntax() else { return Vec::new() };
    match sentence_of(&file.attrs) {
        Ok(()) => Vec::new(),
        Err(wrong) => vec![(1, format!("the file's `//!` header {wrong}"))],
    }
}

/// Every `pub` item has a sentence.
pub fn sentence(source: &Source, tree: &Tree) -> Vec<Complaint> {
    let Some(file) = source.syntax().filter(|_| !source.is_test()) else { return Vec::new() };
    let mut visitor = Docs { public: HashSet::new(), hidden: HashSet::new(), found: Vec::new() };
    let crate_files = tree.sources.iter().filter(|other| other.top() == source.top());
    let items = crate_files.filter_map(Source::syntax).flat_map(|file| &file.items);
    items.for_each(|item| visitor.sort(item));
    visitor.visit_file(file);
    visitor.found.retain(|(line, _)| !source.is_test_line(*line));
    visitor.found
}

/// A comment on its own lines is a sentence: a capital letter, a full stop.
pub fn comment(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut block: Option<(usize, String)> = None;
    let of_line = |line: &str| {
        let comment = line.trim_start().strip_prefix("//")?;
        (!comment.starts_with(['/', '!'])).then(|| comment.trim().to_owned())
    };
    let lines = source.text.lines().chain([""]).enumerate().filter(|_| source.is_rust());
    for (index, line) in lines {
        match (of_line(line), &mut block) {
            (Some(comment), Some((_, text))) => *text = format!("{text} {comment}"),
            (Some(comment), None) => block = Some((index + 1, comment)),
            (None, _) => {
                let (first, text) = block.take().unwrap_or_default();
                if let Some(wrong) = wrong_with(text.trim_start_matches("SAFETY: ")) {
                    found.push((first, format!("the comment {wrong}")));
                }
            }
        }
    }
    found
}

fn wrong_with(text: &str) -> Option<&'static str> {
    match (text.chars().next(), text.chars().last()) {
        (Some(first), _) if first.is_lowercase() => Some("begins with a capital letter"),
        (_, Some(last)) if !".:?!`|".contains(last) => Some("ends with a full stop"),
        _ => None,
    }
}

/// Whether the first paragraph of the docs is a sentence.
fn sentence_of(attributes: &[Attribute]) -> Result<(), &'static str> {
    let text_of = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let paragraph: Vec<_> =
        attributes.iter().filter_map(text_of).take_while(|line| !line.is_empty()).collect();
    match paragraph.last() {
        None => Err("is missing"),
        Some(last) if last.ends_with(['.', ':', '?']) => Ok(()),
        Some(_) => Err("does not end with a full stop"),
    }
}

struct Docs {
    /// Types of the crate that are `pub` somewhere.
    public: HashSet<String>,
    /// Types that are not `pub`: what they have is not for readers outside.
    hidden: HashSet<String>,
    found: Vec<Complaint>,
}

impl Docs {
    fn sort(&mut self, item: &Item) {
        let (visibility, name) = match item {
            Item::Struct(item) => (&item.vis, &item.ident),
            Item::Enum(item) => (&item.vis, &item.ident),
            _ => return,
        };
        match is_public(visibility) {
            true => self.public.insert(name.to_string()),
            false => self.hidden.insert(name.to_string()),
        };
    }

    fn check(&mut self, line: usize, name: &str, attributes: &[Attribute]) {
        if let Err(wrong) = sentence_of(attributes) {
            self.found.push((line, format!("the doc of `{name}` {wrong}")));
        }
    }

    fn check_fields(&mut self, fields: &Fields) {
        for field in fields.iter().filter(|field| is_public(&field.vis)) {
            // A field without a name says what it is by its type.
            if let Some(name) = &field.ident {
                self.check(*lines(field).start(), &name.to_string(), &field.attrs);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Docs {
    fn visit_item(&mut self, item: &'ast Item) {
        let line = *lines(item).start();
        let named = match item {
            Item::Fn(item) => Some((&item.vis, item.sig.ident.to_string(), &item.attrs)),
            Item::Struct(item) => Some((&item.vis, item.ident.to_string(), &item.attrs)),
            Item::Enum(item) => Some((&item.vis, item.ident.to_string(), &item.attrs)),
            Item::Trait(item) => Some((&item.vis, item.ident.to_string(), &item.attrs)),
            Item::Type(item) => Some((&item.vis, item.ident.to_string(), &item.attrs)),
            Item::Const(item) => Some((&item.vis, item.ident.to_string(), &item.attrs)),
            Item::Static(item) => Some((&item.vis, item.ident.to_string(), &item.attrs)),
            _ => None,
        };
        if let Some((visibility, name, attributes)) = named
            && is_public(visibility)
        {
            self.check(line, &name, attributes);
            match item {
                Item::Struct(item) => self.check_fields(&item.fields),
                Item::Enum(item) => {
                    for variant in &item.variants {
                        self.check(*lines(variant).start(), &variant.ident.to_string(), &variant.attrs);
                    }
                }
                Item::Trait(item) => {
                    for function in item.items.iter().filter_map(trait_function) {
                        self.check(
                            *lines(function).start(),
                            &function.sig.ident.to_string(),
                            &function.attrs,
                        );
                    }
                }
                _ => {}
            }
        }
        visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        let name = match &*block.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let is_hidden = |name: String| self.hidden.contains(&name) && !self.public.contains(&name);
        if block.trait_.is_some() || name.is_some_and(is_hidden) {
            return;
        }
        for item in &block.items {
            let (visibility, name, attributes) = match item {
                ImplItem::Fn(item) => (&item.vis, &item.sig.ident, &item.attrs),
                ImplItem::Const(item) => (&item.vis, &item.ident, &item.attrs),
                _ => continue,
            };
            if is_public(visibility) {
                self.check(*lines(item).start(), &name.to_string(), attributes);
            }
        }
    }
}

fn trait_function(item: &TraitItem) -> Option<&syn::TraitItemFn> {
    match item {
        TraitItem::Fn(function) => Some(function),
        _ => None,
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}
