import copy
import pickle

import pytest

from trove_agents import errors


def test_every_error_is_a_trove_error_and_says_code_and_recovery() -> None:
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)
    ]
    codes = [each.code for each in classes if issubclass(each, errors.TroveError)]
    assert len(set(codes)) == len(codes) == len(classes) - 2  # two are warnings
    for name in ("TroveError", *(each.__name__ for each in classes if issubclass(each, errors.TroveError))):
        assert name in errors.__doc__


@pytest.mark.parametrize(
    "error",
    [
        errors.TroveError("a", 400, code="c", recovery="adapt", retry_after=1.5, errors=[{"x": 1}]),
        errors.TroveRateLimitError("b", status_code=429),
        errors.TroveConnectionError("c", may_have_committed=True),
        errors.TroveConnectionTimeoutError("d"),
        errors.TroveExecError("ls", 2, "out", "err"),
        errors.WebhookSignatureError("e"),
    ],
)
def test_errors_survive_pickle_and_copy(error: errors.TroveError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
        assert (twin.code, twin.recovery) == (error.code, error.recovery)


def test_a_connection_error_may_be_repeated_unless_it_may_have_committed() -> None:
    assert errors.TroveConnectionError("x").recovery == "retry"
    assert errors.TroveConnectionError("x", may_have_committed=True).recovery == "adapt"
    timeout = errors.TroveConnectionTimeoutError("x")
    assert isinstance(timeout, errors.TroveTimeoutError)
    assert timeout.recovery == "retry"


@pytest.mark.parametrize(
    ("stdout", "stderr", "shown"),
    [
        ("o", " e\n", "e"),
        ("o\n", " ", "o"),
        ("", "", "<no output>"),
        ("", "x" * 201, "x" * 200 + "…"),
        ("", "y" * 200, "y" * 200),
    ],
)
def test_a_failed_command_shows_what_it_said(stdout: str, stderr: str, shown: str) -> None:
    error = errors.TroveExecError("cmd", 3, stdout, stderr)
    assert str(error) == f"command failed (exit 3): {shown}"
    assert (error.command, error.exit_code, error.stdout, error.stderr, error.status_code) == (
        "cmd",
        3,
        stdout,
        stderr,
        None,
    )
