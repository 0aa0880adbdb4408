"""Which failures a model should hear of, in which words."""

import math

from trove_agents.errors import TroveError


def for_model(error: TroveError) -> str | None:
    """What to tell the model; None when it can do nothing and the error belongs to whoever runs the program.

    ``recovery`` decides. "Retry" reaches the model only when the server itself asked for patience: where no
    answer came at all, the program can repeat the step as a whole, and a model could only guess.
    """
    if error.recovery in {"fix-arguments", "adapt"}:
        return str(error)
    if error.recovery == "retry" and error.status_code is not None:
        wait = f" in {math.ceil(error.retry_after)} s" if error.retry_after else " a little later"
        return f"{str(error).rstrip('.')}. Try again{wait}."
    return None
