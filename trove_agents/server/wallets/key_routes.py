"""HTTP of wallet keys."""

from trove_agents.server.http import Request
from trove_agents.server.routing import Family, Route
from trove_agents.server.wallets import problems
from trove_agents.server.wallets.admission import Admission
from trove_agents.server.wallets.keys import WalletKeys
from trove_agents.server.wallets.refusals import invalid
from trove_agents.server.wallets.routes import caller, identity
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire import wallets as wire


def family_of(keys: WalletKeys) -> Family:
    """Wallet keys, and the errors of the wallet service."""
    return Family(wire.KEY, keys.authenticate, problems.encode, wire.Problem, problems.MEDIA_TYPE)


def routes(family: Family, keys: WalletKeys, wallets: Wallets, admission: Admission) -> list[Route]:
    def create_key(request: Request, body: wire.WalletKeyRequest) -> wire.WalletKeyCreated:
        if body.role == "owner" and body.wallet_id is None:
            return keys.create(admission.workspace(request), body.name)
        if body.role == "owner":
            raise invalid("wallet_id", "only a key with the role spend is for one wallet")
        if body.wallet_id is None:
            raise invalid("wallet_id", "a key with the role spend is for one wallet")
        owner = keys.authenticate(request.headers)
        owner.owns()
        wallets.one(owner, body.wallet_id)
        return keys.create(owner.workspace, body.name, owner=owner.key, wallet=body.wallet_id)

    def own_keys(request: Request) -> wire.WalletKeysAnswer:
        return keys.own(caller(request))

    def revoke_key(request: Request) -> wire.WalletKeyRevoked:
        return keys.revoke(caller(request), identity(request, "wallet_key_id"))

    return [
        Route(
            "POST",
            "/api/keys",
            create_key,
            run="hop",
            access="open",
            summary="Create a wallet key",
            body=wire.WalletKeyRequest,
            reply=wire.WalletKeyCreated,
            errors=(403, 404),
            family=family,
        ),
        Route(
            "GET",
            "/api/keys",
            own_keys,
            run="hop",
            access="family",
            summary="List the key and those that it gave out",
            reply=wire.WalletKeysAnswer,
            errors=(403,),
            family=family,
        ),
        Route(
            "DELETE",
            "/api/keys/{wallet_key_id}",
            revoke_key,
            run="hop",
            access="family",
            summary="End a wallet key",
            reply=wire.WalletKeyRevoked,
            errors=(403, 404),
            family=family,
        ),
    ]
