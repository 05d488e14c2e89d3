//! A script: a job's source, made into a function that returns its operations.
//!
//! Source of the rules: OpenFn's compiler (top-level operations, lazy state, promises). Calls at the top level are
//! collected in order; `$.a` in an argument becomes `state => state.a`; `op().then(f)` is deferred until it is run.

mod deep;
mod lazy;

use oxc_allocator::Allocator;
use oxc_ast::ast::{CallExpression, ExportDefaultDeclarationKind, Expression, Program, Statement};
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType, Span};

use deep::with_stack;
use lazy::Edits;

/// Why a source is not a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxMistake {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// Compiles a job to a module whose default export returns its operations.
pub fn compile(source: &str) -> Result<String, Vec<SyntaxMistake>> {
    with_stack(source, || compile_job(source))
}

fn compile_job(source: &str) -> Result<String, Vec<SyntaxMistake>> {
    let allocator = Allocator::default();
    let program = parse(&allocator, source, source)?;
    let edits =
        Edits::collect(&program).map_err(|(span, message)| vec![mistake(source, span.start, message)])?;
    Ok(module_of(source, &program, &edits))
}

/// Compiles an edge's condition to a module whose default export is a function of `state`.
pub fn compile_expression(source: &str) -> Result<String, Vec<SyntaxMistake>> {
    with_stack(source, || compile_condition(source))
}

fn compile_condition(source: &str) -> Result<String, Vec<SyntaxMistake>> {
    let wrapped = format!("({}\n)", source.trim_end().trim_end_matches(';'));
    let allocator = Allocator::default();
    let program = parse(&allocator, &wrapped, source).map_err(|mistakes| {
        // One character was put before the source.
        let shift = |mut mistake: SyntaxMistake| {
            mistake.column -= u32::from(mistake.line == 1 && mistake.column > 1);
            mistake
        };
        mistakes.into_iter().map(shift).collect::<Vec<_>>()
    })?;
    // `a) ; (b` closes our bracket and opens another.
    let [Statement::ExpressionStatement(_)] = program.body.as_slice() else {
        return Err(vec![mistake(source, 0, "it is not one expression".to_owned())]);
    };
    Ok(format!("export default (state) => {wrapped};"))
}

/// What is wrong with a job's source, if something is.
pub fn check(source: &str) -> Result<(), Vec<SyntaxMistake>> {
    compile(source).map(drop)
}

/// What is wrong with the source of an edge's condition, if something is.
pub fn check_expression(source: &str) -> Result<(), Vec<SyntaxMistake>> {
    compile_expression(source).map(drop)
}

fn parse<'a>(
    allocator: &'a Allocator,
    text: &'a str,
    source: &str,
) -> Result<Program<'a>, Vec<SyntaxMistake>> {
    let parsed = Parser::new(allocator, text, SourceType::mjs()).parse();
    if parsed.diagnostics.is_empty() {
        return Ok(parsed.program);
    }
    let mistakes = parsed.diagnostics.iter().map(|diagnostic| {
        let at = diagnostic.labels.first().map_or(0, |label| label.offset());
        mistake(source, at.min(source.len() as u32), diagnostic.message.to_string())
    });
    Err(mistakes.collect())
}

fn mistake(source: &str, at: u32, message: String) -> SyntaxMistake {
    let before = source.get(..at as usize).unwrap_or(source);
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) as u32 + 1;
    SyntaxMistake { line, column, message }
}

/// Everything but operations keeps its place; the operations come last, so that they see every declaration.
fn module_of(source: &str, program: &Program, edits: &Edits) -> String {
    let mut kept = String::new();
    let mut operations: Vec<String> = Vec::new();
    let mut given = None;
    for statement in &program.body {
        match statement {
            // Operations are global: there is nothing to import.
            Statement::ImportDeclaration(_)
            | Statement::ExportAllDeclaration(_)
            | Statement::ExportNamedDeclaration(_)
            | Statement::ExportFromDeclaration(_) => {}
            Statement::ExportDeclaration(export) => {
                keep(&mut kept, &edits.apply(source, export.declaration.span()));
            }
            Statement::ExportDefaultDeclaration(export) => {
                if let ExportDefaultDeclarationKind::ArrayExpression(array) = &export.declaration {
                    given = Some(edits.apply(source, array.span));
                }
            }
            Statement::ExpressionStatement(statement) => match &statement.expression {
                Expression::CallExpression(call) => operations.push(operation(source, call, edits)),
                _ => keep(&mut kept, &edits.apply(source, statement.span)),
            },
            other => keep(&mut kept, &edits.apply(source, other.span())),
        }
    }
    let operations = given.unwrap_or_else(|| format!("[\n{}\n]", operations.join(",\n")));
    format!("export default function () {{\n{kept}return {operations};\n}}\n")
}

fn keep(kept: &mut String, text: &str) {
    kept.push_str(text);
    kept.push('\n');
}

/// The text of an operation; with a chain of promises behind it, one that starts when the operation runs.
fn operation(source: &str, call: &CallExpression, edits: &Edits) -> String {
    let base = chain_base(call);
    if base == call.span {
        return edits.apply(source, call.span);
    }
    let rest = Span::new(base.end, call.span.end);
    format!("defer({}, p => p{})", edits.apply(source, base), edits.apply(source, rest))
}

fn chain_base(call: &CallExpression) -> Span {
    if let Expression::StaticMemberExpression(member) = &call.callee
        && matches!(member.property.name.as_str(), "then" | "catch" | "finally")
        && let Expression::CallExpression(inner) = &member.object
    {
        return chain_base(inner);
    }
    call.span
}
