"""Golden JSON: field names and types of the public API, to and from."""

import msgspec
import pytest

from trove_agents.wire import errors, events, exec, files, keys, limits, namespaces, snapshots, webhooks
from trove_agents.wire.steps import Step

T = "2026-05-07T20:00:00.000000Z"
KEY = '"key_id":"key-1","name":"n","prefix":"trove-sk-abc","scope":"workspace"'
HOOK = '"webhook_id":"wh-1","url":"u","events":["*"],"namespace":null,"description":null,"enabled":true'
LAST = '"last_delivery_at":null,"last_delivery_ok":null,"last_delivery_status":null'
EVENT = (
    f'"id":"evt-1","type":"webhook.test","api_version":"2026-04-30","workspace_id":"ws-1","created_at":"{T}"'
)

GOLDEN = [
    (files.WriteRequest("a", "x"), '{"path":"a","content":"x"}'),
    (files.DeleteRequest("a"), '{"path":"a"}'),
    (files.FileResult("workspace/a", 1), '{"path":"workspace/a","size_bytes":1}'),
    (files.Deleted("workspace/a"), '{"deleted":"workspace/a"}'),
    (
        files.Listing([files.FileInfo("d", "workspace/d", True, None, T)], False, "workspace"),
        (
            '{"entries":[{"name":"d","path":"workspace/d","is_dir":true,"size_bytes":null,'
            f'"modified_at":"{T}"}}],"truncated":false,"path":"workspace"}}'
        ),
    ),
    (
        files.FileContent("workspace/a", 2, T, "binary"),
        f'{{"path":"workspace/a","size_bytes":2,"modified_at":"{T}","encoding":"binary","content":null,"truncated":false,"etag":null}}',
    ),
    (exec.ExecResult(1, "o", "e", 5), '{"exit_code":1,"stdout":"o","stderr":"e","duration_ms":5}'),
    (
        exec.ExecResult(0, "", "", 0, stdout_truncated=True, conflicts=["workspace/a"]),
        '{"exit_code":0,"stdout":"","stderr":"","duration_ms":0,"stdout_truncated":true,"conflicts":["workspace/a"]}',
    ),
    (snapshots.SnapshotRequest(), '{"label":null}'),
    (
        snapshots.Snapshot("snap-1", "ns", 2, T),
        f'{{"snapshot_id":"snap-1","namespace":"ns","size_bytes":2,"created_at":"{T}","label":null,"expires_at":null}}',
    ),
    (snapshots.Restored("snap-1", 3), '{"snapshot_id":"snap-1","files_restored":3}'),
    (snapshots.SnapshotDeleted("snap-1"), '{"snapshot_id":"snap-1","deleted":true}'),
    (keys.KeyRequest("n"), '{"name":"n","namespace":null,"admin":false}'),
    (
        keys.KeyCreated("key-1", "n", "trove-sk-abc", "workspace", T, api_key="trove-sk-1"),
        f'{{{KEY},"created_at":"{T}","namespace":null,"api_key":"trove-sk-1"}}',
    ),
    (keys.KeyRevoked("key-1"), '{"key_id":"key-1","revoked":true}'),
    (
        keys.Me("ws-1", "key-1", "n", "admin"),
        '{"workspace_id":"ws-1","key_id":"key-1","key_name":"n","scope":"admin","namespace":null,"capabilities":[]}',
    ),
    (webhooks.WebhookRequest("u"), '{"url":"u","events":["*"],"namespace":null,"description":null}'),
    (
        webhooks.WebhookCreated("wh-1", "u", created_at=T, signing_secret="s"),
        f'{{{HOOK},"created_at":"{T}",{LAST},"signing_secret":"s"}}',
    ),
    (webhooks.WebhookDeleted("wh-1"), '{"webhook_id":"wh-1","deleted":true}'),
    (
        webhooks.WebhookTestResult(True, "evt-1", 200),
        '{"ok":true,"event_id":"evt-1","status":200,"error":null}',
    ),
    (
        webhooks.WebhookEvent("evt-1", "webhook.test", events.API_VERSION, "ws-1", T),
        f'{{{EVENT},"namespace":null,"actor":null,"data":{{}}}}',
    ),
    (
        webhooks.WebhookEvent("evt-1", "webhook.test", events.API_VERSION, "ws-1", T, step=Step(thread="t")),
        f'{{{EVENT},"namespace":null,"actor":null,"data":{{}},"step":{{"thread":"t"}}}}',
    ),
    (
        events.EventPage(
            [events.ListedEvent("evt-1", "webhook.test", events.API_VERSION, "ws-1", T, event_id="evt-1")]
        ),
        f'{{"events":[{{{EVENT},"namespace":null,"actor":null,"data":{{}},"event_id":"evt-1"}}],"next_cursor":null}}',
    ),
    (errors.ErrorBody("words"), '{"detail":"words"}'),
    (errors.ErrorBody("words", "not-found"), '{"detail":"words","code":"not-found"}'),
    (namespaces.WorkspaceCreated("ws-1", "a", "b"), None),
]


@pytest.mark.parametrize(("value", "text"), GOLDEN, ids=[type(value).__name__ for value, _ in GOLDEN])
def test_values_are_written_and_read_as_the_api_has_them(value: msgspec.Struct, text: str | None) -> None:
    encoded = msgspec.json.encode(value)
    if text is not None:
        assert encoded.decode() == text
    assert msgspec.json.decode(encoded, type=type(value)) == value


@pytest.mark.parametrize(
    "kind", [snapshots.Snapshots, keys.Keys, webhooks.Webhooks, files.Listing, events.EventPage]
)
def test_an_empty_answer_is_an_empty_list(kind: type) -> None:
    assert getattr(msgspec.json.decode(b"{}", type=kind), kind.__struct_fields__[0]) == []


@pytest.mark.parametrize("name", ["a", "A-z_0", "x" * 128])
def test_namespaces(name: str) -> None:
    assert namespaces.valid(name)


@pytest.mark.parametrize("name", ["", "a\n", "x" * 129, "a/b", "a.b", "ä", "a b"])
def test_names_that_are_no_namespaces(name: str) -> None:
    assert not namespaces.valid(name)


def test_paths_are_shown_under_the_root() -> None:
    assert (files.shown(""), files.shown("a/b")) == ("workspace", "workspace/a/b")
    assert limits.MB == 1_048_576
