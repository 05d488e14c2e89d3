//! Lazy state: `$` in an argument stands for the state that the operation will be given.

use std::collections::HashSet;

use oxc_ast::{
    AstKind,
    ast::{BindingPattern, CallExpression, Expression, FormalParameters, Program, Statement},
};
use oxc_ast_visit::Visit;
use oxc_span::{GetSpan, Span};

use super::{Refusal, edit::Edits};

/// Functions and namespaces that want a value, so that OpenFn's rule, the nearest call, would hand them a function.
const PLAIN: &[&str] = &[
    "Array",
    "BigInt",
    "Boolean",
    "Date",
    "Error",
    "JSON",
    "Math",
    "Number",
    "Object",
    "Promise",
    "Reflect",
    "RegExp",
    "String",
    "Symbol",
    "_",
    "arrayToString",
    "asData",
    "atob",
    "btoa",
    "chunk",
    "console",
    "dateFns",
    "decodeURI",
    "decodeURIComponent",
    "encodeURI",
    "encodeURIComponent",
    "humanProper",
    "isFinite",
    "isNaN",
    "jsonValue",
    "parseFloat",
    "parseInt",
    "scrubEmojis",
    "splitKeys",
    "structuredClone",
    "toArray",
    "util",
];

/// Makes every argument with a `$` in it lazy.
pub fn collect(program: &Program, edits: &mut Edits) -> Result<(), Refusal> {
    let mut walk = Walk {
        declared: program.body.iter().flat_map(names_declared_by).collect(),
        ancestors: Vec::new(),
        own: Vec::new(),
        found: Vec::new(),
        refusal: None,
    };
    walk.visit_program(program);
    if let Some(refusal) = walk.refusal {
        return Err(refusal);
    }
    let mut wrapped: HashSet<Span> = HashSet::new();
    for (dollar, place) in walk.found {
        if walk.own.iter().any(|function| function.contains_inclusive(dollar)) {
            continue;
        }
        let place = place.map_err(|message| (dollar, message))?;
        edits.replace(dollar, "state");
        if let Place::Argument(span) = place
            && wrapped.insert(span)
        {
            edits.wrap(span, 1, "(state) => (", ")");
        }
    }
    Ok(())
}

/// Where a `$` stands.
enum Place {
    /// In a function of `state`.
    Function,
    /// In this argument.
    Argument(Span),
}

struct Walk<'a> {
    /// Names that the job declares at its top level.
    declared: Vec<&'a str>,
    ancestors: Vec<AstKind<'a>>,
    /// Functions that declare a `$` of their own.
    own: Vec<Span>,
    found: Vec<(Span, Result<Place, String>)>,
    refusal: Option<Refusal>,
}

impl<'a> Visit<'a> for Walk<'a> {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        match kind {
            AstKind::BindingIdentifier(binding) if binding.name == "$" => self.declares(binding.span),
            AstKind::IdentifierReference(reference) if reference.name == "$" => {
                let place = self.place(reference.span);
                self.found.push((reference.span, place));
            }
            _ => {}
        }
        self.ancestors.push(kind);
    }

    fn leave_node(&mut self, _: AstKind<'a>) {
        self.ancestors.pop();
    }
}

impl Walk<'_> {
    fn declares(&mut self, binding: Span) {
        let function = self
            .ancestors
            .iter()
            .rev()
            .find(|kind| matches!(kind, AstKind::Function(_) | AstKind::ArrowFunctionExpression(_)));
        match function {
            Some(function) => self.own.push(function.span()),
            None => {
                let message = "`$` stands for the state and cannot be declared here".to_owned();
                self.refusal.get_or_insert((binding, message));
            }
        }
    }

    /// The argument that becomes a function of `state`.
    fn place(&self, dollar: Span) -> Result<Place, String> {
        let mut outermost = None;
        for ancestor in self.ancestors.iter().rev() {
            match ancestor {
                AstKind::ArrowFunctionExpression(arrow) if is_of_state(&arrow.params) => {
                    return Ok(Place::Function);
                }
                AstKind::Function(function) if is_of_state(&function.params) => return Ok(Place::Function),
                AstKind::CallExpression(call) => {
                    let holds = |span: Span| span.contains_inclusive(dollar);
                    let Some(argument) = call.arguments.iter().find(|it| holds(it.span())) else { continue };
                    let function = matches!(
                        argument.as_expression(),
                        Some(Expression::ArrowFunctionExpression(_) | Expression::FunctionExpression(_))
                    );
                    outermost = Some((argument.span(), function));
                    if !self.is_plain(call) {
                        break;
                    }
                }
                _ => {}
            }
        }
        match outermost {
            Some((_, true)) => {
                Err("a function with `$` in it must have one parameter, called `state`".to_owned())
            }
            Some((span, false)) => Ok(Place::Argument(span)),
            None => Err("`$` must be part of an argument of an operation".to_owned()),
        }
    }

    /// Whether a call wants the value itself: a built-in function, or a method of a value.
    fn is_plain(&self, call: &CallExpression) -> bool {
        if let Expression::Identifier(name) = &call.callee {
            return PLAIN.contains(&name.name.as_str());
        }
        let mut root = &call.callee;
        loop {
            root = match root.without_parentheses() {
                Expression::StaticMemberExpression(member) => &member.object,
                Expression::ComputedMemberExpression(member) => &member.object,
                Expression::Identifier(name) => {
                    let name = name.name.as_str();
                    return name == "$" || PLAIN.contains(&name) || self.declared.contains(&name);
                }
                _ => return true,
            };
        }
    }
}

fn is_of_state(params: &FormalParameters) -> bool {
    let [param] = &params.items[..] else { return false };
    param.pattern.get_identifier_name().is_some_and(|name| name == "state")
}

fn names_declared_by<'a>(statement: &Statement<'a>) -> Vec<&'a str> {
    let name_of = |pattern: &BindingPattern<'a>| pattern.get_identifier_name().map(|name| name.as_str());
    match statement {
        Statement::VariableDeclaration(variables) => {
            variables.declarations.iter().filter_map(|variable| name_of(&variable.id)).collect()
        }
        _ => Vec::new(),
    }
}
