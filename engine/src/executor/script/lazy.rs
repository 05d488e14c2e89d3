//! Lazy state: `$` in an argument stands for the state that the operation will be given.

use oxc_ast::{AstKind, ast::Program};
use oxc_ast_visit::Visit;
use oxc_span::{GetSpan, Span};

/// Changes to a source, by place.
#[derive(Default)]
pub struct Edits {
    /// Place, bytes to leave out, text to put in.
    edits: Vec<(u32, u32, &'static str)>,
}

type Refusal = (Span, String);

impl Edits {
    /// Finds every `$` and the argument that it makes lazy.
    pub fn collect(program: &Program) -> Result<Self, Refusal> {
        let mut walk =
            Walk { ancestors: Vec::new(), edits: Self::default(), wrapped: Vec::new(), refusal: None };
        walk.visit_program(program);
        match walk.refusal {
            Some(refusal) => Err(refusal),
            None => {
                // What is put in goes before what it wraps.
                walk.edits.edits.sort_by_key(|(at, left_out, _)| (*at, *left_out));
                Ok(walk.edits)
            }
        }
    }

    /// The text of a span with the changes that lie in it.
    pub fn apply(&self, source: &str, span: Span) -> String {
        let mut text = String::with_capacity(span.size() as usize + 16);
        let mut at = span.start;
        for (place, left_out, put_in) in &self.edits {
            if *place < span.start || *place > span.end || *place == span.end && *left_out > 0 {
                continue;
            }
            text.push_str(&source[at as usize..*place as usize]);
            text.push_str(put_in);
            at = place + left_out;
        }
        text.push_str(&source[at as usize..span.end as usize]);
        text
    }
}

struct Walk<'a> {
    ancestors: Vec<AstKind<'a>>,
    edits: Edits,
    wrapped: Vec<Span>,
    refusal: Option<Refusal>,
}

impl<'a> Visit<'a> for Walk<'a> {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        match kind {
            AstKind::BindingIdentifier(binding) if binding.name == "$" => self.shadowed(),
            AstKind::IdentifierReference(reference) if reference.name == "$" => self.found(reference.span),
            _ => {}
        }
        self.ancestors.push(kind);
    }

    fn leave_node(&mut self, _: AstKind<'a>) {
        self.ancestors.pop();
    }
}

impl Walk<'_> {
    /// A job that declares its own `$` means that one, everywhere.
    fn shadowed(&mut self) {
        self.refusal = Some((Span::new(0, 0), "`$` stands for the state and cannot be declared".to_owned()));
    }

    fn found(&mut self, dollar: Span) {
        let Some(argument) = self.argument_around(dollar) else {
            let message = "`$` must be part of an argument of an operation".to_owned();
            self.refusal.get_or_insert((dollar, message));
            return;
        };
        self.edits.edits.push((dollar.start, dollar.size(), "state"));
        let (span, open) = argument;
        if open && !self.wrapped.contains(&span) {
            self.wrapped.push(span);
            self.edits.edits.push((span.start, 0, "(state) => ("));
            self.edits.edits.push((span.end, 0, ")"));
        }
    }

    /// The argument of the nearest call that holds a place, and whether it must be wrapped.
    fn argument_around(&self, place: Span) -> Option<(Span, bool)> {
        for ancestor in self.ancestors.iter().rev() {
            match ancestor {
                AstKind::ArrowFunctionExpression(arrow) => {
                    // Inside `state => ...` there is a state already.
                    let named = arrow.params.items.first().is_some_and(|param| {
                        param.pattern.get_identifier_name().is_some_and(|name| name == "state")
                    });
                    if named {
                        return Some((arrow.span, false));
                    }
                }
                AstKind::CallExpression(call) => {
                    let holds = |span: Span| span.start <= place.start && place.end <= span.end;
                    if let Some(argument) = call.arguments.iter().find(|argument| holds(argument.span())) {
                        return Some((argument.span(), true));
                    }
                }
                _ => {}
            }
        }
        None
    }
}
