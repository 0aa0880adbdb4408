"""Runs commands that come pickled on standard input: a server of another user, or one that can be killed."""

import asyncio
import os
import pickle
import sys

from trove_agents.server.sandbox import SandboxUnavailable, choose


async def serve() -> None:
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    while True:
        try:
            name, network, limits, command = pickle.load(orders)
        except EOFError:
            return
        try:
            answer = await choose(name, network=network, limits=limits).run(command)
        except SandboxUnavailable as error:
            answer = str(error)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(serve()))
