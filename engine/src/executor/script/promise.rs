//! Chains: an operation with `.then` and `.catch` behind it starts only when it is its turn.

use std::collections::HashSet;

use oxc_ast::{
    AstKind,
    ast::{CallExpression, Expression, Program},
};
use oxc_ast_visit::Visit;
use oxc_span::{GetSpan, Span};

use super::edit::Edits;

/// Defers every chain that is not inside a function.
pub fn collect(program: &Program, edits: &mut Edits) {
    let mut walk = Walk { functions: 0, seen: HashSet::new(), edits };
    walk.visit_program(program);
}

struct Walk<'e> {
    /// How many functions and classes are around the place.
    functions: usize,
    /// Links of chains that were dealt with from their end.
    seen: HashSet<Span>,
    edits: &'e mut Edits,
}

impl<'a> Visit<'a> for Walk<'_> {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        match kind {
            AstKind::CallExpression(call) if self.functions == 0 => self.call(call),
            _ if is_closed(kind) => self.functions += 1,
            _ => {}
        }
    }

    fn leave_node(&mut self, kind: AstKind<'a>) {
        self.functions -= usize::from(is_closed(kind));
    }
}

fn is_closed(kind: AstKind) -> bool {
    matches!(kind, AstKind::Function(_) | AstKind::ArrowFunctionExpression(_) | AstKind::Class(_))
}

impl Walk<'_> {
    fn call(&mut self, end: &CallExpression) {
        if self.seen.contains(&end.span) {
            return;
        }
        let (mut link, mut first) = (end, None);
        while let Some(inner) = link_before(link) {
            self.seen.insert(link.span);
            first = Some(link);
            link = inner;
        }
        let Some(first) = first else { return };
        if is_promise(link) {
            return;
        }
        self.edits.wrap(end.span, 0, "defer(", ")");
        self.edits.close(link.span.end, 0, ", (__promise, __state) => __promise");
        // As in OpenFn, a `catch` right behind the operation is given the state too.
        if is_called(first, "catch")
            && let [handler] = &first.arguments[..]
        {
            self.edits.wrap(handler.span(), 0, "(__error) => (", ")(__error, __state)");
        }
    }
}

/// The call that `.then`, `.catch` or `.finally` is called on.
fn link_before<'a, 'b>(call: &'b CallExpression<'a>) -> Option<&'b CallExpression<'a>> {
    let Expression::StaticMemberExpression(member) = &call.callee else { return None };
    let Expression::CallExpression(inner) = &member.object else { return None };
    matches!(member.property.name.as_str(), "then" | "catch" | "finally").then_some(&**inner)
}

fn is_called(call: &CallExpression, name: &str) -> bool {
    matches!(&call.callee, Expression::StaticMemberExpression(member) if member.property.name == name)
}

/// A promise that the job makes itself: nothing to defer.
fn is_promise(call: &CallExpression) -> bool {
    matches!(&call.callee, Expression::StaticMemberExpression(member)
        if matches!(&member.object, Expression::Identifier(object) if object.name == "Promise"))
}
