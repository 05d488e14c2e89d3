//! The module: what of a job's source stands where, and which line it came from.

use oxc_ast::ast::{
    ExportDefaultDeclarationKind, Expression, ImportDeclaration, ImportDeclarationSpecifier, Program,
    Statement,
};
use oxc_span::{GetSpan, Span};

use super::edit::Edits;
use crate::executor::language;

/// A text made of pieces of a source.
#[derive(Default)]
pub struct Module {
    /// The text.
    pub text: String,
    /// For each line of it the line of the source, or 0.
    pub lines: Vec<u32>,
    cursor: Cursor,
}

/// Everything but operations keeps its place; the operations come last, so that they see every declaration.
pub fn of_job(source: &str, program: &Program, edits: &Edits) -> Module {
    let mut kept: Vec<Span> = Vec::new();
    let mut operations: Vec<Span> = Vec::new();
    let mut module = Module { lines: vec![0], ..Module::default() };
    module.own("export default async function () {\n");
    for statement in &program.body {
        match statement {
            Statement::ImportDeclaration(import) => module.own(&imported(import)),
            Statement::ExportAllDeclaration(_)
            | Statement::ExportNamedDeclaration(_)
            | Statement::ExportFromDeclaration(_) => {}
            Statement::ExportDeclaration(export) => kept.push(export.declaration.span()),
            Statement::ExportDefaultDeclaration(export) => {
                if let ExportDefaultDeclarationKind::ArrayExpression(array) = &export.declaration {
                    operations.extend(array.elements.iter().map(GetSpan::span));
                }
            }
            Statement::ExpressionStatement(statement) => match statement.expression.without_parentheses() {
                Expression::CallExpression(call) => operations.push(call.span),
                _ => kept.push(statement.span),
            },
            other => kept.push(other.span()),
        }
    }
    for span in kept {
        module.piece(source, span, edits);
        module.own("\n");
    }
    module.own("return [[\n");
    for span in &operations {
        module.piece(source, *span, edits);
        module.own(",\n");
    }
    // The lines say where an operation stands that fails without any of the job's own code on the stack.
    let lines: Vec<String> =
        operations.iter().map(|span| module.cursor.line_at(source, span.start).to_string()).collect();
    module.own(&format!("], [{}]];\n}}\n", lines.join(",")));
    module
}

impl Module {
    fn own(&mut self, text: &str) {
        self.text.push_str(text);
        self.lines.extend(text.matches('\n').map(|_| 0));
    }

    fn piece(&mut self, source: &str, span: Span, edits: &Edits) {
        let text = edits.apply(source, span);
        let first = self.cursor.line_at(source, span.start);
        if let Some(last @ 0) = self.lines.last_mut() {
            *last = first;
        }
        self.lines.extend((1..=text.matches('\n').count() as u32).map(|down| first + down));
        self.text.push_str(&text);
    }
}

/// Counts lines on from the last place that was asked for.
#[derive(Default)]
struct Cursor {
    at: u32,
    lines_before: u32,
}

impl Cursor {
    fn line_at(&mut self, source: &str, at: u32) -> u32 {
        if at < self.at {
            *self = Self::default();
        }
        self.lines_before += source[self.at as usize..at as usize].matches('\n').count() as u32;
        self.at = at;
        self.lines_before + 1
    }
}

/// What stands for an import: operations are global, so that only other names need anything.
fn imported(import: &ImportDeclaration) -> String {
    let from = import.source.value.as_str();
    if !language::provides(from) {
        return format!("missing({});\n", serde_json::Value::from(from));
    }
    let mut text = String::new();
    for specifier in import.specifiers.iter().flatten() {
        match specifier {
            ImportDeclarationSpecifier::ImportSpecifier(named) => {
                let (name, local) = (named.imported.name(), named.local.name.as_str());
                if name != local {
                    text.push_str(&format!("const {local} = globalThis.{name};\n"));
                }
            }
            ImportDeclarationSpecifier::ImportDefaultSpecifier(whole) => {
                text.push_str(&format!("const {} = globalThis;\n", whole.local.name));
            }
            ImportDeclarationSpecifier::ImportNamespaceSpecifier(whole) => {
                text.push_str(&format!("const {} = globalThis;\n", whole.local.name));
            }
        }
    }
    text
}
