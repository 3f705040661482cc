"""An OpenID Connect provider: its discovery document, its keys, and the tokens it signs."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from standins.http import HttpStandIn, Request, WireError, expect

AUDIENCE = "theodore-otel"


class Key:
    """A signing key with the id under which the provider publishes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public(self) -> dict[str, Any]:
        """Return it as a JSON web key."""
        return {**json.loads(RSAAlgorithm.to_jwk(self.private.public_key())), "kid": self.name, "use": "sig"}


class Oidc(HttpStandIn):
    """Answers discovery and JWKS as RFC 8414 and RFC 7517 have them."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = [Key("first")]

    def take(self, request: Request) -> tuple[int, object]:
        expect("method", request.method, "GET")
        if request.path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        if request.path == "/keys":
            return 200, {"keys": [key.public() for key in self.keys]}
        raise WireError(f"no such path: {request.path}")

    def claims(self, **more: Any) -> dict[str, Any]:
        """Return the claims of a good token; None takes one away."""
        now = int(time.time())
        own = {"iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": "somebody", **more}
        return {name: value for name, value in own.items() if value is not None}

    def token(self, key: Key | None = None, **claims: Any) -> str:
        """Return a token with these claims, signed with the newest key or another."""
        signed_with = key or self.keys[-1]
        return jwt.encode(
            self.claims(**claims), signed_with.private, algorithm="RS256", headers={"kid": signed_with.name}
        )
