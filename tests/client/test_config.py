import json
from pathlib import Path

import pytest

from trove_agents import Settings

STORED = {
    "base_url": "https://a.test",
    "api_key": "file-key",
    "workspace_id": "ws-file",
    "namespace": "file",
    "wallet_key": "tvpk_file",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trove.json"
    path.write_text(json.dumps(STORED | {"later": "ignored"}))
    return path


def test_nothing_said_is_nothing_found() -> None:
    assert Settings.load(environ={}) == Settings(None, None, None, None, None)
    assert (
        Settings.load(environ={"TROVE_API_KEY": "", "TROVE_BASE_URL": "", "TROVE_CONFIG": ""}) == Settings()
    )


def test_argument_then_environment_then_file(file: Path) -> None:
    assert Settings.load(file=file, environ={}) == Settings(**STORED)
    environ = {
        "TROVE_API_KEY": "env-key",
        "TROVE_NAMESPACE": "env",
        "TROVE_WORKSPACE_ID": "ws-env",
        "TROVE_WALLET_KEY": "tvpk_env",
    }
    assert Settings.load(file=file, environ=environ) == Settings(
        "https://a.test", "env-key", "ws-env", "env", "tvpk_env"
    )
    assert Settings.load(
        file=file,
        environ=environ,
        api_key="key",
        namespace="n",
        workspace_id="ws",
        wallet_key="tvpk",
        base_url="https://a.test/",
    ) == Settings("https://a.test/", "key", "ws", "n", "tvpk")


def test_the_environment_may_name_the_file_and_an_argument_another(file: Path, tmp_path: Path) -> None:
    assert Settings.load(environ={"TROVE_CONFIG": str(file)}) == Settings(**STORED)
    other = tmp_path / "other.json"
    other.write_text('{"namespace": "other"}')
    assert Settings.load(environ={"TROVE_CONFIG": str(file)}, file=other) == Settings(namespace="other")


def test_a_stored_key_goes_to_no_other_server(file: Path) -> None:
    assert Settings.load(file=file, environ={"TROVE_BASE_URL": "https://b.test"}) == Settings(
        "https://b.test"
    )
    assert Settings.load(file=file, environ={}, base_url="https://b.test") == Settings("https://b.test")
    kept = Settings.load(file=file, environ={"TROVE_BASE_URL": "https://a.test/"})
    assert kept.api_key == "file-key"
    file.write_text('{"api_key": "hosted-key"}')
    assert Settings.load(file=file, environ={"TROVE_BASE_URL": "https://b.test"}).api_key is None


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TROVE_CONFIG", raising=False)
    monkeypatch.setenv("TROVE_NAMESPACE", "from-process")
    assert Settings.load().namespace == "from-process"


def test_secrets_are_never_shown() -> None:
    assert "secret" not in repr(Settings(api_key="secret"))


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"api_key": 7}', "\xff"])
def test_a_file_that_is_no_configuration_is_named(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="trove.json is no configuration"):
        Settings.load(file=file, environ={})


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Settings.load(file=tmp_path / "missing", environ={})
