"""A command's output between the command and a reader who may be slow."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trove_agents.server.exec import output as module
from trove_agents.server.exec.output import Output
from trove_agents.wire.exec import ExecChunk

CAP = 1024 * 1024


def everything(output):
    chunks = list(iter(output.take, None))
    return chunks, {
        name: "".join(c.text for c in chunks if c.stream == name) for name in ("stdout", "stderr")
    }


def begun():
    output = Output()
    output.begin("/workspace", init=False)
    return output


def test_chunks_come_in_the_order_of_the_streams():
    output = begun()
    for stream, piece in (("stdout", b"a"), ("stderr", b"b"), ("stderr", b"c"), ("stdout", b"d")):
        output.hear(stream, piece)
    assert list(iter(output.take, None)) == [
        ExecChunk("stdout", "a"), ExecChunk("stderr", "bc"), ExecChunk("stdout", "d")]  # fmt: skip
    assert output.take() is None


def test_a_path_across_pieces_waits_for_its_rest():
    output = begun()
    output.hear("stdout", b"in /work")
    output.hear("stderr", b"other")
    assert output.take() == ExecChunk("stdout", "in ")
    assert output.take() == ExecChunk("stderr", "other")
    output.hear("stdout", b"space/a")
    assert output.take() is None
    output.end(stdout_cut=False, stderr_cut=False)
    assert everything(output) == (
        [ExecChunk("stdout", "workspace/a")],
        {"stdout": "workspace/a", "stderr": ""},
    )


def test_the_end_of_a_cut_stream_holds_no_half_character():
    for cut, last in ((True, ""), (False, "\ufffd")):
        output = begun()
        output.hear("stdout", b"x\xc3")
        output.end(stdout_cut=cut, stderr_cut=False)
        assert everything(output)[1]["stdout"] == "x" + last


def test_a_reader_far_behind_gets_all_in_bounded_room():
    output = begun()
    size = 0
    for number in range(100_000):
        stream = "stdout" if number % 2 else "stderr"
        output.hear(stream, b"%d " % number)
        size += len(b"%d " % number)
    assert len(output._runs) <= module._RUNS
    assert sum(map(len, output._pieces.values())) == size
    output.end(stdout_cut=False, stderr_cut=False)
    chunks, text = everything(output)
    assert text["stdout"].split() == [str(n) for n in range(1, 100_000, 2)]
    assert text["stderr"].split() == [str(n) for n in range(0, 100_000, 2)]
    assert [c.text for c in chunks[: module._RUNS - 2]] == [f"{n} " for n in range(module._RUNS - 2)]
    assert sum(map(len, output._pieces.values())) == 0


def test_a_chunk_is_never_too_long_for_a_line():
    output = begun()
    output.hear("stdout", b"x" * CAP)
    chunks, text = everything(output)
    assert text["stdout"] == "x" * CAP
    assert max(len(chunk.text) for chunk in chunks) <= module._CHUNK_BYTES


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=9), st.booleans())
    )
)
def test_whatever_the_reader_takes_when_all_arrives(pieces):
    output, found = begun(), []
    for stream, piece, taken in pieces:
        output.hear(stream, piece)
        if taken and (chunk := output.take()) is not None:
            found.append(chunk)
    output.end(stdout_cut=False, stderr_cut=False)
    found += iter(output.take, None)
    for name in ("stdout", "stderr"):
        whole = b"".join(piece for stream, piece, _ in pieces if stream == name)
        assert "".join(c.text for c in found if c.stream == name) == whole.decode(errors="replace")
    assert all(chunk.text for chunk in found)
    assert not list(itertools.islice(iter(output.take, None), 1))
