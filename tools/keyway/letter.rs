//! A dead letter, whole: where it came from, why it is one, and its payload as text or in hexadecimal.
//!
//! Invariant: what is printed raw is the payload byte for byte; all else cannot steer a terminal.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{args::ShowDeadLetter, client::Client, failure::Failure, print::Printer};

/// Most bytes of a payload that are shown to people; `--raw` prints all of it.
const PAYLOAD_BYTES_SHOWN_MAX: usize = 64 << 10;
/// Bytes on a line in hexadecimal.
const LINE_BYTES: usize = 16;

/// Shows one dead letter.
pub fn show(client: &Client, which: &ShowDeadLetter, out: &mut Printer) -> Result<(), Failure> {
    let mut letter = client.item(&format!("/api/dead_letters/{}", which.id), &[])?;
    let payload = letter.attribute("body_base64").as_str().map(|text| STANDARD.decode(text));
    let unreadable = |_| Failure::Failed("the server's base64 cannot be read".to_owned());
    let payload = payload.transpose().map_err(unreadable)?;
    if which.raw {
        out.bytes(&payload.unwrap_or_default())?;
        return out.flush();
    }
    if out.is_json() {
        out.show(&letter)?;
        return out.flush();
    }
    letter.attributes.remove("body_base64");
    if letter.attribute("source").as_object().is_some_and(|source| source.values().all(Value::is_null)) {
        letter.attributes.remove("source");
    }
    out.show(&letter)?;
    match payload {
        None => out.line("\npayload: null")?,
        Some(payload) => {
            let shown = &payload[..payload.len().min(PAYLOAD_BYTES_SHOWN_MAX)];
            out.line(&format!("\npayload: {} bytes", payload.len()))?;
            text_of(shown).lines().try_for_each(|line| out.line(line))?;
            if shown.len() < payload.len() {
                out.line(&format!("... the first {} bytes; --raw prints all", shown.len()))?;
            }
        }
    }
    out.flush()
}

/// A payload as text if it is text, else in hexadecimal.
fn text_of(payload: &[u8]) -> String {
    // A character that was cut in two at the end is no reason to call the rest no text.
    let text = match std::str::from_utf8(payload) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&payload[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let is_plain = |character: char| !character.is_control() || "\n\r\t".contains(character);
    match text.filter(|text| text.chars().all(is_plain)) {
        Some(text) => text.to_owned(),
        None => {
            payload.chunks(LINE_BYTES).enumerate().map(|(index, line)| hexadecimal(index, line)).collect()
        }
    }
}

fn hexadecimal(index: usize, line: &[u8]) -> String {
    let mut text = format!("{:08x}  ", index * LINE_BYTES);
    for position in 0..LINE_BYTES {
        match line.get(position) {
            Some(byte) => write!(text, "{byte:02x} ").expect("a string takes it"),
            None => text.push_str("   "),
        }
    }
    text.push(' ');
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    text.extend(line.iter().map(shown));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::text_of;

    #[test]
    fn a_payload_is_shown_as_text_where_it_is_text() {
        assert_eq!(text_of("{\"ä\": 1}".as_bytes()), "{\"ä\": 1}");
        assert_eq!(text_of(&"ä".as_bytes()[..1]), "");
    }

    #[test]
    fn a_payload_that_is_no_text_is_shown_in_hexadecimal() {
        let expected = "00000000  00 ff 41                                         ..A\n";
        assert_eq!(text_of(b"\x00\xffA"), expected);
        assert_eq!(text_of(&[7; 17]).lines().count(), 2);
    }
}
