"""64 callers over HTTP, in one namespace and in 1,000: what was answered can be read, and was told once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

CLIENTS = 64


def at_once(work):
    gate = threading.Barrier(CLIENTS)

    def run(number):
        gate.wait()
        return work(number)

    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        results = list(pool.map(run, range(CLIENTS)))
    return results, time.monotonic() - began


def put(http, path, data, **more):
    return http.put(f"/files/{path}", content=data, **more).raise_for_status()


def test_one_namespace(stem, tmp_path):
    server, each = stem.serve(tmp_path / "state"), 20

    def work(number):
        with server.http("one") as http:
            for turn in range(each):
                data = f"{number} {turn} ".encode() * (1 if turn % 5 else 4000)
                put(http, f"{number % 8}/{number}-{turn}", data)
                assert http.get(f"/files/{number % 8}/{number}-{turn}").content == data
                put(http, "shared", data)

    _, seconds = at_once(work)
    with server.http("one") as http:
        for number in range(CLIENTS):
            for turn in range(each):
                got = http.get(f"/files/{number % 8}/{number}-{turn}").raise_for_status().content
                assert got == f"{number} {turn} ".encode() * (1 if turn % 5 else 4000)
    told = [event["data"]["path"] for event in server.events(namespace="one", types="file.written")]
    own = {f"workspace/{number % 8}/{number}-{turn}" for number in range(CLIENTS) for turn in range(each)}
    assert {path: told.count(path) for path in set(told) - {"workspace/shared"}} == dict.fromkeys(own, 1)
    assert told.count("workspace/shared") == CLIENTS * each
    server.stop()
    print(
        f"\n{CLIENTS} clients, one namespace: {CLIENTS * each * 2 / seconds:.0f} uploads/s, with half as many reads"
    )


def test_a_thousand_namespaces(stem, tmp_path):
    server, spaces = stem.serve(tmp_path / "state"), 1000

    def work(number):
        with server.http() as http:
            for space in range(number, spaces, CLIENTS):
                named = {"X-Namespace": f"n{space}"}
                for turn in range(2):
                    put(http, f"f{turn}", f"{space} {turn}".encode(), headers=named)
                taken = http.post("/v1/references", headers=named).raise_for_status().json()
                # Of another caller's namespace too, so that each has two writers
                put(http, "guest", b"", headers={"X-Namespace": f"n{(space + 1) % spaces}"})
                assert taken["files"] in (2, 3)

    _, seconds = at_once(work)
    with server.http() as http:
        for space in range(spaces):
            named = {"X-Namespace": f"n{space}"}
            listing = http.get("/v1/files", headers=named).raise_for_status().json()["entries"]
            assert [entry["name"] for entry in listing] == ["f0", "f1", "guest"]
            assert http.get("/files/f1", headers=named).content == f"{space} 1".encode()
    assert len(server.events(types="file.written")) == 3 * spaces
    server.stop()
    print(f"\n{CLIENTS} clients, {spaces} namespaces: {4 * spaces / seconds:.0f} changes/s")
