"""When a call is sent again: one policy for both drivers, on tenacity.

Repeated are calls that say they may be (``Call.repeatable``), after a lost connection, a 429 or a 503.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from trove_agents.errors import TroveConnectionError, TroveError

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long a repeatable call is tried.

    The wait before the n-th repetition is drawn from zero up to ``first_wait * 2 ** (n - 1)``, at most
    ``longest_wait``, so that clients which failed together do not come back together. ``Retry-After`` of the
    server is waited out in full first; when it does not fit into ``seconds``, the error is raised at once.
    """

    attempts: int = 4
    """Altogether; 1 repeats nothing."""
    seconds: float = 60.0
    """From the first attempt on; none starts later."""
    first_wait: float = 0.25
    longest_wait: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.seconds, self.first_wait, self.longest_wait) < 0:
            raise ValueError("attempts is at least 1, and times are not negative")

    def call(self, once: Callable[[], T], may_repeat: Callable[[], bool]) -> T:
        """The result of ``once``, tried as often as this policy and ``may_repeat`` allow."""
        import tenacity

        return tenacity.Retrying(**self._policy(may_repeat))(once)

    async def acall(self, once: Callable[[], Awaitable[T]], may_repeat: Callable[[], bool]) -> T:
        """As ``call``."""
        import tenacity

        return await tenacity.AsyncRetrying(**self._policy(may_repeat))(once)

    def wait(self, error: BaseException | None, attempt: int) -> float:
        """Seconds between a failed attempt (counted from 1) and the next."""
        longest: float = min(self.first_wait * 2 ** min(attempt - 1, 60), self.longest_wait)
        asked = error.retry_after if isinstance(error, TroveError) else None
        return (asked or 0.0) + random.uniform(0.0, longest)  # noqa: S311 (spreads load, keeps no secret)

    def _policy(self, may_repeat: Callable[[], bool]) -> dict[str, Any]:
        import tenacity

        def wait(state: "tenacity.RetryCallState") -> float:
            error = state.outcome.exception() if state.outcome else None
            return self.wait(error, state.attempt_number)

        return {
            "retry": tenacity.retry_if_exception(lambda error: passing(error) and may_repeat()),
            "stop": tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.seconds),
            "wait": wait,
            "reraise": True,
        }


def passing(error: BaseException) -> bool:
    """Whether the same call may well succeed later."""
    if isinstance(error, TroveConnectionError):
        return True
    if not isinstance(error, TroveError):
        return False
    if error.code == "idempotency-in-flight":  # of the attempt before, which the server still works on
        return True
    return error.status_code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
