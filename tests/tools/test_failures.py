import pytest

from trove_agents import (
    NotSupported,
    TroveAuthError,
    TroveConflictError,
    TroveConnectionError,
    TroveError,
    TroveRateLimitError,
    TroveServerError,
    TroveTimeoutError,
)
from trove_agents.tools import for_model


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TroveTimeoutError("stopped after 30 s", 408), "stopped after 30 s"),
        (TroveConflictError("a directory is there", 409), "a directory is there"),
        (TroveError("the command is empty", 422, recovery="fix-arguments"), "the command is empty"),
        (TroveRateLimitError("slow down.", 429, retry_after=2.2), "slow down. Try again in 3 s."),
        (TroveServerError("busy", 503, recovery="retry"), "busy. Try again a little later."),
        (TroveConnectionError("cut off", may_have_committed=True), "cut off"),
    ],
)
def test_what_a_model_can_act_on(error, text):
    assert for_model(error) == text


@pytest.mark.parametrize(
    "error",
    [
        TroveAuthError("key revoked", 401),
        TroveServerError("no sense", 500),
        TroveConnectionError("refused"),
        NotSupported("an old server"),
    ],
)
def test_what_belongs_to_the_operator(error):
    assert for_model(error) is None
