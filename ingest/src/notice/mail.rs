//! Notices by e-mail.

use std::time::Duration;

use keyway_engine::project::Email;
use keyway_storage::limits::NOTICE_TIMEOUT_MS;
use lettre::{Message, SmtpTransport, Transport, message::header::ContentType};

use super::Notice;

/// Sends a notice to all recipients in one message.
///
/// `smtps://` speaks TLS from the start; `smtp://` switches to it where the server offers it (STARTTLS, RFC 3207), and
/// insists with `?tls=required`.
pub fn send(email: &Email, notice: &Notice) -> Result<(), String> {
    let url = email.smtp_url.as_ref().map_err(|_| "e-mail: the secret of smtp_url is missing".to_owned())?;
    let failed = |error: &dyn std::fmt::Display| format!("e-mail: {}", words(error, &url.0));
    let message = message(email, notice).map_err(|error| failed(&error))?;
    let plain = url.0.starts_with("smtp://") && !url.0.contains("tls=");
    let with_tls = if plain {
        format!("{}{}tls=opportunistic", url.0, if url.0.contains('?') { '&' } else { '?' })
    } else {
        url.0.clone()
    };
    let builder = SmtpTransport::from_url(&with_tls).map_err(|error| failed(&error))?;
    let transport = builder.timeout(Some(Duration::from_millis(NOTICE_TIMEOUT_MS))).build();
    transport.send(&message).map(drop).map_err(|error| failed(&error))
}

fn message(email: &Email, notice: &Notice) -> Result<Message, Box<dyn std::error::Error>> {
    let mut builder =
        Message::builder().from(email.from.parse()?).subject(&notice.title).header(ContentType::TEXT_PLAIN);
    for address in &email.to {
        builder = builder.to(address.parse()?);
    }
    Ok(builder.body(notice.text.clone())?)
}

/// An error in words that do not show the URL, which holds a password.
pub(super) fn words(error: &dyn std::fmt::Display, url: &str) -> String {
    error.to_string().replace(url, "[REDACTED]")
}
