//! Edits: text that is put into a source at its places, and text that is taken out.

use oxc_span::Span;

/// Where in a pile of edits at the same place one belongs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Ends what stands before the place.
    Close,
    /// Begins what stands after it.
    Open,
    /// Takes its place.
    Replace,
}

struct Edit {
    at: u32,
    rank: Rank,
    /// The nearer to the place, the later it opens and the sooner it closes.
    depth: i8,
    left_out: u32,
    put_in: &'static str,
}

/// Changes to a source, by place.
#[derive(Default)]
pub struct Edits(Vec<Edit>);

impl Edits {
    /// Puts text around a span; the greater depth is the inner one of two at the same span.
    pub fn wrap(&mut self, span: Span, depth: i8, before: &'static str, after: &'static str) {
        self.0.push(Edit { at: span.start, rank: Rank::Open, depth, left_out: 0, put_in: before });
        self.close(span.end, depth, after);
    }

    /// Puts text behind what ends at a place.
    pub fn close(&mut self, at: u32, depth: i8, put_in: &'static str) {
        self.0.push(Edit { at, rank: Rank::Close, depth: -depth, left_out: 0, put_in });
    }

    /// Puts text in the place of a span.
    pub fn replace(&mut self, span: Span, put_in: &'static str) {
        self.0.push(Edit { at: span.start, rank: Rank::Replace, depth: 0, left_out: span.size(), put_in });
    }

    /// Brings them into the order in which they are applied.
    pub fn sort(&mut self) {
        self.0.sort_by_key(|edit| (edit.at, edit.rank, edit.depth));
    }

    /// The text of a span with the changes that lie in it.
    pub fn apply(&self, source: &str, span: Span) -> String {
        let mut text = String::with_capacity(span.size() as usize + 16);
        let mut at = span.start;
        let first = self.0.partition_point(|edit| edit.at < span.start);
        for edit in self.0[first..].iter().take_while(|edit| edit.at <= span.end) {
            let inside = match edit.rank {
                Rank::Close => span.start < edit.at && edit.at <= span.end,
                Rank::Open | Rank::Replace => span.start <= edit.at && edit.at < span.end,
            };
            if inside {
                text.push_str(&source[at as usize..edit.at as usize]);
                text.push_str(edit.put_in);
                at = edit.at + edit.left_out;
            }
        }
        text.push_str(&source[at as usize..span.end as usize]);
        text
    }
}
