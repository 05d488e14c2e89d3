//! The language: the operations of `@openfn/language-common`, in parts that a run loads only where it names them.
//!
//! Absent is what needs network or Node: jobs that name it are told so where that can be seen.
//!
//! Invariant: a part comes after those that it builds on.

use oxc_ast::{
    AstKind,
    ast::{ImportDeclaration, ImportDeclarationSpecifier, Program},
};
use oxc_ast_visit::Visit;

/// The adaptors that jobs may name.
pub const ADAPTORS: &[&str] = &["@openfn/language-common"];

/// Whether jobs find this adaptor here, whatever version is asked for.
pub fn provides(adaptor: &str) -> bool {
    let name = match adaptor.rfind('@') {
        Some(at) if at > 0 => &adaptor[..at],
        _ => adaptor,
    };
    name.is_empty() || ADAPTORS.contains(&name)
}

/// Some names of the language with the source that defines them.
pub(super) struct Part {
    /// How the harness asks for it.
    pub name: &'static str,
    /// Its JavaScript.
    pub source: &'static str,
    /// What a job names where it needs it.
    names: &'static [&'static str],
    /// Indexes of the parts that it builds on.
    on: &'static [usize],
}

/// What every run needs.
pub(super) const HARNESS: &str = include_str!("language/harness.js");

/// lodash as it is published, with the one name under which it looks for its surroundings.
const LODASH: &str =
    concat!("const self = globalThis;\n", include_str!("language/lodash/lodash.min.js"), "\n");

/// All else, in the order in which it is loaded.
pub(super) const PARTS: [Part; 16] = [
    Part { name: "console", source: include_str!("language/console.js"), names: &["console"], on: &[] },
    Part { name: "trouble", source: include_str!("language/trouble.js"), names: &[], on: &[0] },
    Part {
        name: "timer",
        source: include_str!("language/timer.js"),
        names: &["clearInterval", "clearTimeout", "setInterval", "setTimeout"],
        on: &[],
    },
    Part { name: "compiled", source: include_str!("language/compiled.js"), names: &["eval"], on: &[] },
    Part { name: "path", source: include_str!("language/path.js"), names: &[], on: &[] },
    Part {
        name: "operation",
        source: include_str!("language/operation.js"),
        names: &[
            "alterState",
            "as",
            "asData",
            "assert",
            "beta",
            "combine",
            "composeNextState",
            "dataPath",
            "dataValue",
            "debug",
            "each",
            "execute",
            "expandReferences",
            "field",
            "fields",
            "fnIf",
            "group",
            "index",
            "join",
            "jsonValue",
            "lastReferenceValue",
            "log",
            "map",
            "merge",
            "referencePath",
            "source",
            "sourceValue",
        ],
        on: &[0, 4],
    },
    Part {
        name: "text",
        source: include_str!("language/text.js"),
        names: &["arrayToString", "chunk", "humanProper", "scrubEmojis", "splitKeys", "toArray"],
        on: &[0],
    },
    Part { name: "cursor", source: include_str!("language/cursor.js"), names: &["cursor"], on: &[0, 4, 5] },
    Part { name: "csv", source: include_str!("language/csv.js"), names: &["parseCsv"], on: &[0, 4, 5] },
    Part {
        name: "absent",
        source: include_str!("language/absent.js"),
        names: &["get", "http", "post", "request"],
        on: &[],
    },
    Part {
        name: "util",
        source: include_str!("language/util.js"),
        names: &["parseDate", "util"],
        on: &[0, 4, 5, 7, 9],
    },
    Part { name: "format", source: include_str!("language/format.js"), names: &[], on: &[] },
    Part { name: "reading", source: include_str!("language/reading.js"), names: &[], on: &[11] },
    Part { name: "date", source: include_str!("language/date.js"), names: &["dateFns"], on: &[11, 12] },
    Part { name: "schema", source: include_str!("language/schema.js"), names: &["validate"], on: &[0, 4, 5] },
    // No job loads it by its name: a variable of that name is mostly not lodash. The harness does where it is.
    Part { name: "lodash", source: LODASH, names: &[], on: &[2] },
];

/// A set of parts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Parts(u32);

impl Parts {
    /// All that jobs load by their names.
    const ALL: Self = Self((1 << (PARTS.len() - 1)) - 1);

    /// The parts that a program names, and what the compiler made of it calls.
    pub fn of(program: &Program, compiled: &str) -> Self {
        let mut names = Names::default();
        names.visit_program(program);
        let calls = ["defer(", "missing("].iter().any(|call| compiled.contains(call));
        if calls { names.0.with(Self::called("compiled")) } else { names.0 }
    }

    /// A part by its name, with those that it builds on.
    pub(super) fn called(name: &str) -> Self {
        PARTS.iter().position(|part| part.name == name).map_or(Self::default(), Self::with_its_base)
    }

    fn with_its_base(index: usize) -> Self {
        PARTS[index].on.iter().fold(Self(1 << index), |set, on| set.with(Self(1 << on)))
    }

    /// The indexes of those that another set lacks, in order.
    pub(super) fn missing_in(self, loaded: Self) -> impl Iterator<Item = usize> {
        (0..PARTS.len()).filter(move |index| self.0 & !loaded.0 & (1 << index) != 0)
    }

    /// Both sets together.
    #[must_use]
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn naming(name: &str) -> Self {
        if name == "globalThis" {
            return Self::ALL;
        }
        let part = PARTS.iter().position(|part| part.names.contains(&name));
        part.map_or(Self::default(), Self::with_its_base)
    }
}

#[derive(Default)]
struct Names(Parts);

impl<'a> Visit<'a> for Names {
    fn enter_node(&mut self, kind: AstKind<'a>) {
        match kind {
            AstKind::IdentifierReference(name) => self.0 = self.0.with(Parts::naming(&name.name)),
            AstKind::ImportDeclaration(import) => self.0 = self.0.with(imported(import)),
            _ => {}
        }
    }
}

fn imported(import: &ImportDeclaration) -> Parts {
    import.specifiers.iter().flatten().fold(Parts::default(), |set, specifier| {
        set.with(match specifier {
            ImportDeclarationSpecifier::ImportSpecifier(named) => Parts::naming(&named.imported.name()),
            ImportDeclarationSpecifier::ImportDefaultSpecifier(_)
            | ImportDeclarationSpecifier::ImportNamespaceSpecifier(_) => Parts::ALL,
        })
    })
}
