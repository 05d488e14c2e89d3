//! A body with places to fill in.
//!
//! Invariant: a filled body is as long as was asked, or longer where its text alone is longer. What fills it up differs
//! from body to body and hardly packs: the store packs what it writes, and a disk that is spared shows a rate that nobody has.

use super::random::hexadecimal;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Number,
    Key,
    Pad,
}

/// What stands in place of `{{number}}`, `{{key}}` and `{{pad}}`.
pub struct Filling<'a> {
    /// A number that no other request has.
    pub number: u64,
    /// The key that is drawn.
    pub key: &'a str,
    /// Bytes of the whole body.
    pub bytes: usize,
}

/// A body with places to fill in.
#[derive(Debug, Clone)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// JSON with a number, a key and a note that fills it up.
    pub fn standard() -> Self {
        let text = r#"{"id":"{{number}}","key":"{{key}}","patient":{"name":"Amina Juma","born":"1987-03-14"},"note":"{{pad}}"}"#;
        Self::parse(text).expect("our own template is whole")
    }

    /// The same for short bodies.
    pub fn short() -> Self {
        Self::parse(r#"{"n":{{number}},"key":"{{key}}","x":"{{pad}}"}"#).expect("our own template is whole")
    }

    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                return Err("a `{{` is not closed by `}}`".to_owned());
            };
            pieces.push(Piece::Text(before.as_bytes().to_vec()));
            pieces.push(match name.trim() {
                "number" => Piece::Number,
                "key" => Piece::Key,
                "pad" => Piece::Pad,
                other => return Err(format!("`{{{{{other}}}}}` is none of number, key, pad")),
            });
            rest = behind;
        }
        pieces.push(Piece::Text(rest.as_bytes().to_vec()));
        if pieces.iter().filter(|piece| **piece == Piece::Pad).count() > 1 {
            return Err("`{{pad}}` may stand once".to_owned());
        }
        Ok(Self { pieces })
    }

    /// Writes a body.
    pub fn fill(&self, filling: &Filling<'_>, body: &mut Vec<u8>) {
        body.clear();
        let mut pad_at = None;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => body.extend_from_slice(text),
                Piece::Number => write_number(filling.number, body),
                Piece::Key => body.extend_from_slice(filling.key.as_bytes()),
                Piece::Pad => pad_at = Some(body.len()),
            }
        }
        if let Some(at) = pad_at {
            let missing = filling.bytes.saturating_sub(body.len());
            body.splice(at..at, hexadecimal(filling.number).take(missing));
        }
    }
}

/// Decimal digits, without the machinery of formatting: this is on the path of every request.
pub fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::{Filling, Template};

    fn fill(template: &Template, bytes: usize) -> String {
        let mut body = Vec::new();
        template.fill(&Filling { number: 1_234_567_890, key: "k-7", bytes }, &mut body);
        String::from_utf8(body).expect("a template is text")
    }

    #[test]
    fn a_body_is_json_and_as_long_as_was_asked() {
        let body = fill(&Template::standard(), 300);
        assert_eq!(body.len(), 300);
        let body: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
        assert_eq!(body["id"], "1234567890");
        assert_eq!(body["key"], "k-7");
    }

    #[test]
    fn bodies_are_filled_with_what_does_not_pack() {
        let (template, mut body, mut all) = (Template::standard(), Vec::new(), Vec::new());
        for number in 0..256 {
            template.fill(&Filling { number, key: "", bytes: 1_000 }, &mut body);
            all.extend_from_slice(&body);
        }
        let packed = lz4_flex::compress(&all).len();
        assert!(packed > all.len() * 3 / 4, "{packed} of {}", all.len());
    }

    #[test]
    fn a_template_with_more_text_than_was_asked_stays_whole() {
        assert_eq!(fill(&Template::short(), 2), r#"{"n":1234567890,"key":"k-7","x":""}"#);
        assert!(fill(&Template::standard(), 2).ends_with(r#""note":""}"#));
    }

    #[test]
    fn a_mistake_in_a_template_is_named() {
        for (text, mistake) in [
            ("{{nubmer}}", "`{{nubmer}}` is none of number, key, pad"),
            ("{{pad", "a `{{` is not closed by `}}`"),
            ("{{pad}}{{pad}}", "`{{pad}}` may stand once"),
        ] {
            assert_eq!(Template::parse(text).expect_err("it has a mistake"), mistake);
        }
    }
}
