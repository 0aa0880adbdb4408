"""The types a user sees. Never run: type-checked only."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import assert_type

import trove_agents as ta
from trove_agents.client import files
from trove_agents.client.call import Step


def runtime(client: ta.TroveClient) -> None:
    assert_type(client.exec("ls"), str)
    assert_type(client.exec_detailed("ls", stdin="x").exit_code, int)
    assert_type(client.exec_chain(["a", "b"]), ta.ExecResult)
    assert_type(client.exec("ls", timeout=90, env={"A": "b"}, cwd="workspace/d"), str)
    for part in client.exec_stream("ls", timeout=90):
        assert_type(part, ta.ExecChunk | ta.ExecResult)
    assert_type(client.write("a", "x"), ta.FileResult)
    assert_type(client.delete("a"), str)
    assert_type(client.read("a"), str | bytes)
    assert_type(client.read_file("a").content, str | None)
    assert_type(client.read_bytes_full("a").size_bytes, int | None)
    assert_type(client.list_dir()[0], ta.FileInfo)
    assert_type(client.list_dir().truncated, bool)
    assert_type(client.iter_dir(recursive=True), Iterator[ta.FileInfo])
    assert_type(client.get_init(), str | None)
    assert_type(client.clear_init(), bool)
    assert_type(client.bootstrap().recent_files, list[ta.FileInfo])
    assert_type(client.create_snapshot(), ta.Snapshot)
    made = client.create_reference(thread="t")
    assert_type(made, ta.StepReference)
    assert_type(client.references(), Iterator[ta.StepReference])
    assert_type(client.restore_to(made), ta.RestoredState)
    assert_type(client.delete_references(thread="t"), int)
    assert_type(client.restore_snapshot("snap-1"), int)
    assert_type(client.upload_dir("d", ignore=["*.pyc"], replace=True), ta.TreeResult)
    assert_type(client.export("d", to=BytesIO(), at="snap-1"), ta.Downloaded)
    assert_type(client.download_dir("d", Path("d"), overwrite=True), ta.TreeResult)
    assert_type(client.stat("a", at=client.create_snapshot()), ta.FileStat)
    assert_type(client.read_text("a", at="2026-05-07"), str)
    assert_type(client.diff("snap-1", 5), list[ta.Difference])
    assert_type(client.history("a"), Iterator[ta.HistoryEntry])
    assert_type(client.fork("b", "snap-1").key, ta.KeyCreated | None)
    with client.lease(ttl=5, wait=1.5) as held:
        assert_type(held.client, ta.TroveClient)
        assert_type(held.lease, ta.Lease)
        held.renew()
    assert_type(client.lease_holder(), ta.LeaseHolder | None)
    assert_type(client.end_lease(7), bool)
    assert_type(client.with_step(thread="t", call="c"), ta.TroveClient)
    assert_type(client.for_namespace("other"), ta.TroveClient)
    assert_type(client.configure_namespace("a", workdir="copy"), ta.NamespaceInfo)
    assert_type(client.me(), ta.Me)
    with client as same:
        assert_type(same, ta.TroveClient)


def uploads(client: ta.TroveClient, path: Path) -> None:
    def progress(sent: int, total: int | None) -> None:
        print(sent, total)

    client.upload("a", b"x")
    client.upload("a", bytearray(b"x"))
    client.upload("a", path, progress=progress)
    client.upload("a", BytesIO(b"x"))
    client.upload("a", [b"x", b"y"])
    client.upload("a", (b"x" for _ in range(2)))
    with path.open("rb") as file:
        client.upload("a", file)
    with path.open("wb") as target:
        assert_type(client.download("a", target), ta.Downloaded)
    client.download("a", path, progress=progress)
    client.upload("a", "text")  # type: ignore[arg-type]


async def asynchronous(client: ta.AsyncTroveClient, admin: ta.AsyncTroveAdminClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    assert_type(await client.exec("ls"), str)
    async with client.lease() as held:
        assert_type(held.client, ta.AsyncTroveClient)
        await held.renew(9)
    async for part in client.exec_stream("ls"):
        assert_type(part, ta.ExecChunk | ta.ExecResult)
    assert_type(await client.upload("a", pieces()), ta.FileResult)
    assert_type(await client.bootstrap(), ta.WorkspaceBootstrap)
    async for event in admin.list_events(types=["file.written"]):
        assert_type(event, ta.ListedEvent)
        if event.step:
            assert_type(event.step, ta.Step)
    async with client as same:
        assert_type(same, ta.AsyncTroveClient)


def admin(client: ta.TroveAdminClient) -> None:
    assert_type(client.create_key("n", namespace="ns").api_key, str)
    assert_type(client.create_webhook("https://x").signing_secret, str)
    assert_type(client.list_events(), Iterator[ta.ListedEvent])
    assert_type(ta.TroveAdminClient.from_api_key("k"), ta.TroveAdminClient)


def wallets(client: ta.WalletClient, trove: ta.Trove) -> None:
    assert_type(client.capabilities(), frozenset[str])
    assert_type(client.create_key("n"), ta.WalletKeyCreated)
    assert_type(client.create_key("n", role="spend", wallet_id=1).wallet_id, int | None)
    client.create_key("n", role="admin")  # type: ignore[arg-type]
    assert_type(client.list_keys(), list[ta.WalletKeyInfo])
    limits = ta.WalletLimits(per_call_usd=Decimal("0.5"), per_tool_usd={"t": Decimal(5)})
    assert_type(client.set_limits(1, limits), ta.WalletLimits)
    assert_type(client.get_limits(1).per_call_usd, Decimal | None)
    ta.WalletLimits(per_call_usd=0.5)  # type: ignore[arg-type]
    assert_type(client.create_wallet("a", "n", Decimal("0.5")).budget_limit_usd, Decimal)
    client.purchase(1, 0.1)  # type: ignore[arg-type]
    wallet = client.wallet("a", budget_usd="0.5")
    assert_type(wallet, ta.Wallet)
    assert_type(wallet.purchase(5, vendor="v"), ta.WalletTransaction)
    assert_type(wallet.balance(), ta.WalletBalance)
    assert_type(wallet.transactions(), Iterator[ta.WalletTransaction])
    held = client.hold(1, "0.5", on_expiry="doubt")
    assert_type(held, ta.WalletHold)
    assert_type(client.capture(held.id, "0.2"), ta.WalletTransaction)
    assert_type(client.list_holds(1, "in_doubt"), Iterator[ta.WalletHold])
    client.list_holds(1, "lost")  # type: ignore[arg-type]
    asked = client.request_approval(1, operation_key="k", arguments_digest="d", max_amount_usd="0.5")
    assert_type(asked, ta.WalletApproval)
    assert_type(client.hold(1, "0.5", approval=asked), ta.WalletHold)
    assert_type(wallet.purchase(5, approval=asked), ta.WalletTransaction)
    assert_type(client.list_approvals(1, "pending"), Iterator[ta.WalletApproval])
    assert_type(client.approve(asked.id).max_amount_usd, Decimal)
    assert_type(client.list_wallets(), Iterator[ta.WalletInfo])
    assert_type(client.update_wallet(1, frozen=True), ta.WalletInfo)
    assert_type(trove.wallet("a", budget_usd=5), ta.Wallet)
    assert_type(trove.wallets().with_idempotency_key("k"), ta.WalletClient)


async def asynchronous_wallets(client: ta.AsyncWalletClient) -> None:
    wallet = await client.wallet("a", budget_usd=5)
    assert_type(await wallet.purchase("1"), ta.WalletTransaction)
    async for each in wallet.transactions():
        assert_type(each, ta.WalletTransaction)


def copy(source: str, target: str) -> ta.Flow[ta.FileResult]:
    content = yield from files.read_file(source)
    assert_type(content, ta.FileContent)
    a, b = yield from ta.gather(files.read_file(source), files.list_dir())
    assert_type(a, ta.FileContent)
    assert_type(b, ta.ListResult)
    nested, missing = yield from ta.gather(both(), files.optional(files.read_file("x")))
    assert_type(nested, tuple[str, str])
    assert_type(missing, ta.FileContent | None)
    steps: list[ta.Call[str]] = [files.delete(each) for each in ("a", "b", "c", "d", "e")]
    assert_type((yield from ta.gather(*steps)), tuple[str, ...])
    return (yield from files.write(target, content.content or ""))


def both() -> ta.Flow[tuple[str, str]]:
    return (yield from ta.gather(files.delete("a"), files.delete("b")))


def flows(client: ta.TroveClient) -> None:
    assert_type(client.run(copy("a", "b")), ta.FileResult)
    assert_type(client.send(files.write("a", "x")), ta.FileResult)
    step: Step[str] = files.delete("a")
    assert_type(client.run(files.optional(step)), str | None)


def transports() -> None:
    ta.TroveClient("k", "ns", transport=ta.HttpTransport("https://x"), retries=ta.Retries(attempts=2))
    ta.AsyncTroveClient("k", transport=ta.AsyncHttpTransport("https://x"), retries=None)
    ta.TroveClient("k", transport=ta.AsyncHttpTransport("https://x"))  # type: ignore[arg-type]


def recovery(error: ta.TroveError) -> str:
    match error.recovery:
        case "fix-arguments" | "adapt" | "retry":
            return error.code
        case "operator":
            raise error


assert_type(ta.verify_webhook(secret="s", body=b"", signature_header=""), ta.WebhookEvent)
assert_type(ta.Settings.load().api_key, str | None)
