"""Keys and addresses as people have them set."""

import pytest

from porch.models import ModelNotConfigured
from porch.models.addresses import ollama_url, read_key, read_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11435", "http://127.0.0.1:11435"),
        (":11435", "http://127.0.0.1:11435"),
        ("[::]:11434", "http://[::1]:11434"),
        ("[::1]:1", "http://[::1]:1"),
        ("::1", "http://[::1]:11434"),
        ("gpu.lan", "http://gpu.lan:11434"),
        ("gpu.lan:80", "http://gpu.lan:80"),
        ("http://gpu.lan", "http://gpu.lan:80"),
        ("http://gpu.lan:11434/", "http://gpu.lan:11434"),
        ("https://ollama.example/behind/proxy/", "https://ollama.example:443/behind/proxy"),
        ('"127.0.0.1:11434"', "http://127.0.0.1:11434"),
        ("  gpu.lan  ", "http://gpu.lan:11434"),
        ("gpu.lan:notaport", "http://127.0.0.1:11434"),
        ("gpu.lan:99999", "http://gpu.lan:11434"),
    ],
)
def test_ollama_host_is_read_in_all_its_spellings(host: str, url: str) -> None:
    assert ollama_url({"OLLAMA_HOST": host}) == url


def test_a_key_is_taken_without_the_spaces_around_it() -> None:
    assert read_key({"K": " sk-x\n"}, "K") == "sk-x"
    assert read_key({"K": "  "}, "K") is None


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ", "nul\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ModelNotConfigured) as caught:
        read_key({"K": key}, "K")
    assert key not in caught.value.message


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://h:99999", "http://a b"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ModelNotConfigured):
        read_url({"U": url}, "U", None)


def test_a_base_url_is_used_as_given() -> None:
    assert read_url({"U": "http://localhost:8000/api/v1/"}, "U", None) == "http://localhost:8000/api/v1"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://x.openai.azure.com/openai/v1?api-version=1", "has a . or a # in it"),
        ("http://h/v1#here", "has a . or a # in it"),
        (
            "http://h/v1/chat/completions",
            "ends in /chat/completions, which Porch adds itself; leave that off",
        ),
        ("http://h/v1/messages/", "ends in /messages,"),
        ("http://h/v1/responses", "ends in /responses,"),
    ],
)
def test_an_address_with_more_than_its_base_says_what_to_leave_off(url: str, words: str) -> None:
    with pytest.raises(ModelNotConfigured, match=words) as caught:
        read_url({"U": url}, "U", None)
    assert caught.value.message.startswith("U ")
