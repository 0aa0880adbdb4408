"""Wallets: budgets that cannot be overdrawn, and the ledger of what was held and spent (docs/wallets.md)."""
