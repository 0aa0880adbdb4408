import pytest

from trove_agents.server.sandbox import network_hint


@pytest.mark.parametrize(
    "stderr",
    [
        b"curl: (6) Could not resolve host: example.com\n",
        b"wget: unable to resolve host address 'example.com'\n",
        b"socket.gaierror: [Errno -3] Temporary failure in name resolution\n",
        b"socket.gaierror: [Errno -2] Name or service not known\n",
        b"bash: connect: Network is unreachable\n",
        b"ping: connect: network is unreachable\n",
        b"Error: getaddrinfo EAI_AGAIN registry\n",
        b"ssh: Could not resolve hostname example.com: x\n",
    ],
)
def test_it_recognises_a_missing_network(stderr):
    assert "network" in network_hint(stderr)


@pytest.mark.parametrize(
    "stderr", [b"", b"No such file or directory\n", b"Connection refused\n", b"curl: (22) 404\n"]
)
def test_it_leaves_other_failures_alone(stderr):
    assert network_hint(stderr) is None


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "script",
    [
        "exec 3<>/dev/tcp/203.0.113.1/80",
        "curl -s -S http://example.invalid/",
        "python3 -c 'import urllib.request as r; r.urlopen(\"http://example.invalid/\")'",
    ],
)
def test_it_recognises_what_programs_really_say(isolated, here, root, script):
    outcome = here.run(root, script)
    if outcome.exit_code == 127:
        pytest.skip("there is no such program here")
    assert network_hint(outcome.stderr)
