import msgspec
import pytest

from trove_agents import errors
from trove_agents.client.failures import failure
from trove_agents.client.transport import Reply


def answer(status: int, body: object = None, **headers: str) -> errors.TroveError:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return failure(
        Reply(status, {name.replace("_", "-"): text for name, text in headers.items()}, encoded), now=1000.0
    )


@pytest.mark.parametrize(
    ("status", "kind", "recovery"),
    [
        (400, errors.TroveError, "fix-arguments"),
        (401, errors.TroveAuthError, "operator"),
        (403, errors.TroveAuthError, "operator"),
        (404, errors.TroveNotFoundError, "fix-arguments"),
        (405, errors.TroveError, "operator"),
        (408, errors.TroveTimeoutError, "adapt"),
        (409, errors.TroveConflictError, "adapt"),
        (413, errors.TroveError, "fix-arguments"),
        (422, errors.TroveError, "fix-arguments"),
        (429, errors.TroveRateLimitError, "retry"),
        (500, errors.TroveServerError, "operator"),
        (502, errors.TroveServerError, "retry"),
        (503, errors.TroveServerError, "retry"),
        (504, errors.TroveTimeoutError, "retry"),
        (599, errors.TroveServerError, "operator"),
    ],
)
def test_each_status_has_its_class_and_way_out(status: int, kind: type, recovery: str) -> None:
    error = answer(status, {"detail": "words"})
    assert type(error) is kind
    assert (str(error), error.status_code, error.recovery, error.code) == (
        "words",
        status,
        recovery,
        kind.code,
    )


def test_the_servers_code_wins_and_a_full_quota_is_no_argument_error() -> None:
    error = answer(413, {"detail": "full", "code": "quota-exceeded"})
    assert (error.code, error.recovery) == ("quota-exceeded", "adapt")
    assert answer(404, {"detail": "x", "code": 7}).code == "not-found"


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        (
            [{"loc": ["body", "command"], "msg": "field required", "type": "missing"}],
            "body.command: field required",
        ),
        ([{"msg": "bad"}, "plain"], "bad; plain"),
        ([{"loc": "odd", "msg": "bad"}], "bad"),
        ([{"reason": "other"}], '{"reason":"other"}'),
        ([7], "7"),
    ],
)
def test_a_list_of_details_becomes_one_line(detail: list[object], message: str) -> None:
    error = answer(422, {"detail": detail})
    assert str(error) == message
    assert error.errors == tuple(each for each in detail if isinstance(each, dict))


def test_errors_beside_a_detail_are_kept() -> None:
    error = answer(422, {"detail": "two fields", "errors": [{"field": "path"}]})
    assert (str(error), error.errors) == ("two fields", ({"field": "path"},))
    assert answer(422, {"detail": "x", "errors": "odd"}).errors == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "HTTP 500, without an explanation"),
        (b" \n", "HTTP 500, without an explanation"),
        (b"<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'["a"]', '["a"]'),
        (b'{"detail": ""}', '{"detail": ""}'),
        (b'{"detail": {"a": 1}}', '{"detail": {"a": 1}}'),
        (b"x" * 600, "x" * 500 + "…"),
    ],
)
def test_bodies_that_are_no_error_bodies_are_shown(body: bytes, message: str) -> None:
    assert str(answer(500, body)) == message


def test_a_redirect_says_what_to_correct() -> None:
    assert "redirects to https://b/ " in str(answer(307, b"", location="https://b/").args[0]).replace(
        ",", " "
    )
    assert "redirects to elsewhere" in str(answer(302, b""))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:17:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert answer(429, {"detail": "x"}, retry_after=header).retry_after == seconds


def test_without_retry_after_there_is_none() -> None:
    assert answer(503, {"detail": "x"}).retry_after is None


def test_the_clock_is_read_when_none_is_given() -> None:
    error = failure(Reply(429, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, b""))
    assert error.retry_after == 0.0
