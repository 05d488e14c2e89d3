#!/usr/bin/env python3
"""Signs a few bodies with the official client libraries and prints them as JSON.

    pip install standardwebhooks==1.1.0 stripe==16.1.0
    python3 official.py 1785000000 > vectors.json      # the vectors that tests/ingest/signatures.rs reads
    python3 official.py now                            # requests of this moment, for a running keyway

Each vector: scheme, secret, time in seconds, headers, body.
"""

import json
import sys
import time
from datetime import datetime, timezone

import stripe
from standardwebhooks.webhooks import Webhook

BODIES = ["{}", '{"type":"contact.created","data":{"name":"Amina"}}', '{"emoji":"\u2713 \U0001f600","n":1e400}', ""]
STANDARD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
STRIPE_SECRET = "whsec_test_0123456789abcdefghij"


def standard(moment, body, index):
    identity = f"msg_{moment}_{index}"
    signature = Webhook(STANDARD_SECRET).sign(identity, datetime.fromtimestamp(moment, tz=timezone.utc), body)
    headers = {"webhook-id": identity, "webhook-timestamp": str(moment), "webhook-signature": signature}
    return {"scheme": "standard_webhooks", "secret": STANDARD_SECRET, "time": moment, "headers": headers, "body": body}


def of_stripe(moment, body):
    signature = stripe.WebhookSignature._compute_signature(f"{moment}.{body}", STRIPE_SECRET)
    headers = {"stripe-signature": f"t={moment},v1={signature},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"}
    # The library must take its own header, or this is no official signature.
    stripe.WebhookSignature.verify_header(body, headers["stripe-signature"], STRIPE_SECRET, tolerance=None)
    return {"scheme": "stripe", "secret": STRIPE_SECRET, "time": moment, "headers": headers, "body": body}


moment = int(time.time()) if sys.argv[1] == "now" else int(sys.argv[1])
vectors = [standard(moment, body, index) for index, body in enumerate(BODIES)]
vectors += [of_stripe(moment, body) for body in BODIES]
print(json.dumps(vectors, indent=1))
