"""A stand-in for the public wallet service: its five calls, answers with its fields, and nothing else."""

import decimal
import json
import re
from decimal import Decimal
from urllib.parse import parse_qs

from trove_agents.client.drive import Outgoing, Reply

STAMP = "2026-04-04T12:00:00Z"


class PlainWallets:
    def __init__(self):
        self.wallets = []
        self.bought = []
        self.lost = 0
        """How many answers to purchases get lost on the road, from now on."""

    def __call__(self, request: Outgoing) -> Reply:
        body = json.loads(request.body, parse_float=Decimal) if request.body else {}
        query = {name: int(values[0]) for name, values in parse_qs(request.query).items()}
        with decimal.localcontext(decimal.Context(prec=60)):
            status, answer = self.answer(request, body, query)
        text = json.dumps({"success": status == 200, **answer}, default=_number)
        return Reply(status, {}, re.sub(r'"\$([0-9.]+)"', r"\1", text).encode())

    def answer(self, request, body, query):
        match request.method, *request.path.strip("/").split("/"):
            case "POST", "api", "keys":
                key = {
                    "api_key": "tvpk_1",
                    "name": body["name"],
                    "id": 1,
                    "created_at": STAMP,
                    "message": "Save it",
                }
                return 200, key
            case _ if ("x-trove-key", "tvpk_1") not in request.headers:
                return 401, {"message": "Invalid key"}
            case "POST", "api", "wallets":
                return self.create(body)
            case "POST", "api", "wallets", number, "purchase":
                return self.purchase(self.wallet(number), body)
            case "GET", "api", "wallets", number, "balance":
                return self.balance(self.wallet(number))
            case "GET", "api", "wallets", number, "transactions":
                return self.transactions(self.wallet(number), query["page"], query["limit"])
        return 404, {"message": "Not found"}

    def wallet(self, number):
        return next((wallet for wallet in self.wallets if str(wallet["id"]) == number), None)

    def create(self, body):
        for wallet in self.wallets:
            if wallet["agent_id"] == body["agent_id"]:
                return 409, {"message": "Wallet exists", "wallet_id": wallet["id"]}
        wallet = {"id": len(self.wallets) + 1, **body, "balance_usd": 0, "created_at": STAMP}
        self.wallets.append(wallet)
        return 200, {"wallet": wallet}

    def purchase(self, wallet, body):
        if wallet is None:
            return 404, {"message": "Wallet not found"}
        if body["amount_usd"] <= 0:
            return 400, {"message": "amount_usd must be positive"}
        if self.spent(wallet) + body["amount_usd"] > wallet["budget_limit_usd"]:
            return 402, {"message": "Insufficient budget"}
        transaction = {
            "id": len(self.bought) + 1,
            "wallet_id": wallet["id"],
            "amount_usd": body["amount_usd"],
            "description": body.get("description"),
            "vendor": body.get("vendor"),
            "type": "debit",
            "created_at": STAMP,
        }
        self.bought.append(transaction)
        if self.lost:
            self.lost -= 1
            return 503, {"message": "Bad luck"}
        spent = {"id": wallet["id"], "balance_usd": self.spent(wallet)}
        return 200, {"transaction": transaction, "wallet": spent}

    def balance(self, wallet):
        if wallet is None:
            return 404, {"message": "Wallet not found"}
        spent = self.spent(wallet)
        counters = {
            "current_balance": spent,
            "total_spent": spent,
            "remaining_budget": wallet["budget_limit_usd"] - spent,
            "transaction_count": len(self.bought_from(wallet)),
        }
        return 200, {"wallet": _named(wallet), "balance": counters}

    def transactions(self, wallet, page, limit):
        if wallet is None:
            return 404, {"message": "Wallet not found"}
        newest = self.bought_from(wallet)[::-1]
        place = {"page": page, "limit": limit, "total": len(newest), "pages": -(-len(newest) // limit)}
        found = newest[(page - 1) * limit : page * limit]
        return 200, {"wallet": _named(wallet), "transactions": found, "pagination": place}

    def bought_from(self, wallet):
        return [each for each in self.bought if each["wallet_id"] == wallet["id"]]

    def spent(self, wallet):
        return sum((each["amount_usd"] for each in self.bought_from(wallet)), Decimal(0))


def _named(wallet):
    return {name: wallet[name] for name in ("id", "agent_id", "name")}


def _number(amount):
    """Marked, to become a JSON number with all its digits."""
    return f"${amount}"
