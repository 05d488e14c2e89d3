//! A script: a job's source, made into a module that returns its operations.
//!
//! Source of the rules: OpenFn's compiler (top-level operations, lazy state, promises). Calls at the top level are
//! collected in order; `$.a` in an argument becomes `state => state.a`; `op().then(f)` is deferred until it is run.

mod deep;
mod edit;
mod lazy;
mod module;
mod promise;

use oxc_allocator::Allocator;
use oxc_ast::ast::{Expression, Program, Statement};
use oxc_parser::Parser;
use oxc_span::{SourceType, Span};

use super::{language, sandbox};
use deep::with_stack;
use edit::Edits;
use module::Module;

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

/// A module for the sandbox.
#[derive(Debug)]
pub struct Script {
    /// Its text.
    pub text: String,
    /// For each of its lines the line of the source it was made from; 0 where there is none.
    pub lines: Vec<u32>,
    /// The parts of the language that it may use.
    pub parts: language::Parts,
}

impl Script {
    /// The line of the source behind a line of the module.
    pub fn source_line(&self, line: u32) -> Option<u32> {
        let found = self.lines.get((line as usize).checked_sub(1)?).copied();
        found.filter(|line| *line > 0)
    }
}

/// What makes a source unfit, and where.
type Refusal = (Span, String);

/// Compiles a job to a module whose default export returns its operations.
pub fn compile(source: &str) -> Result<Script, Vec<SyntaxMistake>> {
    with_stack(source, || compile_job(source))
}

fn compile_job(source: &str) -> Result<Script, Vec<SyntaxMistake>> {
    let allocator = Allocator::default();
    let program = parse(&allocator, source, source, 0)?;
    let mut edits = Edits::default();
    promise::collect(&program, &mut edits);
    lazy::collect(&program, &mut edits)
        .map_err(|(span, message)| vec![mistake(source, span.start, message)])?;
    edits.sort();
    let Module { text, lines, .. } = module::of_job(source, &program, &edits);
    let parts = language::Parts::of(&program, &text);
    Ok(Script { text, lines, parts })
}

/// Compiles an edge's condition to a module whose default export is a function of `state`.
pub fn compile_expression(source: &str) -> Result<Script, Vec<SyntaxMistake>> {
    with_stack(source, || compile_condition(source))
}

fn compile_condition(source: &str) -> Result<Script, Vec<SyntaxMistake>> {
    let several = || vec![mistake(source, 0, "it is not one expression".to_owned())];
    let bare = source.trim_end().trim_end_matches(';');
    let wrapped = format!("({bare}\n)");
    let allocator = Allocator::default();
    // One character was put before the source.
    let program = parse(&allocator, &wrapped, source, 1)?;
    let [Statement::ExpressionStatement(statement)] = &program.body[..] else {
        return Err(several());
    };
    let Expression::ParenthesizedExpression(whole) = &statement.expression else {
        return Err(several());
    };
    if (whole.span.end as usize) < wrapped.len() {
        return Err(several());
    }
    let text = format!("export default (state) => {wrapped};");
    let lines = (1..=text.lines().count() as u32).collect();
    let parts = language::Parts::of(&program, &text);
    Ok(Script { text, lines, parts })
}

/// What is wrong with a job's source, if something is.
pub fn check(source: &str) -> Result<(), Vec<SyntaxMistake>> {
    load(compile(source)?)
}

/// What is wrong with the source of an edge's condition, if something is.
pub fn check_expression(source: &str) -> Result<(), Vec<SyntaxMistake>> {
    load(compile_expression(source)?)
}

/// The sandbox has the last word on what it can load: a name declared twice, a `break` outside a loop.
fn load(script: Script) -> Result<(), Vec<SyntaxMistake>> {
    sandbox::load_error(&script).map_or(Ok(()), |(line, message)| {
        Err(vec![SyntaxMistake { line: line.unwrap_or(1), column: 1, message }])
    })
}

/// Parses a text that holds the source after so many bytes.
fn parse<'a>(
    allocator: &'a Allocator,
    text: &'a str,
    source: &str,
    before: u32,
) -> Result<Program<'a>, Vec<SyntaxMistake>> {
    let parsed = Parser::new(allocator, text, SourceType::mjs()).parse();
    if parsed.diagnostics.is_empty() {
        return Ok(parsed.program);
    }
    let mistakes = parsed.diagnostics.iter().map(|diagnostic| {
        let at = diagnostic.labels.first().map_or(0, |label| label.offset());
        mistake(source, at.saturating_sub(before).min(source.len() as u32), diagnostic.message.to_string())
    });
    Err(mistakes.collect())
}

fn mistake(source: &str, at: u32, message: String) -> SyntaxMistake {
    let before = source.get(..at as usize).unwrap_or(source);
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) as u32 + 1;
    SyntaxMistake { line, column, message }
}
