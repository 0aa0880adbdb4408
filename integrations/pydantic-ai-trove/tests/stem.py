"""A program that has imported everything. For each line ``KIND FOLDER SEED LIFE`` it forks a process that lives so, says its
number, and, when it has ended, how.
"""

import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import payer
import player

LIVES = {"plays": player.live, "pays": payer.live}


def main():
    for line in sys.stdin:
        kind, folder, seed, life = line.split()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                LIVES[kind](Path(folder), seed, life)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
