"""A stand-in for an OpenID Connect provider, written from OpenID Connect Core 1.0 and Discovery 1.0,
RFC 6749 (code flow), 7515 (JWS), 7517 (JWK) and 7636 (PKCE). It signs with keys that can be rotated,
and can be told to sign or to claim what it must not."""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse
import uuid

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from .server import Answer, Request, Service


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def compact(value) -> str:
    return b64(json.dumps(value).encode())


class Key:
    def __init__(self, alg="RS256", bits=2048):
        self.kid, self.alg = uuid.uuid4().hex[:8], alg
        self.private = (ec.generate_private_key(ec.SECP256R1()) if alg == "ES256"
                        else rsa.generate_private_key(65537, bits))

    def jwk(self) -> dict:
        public = self.private.public_key().public_numbers()
        common = {"kid": self.kid, "use": "sig", "alg": self.alg}
        if self.alg == "ES256":
            return {"kty": "EC", "crv": "P-256", "x": number(public.x, 32),
                    "y": number(public.y, 32), **common}
        return {"kty": "RSA", "n": number(public.n), "e": number(public.e), **common}

    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, text: bytes, alg=None) -> bytes:
        match alg or self.alg:
            case "RS256":
                return self.private.sign(text, padding.PKCS1v15(), hashes.SHA256())
            case "RS512":
                return self.private.sign(text, padding.PKCS1v15(), hashes.SHA512())
            case "PS256":
                return self.private.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32),
                                         hashes.SHA256())
            case "ES256":
                r, s = utils.decode_dss_signature(self.private.sign(text, ec.ECDSA(hashes.SHA256())))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case "HS256":  # the confusion: the public key as a shared secret
                return hmac.digest(self.public_pem(), text, "sha256")
            case "none":
                return b""
        raise ValueError(alg)


class Provider(Service):
    def __init__(self, tls, client_id="kerbside", client_secret="a secret: 7%"):
        self.client_id, self.client_secret = client_id, client_secret
        self.keys = [Key()]
        self.users = {}  # sub: claims
        self.codes = {}
        self.auth_methods = ["client_secret_basic", "client_secret_post"]
        super().__init__(tls)
        self.issuer = self.url
        self.calm()

    def calm(self):
        """Everything right again."""
        self.reset()
        self.claims = {}  # overrides; None takes a claim away
        self.header = {}  # the same for the JWS header
        self.sign_with = None  # a Key that is not (or not yet) published
        self.alg = None
        self.spoil = None  # changes the finished token
        self.discovery = {}  # overrides
        self.token_error = None
        self.jwks = None  # instead of the true ones

    def rotate(self, alg="RS256") -> Key:
        self.keys = [Key(alg)]
        return self.keys[0]

    def user(self, sub: str, **claims):
        self.users[sub] = claims

    # ---- the browser's part ----

    def consent(self, location: str, sub: str) -> str:
        """What the browser is sent back with after the user has logged in at `location`."""
        url = urllib.parse.urlsplit(location)
        assert f"{url.scheme}://{url.netloc}{url.path}" == self.url + "/authorize", location
        asked = dict(urllib.parse.parse_qsl(url.query))
        assert asked["response_type"] == "code" and asked["client_id"] == self.client_id
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43
        assert len(asked["state"]) >= 32 and len(asked["nonce"]) >= 32
        assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
        code = uuid.uuid4().hex
        self.codes[code] = {**asked, "sub": sub}
        self.asked = asked
        query = urllib.parse.urlencode({"code": code, "state": asked["state"],
                                        "iss": self.issuer})
        return f"{urllib.parse.urlsplit(asked['redirect_uri']).path}?{query}"

    # ---- the provider's part ----

    def handle(self, request: Request) -> Answer:
        match request.path:
            case "/.well-known/openid-configuration":
                document = {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                    "jwks_uri": f"{self.url}/jwks",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256", "none"],
                    "token_endpoint_auth_methods_supported": self.auth_methods,
                }
                return Answer(200, {**document, **self.discovery})
            case "/jwks":
                return Answer(200, self.jwks or {"keys": [key.jwk() for key in self.keys]})
            case "/token":
                return self._token(request)
        return Answer(404, b"")

    def _is_client(self, request: Request, form: dict) -> bool:
        if self.client_secret is None:
            return form.get("client_id") == self.client_id and "client_secret" not in form
        given = request.headers.get("authorization", "")
        if given.startswith("Basic ") and "client_secret_basic" in self.auth_methods:
            name, secret = base64.b64decode(given[6:]).decode().split(":", 1)
            pair = urllib.parse.unquote(name), urllib.parse.unquote(secret)
            return pair == (self.client_id, self.client_secret) and "client_secret" not in form
        return (not given and "client_secret_post" in self.auth_methods
                and (form.get("client_id"), form.get("client_secret"))
                == (self.client_id, self.client_secret))

    def _token(self, request: Request) -> Answer:
        form = request.form()
        if request.method != "POST" or not self._is_client(request, form):
            return Answer(401, {"error": "invalid_client"})
        if self.token_error:
            return Answer(*self.token_error)
        flow = self.codes.pop(form.get("code"), None)  # a code is good once
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (not flow or form.get("grant_type") != "authorization_code"
                or form.get("redirect_uri") != flow["redirect_uri"]
                or challenge != flow["code_challenge"]):
            return Answer(400, {"error": "invalid_grant"})
        return Answer(200, {"access_token": uuid.uuid4().hex, "token_type": "Bearer",
                            "expires_in": 300, "id_token": self._id_token(flow)})

    def _id_token(self, flow: dict) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client_id, "sub": flow["sub"], "iat": now,
                  "exp": now + 300, "nonce": flow["nonce"], **self.users.get(flow["sub"], {})}
        key = self.sign_with or self.keys[0]
        alg = self.alg or key.alg
        header = {"typ": "JWT", "alg": alg, "kid": key.kid}
        claims.update(self.claims)
        header.update(self.header)
        text = ".".join(compact({k: v for k, v in part.items() if v is not None})
                        for part in (header, claims))
        token = f"{text}.{b64(key.sign(text.encode(), alg))}"
        return self.spoil(token) if self.spoil else token
