"""An OpenID Connect provider in a process of its own, over real HTTP, which misbehaves when it is told to.

    python -m tests.oidc.provider CLIENT_ID CLIENT_SECRET

It prints its issuer, then serves until its standard input ends. `POST /control` sets who signs in, and what is wrong.
"""

import base64
import hashlib
import hmac
import json
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, length: int | None = None) -> str:
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8))


class State:
    """Who signs in next, and what is wrong with what is said of them."""

    def __init__(self, client: str, secret: str) -> None:
        self.client, self.secret = client, secret
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.control: dict[str, Any] = {}
        self.rotate()

    def rotate(self) -> None:
        self.kid = secrets.token_hex(4)
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> list[dict[str, str]]:
        one, two = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        return [
            {
                "kty": "RSA",
                "use": "sig",
                "alg": "RS256",
                "kid": self.kid,
                "n": number(one.n),
                "e": number(one.e),
            },
            {
                "kty": "EC",
                "crv": "P-256",
                "alg": "ES256",
                "kid": f"{self.kid}-ec",
                "x": number(two.x, 32),
                "y": number(two.y, 32),
            },
        ]

    def sign(self, claims: dict[str, Any]) -> str:
        algorithm = self.control.get("alg", "RS256")
        kid = self.kid if algorithm != "ES256" else f"{self.kid}-ec"
        head = b64(json.dumps({"alg": algorithm, "kid": kid}).encode())
        signed = f"{head}.{b64(json.dumps(claims).encode())}"
        if algorithm == "none":
            return f"{signed}."
        if algorithm == "HS256":
            key = self.jwks()[0]["n"].encode()
            return f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"
        if algorithm == "ES256":
            r, s = decode_dss_signature(self.ec.sign(signed.encode(), ec.ECDSA(SHA256())))
            return f"{signed}.{b64(r.to_bytes(32) + s.to_bytes(32))}"
        key = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if self.control.get("forged")
            else self.rsa
        )
        return f"{signed}.{b64(key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


class Handler(BaseHTTPRequestHandler):
    state: State
    issuer = ""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the tests read what they need by /asked."""

    def answer(
        self, status: int, value: Any, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        parts, control = urlsplit(self.path), self.state.control
        self.state.asked.append(parts.path)
        if parts.path == "/.well-known/openid-configuration":
            self.answer(
                200,
                {
                    "issuer": control.get("called", self.issuer),
                    "authorization_endpoint": control.get("authorization", f"{self.issuer}/authorize"),
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                    "token_endpoint_auth_methods_supported": [control.get("auth", "client_secret_basic")],
                    "authorization_response_iss_parameter_supported": control.get("iss", True),
                },
            )
        elif parts.path == "/keys":
            self.answer(200, {"keys": self.state.jwks()})
        elif parts.path == "/asked":
            self.answer(200, self.state.asked)
        elif parts.path == "/authorize":
            self.authorize(parse_qs(parts.query))
        else:
            self.answer(404, {})

    def authorize(self, asked: dict[str, list[str]]) -> None:
        said = {name: values[0] for name, values in asked.items()}
        control = self.state.control
        wrong = [
            name
            for name, value in (
                ("client_id", self.state.client),
                ("response_type", "code"),
                ("code_challenge_method", "S256"),
            )
            if said.get(name) != value
        ]
        if wrong or not all(said.get(name) for name in ("state", "nonce", "code_challenge", "redirect_uri")):
            self.answer(400, {"error": "invalid_request", "wrong": wrong})
            return
        code = secrets.token_urlsafe(16)
        self.state.codes[code] = said
        back: dict[str, str] = {"state": said["state"], "iss": control.get("named", self.issuer)}
        back |= {"error": control["error"]} if "error" in control else {"code": code}
        if control.get("iss") is False:
            del back["iss"]
        url = f"{said['redirect_uri']}?{urlencode(back)}"
        if "page" in control:
            link = f'<a href="{url.replace("&", "&amp;")}">Allow</a>'
            page = f"<!doctype html><title>Provider</title><h1>{control['page']}</h1>{link}"
            self.answer(200, page, kind="text/html")
        else:
            self.answer(302, "", {"Location": url})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.state.asked.append(self.path)
        if self.path == "/control":
            self.state.control = json.loads(body)
            if self.state.control.get("rotate"):
                self.state.rotate()
            self.answer(200, {})
        elif self.path == "/token":
            self.token({name: values[0] for name, values in parse_qs(body.decode()).items()})
        else:
            self.answer(404, {})

    def token(self, sent: dict[str, str]) -> None:
        control = self.state.control
        if "token_status" in control:
            self.answer(control["token_status"], control.get("token_body", {}))
            return
        asked = self.state.codes.pop(sent.get("code", ""), None)
        challenge = b64(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if (
            not self.known(sent)
            or asked is None
            or challenge != asked["code_challenge"]
            or sent.get("redirect_uri") != asked["redirect_uri"]
        ):
            self.answer(400, {"error": "invalid_grant"})
            return
        now = time.time()
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.state.client,
            "sub": control.get("sub", "ada-1"),
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "preferred_username": control.get("login", "ada"),
            "name": control.get("name", "Ada"),
            **control.get("claims", {}),
        }
        claims |= {name: now + off for name, off in control.get("times", {}).items()}
        self.answer(200, {"access_token": "x", "token_type": "Bearer", "id_token": self.state.sign(claims)})

    def known(self, sent: dict[str, str]) -> bool:
        given = self.headers.get("Authorization", "")
        if self.state.control.get("auth") == "client_secret_post":
            return (sent.get("client_id"), sent.get("client_secret")) == (
                self.state.client,
                self.state.secret,
            ) and not given
        user, _, secret = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        return (unquote(user), unquote(secret)) == (self.state.client, self.state.secret)


def main() -> None:
    Handler.state = State(sys.argv[1], sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.issuer = f"http://localhost:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(Handler.issuer, flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
