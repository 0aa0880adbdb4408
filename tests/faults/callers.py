"""Callers of a server that may die at any moment. Each knows exactly what must be there afterwards."""

import itertools
import random

import httpx

DIRECTORIES = ["d0", "d1", "d2"]
NAMES = ["a", "b", "c"]


class Died(Exception):
    """The server did, while a call was under way."""


class Change:
    """One call: what is sent, what it leads to, and what is told of it."""

    def __init__(self, method, path, kind, after, *, expect=200, headers=None, **more):
        self.request = method, path
        self.kind = kind
        """Of its event; None for none."""
        self.after = after
        """All files below the caller's root afterwards."""
        self.expect = expect
        self.headers = headers or {}
        self.body = {name: more.pop(name) for name in ("json", "content") if name in more}
        self.more = more

    @property
    def key(self):
        return "Idempotency-Key" in self.headers

    @property
    def step(self):
        """Of the reference that it takes."""
        return self.more.get("step")

    def send(self, http):
        return http.request(*self.request, headers=self.headers, **self.body)


class Caller:
    """Works in a namespace of its own, or in a directory of its own in one of several callers. After an answer the
    new state is there, before it the old one or the new one.
    """

    def __init__(self, number, seed, *, namespace=None, commands=False):
        self.random = random.Random(seed)
        self.shared = namespace is not None
        self.namespace = namespace or f"own-{number}"
        self.root = f"w{number}/" if self.shared else ""
        self.name = f"w{number}"
        self.verbs = [
            "write",
            "write",
            "upload",
            "large",
            "delete",
            "move",
            "copy",
            "mkdir",
            "refer",
            "prune",
        ]
        if not self.shared:
            self.verbs += ["snapshot", "restore", "rewind", "discard", "fork", "forget"]
        if commands:
            self.verbs += ["exec", "exec"]
        self.files = {}
        self.snapshots = {}
        self.references = {}
        self.forks = {}
        self.told = []  # kinds of events since the last check
        self.since = "2000-01-01T00:00:00Z"
        self.pending = None
        self.count = itertools.count()
        self.answered = self.repeated = 0

    # Calls
    def work(self, server):
        """Until the server dies."""
        try:
            with server.http(self.namespace) as http:
                while True:
                    getattr(self, self.random.choice(self.verbs))(http)
        except (httpx.TransportError, Died):
            pass

    def path(self):
        return f"{self.random.choice(DIRECTORIES)}/{self.random.choice(NAMES)}"

    def below(self, directory):
        return {path: data for path, data in self.files.items() if path.startswith(directory + "/")}

    def word(self):
        return f"{self.name} {next(self.count)}"

    def call(self, http, method, path, kind, after, *, takes=True, **more):
        """Sends one change that must succeed; often with a key, and where it takes one with a reference."""
        headers = {}
        if self.random.random() < 0.5:
            headers["Idempotency-Key"] = f'"{self.word()}"'
        if takes and self.random.random() < 0.25:
            more["step"] = str(next(self.count))
            headers["X-Trove-Reference"] = "1"
            headers["X-Trove-Step"] = f'thread="{self.name}", step="{more["step"]}"'
        self.pending = change = Change(method, path, kind, after, headers=headers, **more)
        answer = change.send(http)
        if answer.status_code == 503 and "shutting down" in answer.text:
            raise Died
        assert answer.status_code == change.expect, (kind, answer.status_code, answer.text)
        self.settle(answer.json())
        if change.key and self.random.random() < 0.25:
            again = change.send(http)
            assert (again.status_code, again.content) == (answer.status_code, answer.content)
            assert again.headers["Idempotency-Replayed"] == "true"
            self.repeated += 1

    def settle(self, answer):
        """What was under way is done."""
        change, self.pending = self.pending, None
        self.files = change.after
        self.answered += 1
        if change.kind and not change.kind.startswith("namespace.") and answer.get("changed", True):
            self.told.append(change.kind)
        if change.kind == "namespace.restored" and answer["changed"]:
            self.told.append(change.kind)
        if change.kind == "snapshot.created":
            self.snapshots[answer["snapshot_id"]] = dict(change.after)
        elif change.kind == "snapshot.deleted":
            del self.snapshots[change.more["discarded"]]
        elif change.kind == "namespace.forked":
            self.forks[change.more["fork"]] = change.more["start"]
        elif change.kind == "namespace.deleted":
            del self.forks[change.more["fork"]]
        elif change.kind == "references.deleted":
            for key in change.more["gone"]:
                del self.references[key]
        if change.step is not None:
            self.references[answer["reference_id"]] = dict(change.after)

    def write(self, http):
        path, data = self.path(), self.word()
        body = {"path": self.root + path, "content": data}
        self.call(http, "POST", "/write", "file.written", {**self.files, path: data.encode()}, json=body)

    def upload(self, http, size=300):
        path, data = self.path(), f"{self.word()} ".encode() * (size // 8)
        target = f"/files/{self.root}{path}"
        self.call(http, "PUT", target, "file.written", {**self.files, path: data}, content=data)

    def large(self, http):
        self.upload(http, self.random.choice([30_000, 300_000]))

    def delete(self, http):
        if not self.files:
            return
        path = self.random.choice(list(self.files))
        path = self.random.choice([path, path.split("/")[0]])
        gone = {path, *self.below(path)}
        after = {path: data for path, data in self.files.items() if path not in gone}
        self.call(http, "POST", "/delete", "file.deleted", after, json={"path": self.root + path})

    def move(self, http):
        self.transfer(http, "move", "file.moved")

    def copy(self, http):
        self.transfer(http, "copy", "file.copied")

    def transfer(self, http, verb, kind):
        if not self.files:
            return
        source = self.random.choice(list(self.files)).split("/")[0]
        target = self.random.choice([name for name in DIRECTORIES if name != source])
        gone = {*self.below(target), *(self.below(source) if verb == "move" else ())}
        after = {path: data for path, data in self.files.items() if path not in gone}
        after |= {target + path.removeprefix(source): data for path, data in self.below(source).items()}
        body = {"from": self.root + source, "to": self.root + target, "overwrite": True}
        self.call(http, "POST", f"/v1/files/{verb}", kind, after, json=body)

    def mkdir(self, http):
        body = {"path": f"{self.root}{self.random.choice(DIRECTORIES)}/e{next(self.count)}"}
        self.call(http, "POST", "/v1/files/mkdir", "directory.created", self.files, json=body)

    def snapshot(self, http):
        self.call(
            http, "POST", "/v1/snapshots", "snapshot.created", self.files, json={}, expect=201, takes=False
        )

    def discard(self, http):
        if len(self.snapshots) > 6:
            key = self.random.choice(list(self.snapshots))
            self.call(
                http,
                "DELETE",
                f"/v1/snapshots/{key}",
                "snapshot.deleted",
                self.files,
                takes=False,
                discarded=key,
            )

    def restore(self, http):
        if self.snapshots:
            key = self.random.choice(list(self.snapshots))
            after = dict(self.snapshots[key])
            self.call(http, "POST", f"/v1/snapshots/{key}/restore", "snapshot.restored", after)

    def rewind(self, http):
        if self.references:
            key = self.random.choice(list(self.references))
            after = dict(self.references[key])
            self.call(http, "POST", "/v1/restore", "namespace.restored", after, json={"to": key})

    def refer(self, http):
        step = str(next(self.count))
        body = {"thread": self.name, "step": step}
        self.call(
            http, "POST", "/v1/references", None, self.files, json=body, expect=201, takes=False, step=step
        )

    def prune(self, http):
        if len(self.references) <= 6:
            return
        gone = list(self.references) if self.shared else self.random.sample(list(self.references), 4)
        self.call(
            http,
            "POST",
            "/v1/references/delete",
            "references.deleted",
            self.files,
            # Of ids the event names none: among several callers nobody could tell whose it is
            json={"thread": self.name} if self.shared else {"ids": gone},
            takes=False,
            gone=gone,
        )

    def fork(self, http):
        source = self.random.choice([None, *self.snapshots, *self.references])
        name = f"{self.namespace}-{next(self.count)}"
        start = self.files if source is None else {**self.snapshots, **self.references}[source]
        self.call(
            http,
            "POST",
            "/v1/forks",
            "namespace.forked",
            self.files,
            json={"namespace": name, **({"from": source} if source else {})},
            expect=201,
            takes=False,
            fork=name,
            start=dict(start),
        )

    def forget(self, http):
        if len(self.forks) > 2:
            name = self.random.choice(list(self.forks))
            self.call(
                http,
                "DELETE",
                f"/v1/namespaces/{name}",
                "namespace.deleted",
                self.files,
                takes=False,
                fork=name,
            )

    def exec(self, http):
        """Replaces one directory by another, file by file: what is half done can be told."""
        directory, word = self.random.choice(DIRECTORIES), self.word()
        size = self.random.choice([1, 4000])
        gone = self.below(directory)
        after = {path: data for path, data in self.files.items() if path not in gone}
        after |= {f"{directory}/{name}": f"{word}\n".encode() * size for name in NAMES}
        command = (
            f"cd ./{self.root}. && rm -rf {directory} && mkdir -p {directory} && cd {directory}"
            + "".join(f" && yes {word} | head -n {size} > {name}" for name in NAMES)
        )
        if self.root:
            command = f"mkdir -p {self.root} && {command}"
        self.call(http, "POST", "/v1/exec", "exec.completed", after, json={"command": command})

    # Checks
    def check(self, server):
        """What is there is what was answered, and what was under way is there wholly or not at all. With a key it is
        sent again, and is then there once.
        """
        with server.http(self.namespace) as http:
            there, happened = contents(http, self.root), self.happened(server, http)
            change = self.pending
            if change is not None:
                before = self.files
                assert there == (change.after if happened else before), (change.kind, happened)
                if change.key:
                    again = change.send(http)
                    assert again.status_code == change.expect, (change.kind, again.text)
                    told = again.json()
                    if told.get("changed", True):
                        assert ("Idempotency-Replayed" in again.headers) == happened, change.kind
                    self.settle(told)
                    if happened:
                        self.told.clear()
                    self.repeated += 1
                elif happened:
                    self.settle(self.found(http))
                    self.told.clear()
                self.pending = None
                assert contents(http, self.root) == self.files
                assert not self.happened(server, http)
            else:
                assert there == self.files
            assert set(self.referred(http).values()) == set(self.references)
            if not self.shared:
                assert self.listed(http) == set(self.snapshots)
                assert self.forked(http) == set(self.forks)

    def happened(self, server, http):
        """Whether what is pending was done. Everything that was answered was, once and in this order."""
        seen = server.events(self.since, namespace=self.namespace)
        if seen:
            self.since = seen[-1]["created_at"]
        if self.shared:
            seen = [event for event in seen if self.own(event["data"])]
        kinds = [event["type"] for event in seen if event["type"] != "namespace.created"]
        expected, self.told = self.told, []
        change = self.pending
        if change is None:
            assert kinds == expected
            return False
        if change.kind is None:
            assert kinds == expected
            return change.step in self.referred(http)
        if "fork" in change.more:
            assert kinds == expected
            seen = server.events(types=change.kind, namespace=change.more["fork"])
            assert len(seen) <= 1
            return bool(seen)
        assert kinds in (expected, [*expected, change.kind]), (kinds, expected, change.kind)
        done = len(kinds) > len(expected)
        if change.step is not None:
            referred = change.step in self.referred(http)
            assert referred or not done
            # Going back to where it is already changes nothing, but refers to it
            assert done or not referred or (change.kind, change.after) == ("namespace.restored", self.files)
            return referred
        return done

    def found(self, http):
        """What the answer would have said of what was done without one."""
        change, answer = self.pending, {"changed": True}
        if change.kind == "snapshot.created":
            [answer["snapshot_id"]] = self.listed(http) - set(self.snapshots)
        if change.step is not None:
            answer["reference_id"] = self.referred(http)[change.step]
        return answer

    def own(self, data):
        said = data.get("path") or data.get("from") or data.get("command") or data.get("thread") or ""
        return f"{self.name}/" in f"{said}/"

    def referred(self, http):
        """Own references by step."""
        page = http.get("/v1/references", params={"thread": self.name}).raise_for_status().json()
        assert page["next_cursor"] is None
        return {each["step"]: each["reference_id"] for each in page["references"]}

    def listed(self, http):
        found = http.get("/v1/snapshots").raise_for_status().json()["snapshots"]
        assert len(found) < 200
        return {each["snapshot_id"] for each in found if each["snapshot_id"].startswith("snap-")}

    def forked(self, http):
        found, cursor = set(), self.namespace
        while cursor is not None:
            page = http.get("/v1/namespaces", params={"cursor": cursor}).raise_for_status().json()
            names = [each["name"] for each in page["namespaces"]]
            found.update(name for name in names if name.startswith(f"{self.namespace}-"))
            cursor = page["next_cursor"] if names and names[-1].startswith(self.namespace) else None
        return found

    def check_past(self, server):
        """All snapshots, references and forks still hold what they held."""
        with server.http(self.namespace) as http:
            for key, files in [*self.snapshots.items(), *self.references.items()]:
                assert contents(http, self.root, at=key) == files
        for name, files in self.forks.items():
            with server.http(name) as http:
                assert contents(http) == files


def contents(http, below="", at=None):
    """Every file below a directory, read."""
    query = {} if at is None else {"at": at}
    answer = http.get("/v1/files", params={"recursive": "true", "path": below.rstrip("/"), **query})
    if answer.status_code == 404:
        return {}
    listing = answer.raise_for_status().json()
    assert not listing["truncated"]
    found = {}
    for entry in listing["entries"]:
        if not entry["is_dir"]:
            path = entry["path"].removeprefix("workspace/")
            got = http.get(f"/files/{path}", params=query).raise_for_status().content
            assert len(got) == entry["size_bytes"]
            found[path.removeprefix(below)] = got
    return found
