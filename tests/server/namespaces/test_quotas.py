"""Quotas over the API: the section of that name in docs/wire.md."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trove_agents.embedded import Trove
from trove_agents.server.settings import Settings


def info(api, name="main"):
    answer = api("GET", f"/v1/namespaces/{name}", namespace=None)
    assert answer.status == 200, answer.body
    return answer.json


def limit(api, name="main", **quotas):
    body = {f"quota_{key}": value for key, value in quotas.items()}
    key = api.trove.credentials.admin_key
    answer = api("PATCH", f"/v1/namespaces/{name}", body=body, key=key, namespace=None)
    assert answer.status == 200, answer.body
    return answer.json


def write(api, path, size, **more):
    return api("POST", "/write", body={"path": path, "content": "x" * size}, **more)


def refused(answer, quota, most, used, needed):
    assert (answer.status, answer.json["code"]) == (413, "quota-exceeded")
    assert answer.json["errors"] == [{"quota": quota, "limit": most, "used": used, "needed": needed}]
    for number in (most, used, needed):
        assert f"{number:,}" in answer.json["detail"]


def test_it_is_shown_and_set_in_parts(api):
    api.write("a", "12")
    assert (info(api)["quota_files"], info(api)["quota_bytes"]) == (None, None)
    assert limit(api, files=3) == info(api)
    limit(api, bytes=10)
    assert (info(api)["quota_files"], info(api)["quota_bytes"]) == (3, 10)
    limit(api, files=None)
    assert (info(api)["quota_files"], info(api)["quota_bytes"]) == (None, 10)
    (listed,) = api("GET", "/v1/namespaces", namespace=None).json["namespaces"]
    assert listed == info(api)
    event = api.events(types="namespace.changed")["events"][0]
    assert (event["namespace"], event["data"]) == ("main", {"quota_files": None, "quota_bytes": 10})


def test_who_may_set_it(api):
    api.write("a")
    locked = api.keys("POST", name="locked", scope="workspace", namespace="main").json["api_key"]
    for key in (api.key, locked):
        answer = api("PATCH", "/v1/namespaces/main", body={"quota_bytes": 1}, key=key, namespace=None)
        assert answer.status == 403
    assert info(api)["quota_bytes"] is None
    admin = api.trove.credentials.admin_key
    other = api.trove.server.keys.create_workspace("other")
    api("PATCH", "/v1/namespaces/main", body={"quota_bytes": 1}, key=other.admin_key, namespace=None)
    assert info(api)["quota_bytes"] is None
    for body in ({"quota_bytes": -1}, {"quota_bytes": 2**63}, {"quota_files": "many"}):
        assert api("PATCH", "/v1/namespaces/main", body=body, key=admin, namespace=None).status == 422
    assert (
        api("PATCH", "/v1/namespaces/a%20b", body={"quota_files": 1}, key=admin, namespace=None).status == 422
    )
    assert limit(api, "fresh", bytes=1)["files"] == 0
    refused(write(api, "a", 2, namespace="fresh"), "bytes", 1, 0, 2)


def test_what_grows_is_refused_and_what_does_not_is_not(api):
    write(api, "d/a", 6)
    limit(api, bytes=10, files=2)
    refused(write(api, "b", 5), "bytes", 10, 6, 11)
    refused(api.put("b", b"x" * 5), "bytes", 10, 6, 11)
    assert api.read("b").status == 404
    assert write(api, "b", 4).status == 200
    refused(write(api, "c", 0), "files", 2, 2, 3)
    transfer = {"from": "d", "to": "e"}
    refused(api("POST", "/v1/files/copy", body=transfer), "bytes", 10, 10, 16)
    assert api("POST", "/v1/files/mkdir", body={"path": "empty"}).status == 200
    assert api("POST", "/v1/files/move", body=transfer).status == 200
    limit(api, bytes=1, files=1)
    assert write(api, "b", 3).status == 200  # smaller, though still over
    refused(write(api, "b", 4), "bytes", 1, 9, 10)
    assert api("POST", "/v1/files/move", body={"from": "b", "to": "e/b"}).status == 200
    assert api.delete("e/b").status == api.delete("e").status == 200
    assert write(api, "b", 1).status == 200


def test_an_upload_that_must_be_over_is_refused_before_its_body_is_read(api):
    limit(api, bytes=100_000)
    api.put("a", b"x" * 60_000)
    started = []

    def body():
        started.append(True)
        yield b"x" * 50_000

    with api.trove.client("main") as client:
        call = type("Sized", (), {"__iter__": lambda _: body()})()
        from trove_agents.client.transport import Outgoing

        sent = (("Authorization", f"Bearer {api.key}"), ("X-Namespace", "main"))
        reply = client._transport.send(Outgoing("PUT", "/files/b", "", sent, call, 50_000, 60.0))
        assert reply.status == 413
        assert started == []
        reply = client._transport.send(Outgoing("PUT", "/files/a", "", sent, call, 50_000, 60.0))
        assert (reply.status, started) == (200, [True])


def test_a_restore_is_allowed_and_a_fork_inherits(api):
    write(api, "a", 9)
    taken = api.snapshot()["snapshot_id"]
    write(api, "a", 1)
    limit(api, bytes=5)
    assert api("POST", f"/v1/snapshots/{taken}/restore").status == 200
    refused(write(api, "b", 1), "bytes", 5, 9, 10)
    assert api("POST", "/v1/forks", body={"namespace": "fork"}).status == 201
    assert info(api, "fork")["quota_bytes"] == 5
    refused(write(api, "b", 1, namespace="fork"), "bytes", 5, 9, 10)
    assert write(api, "a", 2, namespace="fork").status == 200
    limit(api, "fork", bytes=50)
    assert write(api, "b", 9, namespace="fork").status == 200
    refused(write(api, "b", 1), "bytes", 5, 9, 10)


def test_a_command_over_it_leaves_nothing(tmp_path):
    with Trove(Settings(tmp_path / "s", sandbox="none", quota_bytes=10, quota_files=3)) as trove:
        with trove.client("main") as client:
            client.write("a", "x")
            from trove_agents import TroveQuotaError

            for command in ("echo 0123456789 > b; rm a", "touch b c d"):
                with pytest.raises(TroveQuotaError) as caught:
                    client.exec(command)
                assert (caught.value.status_code, caught.value.recovery) == (413, "adapt")
                assert client.exec("ls") == "a\n"
            assert caught.value.errors[0]["quota"] == "files"
            client.exec("echo 012345678 > b; rm a")
            assert [each.name for each in client.list_dir()] == ["b"]


def test_the_server_has_one_for_all(tmp_path):
    with Trove(Settings(tmp_path / "s", quota_bytes=4, quota_files=2)) as trove:
        from trove_agents import TroveQuotaError

        with trove.client("main") as client, trove.admin() as admin:
            with pytest.raises(TroveQuotaError):
                client.write("a", "12345")
            assert admin.set_quota("main", max_bytes=5).quota_files == 2
            client.write("a", "12345")
            assert (client.namespace_info("main").quota_bytes, client.namespace_info("main").bytes) == (5, 5)
            with pytest.raises(TroveQuotaError):
                trove.client("other").write("a", "12345")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abc"), st.integers(0, 8)),
        st.tuples(st.just("copy"), st.sampled_from("abc"), st.sampled_from("abcde")),
        st.tuples(st.just("delete"), st.sampled_from("abcde"), st.none()),
        st.tuples(st.just("quota"), st.integers(0, 4), st.integers(0, 16)),
        st.tuples(st.sampled_from(["snapshot", "restore"]), st.none(), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_nothing_grows_above_it(api, steps):
    name = f"n{len(api('GET', '/v1/namespaces', namespace=None).json['namespaces'])}"
    space = api.with_key(api.key, name)
    quota, sizes, taken = (None, None), {}, None
    limit(api, name, files=None)
    for step, first, second in steps:
        before = dict(sizes)
        if step == "quota":
            quota = (first, second)
            limit(api, name, files=first, bytes=second)
            continue
        if step == "snapshot":
            taken = (space.snapshot()["snapshot_id"], before)
            continue
        if step == "restore":
            if taken is not None:
                assert space("POST", f"/v1/snapshots/{taken[0]}/restore").status == 200
                sizes = dict(taken[1])
            continue
        if step == "write":
            answer = write(space, first, second)
            sizes[first] = second
        elif step == "copy":
            answer = space("POST", "/v1/files/copy", body={"from": first, "to": second, "overwrite": True})
            if first not in before or first == second:
                assert answer.status in {404, 409}
                continue
            sizes[second] = sizes[first]
        else:
            answer = space.delete(first)
            assert (answer.status == 200) == (first in before)
            sizes.pop(first, None)
        was, now = (len(before), sum(before.values())), (len(sizes), sum(sizes.values()))
        fits = all(most is None or n <= max(most, w) for most, w, n in zip(quota, was, now, strict=True))
        if step != "delete":
            assert answer.status == (200 if fits else 413)
        if not fits:
            sizes = before
        found = info(api, name)
        assert (found["files"], found["bytes"]) == (len(sizes), sum(sizes.values()))


def test_writers_at_once_stay_below_it(api):
    limit(api, bytes=10)
    statuses = []
    barrier = threading.Barrier(6)

    def put(index):
        barrier.wait()
        statuses.append(write(api, f"f{index}", 3).status)

    threads = [threading.Thread(target=put, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 3 + [413] * 3
    assert info(api)["bytes"] == 9
