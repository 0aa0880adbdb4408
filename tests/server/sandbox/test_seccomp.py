"""The filter of system calls, run by an interpreter of its few instructions."""

import errno
import struct

import pytest

from trove_agents.server.sandbox.seccomp import FAMILIES, MACHINES, NOT_THERE, program

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def verdict(filter, number, architecture, argument=0):
    data = struct.pack("=IIQQ", number, architecture, 0, argument)
    steps = list(struct.iter_unpack("=HBBI", filter))
    accumulator, at = 0, 0
    while True:
        code, then, otherwise, value = steps[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x15:
            at += then if accumulator == value else otherwise
        elif code == 0x35:
            at += then if accumulator >= value else otherwise
        else:
            assert code == 0x06
            return value


@pytest.mark.parametrize("machine", MACHINES)
class TestFilter:
    def test_each_listed_call_is_refused(self, machine):
        for name, number in MACHINES[machine].calls.items():
            expected = errno.ENOSYS if name in NOT_THERE else errno.EPERM
            assert verdict(program(machine), number, MACHINES[machine].audit) == ERRNO | expected

    def test_every_other_call_is_allowed(self, machine):
        listed = {*MACHINES[machine].calls.values(), MACHINES[machine].socket}
        for number in set(range(600)) - listed:
            assert verdict(program(machine), number, MACHINES[machine].audit) == ALLOW

    def test_sockets_are_of_the_network_namespace(self, machine):
        known = MACHINES[machine]
        for family in range(64):
            expected = ALLOW if family in FAMILIES else ERRNO | errno.EAFNOSUPPORT
            assert verdict(program(machine), known.socket, known.audit, family) == expected

    def test_the_upper_half_of_an_argument_changes_nothing(self, machine):
        known = MACHINES[machine]
        for family in (FAMILIES[0], 40):
            whole = verdict(program(machine), known.socket, known.audit, family)
            assert verdict(program(machine), known.socket, known.audit, family | 1 << 32) == whole

    def test_a_foreign_architecture_is_killed(self, machine):
        for audit in (0x40000003, 0x40000028, 0):
            assert verdict(program(machine), 1, audit) == KILL

    def test_both_refuse_the_same(self, machine):
        assert set(MACHINES[machine].calls) == set(MACHINES["x86_64"].calls)


def test_the_second_numbering_of_x86_64_is_not_there():
    assert verdict(program("x86_64"), 0x40000000 + 39, MACHINES["x86_64"].audit) == ERRNO | errno.ENOSYS


def test_a_machine_without_numbers_has_no_filter():
    assert program("riscv64") is None
