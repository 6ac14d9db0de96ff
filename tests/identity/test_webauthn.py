"""What an authenticator says, taken where it holds and refused where one part of it does not."""

import hashlib
from typing import Any

import pytest

from porch.identity.cbor import NotCbor, decode
from porch.identity.webauthn import (
    NoPasskeys,
    RelyingParty,
    WrongPasskey,
    check_assertion,
    check_registration,
    party_of,
)
from tests.identity.authenticator import HOST, ORIGIN, Authenticator, cbor

PARTY = RelyingParty(HOST, ORIGIN)
KINDS = ("ES256", "EdDSA", "RS256")


def register(own: Authenticator, **changes: Any) -> Any:
    return check_registration(PARTY, own.client_data("webauthn.create", "x"), own.attestation(**changes))


def assertion(own: Authenticator) -> tuple[bytes, bytes, bytes, bytes]:
    said, data = own.client_data("webauthn.get", "x"), own.data()
    return own.key, said, data, own.sign(data + hashlib.sha256(said).digest())


@pytest.mark.parametrize("kind", KINDS)
def test_a_passkey_is_read_and_its_signature_counts(kind: str) -> None:
    own = Authenticator(kind, count=7)
    made = register(own)
    assert (made.credential, made.public_key, made.count) == (own.credential, own.key, 7)
    assert check_assertion(PARTY, *assertion(own)) == 7


@pytest.mark.parametrize("kind", KINDS)
def test_no_bit_of_what_was_signed_can_be_changed(kind: str) -> None:
    own = Authenticator(kind, count=7)
    key, said, data, signature = assertion(own)
    for part in (1, 2, 3):
        parts = [key, said, data, signature]
        for at in range(len(parts[part])):
            changed = bytearray(parts[part])
            changed[at] ^= 1
            with pytest.raises(WrongPasskey):
                check_assertion(PARTY, *[*parts[:part], bytes(changed), *parts[part + 1 :]])
    with pytest.raises(WrongPasskey, match="does not fit"):
        check_assertion(PARTY, Authenticator(kind).key, said, data, signature)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"origin": "https://localhost:8642"}, "another site"),
        ({"origin": "http://localhost:8643"}, "another site"),
        ({"origin": "http://localhost:8642.evil.example"}, "another site"),
        ({"cross": True}, "another site"),
        ({"host": "evil.example"}, "not one for localhost"),
        ({"act": "webauthn.other"}, "something else"),
        ({"flags": 0x04}, "did not check"),
        ({"flags": 0x01}, "did not check"),
        ({"flags": 0x15}, "contradicts itself"),
        ({"flags": 0x85}, "behind"),
    ],
)
def test_each_part_that_is_wrong_is_named(wrong: dict[str, Any], word: str) -> None:
    own = Authenticator(**wrong)
    with pytest.raises(WrongPasskey, match=word):
        check_assertion(PARTY, *assertion(own))
    with pytest.raises(WrongPasskey, match=word if word != "behind" else "."):
        register(own)


def test_a_signature_with_a_key_in_it_and_a_new_passkey_without_are_refused() -> None:
    own = Authenticator(flags=0x45)
    with pytest.raises(WrongPasskey, match="contradicts"):
        check_assertion(PARTY, *assertion(own))
    with pytest.raises(WrongPasskey, match="contradicts"):
        register(Authenticator(), authData=Authenticator().data())


def test_a_statement_is_none_or_the_key_s_own_and_no_maker_s() -> None:
    own = Authenticator()
    said = own.client_data("webauthn.create", "x")
    good = own.sign(own.attested() + hashlib.sha256(said).digest())
    register(own, fmt="packed", attStmt={"alg": -7, "sig": good})
    for statement in ({"alg": -7, "sig": own.sign(b"other")}, {"alg": -8, "sig": good}, {"alg": -7}):
        with pytest.raises(WrongPasskey):
            register(own, fmt="packed", attStmt=statement)
    for form, statement in (
        ("packed", {"alg": -7, "sig": good, "x5c": [b"x"]}),
        ("none", {"a": 1}),
        ("tpm", {}),
    ):
        with pytest.raises(WrongPasskey, match="names its maker"):
            register(own, fmt=form, attStmt=statement)


def test_what_is_cut_off_or_goes_on_is_refused() -> None:
    own = Authenticator()
    data = own.attested()
    for size in range(len(data)):
        with pytest.raises(WrongPasskey):
            register(own, authData=data[:size])
    with pytest.raises(WrongPasskey, match="behind"):
        register(own, authData=data + b"\x00")
    said = own.client_data("webauthn.create", "x")
    for wrong in (b"", b"\xff", b"{}", cbor([]), own.attestation()[:-1], own.attestation() + b"\x00"):
        with pytest.raises(WrongPasskey):
            check_registration(PARTY, said, wrong)
    for wrong in (b"", b"[]", b"{}", b"\xff\xfe", said[:-1]):
        with pytest.raises(WrongPasskey):
            check_registration(PARTY, wrong, own.attestation())


@pytest.mark.parametrize(
    "key",
    [
        {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)},
        {1: 2, 3: -7, -1: 2, -2: bytes(32), -3: bytes(32)},
        {1: 2, 3: -35, -1: 1, -2: bytes(32), -3: bytes(32)},
        {1: 1, 3: -8, -1: 6, -2: bytes(31)},
        {1: 3, 3: -257, -1: b"\xff" * 128, -2: b"\x01\x00\x01"},
        {1: 3, 3: -257, -1: b"\xff" * 256, -2: b"\xff" * 64},
        {1: 3, 3: -65535, -1: b"\xff" * 256, -2: b"\x01\x00\x01"},
        {},
        [],
    ],
)
def test_keys_that_are_weak_broken_or_of_other_kinds_are_refused(key: Any) -> None:
    own = Authenticator()
    data = own.data(bytes(16) + b"\x00\x10" + own.credential + cbor(key), 0x40)
    with pytest.raises(WrongPasskey, match="kind that is not read here"):
        register(own, authData=data)


@pytest.mark.parametrize(
    "data", [b"", b"\x18", b"\x5f", b"\x9b" + b"\xff" * 8, b"\xa2\x01\x01\x01\x02", b"\x81" * 20 + b"\x01",
             b"\xc0\x01", b"\xfb" + bytes(8), b"\x61\xff", b"\x01\x01", b"\xa1\x41\x00\x01"]
)  # fmt: skip
def test_what_is_no_cbor_of_an_authenticator_is_refused(data: bytes) -> None:
    with pytest.raises(NotCbor):
        decode(data)


def test_passkeys_are_for_a_name_with_https_or_for_localhost() -> None:
    assert party_of("https://Porch.example/") == RelyingParty("porch.example", "https://porch.example")
    assert party_of("https://porch.example:443") == RelyingParty("porch.example", "https://porch.example")
    assert party_of("http://localhost:8642") == PARTY
    for wrong in (
        None,
        "",
        "http://porch.example",
        "http://127.0.0.1:8642",
        "https://192.0.2.1",
        "https://[::1]",
    ):
        with pytest.raises(NoPasskeys, match="public_url"):
            party_of(wrong)
