"""Callers of a server's wallets over HTTP. As a program some of them at once, in a process of their own:
``load.py URL KEY OPERATION CLIENTS SECONDS FIRST COUNT SEED`` says ``ready``, waits for a line, and prints calls per second and the
microseconds of each.
"""

import http.client
import json
import sys
from urllib.parse import urlsplit

from race import together

USD = 0.001


class Caller:
    """One connection, without a client library."""

    def __init__(self, url: str, key: str) -> None:
        at = urlsplit(url)
        self._http = http.client.HTTPConnection(at.hostname, at.port)
        self._headers = {"X-Trove-Key": key, "Content-Type": "application/json"}

    def purchase(self, wallet: int) -> None:
        self._post(f"/api/wallets/{wallet}/purchase", {"amount_usd": USD, "vendor": "bench"})

    def pair(self, wallet: int) -> None:
        """A hold, and its capture."""
        held = self._post(f"/api/wallets/{wallet}/holds", {"amount_usd": USD, "vendor": "bench"})
        self._post(f"/api/holds/{held['hold']['id']}/capture", {})

    def close(self) -> None:
        """Until the next call, which opens again."""
        self._http.close()

    def _post(self, path: str, body: dict[str, object]) -> dict[str, dict[str, int]]:
        self._http.request("POST", path, json.dumps(body), self._headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(content.decode())
        found: dict[str, dict[str, int]] = json.loads(content)
        return found


def scattered(writer: int, turn: int, count: int) -> int:
    """One of ``count`` wallets, another one each turn."""
    return (writer * 631 + turn * 7919) % count


def main(
    url: str, key: str, operation: str, clients: int, seconds: float, first: int, count: int, seed: int
) -> None:
    callers = [Caller(url, key) for _ in range(clients)]
    for caller in callers:
        getattr(caller, operation)(first)  # connects
    print("ready", flush=True)
    sys.stdin.readline()

    def work(writer: int, turn: int) -> None:
        getattr(callers[writer], operation)(first + scattered(writer + seed, turn, count))

    print(json.dumps(together(work, writers=clients, seconds=seconds)))


if __name__ == "__main__":
    kinds = (str, str, str, int, float, int, int, int)
    main(*(kind(text) for kind, text in zip(kinds, sys.argv[1:], strict=True)))
