//! The messages of a bench, one after the other.
//!
//! Invariant: each says when it was due, in microseconds since 1970, or its number where that does not matter.

use super::broker::Broker;
use crate::{
    args::bench::Kafka,
    bench::load::{
        random::{Random, Zipf},
        template::{Filling, Template},
    },
    failure::Failure,
};

/// What stands before the time or the number.
const SENT: &str = r#"{"sent":"#;

/// Messages that are sent.
pub struct Messages {
    template: Template,
    bytes: usize,
    keys: Option<Zipf>,
    random: Random,
    value: Vec<u8>,
}

impl Messages {
    /// Those that the flags ask for.
    pub fn new(flags: &Kafka) -> Self {
        Self {
            template: template(),
            bytes: flags.body_bytes as usize,
            keys: flags.keys.map(|keys| Zipf::new(keys, flags.zipf)),
            random: Random::new(1),
            value: Vec::new(),
        }
    }

    /// Sends a message that says when it was due; its number where that is zero.
    pub fn send(&mut self, broker: &Broker, number: u64, due_us: u64) -> Result<(), Failure> {
        let key = self.keys.as_ref().map(|keys| format!("k-{}", keys.next(&mut self.random)));
        let number = if due_us > 0 { due_us } else { number };
        self.template.fill(&Filling { number, key: "", bytes: self.bytes }, &mut self.value);
        broker.send(key.as_deref(), &self.value)
    }
}

/// How a message looks.
pub fn template() -> Template {
    Template::parse(&format!("{SENT}{{{{number}}}},\"pad\":\"{{{{pad}}}}\"}}"))
        .expect("our own template is whole")
}

/// When a message was due, as it says itself.
pub fn due_us(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(SENT.as_bytes())?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{due_us, template};
    use crate::bench::load::template::Filling;

    #[test]
    fn a_message_says_when_it_was_due() {
        let mut value = Vec::new();
        template().fill(&Filling { number: 1_764_130_000_000_001, key: "", bytes: 300 }, &mut value);
        assert_eq!(due_us(&value), Some(1_764_130_000_000_001));
        assert_eq!(due_us(b"{\"sent\":}"), None);
        assert_eq!(due_us(b"{\"other\":1}"), None);
    }
}
