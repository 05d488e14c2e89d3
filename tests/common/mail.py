#!/usr/bin/env python3
"""A real mail server, aiosmtpd's, that takes messages only over TLS and from whoever logs in.

    pip install aiosmtpd==1.4.6
    python3 mail.py starttls|implicit|refuse CERTIFICATE KEY

It prints its port, and then a line of JSON for each message that it took or refused. The login is `ward` with `p@ss:w0rd`.
"""

import asyncio
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if MODE == "refuse":
            say({"refused": address})
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 well"

    async def handle_DATA(self, server, session, envelope):
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or MODE == "implicit",
            "login": session.auth_data,
            "message": envelope.content.decode(),
        })
        return "250 taken"


def say(line):
    print(json.dumps(line), flush=True)


def authenticate(server, session, envelope, mechanism, data):
    is_known = (data.login, data.password) == (b"ward", b"p@ss:w0rd")
    return AuthResult(success=is_known, handled=False, auth_data=data.login.decode())


def server():
    starts = MODE != "implicit"
    return SMTP(
        Handler(),
        hostname="localhost",
        tls_context=CONTEXT if starts else None,
        require_starttls=starts,
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=starts,
    )


async def main():
    loop = asyncio.get_running_loop()
    implicit = CONTEXT if MODE == "implicit" else None
    listener = await loop.create_server(server, "127.0.0.1", 0, ssl=implicit)
    print(listener.sockets[0].getsockname()[1], flush=True)
    # Whoever started it closes this end, also by dying.
    await loop.run_in_executor(None, sys.stdin.read)


# It warns of a login without STARTTLS, where TLS was there from the start, and of names of its own that will go.
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
MODE = sys.argv[1]
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(sys.argv[2], sys.argv[3])
asyncio.run(main())
