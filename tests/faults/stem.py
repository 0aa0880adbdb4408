"""A process that has imported the server and forks one for each line that it reads: a start costs no imports.

``serve FOLDER SANDBOX``: a server on a state directory; answers with its process, address and keys.
``end PROCESS``: the process was killed; answers with its status.
"""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import uvicorn.protocols.http.h11_impl  # noqa: F401 - what a server loads when it starts

from trove_agents.embedded import Trove
from trove_agents.server.settings import Settings


def serve(folder, sandbox, answer):
    os.setsid()
    trove = Trove(Settings(Path(folder), sandbox=None if sandbox == "best" else sandbox))
    made = trove.credentials

    def ready(url):
        told = {
            "process": os.getpid(),
            "base_url": url,
            "key": made.key,
            "admin_key": made.admin_key,
            "workspace_id": made.workspace_id,
        }
        os.write(answer, json.dumps(told).encode())
        os.close(answer)

    trove.serve(port=0, ready=ready)
    trove.close()


def main():
    alive = set()
    for line in sys.stdin:
        verb, *arguments = line.split()
        if verb == "end":
            alive.discard(int(arguments[0]))
            print(os.waitpid(int(arguments[0]), 0)[1], flush=True)
            continue
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(reader)
                os.close(0)
                os.open(os.devnull, os.O_RDONLY)
                serve(*arguments, writer)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        alive.add(child)
        os.close(writer)
        with open(reader) as told:
            print(told.read(), flush=True)
    for child in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
