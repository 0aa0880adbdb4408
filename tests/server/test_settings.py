"""What a server is told is checked when it is told, not at the first command."""

import pytest

from trove_agents.server import sandbox
from trove_agents.server.settings import Settings


@pytest.mark.parametrize("name", [None, "bubblewrap", "none"])
@pytest.mark.parametrize("network", ["none", "internet", "host"])
def test_every_choice_is_taken(tmp_path, name, network):
    settings = Settings(tmp_path, sandbox=name, network=network)
    assert (settings.sandbox, settings.network) == (name, network)


@pytest.mark.parametrize("name", ["", "None", "docker", "bwrap", "Seatbelt"])
def test_an_unknown_sandbox_is_refused_with_the_choices(tmp_path, name):
    with pytest.raises(ValueError, match="one of bubblewrap, seatbelt, none"):
        Settings(tmp_path, sandbox=name)
    with pytest.raises(ValueError, match="no sandbox"):
        sandbox.choose(name)


@pytest.mark.parametrize("network", ["", "all", "Internet", None])
def test_an_unknown_network_is_refused_with_the_choices(tmp_path, network):
    with pytest.raises(ValueError, match="one of none, internet, host"):
        Settings(tmp_path, network=network)


@pytest.mark.parametrize("name", ["history_days", "snapshot_days", "event_days"])
def test_days_are_at_least_one_or_without_end(tmp_path, name):
    for days in (1, 10_000, None):
        assert getattr(Settings(tmp_path, **{name: days}), name) == days
    for days in (0, -1):
        with pytest.raises(ValueError, match=f"{name} is at least 1"):
            Settings(tmp_path, **{name: days})


def test_the_time_of_commands_has_bounds(tmp_path):
    for seconds in (1, 0.5 + 1, 86_400):
        assert Settings(tmp_path, exec_max_seconds=seconds).exec_max_seconds == seconds
    for seconds in (0, 0.5, -1, 86_401, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="exec_max_seconds is at least 1"):
            Settings(tmp_path, exec_max_seconds=seconds)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://a.bucket-1/some/prefix"])
def test_a_bucket_is_named_by_a_url(tmp_path, url):
    assert Settings(tmp_path, blobs=url).blobs == url


@pytest.mark.parametrize(
    "url", ["", "bucket", "s3://", "gs://bucket", "s3://key:secret@bucket", "s3://bucket?key=secret"]
)
def test_a_bucket_of_another_kind_or_with_secrets_is_refused_without_showing_them(tmp_path, url):
    with pytest.raises(ValueError, match="AWS_") as raised:
        Settings(tmp_path, blobs=url)
    assert "secret" not in str(raised.value)
