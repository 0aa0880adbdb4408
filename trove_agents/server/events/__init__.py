"""Events: what happened, in the transaction that made it happen."""
