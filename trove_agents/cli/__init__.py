"""The command ``trove-agents``: one module per noun. They print; what is decided is decided by the server."""

_DISTRIBUTIONS = frozenset(
    {"typer", "rich", "uvicorn", "sqlalchemy", "alembic", "obstore", "blake3", "starlette"}
)


def main() -> None:
    """The entry point. The command comes with the extra ``server``; without it there is only a hint."""
    try:
        from trove_agents.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _DISTRIBUTIONS:
            raise
        raise SystemExit(
            "trove-agents: the command needs the server. Install it: pip install 'trove-agents[server]'"
        ) from None
    app()
