"""A process that has imported the server, and for each line ``FOLDER ACT STEP`` forks one that does the act and dies
right before its step of that number that touches the disk. Answers with the name of the step; ``done`` if there is none.
"""

import json
import os
import sys
import threading
import traceback
from pathlib import Path

from trove_agents.client.transport import Outgoing
from trove_agents.embedded import Trove
from trove_agents.embedded.driver import InProcess
from trove_agents.server.settings import Settings

STEPS = {"write", "fsync", "rename", "unlink", "utime", "flock", "ftruncate", "execute", "executemany"}
LARGE = b"new " * 700_000


def act(trove, name):
    headers = (("Authorization", f"Bearer {trove.credentials.key}"), ("X-Namespace", "main"))
    method, path, data = {
        "upload": ("PUT", "/files/f", LARGE),
        "exec": (
            "POST",
            "/v1/exec",
            json.dumps({"command": "yes new | tr '\\n' ' ' | head -c 2800000 > f; rm -r d"}).encode(),
        ),
    }[name]
    answer = InProcess(trove._runtime).send(Outgoing(method, path, "", headers, data, len(data), 60.0))
    assert answer.status == 200, answer.body


def child(folder, name, step, told):
    count, on = 0, False

    def watch(frame, event, function):
        nonlocal count
        if on and event == "c_call" and function.__name__ in STEPS:
            if threading.current_thread().name == "trove-jobs":
                return
            if count == step:
                os.write(told, function.__name__.encode())
                os._exit(0)
            count += 1

    threading.setprofile(watch)
    trove = Trove(Settings(Path(folder), sandbox="none"))
    trove.credentials
    sys.setprofile(watch)
    on = True
    act(trove, name)
    on = False
    os.write(told, b"done")
    os._exit(0)


def main():
    for line in sys.stdin:
        folder, name, step = line.split()
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            try:
                child(folder, name, int(step), writer)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        os.close(writer)
        with open(reader) as told:
            print(told.read(), flush=True)
        os.waitpid(process, 0)


if __name__ == "__main__":
    main()
