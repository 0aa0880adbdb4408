"""A run that dies in the third step of a graph that a step calls.

python dying.py FOLDER DURABILITY
"""

import os
import signal
import sys
from pathlib import Path

from langgraph.checkpoint.sqlite import SqliteSaver

from trove_agents import Trove

sys.path.insert(0, str(Path(__file__).parent))
from calling import calling
from graphs import bound, config, line, step


def main():
    folder, durability = Path(sys.argv[1]), sys.argv[2]
    die = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    inner = calling(line(step("1"), step("2"), step("3", before=die)))
    builder = line(step("a")).add_node("call", inner).add_edge("a", "call")
    with (
        SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver,
        Trove.local(folder / "state") as trove,
    ):
        bound(builder, saver, trove.client("w")).invoke({"log": []}, config(), durability=durability)


if __name__ == "__main__":
    main()
