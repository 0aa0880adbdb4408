"""What holds for all tests. Which hosts they may reach stands in pyproject.toml (pytest-socket)."""

import hypothesis

# No test is judged by how fast this machine happens to be
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")
