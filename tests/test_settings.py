import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import Meta

from porch.contract.errors import SetupError
from porch.settings import NAMES, Settings, load_settings, redact_url, resolve_settings

DOCUMENT = Path(__file__).parents[1] / "docs" / "configuration.md"


def load(tmp_path: Path, flags: dict[str, Any] | None = None, /, **environ: str) -> Settings:
    environ = {"PORCH_DATA_DIR": str(tmp_path / "data"), **environ}
    return load_settings(flags, environ=environ, cwd=tmp_path)


def test_defaults_hold_where_nothing_is_said(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.host, settings.port, settings.pool_size) == ("localhost", 8642, 10)
    assert settings.data_dir == tmp_path / "data"
    assert settings.default_model is None


def test_flag_wins_over_variable_over_file_over_default(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text('port = 1001\npool_size = 11\nlog_level = "debug"\n')
    settings = load(tmp_path, {"port": 1003}, PORCH_PORT="1002", PORCH_POOL_SIZE="12")
    assert (settings.port, settings.pool_size, settings.log_level) == (1003, 12, "debug")
    assert settings.lease_seconds == 4.0


def test_a_flag_that_was_not_given_leaves_the_variable(tmp_path: Path) -> None:
    assert load(tmp_path, {"port": None}, PORCH_PORT="1002").port == 1002


def test_the_file_of_the_current_folder_comes_before_the_one_in_the_data_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "porch.toml").write_text("port = 2001\n")
    assert load(tmp_path).port == 2001
    (tmp_path / "porch.toml").write_text("pool_size = 12\n")
    settings = load(tmp_path)
    assert (settings.pool_size, settings.port) == (12, 8642)


def test_a_named_file_is_the_only_one_read(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text("port = 2001\n")
    other = tmp_path / "other.toml"
    other.write_text("pool_size = 12\n")
    settings = load(tmp_path, PORCH_CONFIG="other.toml")
    assert (settings.pool_size, settings.port) == (12, 8642)


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="does not exist"):
        load(tmp_path, PORCH_CONFIG="gone.toml")


def test_a_relative_data_folder_in_the_file_starts_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text('data_dir = "here"\n')
    settings = load_settings(environ={}, cwd=tmp_path)
    assert settings.data_dir == tmp_path / "here"


def test_a_relative_data_folder_in_a_flag_starts_at_the_current_folder(tmp_path: Path) -> None:
    assert load(tmp_path, {"data_dir": "there"}).data_dir == tmp_path / "there"


def test_an_unknown_key_is_an_error_that_lists_near_ones(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text("prot = 1\n")
    with pytest.raises(SetupError, match=r"Unknown key 'prot'.*porch\.toml.*Did you mean port"):
        load(tmp_path)


def test_a_table_in_the_file_is_an_unknown_key(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text("[server]\nport = 1\n")
    with pytest.raises(SetupError, match="Unknown key 'server'"):
        load(tmp_path)


def test_an_unknown_variable_is_an_error_that_lists_near_ones(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"Unknown variable 'PORCH_DATADIR'.*PORCH_DATA_DIR"):
        load(tmp_path, PORCH_DATADIR="x")


@pytest.mark.parametrize("name", ["PORCH_RECORDINGS", "PORCH_TEST_ANYTHING", "PORCH_POSTGRES_BIN", "PORCHES"])
def test_variables_of_others_are_left_alone(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, None, **{name: "x"}).port == 8642


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, PORCH_DATABASE_URL="", PORCH_PORT="").database_url is None


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("1", True), ("OFF", False), ("false", False)])
def test_a_variable_says_yes_and_no_in_words(tmp_path: Path, text: str, value: bool) -> None:
    assert load(tmp_path, PORCH_LOG_JSON=text).log_json is value


def test_a_variable_lists_with_commas(tmp_path: Path) -> None:
    settings = load(tmp_path, PORCH_ALLOWED_HOSTS="a.example, b.example,")
    assert settings.allowed_hosts == ("a.example", "b.example")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("PORCH_PORT", "80a", "'80a'.*a whole number from 0 to 65535"),
        ("PORCH_PORT", "70000", "70000.*from 0 to 65535"),
        ("PORCH_LOG_LEVEL", "loud", "one of debug, error, info, warning"),
        ("PORCH_LOG_JSON", "maybe", "true or false"),
        ("PORCH_LEASE_SECONDS", "nan", "a number from 1 to 600"),
        ("PORCH_PROVIDER_IDLE_TIMEOUT", "0", "a number above 0 to 3600"),
        ("PORCH_HOST", "http://x/", "no host"),
        ("PORCH_PUBLIC_URL", "https://porch.example/chat", "no path"),
        ("PORCH_PUBLIC_URL", "porch.example", "write https://"),
        ("PORCH_PUBLIC_URL", "https://me@porch.example", "write https://"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_may_stand_there(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(SetupError, match=f"{name} .*{said}"):
        load(tmp_path, None, **{name: text})


def test_a_wrong_value_in_the_file_names_key_and_file(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text('port = "8642"\n')
    with pytest.raises(SetupError, match=r"'port' in '.*porch\.toml' \('8642'\) cannot be used"):
        load(tmp_path)


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text("port 8642\n")
    with pytest.raises(SetupError, match=r"not valid TOML.*line 1"):
        load(tmp_path)


def test_a_wrong_database_url_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        load(tmp_path, PORCH_DATABASE_URL="mysql://me:hunter2@db/x")
    assert "hunter2" not in str(caught.value)
    assert "postgresql://" in str(caught.value)


def test_no_password_shows_when_settings_are_printed(tmp_path: Path) -> None:
    settings = load(tmp_path, PORCH_DATABASE_URL="postgresql://me:hun:ter@2@db/x?password=hunter3&a=b")
    assert settings.database_url == "postgresql://me:hun:ter@2@db/x?password=hunter3&a=b"
    for shown in (repr(settings), str(settings), str(settings.__rich_repr__())):
        assert "hun:ter" not in shown
        assert "hunter3" not in shown
        assert "postgresql://me:***@db/x?password=***&a=b" in shown


def test_a_url_without_a_password_stays_as_it_is() -> None:
    assert redact_url("postgresql:///porch?host=/run/x") == "postgresql:///porch?host=/run/x"


def test_each_value_knows_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "porch.toml").write_text("pool_size = 12\n")
    environ = {"PORCH_DATA_DIR": str(tmp_path), "PORCH_LOG_LEVEL": "error"}
    resolved = resolve_settings({"port": 1}, environ=environ, cwd=tmp_path)
    file = tmp_path / "porch.toml"
    assert resolved.file == file
    assert resolved.origins == {
        "pool_size": repr(str(file)),
        "data_dir": "PORCH_DATA_DIR",
        "log_level": "PORCH_LOG_LEVEL",
        "port": "--port",
    }


def table() -> str:
    lines = ["| setting | variable | default | what |", "|---|---|---|---|"]
    for name in NAMES:
        about = next(
            meta.description
            for meta in Settings.__annotations__[name].__metadata__
            if isinstance(meta, Meta) and meta.description
        )
        default = getattr(Settings(), name)
        shown = (
            ""
            if default in (None, ())
            else f"`{str(default).lower() if default is True or default is False else default}`"
        )
        lines.append(f"| `{name}` | `PORCH_{name.upper()}` | {shown} | {about} |")
    return "\n".join(lines)


def test_the_documented_table_is_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(r"<!-- settings:.*?-->\n\n(.*?)\n?\n<!-- end -->", text, re.S)
    assert found
    assert found[1] == table()


def test_places_that_everyone_may_reach_are_host_and_port(tmp_path: Path) -> None:
    settings = load(tmp_path, PORCH_EGRESS_ALLOW="gpu.lan:8000, [::1]:11434")
    assert settings.egress_allow == ("gpu.lan:8000", "[::1]:11434")
    for wrong in ("gpu.lan", "http://gpu.lan:80", "gpu.lan:0", "gpu.lan:99999", "*:80", "::1:80"):
        with pytest.raises(SetupError, match=r"PORCH_EGRESS_ALLOW.*gpu\.example\.lan:8000"):
            load(tmp_path, PORCH_EGRESS_ALLOW=wrong)


def test_a_proxy_is_a_url_whose_password_stays_hidden(tmp_path: Path) -> None:
    settings = load(tmp_path, PORCH_EGRESS_PROXY="http://me:hidden@proxy.lan:3128")
    assert settings.egress_proxy == "http://me:hidden@proxy.lan:3128"
    assert "hidden" not in repr(settings)
    for wrong in ("proxy.lan:3128", "socks5://hidden@proxy.lan", "http://"):
        with pytest.raises(SetupError, match=r"write http://proxy\.example:3128") as caught:
            load(tmp_path, PORCH_EGRESS_PROXY=wrong)
        assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("variable", "scheme"),
    [("PORCH_LIVE_URL", "valkey"), ("PORCH_EGRESS_PROXY", "http"), ("PORCH_OTLP_ENDPOINT", "http")],
)
def test_a_url_whose_port_is_no_port_is_refused_without_its_password(
    tmp_path: Path, variable: str, scheme: str
) -> None:
    load(tmp_path, **{variable: f"{scheme}://:hid%2Fden@host:6379"})
    for wrong in ("host:notaport", "host:99999", "host:0", "[::1", ":6379"):
        with pytest.raises(SetupError, match=rf"{variable} cannot be used: write {scheme}://") as caught:
            load(tmp_path, **{variable: f"{scheme}://:hidden@{wrong}"})
        assert "hidden" not in caught.value.message


def test_a_bucket_whose_name_is_too_short_is_refused_with_the_rule(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="3 to 63 small letters"):
        load(tmp_path, PORCH_ARCHIVE_URL="s3://ab/prefix")


def test_a_provider_is_named_whole_and_its_secret_stays_hidden(tmp_path: Path) -> None:
    given = {"PORCH_OIDC_ISSUER": "https://id.example/realms/porch", "PORCH_OIDC_CLIENT_ID": "porch"}
    settings = load(tmp_path, None, **given, PORCH_OIDC_CLIENT_SECRET="hid:den@x/y")
    assert settings.oidc_client_secret == "hid:den@x/y"
    assert "hid" not in repr(settings)
    assert "***" in repr(settings)
    for name in given:
        half = {key: value for key, value in given.items() if key != name}
        with pytest.raises(SetupError, match=f"needs {name[6:].lower()} besides.*Set {name}"):
            load(tmp_path, None, **half)
    with pytest.raises(SetupError, match="oidc_client_secret needs oidc_issuer and oidc_client_id") as caught:
        load(tmp_path, None, PORCH_OIDC_CLIENT_SECRET="hidden")
    assert "hidden" not in caught.value.message
    with pytest.raises(SetupError, match="printable") as caught:
        load(tmp_path, None, **given, PORCH_OIDC_CLIENT_SECRET="hidden ")
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example",
        "http://localhost.evil.example",
        "http://10.0.0.1",
        "id.example",
        "https://me:hidden@id.example",
        "https://id.example?a=b",
        "https://id.example#a",
        "https://id.example:99999",
        "https://id.example/a b",
        "ftp://id.example",
    ],
)
def test_an_issuer_is_an_https_url_as_the_provider_spells_it(tmp_path: Path, issuer: str) -> None:
    for good in (
        "https://id.example/",
        "https://id.example:8443/a/b",
        "http://127.0.0.1:5000",
        "http://[::1]:1",
    ):
        assert load(tmp_path, None, PORCH_OIDC_ISSUER=good, PORCH_OIDC_CLIENT_ID="a").oidc_issuer == good
    with pytest.raises(SetupError, match=r"PORCH_OIDC_ISSUER cannot be used.*https://id\.example") as caught:
        load(tmp_path, None, PORCH_OIDC_ISSUER=issuer, PORCH_OIDC_CLIENT_ID="a")
    assert "hidden" not in caught.value.message
