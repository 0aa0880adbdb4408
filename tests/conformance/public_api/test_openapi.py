"""The server held to its own OpenAPI document: schemathesis sends what the document allows, and what it does not."""

import secrets

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from trove_agents.wire import tars
from trove_agents.wire.tars import Member

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SETTINGS = hypothesis.settings(
    max_examples=15,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BARE = ["GET /healthz", "GET /openapi.json"]
"""They take nothing, so nothing can be wrong with it."""
OPERATIONS = [
    "GET /v1/me",
    "POST /v1/exec",
    "POST /exec",
    "POST /write",
    "POST /delete",
    "PUT /files/{path}",
    "GET /files/{path}",
    "GET /v1/files",
    "GET /v1/files/content",
    "POST /v1/files/mkdir",
    "POST /v1/files/move",
    "POST /v1/files/copy",
    "GET /v1/tree",
    "PUT /v1/tree",
    "GET /v1/files/stat",
    "GET /v1/diff",
    "GET /v1/history",
    "POST /v1/forks",
    "POST /v1/snapshots",
    "GET /v1/snapshots",
    "DELETE /v1/snapshots/{snapshot_id}",
    "POST /v1/snapshots/{snapshot_id}/restore",
    "POST /v1/restore",
    "POST /v1/references",
    "GET /v1/references",
    "POST /v1/leases",
    "GET /v1/leases",
    "DELETE /v1/leases",
    "POST /v1/leases/{lease_id}",
    "DELETE /v1/leases/{lease_id}",
    "POST /v1/references/delete",
    "GET /v1/references/{reference_id}",
    "DELETE /v1/references/{reference_id}",
    "GET /v1/namespaces",
    "GET /v1/namespaces/{name}",
    "PATCH /v1/namespaces/{name}",
    "DELETE /v1/namespaces/{name}",
    "GET /v1/workspaces/{workspace_id}/events",
    "POST /v1/workspaces",
    "GET /v1/workspaces/{workspace_id}/keys",
    "POST /v1/workspaces/{workspace_id}/keys",
    "DELETE /v1/workspaces/{workspace_id}/keys/{key_id}",
    "POST /api/keys",
    "GET /api/keys",
    "DELETE /api/keys/{wallet_key_id}",
    "POST /api/wallets",
    "POST /api/wallets/{wallet_id}/purchase",
    "GET /api/wallets/{wallet_id}/balance",
    "GET /api/wallets/{wallet_id}/transactions",
    "GET /api/wallets",
    "GET /api/wallets/{wallet_id}",
    "PATCH /api/wallets/{wallet_id}",
    "POST /api/wallets/{wallet_id}/children",
    "POST /api/wallets/{wallet_id}/holds",
    "GET /api/wallets/{wallet_id}/holds",
    "GET /api/holds/{hold_id}",
    "POST /api/holds/{hold_id}/capture",
    "POST /api/holds/{hold_id}/void",
    "POST /api/holds/{hold_id}/extend",
    "POST /api/holds/{hold_id}/doubt",
    "POST /api/holds/{hold_id}/write-off",
    "POST /api/transactions/{transaction_id}/refund",
    "GET /api/wallets/{wallet_id}/limits",
    "PUT /api/wallets/{wallet_id}/limits",
    "POST /api/wallets/{wallet_id}/approvals",
    "GET /api/wallets/{wallet_id}/approvals",
    "GET /api/approvals/{approval_id}",
    "POST /api/approvals/{approval_id}/approve",
    "POST /api/approvals/{approval_id}/deny",
    "GET /api/capabilities",
]
STATES = [
    "/files/{path}",
    "/v1/files",
    "/v1/files/content",
    "/v1/files/stat",
    "/v1/tree",
    "/v1/diff",
    "/v1/forks",
    "/v1/restore",
]
"""Where ``at``, ``from`` and ``to`` are states of the namespace."""


@pytest.fixture(scope="module")
def document(served):
    return schemathesis.openapi.from_url(f"{served.base_url}/openapi.json")


class Real:
    """Values that name something, made anew for every call that may use one of them up."""

    def __init__(self, workspace, http, admin) -> None:
        self.workspace = workspace
        self.http = http
        self.keys = f"/v1/workspaces/{workspace.workspace_id}/keys"
        self.admin = admin
        self.lease = None
        self._wallet_key = None
        self._admin_header = {"Authorization": f"Bearer {workspace.admin_key}"}

    def put_into(self, case) -> None:
        self.release()
        for name in case.path_parameters:
            case.path_parameters[name] = getattr(self, name)()
        for values in (case.query, case.body):
            for name in ("path", "from"):
                if isinstance(values, dict) and name in values:
                    values[name] = self.path()
        for name in (
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
        ):  # generated, they hardly ever let a call pass
            (case.headers or {}).pop(name, None)
        if (
            case.operation.path.startswith("/api/")
            and f"{case.operation.method.upper()} {case.operation.path}" != "POST /api/keys"
        ):
            case.headers["X-Trove-Key"] = self.wallet_key()
        if "X-Trove-Lease" in (case.headers or {}):
            case.headers["X-Trove-Lease"] = self.lease_id()

    def put_what_fits_into(self, case) -> None:
        for path, name in (("mkdir", "path"), ("move", "to"), ("copy", "to")):
            if (
                case.operation.path == f"/v1/files/{path}"
                and isinstance(case.body, dict)
                and name in case.body
            ):
                case.body[name] = f"new-{secrets.token_hex(4)}"
        if case.operation.path == "/v1/tree":
            case.query["path"] = "tree"
            case.body = tars.head(Member("a", "directory", 0o755, 0)) + tars.END
        if case.operation.path == "/v1/references/delete":
            case.body = {"ids": [self.reference_id()]}  # of the fields only some go together
        if case.operation.path.startswith("/api/") and isinstance(case.body, dict):
            # JSON Schema cannot say that six decimals are exact, nor what a database holds
            case.body.update(
                {name: 0.000001 for name in ("amount_usd", "budget_limit_usd") if case.body.get(name)}
            )
            case.body.update(
                {
                    name: secrets.token_hex(8)
                    for name in ("agent_id", "name", "description", "vendor", "tool", "namespace")
                    if case.body.get(name) is not None
                }
            )
        if case.operation.path.startswith("/api/") and isinstance(case.body, dict):
            case.body.pop("approval", None)  # of another payment
        if case.operation.path.endswith("/approvals") and isinstance(case.body, dict):
            case.body = {"operation_key": "k", "arguments_digest": "d", "max_amount_usd": 5}
        if case.operation.path.endswith("/limits") and isinstance(case.body, dict):
            case.body = {"per_call_usd": 0.5, "calls_per_minute": 7}
        if case.operation.path == "/api/keys" and isinstance(case.body, dict):
            case.body.pop("role", None)  # of the fields only some go together
            case.body.pop("wallet_id", None)
        if case.operation.path.endswith("/write-off"):
            doubt = f"/api/holds/{case.path_parameters['hold_id']}/doubt"
            self.http.post(doubt, headers={"X-Trove-Key": self.wallet_key()}).raise_for_status()
        if case.operation.path not in STATES:
            return
        for values in (case.query, case.body):
            for name in ("at", "from", "to"):
                if isinstance(values, dict) and name in values:
                    values[name] = self.snapshot_id()
            if isinstance(values, dict):
                values.pop("cursor", None)
                if "namespace" in values:
                    values["namespace"] = f"fork-{secrets.token_hex(4)}"

    def workspace_id(self) -> str:
        return self.workspace.workspace_id

    def name(self) -> str:
        self.http.put("/files/a", content=b"x", headers={"X-Namespace": "other"}).raise_for_status()
        return "other"

    def snapshot_id(self) -> str:
        return self.http.post("/v1/snapshots").raise_for_status().json()["snapshot_id"]

    def reference_id(self) -> str:
        return self.http.post("/v1/references").raise_for_status().json()["reference_id"]

    def lease_id(self) -> str:
        self.release()
        self.lease = self.http.post("/v1/leases").raise_for_status().json()["lease_id"]
        return self.lease

    def release(self) -> None:
        if self.lease is not None:
            self.http.delete(f"/v1/leases/{self.lease}").raise_for_status()
            self.lease = None

    def key_id(self) -> str:
        return self.admin.post(self.keys, json={"name": "generated"}).raise_for_status().json()["key_id"]

    def wallet_key(self) -> str:
        """Its wallets are those that ``wallet_id`` makes."""
        if self._wallet_key is None:
            made = self.http.post("/api/keys", json={"name": "generated"}, headers=self._admin_header)
            self._wallet_key = made.raise_for_status().json()["api_key"]
        return self._wallet_key

    def wallet_key_id(self) -> str:
        body = {"name": "generated", "role": "spend", "wallet_id": int(self.wallet_id())}
        made = self.http.post("/api/keys", json=body, headers={"X-Trove-Key": self.wallet_key()})
        return str(made.raise_for_status().json()["id"])

    def wallet_id(self) -> str:
        body = {"agent_id": secrets.token_hex(8), "name": "generated", "budget_limit_usd": 999_999_999.999999}
        made = self.http.post("/api/wallets", json=body, headers={"X-Trove-Key": self.wallet_key()})
        return str(made.raise_for_status().json()["wallet"]["id"])

    def hold_id(self) -> str:
        path = f"/api/wallets/{self.wallet_id()}/holds"
        made = self.http.post(path, json={"amount_usd": 5}, headers={"X-Trove-Key": self.wallet_key()})
        return str(made.raise_for_status().json()["hold"]["id"])

    def approval_id(self) -> str:
        path = f"/api/wallets/{self.wallet_id()}/approvals"
        body = {"operation_key": "k", "arguments_digest": "d", "max_amount_usd": 5}
        made = self.http.post(path, json=body, headers={"X-Trove-Key": self.wallet_key()})
        return str(made.raise_for_status().json()["approval"]["id"])

    def transaction_id(self) -> str:
        path = f"/api/wallets/{self.wallet_id()}/purchase"
        made = self.http.post(path, json={"amount_usd": 5}, headers={"X-Trove-Key": self.wallet_key()})
        return str(made.raise_for_status().json()["transaction"]["id"])

    def path(self) -> str:
        return self.http.put("/files/a/b", content=b"x").raise_for_status().json()["path"]


@pytest.fixture
def real(workspace):
    with workspace.http() as http, workspace.http(None, workspace.admin_key) as admin:
        made = Real(workspace, http, admin)
        yield made
        made.release()


def test_the_document_is_valid_openapi(document):
    document.validate()
    listed = {f"{found.ok().method.upper()} {found.ok().path}" for found in document.get_all_operations()}
    assert listed | {"GET /openapi.json"} == {
        *BARE,
        *OPERATIONS,
    }  # schemathesis leaves out the document itself


@pytest.mark.parametrize("operation", BARE)
def test_what_takes_nothing(document, operation):
    method, path = operation.split()
    case = document[path][method].Case()
    case.validate_response(case.call(), checks=CHECKS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_server_keeps_to_it(document, workspace, real, operation, mode, why_no_commands):
    if operation.endswith("/exec") and why_no_commands:
        pytest.skip(f"this machine cannot isolate commands: {why_no_commands}")
    method, path = operation.split()
    described = document[path][method]
    seen = set()

    @SETTINGS
    @hypothesis.given(case=described.as_strategy(generation_mode=mode), admin=..., known=...)
    def check(case, admin: bool, known: bool):
        key = workspace.admin_key if admin else workspace.key
        headers = {"Authorization": f"Bearer {key}"}
        if known:
            real.put_into(case)
            real.put_what_fits_into(case)
            headers["X-Namespace"] = "main"
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)
        seen.add(response.status_code)

    check()
    if mode is GenerationMode.POSITIVE:
        assert seen & {200, 201}, "nothing that was generated did anything"
