"""The vendor: who is paid, with a memory of its own that no crash of the payer touches."""

import os
from collections import Counter
from decimal import Decimal
from pathlib import Path


class Vendor:
    """Takes money. Each charge is a line of a file, which is there once ``charge`` has begun to return, whatever kills
    the process then.

    Args:
        path: The file; made at the first charge.
        idempotent: A key that was charged is not charged again.
    """

    def __init__(self, path: Path, *, idempotent: bool = False) -> None:
        self._path = path
        self._idempotent = idempotent

    def charge(self, key: str, price_usd: Decimal) -> str:
        """Takes the price, and returns the receipt."""
        charged = self.charges()
        if not (self._idempotent and charged[key]):
            out = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(out, f"{key} {price_usd}\n".encode())
            finally:
                os.close(out)
        return f"receipt of {key}"

    def charges(self) -> Counter[str]:
        """How often each key was charged."""
        return Counter(key for key, _ in self._lines())

    def took_usd(self) -> Decimal:
        """All that was taken."""
        return sum((Decimal(price) for _, price in self._lines()), Decimal(0))

    def _lines(self) -> list[tuple[str, str]]:
        try:
            text = self._path.read_text("ascii")
        except FileNotFoundError:
            return []
        return [(key, price) for key, price in map(str.split, text.splitlines())]
