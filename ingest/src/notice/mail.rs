//! Notices by e-mail.

use std::time::Duration;

use keyway_engine::project::Email;
use lettre::{
    Message, SmtpTransport, Transport,
    message::header::ContentType,
    transport::smtp::{
        SmtpTransportBuilder,
        client::{Certificate, Tls, TlsParameters},
    },
};

use super::Notice;

/// Sends a notice to all recipients in one message.
///
/// `smtps://` speaks TLS from the start; `smtp://` switches to it where the server offers it (STARTTLS, RFC 3207), and
/// insists with `?tls=required`. The server's certificate must be signed by a public authority, or one of `smtp_ca`.
pub fn send(email: &Email, notice: &Notice, timeout: Duration) -> Result<(), String> {
    let url = email.smtp_url.as_ref().map_err(|_| "e-mail: the secret of smtp_url is missing".to_owned())?;
    let failed = |error: &dyn std::fmt::Display| format!("e-mail: {}", words(error, &url.0));
    let message = message(email, notice).map_err(|error| failed(&error))?;
    let plain = url.0.starts_with("smtp://") && !url.0.contains("tls=");
    let with_tls = if plain {
        format!("{}{}tls=opportunistic", url.0, if url.0.contains('?') { '&' } else { '?' })
    } else {
        url.0.clone()
    };
    let mut builder = SmtpTransport::from_url(&with_tls).map_err(|error| failed(&error))?;
    if let Some(ca) = &email.smtp_ca {
        let ca = ca.as_ref().map_err(|_| "e-mail: the certificates of smtp_ca are missing".to_owned())?;
        builder = trust(builder, &with_tls, &ca.0).map_err(|error| failed(&error))?;
    }
    let transport = builder.timeout(Some(timeout)).build();
    transport.send(&message).map(drop).map_err(|error| failed(&error))
}

/// Trusts these authorities too, where the URL speaks TLS.
fn trust(
    builder: SmtpTransportBuilder,
    url: &str,
    ca: &str,
) -> Result<SmtpTransportBuilder, Box<dyn std::error::Error>> {
    let parsed: hyper::Uri = url.parse()?;
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let mut parameters = TlsParameters::builder(host);
    for part in ca.split_inclusive("-----END CERTIFICATE-----").filter(|part| part.contains("BEGIN")) {
        parameters = parameters.add_root_certificate(Certificate::from_pem(part.as_bytes())?);
    }
    let parameters = parameters.build()?;
    Ok(match parsed.scheme_str() {
        Some("smtps") => builder.tls(Tls::Wrapper(parameters)),
        _ if url.contains("tls=required") => builder.tls(Tls::Required(parameters)),
        _ => builder.tls(Tls::Opportunistic(parameters)),
    })
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
