import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepagents", reason="in an environment of its own: make deepagents")

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.sandbox
@pytest.mark.usefixtures("isolated")
def test_what_the_readme_says_of_deep_agents_runs(tmp_path):
    [code] = re.findall(r"^```py\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr
