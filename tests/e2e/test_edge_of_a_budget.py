"""16 processes with 64 async clients at the edge of one budget, over HTTP to two servers of one database: exactly what
fits is admitted.

``TROVE_SOAK=200`` makes it 100,000 operations, another run of them each time.
"""

import json
import os
import random
import subprocess
import sys

import pytest
import tests_postgres as postgres
import tests_spenders as spenders

from trove_agents import WalletClient
from trove_agents.server.db import Database

SOAK = "TROVE_SOAK" in os.environ
OPERATIONS = 100_000 if SOAK else 1_600


@pytest.fixture(params=["sqlite", "postgresql"])
def served(request, tmp_path, serving):
    """Two servers, and where their database is."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    if request.param == "sqlite":
        places = [("--data", tmp_path / "state")] * 2
        database = tmp_path / "state"
    else:
        postgres.server()
        database = postgres.url(tmp_path)
        places = [("--database-url", database)] * 2
    with (
        serving(folders[0], *places[0], "--sandbox", "none") as one,
        serving(folders[1], *places[1], "--sandbox", "none") as other,
    ):
        yield [one.base_url, other.base_url], database


def test_exactly_what_fits_is_admitted(served):
    urls, place = served
    seed = random.randrange(2**32) if SOAK else 7
    with WalletClient(base_url=urls[0]) as opening:
        key = opening.create_key("spenders").api_key
    with WalletClient(key, base_url=urls[0]) as client:
        budget = spenders.PROCESSES * spenders.EACH * spenders.PER_CALLER
        wallet = client.create_wallet("spenders", "x", budget // 1_000_000).id
    done = subprocess.run(
        [sys.executable, spenders.__file__, key, str(wallet), str(OPERATIONS), str(seed), *urls],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads(done.stdout)
    told = [spenders.Told(**each) for each in answer["told"]]
    database = Database.open(place)
    try:
        spenders.check(database, wallet, told)
    finally:
        database.close()
    print(spenders.summary(told, answer["seconds"], seed))
