//! Signs bodies as the senders of webhooks do.
//!
//! Invariant: the key is set up once; a request costs one pass over its body.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use keyway_ingest::trigger::webhook::auth::signature::standard_key;
use sha2::Sha256;

use super::template::write_number;
use crate::args::bench::Signing;

/// Signs under one secret.
#[derive(Clone)]
pub struct Signer {
    signing: Signing,
    mac: Hmac<Sha256>,
}

impl Signer {
    /// A signer; `None` when the secret is not what its scheme says.
    pub fn new(signing: Signing, secret: &str) -> Option<Self> {
        let key = match signing {
            Signing::Github | Signing::Stripe => secret.as_bytes().to_vec(),
            Signing::StandardWebhooks => standard_key(secret)?,
        };
        Some(Self { signing, mac: Hmac::new_from_slice(&key).expect("HMAC takes keys of every length") })
    }

    /// Writes the headers of a signed body; `id` names the message, `seconds` is its time.
    pub fn write(&self, id: &str, seconds: u64, body: &[u8], out: &mut Vec<u8>) {
        let mut time = Vec::with_capacity(20);
        write_number(seconds, &mut time);
        let sign = |parts: &[&[u8]]| {
            let mut mac = self.mac.clone();
            parts.iter().for_each(|part| mac.update(part));
            <[u8; 32]>::from(mac.finalize().into_bytes())
        };
        let hex = |signature: [u8; 32]| {
            let mut text = [0; 64];
            base16ct::lower::encode(&signature, &mut text).expect("the text has room for both digits");
            text
        };
        let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        match self.signing {
            Signing::Github => write(&[b"x-hub-signature-256: sha256=", &hex(sign(&[body])), b"\r\n"]),
            Signing::Stripe => {
                let signature = hex(sign(&[&time, b".", body]));
                write(&[b"stripe-signature: t=", &time, b",v1=", &signature, b"\r\n"]);
            }
            Signing::StandardWebhooks => {
                let signature = STANDARD.encode(sign(&[id.as_bytes(), b".", &time, b".", body]));
                write(&[b"webhook-id: ", id.as_bytes(), b"\r\nwebhook-timestamp: ", &time]);
                write(&[b"\r\nwebhook-signature: v1,", signature.as_bytes(), b"\r\n"]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Signer;
    use crate::args::bench::Signing;

    #[test]
    fn the_documented_example_of_github_is_signed_alike() {
        let signer = Signer::new(Signing::Github, "It's a Secret to Everybody").expect("any text will do");
        let mut out = Vec::new();
        signer.write("", 0, b"Hello, World!", &mut out);
        let expected = "x-hub-signature-256: \
            sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn the_documented_example_of_standard_webhooks_is_signed_alike() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signer = Signer::new(Signing::StandardWebhooks, secret).expect("it is base64");
        let mut out = Vec::new();
        signer.write("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(
            text.ends_with("webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n"),
            "{text}"
        );
        assert!(Signer::new(Signing::StandardWebhooks, "not base64!").is_none());
    }
}
