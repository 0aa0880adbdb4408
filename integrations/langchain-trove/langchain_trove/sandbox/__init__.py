"""A workspace as the backend of Deep Agents. Needs the extra ``deepagents``."""

from langchain_trove.sandbox.backend import TroveSandbox

__all__ = ["TroveSandbox"]
