//! Rules about how long things are.

use syn::visit::{self, Visit};

use super::Complaint;
use crate::source::{Source, Tree, lines};

/// Largest file in the repository, lock file and fixtures included.
const FILE_BYTES_MAX: usize = 1_000_000;
/// Longest file. Ours aim at 150; a file of more is a second noun.
const FILE_LINES_MAX: usize = 500;
/// Longest function, from its signature to its last brace: one screen.
const FUNCTION_LINES_MAX: usize = 70;

pub fn file(source: &Source, _: &Tree) -> Vec<Complaint> {
    match source.bytes > FILE_BYTES_MAX {
        true => vec![(1, format!("{} bytes, at most {FILE_BYTES_MAX} are committed", source.bytes))],
        false => Vec::new(),
    }
}

pub fn file_length(source: &Source, _: &Tree) -> Vec<Complaint> {
    let count = source.text.lines().count();
    match source.is_rust() && count > FILE_LINES_MAX {
        true => vec![(FILE_LINES_MAX + 1, format!("{count} lines, at most {FILE_LINES_MAX}"))],
        false => Vec::new(),
    }
}

pub fn function_length(source: &Source, _: &Tree) -> Vec<Complaint> {
    let mut visitor = Functions::default();
    if let Some(file) = source.syntax() {
        visitor.visit_file(file);
    }
    visitor.found
}

#[derive(Default)]
struct Functions {
    found: Vec<Complaint>,
}

impl Functions {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = *lines(signature).start();
        let count = lines(block).end() - first + 1;
        if count > FUNCTION_LINES_MAX {
            let name = &signature.ident;
            self.found.push((first, format!("`{name}` has {count} lines, at most {FUNCTION_LINES_MAX}")));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}
