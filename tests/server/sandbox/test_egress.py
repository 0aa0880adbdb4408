"""With the network setting internet a command reaches public addresses only. Nothing here leaves this machine."""

import socket
import threading

import pytest

from trove_agents.server.sandbox import Limits, SandboxUnavailable, choose, egress, policies, probe

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def online(isolated):
    lacking = egress.missing()
    if lacking:
        pytest.skip(lacking)
    return choose(None, network="internet")


ATTEMPT = """
import socket, struct, sys
interface = socket.if_nametoindex("tap0")
for line in sys.stdin.read().split():
    address, port = line.rsplit(":", 1)
    for how in ("plain", "device", "interface", "datagram", "ancillary"):
        datagram = how in ("datagram", "ancillary")
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
        s.settimeout(3)
        try:
            if how == "device": s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"tap0")
            if how == "interface": s.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", interface))
            if how == "ancillary":
                s.sendmsg([b"x"], [(0, 8, struct.pack("=I4s4s", interface, b"", b""))], 0, (address, int(port)))
            elif datagram: s.sendto(b"x", (address, int(port)))
            else: s.connect((address, int(port)))
            print("reached", address, how)
        except OSError as error:
            print("refused" if error.errno == 1 else repr(error), how)
"""


@pytest.fixture
def service():
    with socket.create_server(("0.0.0.0", 0)) as listening:
        reached = []

        def serve():
            while True:
                try:
                    reached.append(listening.accept()[1])
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], reached
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def attempts(here, root, targets):
    lines = "\n".join(targets).encode()
    (root / "attempt.py").write_text(ATTEMPT)
    return here.run(root, "python3 attempt.py", network="internet", stdin=lines).stdout.decode().splitlines()


def test_services_of_this_machine_are_out_of_reach(online, here, root, service):
    port, reached = service
    own = [address for address in egress.own_addresses() if not address.startswith("127.")]
    targets = [f"{address}:{port}" for address in (*own, "10.0.2.2", "10.0.2.3")]
    answers = attempts(here, root, targets)
    assert len(answers) == 5 * len(targets)
    assert all(answer.startswith("refused") for answer in answers), answers
    assert reached == []


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "168.63.129.16",
        "224.0.0.1",
        "0.0.0.1",
    ],
)
def test_private_and_link_local_addresses_are_refused_inside(online, here, root, address):
    answers = attempts(here, root, [f"{address}:80"])
    assert [answer for answer in answers if answer.startswith("reached")] == []


def test_its_own_loopback_is_its_own(online, here, root, service):
    port, reached = service
    outcome = here.run(root, f"exec 3<>/dev/tcp/127.0.0.1/{port}", network="internet")
    assert b"Connection refused" in outcome.stderr
    assert reached == []


def test_policies_cannot_be_changed(online, here, root):
    script = (
        "import socket, struct; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 6)\n"
        "s.send(struct.pack('=IHHII', 17, 0x1d, 5, 1, 0) + b'\\0')  # flush\n"
        "print(struct.unpack_from('=IHHIIi', s.recv(4096))[-1])"
    )
    assert here.run(root, "python3 -", network="internet", stdin=script.encode()).stdout == b"-1\n"


def test_only_questions_for_names_pass_to_the_resolver(online, here, root):
    script = (
        "import socket\n"
        "for kind, port in ((socket.SOCK_DGRAM, 54), (socket.SOCK_DGRAM, 853)):\n"
        "    try: socket.socket(socket.AF_INET, kind).sendto(b'x', ('10.0.2.3', port)); print('sent')\n"
        "    except PermissionError: print('refused')"
    )
    assert (
        here.run(root, "python3 -", network="internet", stdin=script.encode()).stdout == b"refused\nrefused\n"
    )


def test_nothing_is_left_of_the_connection(online, here, root, survivors):
    here.run(root, "true", network="internet")
    here.run(root, "sleep 9", network="internet", timeout=0.2)
    assert survivors("--disable-host-loopback") == []


def test_the_report_says_so(online):
    report = probe(network="internet")
    assert (report.ok, report.network) == (True, "internet")


def test_without_the_program_it_is_refused_with_a_remedy(isolated, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match="slirp4netns") as refused:
        choose(None, network="internet", limits=Limits(entries=9))
    assert not refused.value.report.ok
    assert refused.value.report.remedy


def test_a_policy_is_what_the_kernel_expects():
    blocked = policies.policy("192.168.0.0/16", policies.BLOCK)
    assert len(blocked) == 168
    assert blocked[:4] == bytes([192, 168, 0, 0])
    assert len(policies.policy("::/0", policies.BLOCK)) == 168
