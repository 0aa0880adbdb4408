"""The step of an agent's that changes are for: said once, for a client."""

from typing import Self

from trove_agents.client.acting import Acting
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.wire import headers
from trove_agents.wire.steps import Step, from_header, to_header


def in_step(acting: Acting, **given: str | None) -> Acting:
    """With what is given of a step; what is not stays as it is.

    Raises:
        ValueError: it makes no header.
    """
    now = from_header(acting.header(headers.STEP))
    fields = {name: getattr(now, name) if text is None else text for name, text in given.items()}
    text = to_header(Step(**fields))
    return acting.saying("steps", headers.STEP, text) if text else acting


class StepsMethods(Driver):
    """The step of an agent's that changes are for."""

    def with_step(
        self,
        *,
        thread: str | None = None,
        run: str | None = None,
        step: str | None = None,
        call: str | None = None,
    ) -> Self:
        """A client whose changes are marked with a step: ``history`` and events say which step made each.

        It shares the connections and everything else of this one, costs nothing to make, and needs no closing. What
        is not given is as in this client, so a step can be narrowed::

            run = client.with_step(thread="t-1", run="r-7")
            run.with_step(call="call-3").write("notes.md", "...")

        Its calls that change something raise ``NotSupported`` where the server knows no steps. Any text will do, but
        not much: 512 bytes as a header.

        Args:
            thread: The conversation.
            run: One invocation of the agent.
            step: The step of the run.
            call: The tool call.

        Raises:
            ValueError: too long, or a control character or a lone surrogate.
        """
        return self._saying(in_step(self._acting, thread=thread, run=run, step=step, call=call))


class AsyncStepsMethods(AsyncDriver):
    """As ``StepsMethods``."""

    def with_step(
        self,
        *,
        thread: str | None = None,
        run: str | None = None,
        step: str | None = None,
        call: str | None = None,
    ) -> Self:
        """See :meth:`TroveClient.with_step`."""
        return self._saying(in_step(self._acting, thread=thread, run=run, step=step, call=call))
