"""Makes the data of the examples: a small shop's customers, orders and logs. All of it is invented.

``python examples/make_data.py [FOLDER]`` writes the same bytes every time and everywhere.
"""

import csv
import io
import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

SEED: Final = 20260301
CUSTOMERS: Final = 2_400
ORDERS: Final = 20_000
BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
DAYS: Final = 31

STREETS: Final = [
    "Bahnhofstraße",
    "Calle Mayor",
    "Harbour Street",
    "Högåsvägen",
    "Kirkegata",
    "Mill Lane",
    "Rue de la Gare",
    "Station Road",
    "Via Roma",
    "Ørestads Allé",
]
CITIES: Final = {
    "North": ("Oslo", "Göteborg", "Aarhus"),
    "South": ("Sevilla", "Napoli", "Porto"),
    "East": ("Kraków", "Brno", "Győr"),
    "West": ("Lille", "Gent", "Bristol"),
}
PRODUCTS: Final = {
    "Desk lamp": Decimal("39.90"),
    "Cable, USB-C, 2 m": Decimal("12.50"),
    'Monitor 27"': Decimal("249.00"),
    "Keyboard": Decimal("79.95"),
    "Chair": Decimal("189.00"),
    "Notebook, dotted": Decimal("6.20"),
    "Headset": Decimal("119.00"),
    "Webcam": Decimal("64.40"),
}
PATHS: Final = (
    "/",
    "/search",
    "/cart",
    "/checkout",
    "/account",
    "/static/app.js",
    "/static/style.css",
    "/api/stock",
)
AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_3) AppleWebKit/605.1.15 Version/19.0 Safari/605.1.15",
    "curl/8.11.1",
)


class Dice:
    """Chances from ``random()`` alone: the only method whose sequence Python promises to keep."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311 (no secrets here)

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def one(self, choices: tuple[T, ...] | list[T]) -> T:
        return choices[self.below(len(choices))]

    def weighted(self, choices: dict[T, int]) -> T:
        at = self.below(sum(choices.values()))
        for choice, weight in choices.items():
            at -= weight
            if at < 0:
                return choice
        raise AssertionError

    def moments(self, count: int) -> list[datetime]:
        """Moments of the month, in order."""
        seconds = sorted(self._random() * DAYS * 86_400 for _ in range(count))
        return [BEGIN + timedelta(milliseconds=int(second * 1000)) for second in seconds]


def customers(dice: Dice) -> Iterator[tuple[object, ...]]:
    yield "customer_id", "street", "email", "region", "city", "segment", "signed_up_on"
    for number in range(1, CUSTOMERS + 1):
        street, house = dice.one(STREETS), 1 + dice.below(120)
        region = dice.weighted({"North": 4, "South": 3, "East": 2, "West": 5})
        segment = dice.weighted({"private": 7, "business": 2, "school": 1})
        since = date(2021, 1, 1) + timedelta(days=dice.below(1_880))
        yield (
            f"C{number:05}",
            f"{street} {house}",
            f"c{number}@example.com",
            region,
            dice.one(CITIES[region]),
            segment,
            since,
        )


def orders(dice: Dice) -> Iterator[tuple[object, ...]]:
    yield (
        "order_id",
        "ordered_at",
        "customer_id",
        "region",
        "product",
        "quantity",
        "unit_price",
        "amount",
        "status",
    )
    for number, moment in enumerate(dice.moments(ORDERS), start=1):
        customer = f"C{dice.below(CUSTOMERS) + 1:05}"
        region = dice.weighted({"North": 40, "South": 31, "East": 18, "West": 52})
        product = dice.one(list(PRODUCTS))
        quantity = dice.weighted({1: 60, 2: 22, 3: 9, 5: 5, 10: 3, 25: 1})
        status = dice.weighted({"paid": 84, "refunded": 5, "cancelled": 7, "pending": 4})
        price = PRODUCTS[product]
        time = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        yield f"O{number:06}", time, customer, region, product, quantity, price, price * quantity, status


def web_log(dice: Dice) -> Iterator[str]:
    for moment in dice.moments(7_000):
        address = dice.one(("192.0.2.", "198.51.100.", "203.0.113.")) + str(dice.below(254) + 1)
        status = dice.weighted({200: 880, 304: 60, 301: 15, 404: 30, 403: 5, 500: 8, 503: 2})
        method = dice.weighted({"GET": 9, "POST": 1})
        size = 0 if status == 304 else 180 + dice.below(48_000)
        request = f"{method} {dice.one(PATHS)} HTTP/1.1"
        yield f'{address} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "{request}" {status} {size} "-" "{dice.one(AGENTS)}"'


def app_log(dice: Dice) -> Iterator[str]:
    texts: dict[str, tuple[Callable[[], str], ...]] = {
        "INFO": (
            lambda: f"checkout order=O{dice.below(ORDERS) + 1:06} took={20 + dice.below(900)}ms",
            lambda: f"stock product={dice.one(list(PRODUCTS))!r} left={dice.below(400)}",
        ),
        "DEBUG": (lambda: f"cache hit={dice.below(2)} key=page:{dice.below(9_000)}",),
        "WARNING": (lambda: f"payment slow provider=pay{dice.below(3)} took={2_000 + dice.below(7_000)}ms",),
        "ERROR": (lambda: f"payment refused order=O{dice.below(ORDERS) + 1:06} code=E{dice.below(90) + 10}",),
    }
    for moment in dice.moments(9_000):
        level = dice.weighted({"INFO": 70, "DEBUG": 21, "WARNING": 6, "ERROR": 3})
        yield f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z {level} shop.{dice.one(('web', 'pay', 'stock'))} {dice.one(texts[level])()}"
        if level == "ERROR" and dice.below(4) == 0:
            yield "Traceback (most recent call last):"
            yield '  File "/srv/shop/payments.py", line 214, in capture'
            yield "    raise Refused(answer.code)"
            yield "shop.payments.Refused: the bank said no"


def table(rows: Iterator[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def make(folder: Path) -> None:
    """Writes the files; each has its own dice, so that a change to one leaves the others as they are."""
    contents = {
        "customers.csv": table(customers(Dice(SEED))),
        "orders.csv": table(orders(Dice(SEED + 1))),
        "logs/web.log": "".join(f"{line}\n" for line in web_log(Dice(SEED + 2))),
        "logs/app.log": "".join(f"{line}\n" for line in app_log(Dice(SEED + 3))),
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
