"""``Idempotency-Key``: a call that is sent again is not done again; it gets the answer of the first.

A service that does a call in one transaction wraps it in ``answers.once``; the edge makes the ``keys.Keyed`` of the
request a part of its principal. Exec, which is no single transaction, uses ``claim`` and ``done``.
"""
