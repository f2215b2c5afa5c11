"""An OpenID Connect issuer on loopback: a discovery document, a key set, and tokens as they should be
and as they should not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "aetherlink"


def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key pair by name."""
    return _rsa_key(name, bits)


@cache
def _rsa_key(name: str, bits: int) -> rsa.RSAPrivateKey:
    # Making one takes longer than a test.
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(name: str, bits: int = 2048, **given: Any) -> dict[str, Any]:
    made: dict[str, Any] = RSAAlgorithm.to_jwk(rsa_key(name, bits).public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": name, "use": "sig", "alg": "RS256", **given}


def ec_jwk(name: str, **given: Any) -> dict[str, Any]:
    made: dict[str, Any] = ECAlgorithm.to_jwk(ec_key(name).public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": name, "use": "sig", "alg": "ES256", **given}


def pem_of(name: str) -> bytes:
    public = rsa_key(name).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Issuer:
    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=lambda: [rsa_jwk("main")])
    asked: list[str] = field(default_factory=list)
    # Any other status than 200 stands for an issuer that is ill.
    status: int = 200

    def claims(self, **changed: Any) -> dict[str, Any]:
        """A good token's; a changed one that is None is left out."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "u-1",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "roles": ["operator"],
            "tenant_id": "acme",
        }
        return {name: v for name, v in {**good, **changed}.items() if v is not None}

    def token(self, *, key: str = "main", kid: str | None = "main", **changed: Any) -> str:
        headers = {"kid": kid} if kid is not None else {}
        return jwt.encode(self.claims(**changed), rsa_key(key), algorithm="RS256", headers=headers)

    def answer(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": self.keys} if path == "/keys" else None


@contextmanager
def running() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            found = issuer.answer(self.path)
            body = json.dumps(found or {}).encode()
            self.send_response(issuer.status if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the test's own output is enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
