"""Calls that fail at the n-th moment, and a vendor that takes money."""

from decimal import Decimal

CALLS = {"add", "find", "replace", "those", "book", "draw", "pool", "purchases", "attempts", "send"}
PRICE = Decimal("0.3")


class Crash(BaseException):
    """The process is gone: after it nothing else is called either."""


class Power:
    """Fails at the n-th moment, and for good. Every call has two: before it and after it."""

    def __init__(self, moments):
        self.left = moments

    @property
    def failed(self):
        return self.left <= 0

    def moment(self):
        self.left -= 1
        if self.failed:
            raise Crash


class Powered:
    def __init__(self, inner, power):
        self.inner, self.power = inner, power

    def __getattr__(self, name):
        if name not in CALLS:
            return getattr(self.inner, name)

        def call(*args, **named):
            self.power.moment()
            answer = getattr(self.inner, name)(*args, **named)
            self.power.moment()
            return answer

        return call


class Vendor:
    def __init__(self, charges, error, power):
        self.charges, self.error, self.power = charges, error, power
        self.runs = 0
        self.took = Decimal(0)

    def __call__(self):
        self.power.moment()
        self.runs += 1
        if self.charges:
            self.took += PRICE
        self.power.moment()
        if self.error:
            raise self.error
        return self.runs
