"""The suite that LangChain has for the backends of Deep Agents."""

import pytest

pytest.importorskip("deepagents", reason="in an environment of its own: make deepagents")

from langchain_tests.integration_tests import SandboxIntegrationTests

from langchain_trove.sandbox import TroveSandbox

OLDER = "langchain-tests 1.1.9 predates the contract of deepagents 0.7: "
NAMES = OLDER + "paths are absolute, and only of files"


# The suite's own fixtures are made in the older way
@pytest.mark.filterwarnings("ignore:Class-scoped fixtures:pytest.PytestRemovedIn10Warning")
@pytest.mark.sandbox
class TestSandbox(SandboxIntegrationTests):
    sandbox_root_dir = "/workspace/standard"

    @pytest.fixture(scope="class")
    def sandbox(self, isolated):
        return TroveSandbox(isolated.client("standard"), async_client=isolated.async_client("standard"))

    @pytest.mark.xfail(strict=True, reason=OLDER + "a write replaces")
    def test_write_existing_file_fails(self, sandbox_backend, sandbox_test_root):
        super().test_write_existing_file_fails(sandbox_backend, sandbox_test_root)

    @pytest.mark.xfail(strict=True, reason=NAMES)
    def test_glob(self, sandbox_backend, sandbox_test_root):
        super().test_glob(sandbox_backend, sandbox_test_root)

    @pytest.mark.xfail(strict=True, reason=NAMES)
    def test_glob_basic_pattern(self, sandbox_backend, sandbox_test_root):
        super().test_glob_basic_pattern(sandbox_backend, sandbox_test_root)

    @pytest.mark.xfail(strict=True, reason=NAMES)
    def test_glob_with_directories(self, sandbox_backend, sandbox_test_root):
        super().test_glob_with_directories(sandbox_backend, sandbox_test_root)

    @pytest.mark.xfail(strict=True, reason=NAMES)
    def test_glob_hidden_files_explicitly(self, sandbox_backend, sandbox_test_root):
        super().test_glob_hidden_files_explicitly(sandbox_backend, sandbox_test_root)

    @pytest.mark.xfail(strict=True, reason=NAMES)
    def test_glob_with_character_class(self, sandbox_backend, sandbox_test_root):
        super().test_glob_with_character_class(sandbox_backend, sandbox_test_root)

    @pytest.mark.xfail(strict=True, reason=NAMES)
    def test_glob_with_question_mark(self, sandbox_backend, sandbox_test_root):
        super().test_glob_with_question_mark(sandbox_backend, sandbox_test_root)
