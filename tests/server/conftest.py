"""The whole server behind its HTTP, in process: what a test sends is what a client sends."""

import json
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import tests_objects as objects

from trove_agents.client.transport import Outgoing
from trove_agents.embedded import Trove
from trove_agents.embedded.driver import InProcess
from trove_agents.server.settings import Settings


class Answer:
    def __init__(self, reply):
        self.status = reply.status
        self.headers = reply.headers
        self.body = reply.body

    @property
    def json(self):
        return json.loads(self.body)


class Api:
    """Calls by method and path; every answer, whatever its status."""

    def __init__(self, trove, key=None, namespace="main"):
        self.trove = trove
        self.key = key or trove.credentials.key
        self.namespace = namespace
        self.transport = InProcess(trove._runtime)

    def __call__(self, method, path, *, body=None, data=None, query=None, key=None, namespace="", headers=()):
        content = data if data is not None else b"" if body is None else json.dumps(body).encode()
        namespace = self.namespace if namespace == "" else namespace
        sent = [("Authorization", f"Bearer {key or self.key}"), *headers]
        if namespace is not None:
            sent.append(("X-Namespace", namespace))
        request = Outgoing(
            method,
            quote(path, safe="/%"),
            urlencode(query or {}),
            tuple(sent),
            content,
            len(content) if isinstance(content, bytes) else None,
            60.0,
        )
        return Answer(self.transport.send(request))

    def with_key(self, key, namespace="main"):
        return Api(self.trove, key, namespace)

    # The calls that most tests make
    def write(self, path, content="x", **more):
        answer = self("POST", "/write", body={"path": path, "content": content}, **more)
        assert answer.status == 200, answer.body
        return answer.json

    def put(self, path, data=b"x", **more):
        return self("PUT", f"/files/{path}", data=data, **more)

    def get(self, path, **more):
        return self("GET", f"/files/{path}", **more)

    def read(self, path, **more):
        return self("GET", "/v1/files/content", query={"path": path}, **more)

    def list(self, path="", recursive=False, **more):
        query = {"path": path, **({"recursive": "true"} if recursive else {})}
        return self("GET", "/v1/files", query=query, **more)

    def delete(self, path, **more):
        return self("POST", "/delete", body={"path": path}, **more)

    def snapshot(self, label=None, **more):
        answer = self("POST", "/v1/snapshots", body={"label": label}, **more)
        assert answer.status == 201, answer.body
        return answer.json

    def events(self, **query):
        made = self.trove.credentials
        answer = self(
            "GET",
            f"/v1/workspaces/{made.workspace_id}/events",
            query=query,
            key=made.admin_key,
            namespace=None,
        )
        assert answer.status == 200, answer.body
        return answer.json

    def keys(self, method="GET", key_id=None, **body):
        made = self.trove.credentials
        path = f"/v1/workspaces/{made.workspace_id}/keys" + (f"/{key_id}" if key_id else "")
        return self(method, path, body=body or None, key=made.admin_key, namespace=None)


@pytest.fixture
def trove(tmp_path: Path, place):
    folder = tmp_path / "state"
    where = place(folder)
    url, blobs = (where, objects.bucket()) if isinstance(where, str) else (None, None)
    with Trove(Settings(folder, database_url=url, blobs=blobs)) as trove:
        yield trove


@pytest.fixture
def api(trove):
    return Api(trove)
