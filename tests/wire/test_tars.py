"""Archives as they are written and read: against the standard library's, cut anywhere, and hostile ones."""

import io
import itertools
import tarfile

import hypothesis
import hypothesis.strategies as st
import pytest

from trove_agents.wire import names, tars
from trove_agents.wire.tar_reader import BadArchive, BrokenOff, Reader, TooManyEntries
from trove_agents.wire.tars import Member

SEGMENTS = st.binary(min_size=1, max_size=200).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0"))
PATHS = (
    st.lists(SEGMENTS.filter(lambda name: name not in {b".", b".."}), min_size=1, max_size=4)
    .map(b"/".join)
    .map(names.from_bytes)
)
MODES = st.integers(0, 0o1777)
TIMES = st.integers(-(2**63), 2**63 - 1)
TARGETS = st.binary(min_size=1, max_size=300).filter(lambda target: b"\0" not in target)
MEMBERS = st.one_of(
    st.tuples(st.builds(Member, PATHS, st.just("directory"), MODES, TIMES), st.just(b"")),
    st.tuples(st.builds(Member, PATHS, st.just("link"), st.just(0o777), TIMES, target=TARGETS), st.just(b"")),
    st.builds(
        lambda path, mode, time, data: (Member(path, "file", mode, time, len(data)), data),
        PATHS,
        MODES,
        TIMES,
        st.binary(max_size=1500),
    ),
)


def written(entries):
    whole = b"".join(tars.head(member) + data + tars.padding(len(data)) for member, data in entries)
    return whole + tars.END


def read(data, step=None, **more):
    """Members with their contents."""
    reader = Reader(**more)
    found = []
    for at in range(0, len(data), step or max(len(data), 1)):
        for each in reader.feed(data[at : at + (step or len(data))]):
            if isinstance(each, Member):
                found.append((each, b""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + each)
    reader.close()
    return found


def apart(entries):
    paths = sorted(member.path + "/" for member, _ in entries)
    return all(not b.startswith(a) for a, b in itertools.combinations(paths, 2))


@hypothesis.given(st.lists(MEMBERS, max_size=4).filter(apart), st.integers(1, 2000))
def test_what_is_written_is_read_however_it_comes(entries, step):
    data = written(entries)
    assert read(data) == read(data, step) == entries


@hypothesis.given(st.lists(MEMBERS, max_size=4).filter(apart))
def test_the_standard_library_reads_the_same(entries):
    with tarfile.open(fileobj=io.BytesIO(written(entries)), mode="r:") as archive:
        found = archive.getmembers()
        assert len(found) == len(entries)
        for info, (member, data) in zip(found, entries, strict=True):
            assert info.name.encode("utf-8", "surrogateescape") == names.to_bytes(member.path).rstrip(b"/")
            assert (info.isdir(), info.issym()) == (member.kind == "directory", member.kind == "link")
            assert info.mode == member.mode
            assert abs(info.mtime - member.mtime_ns / 1e9) < 1e-3
            assert info.linkname.encode("utf-8", "surrogateescape") == member.target
            if member.kind == "file":
                assert archive.extractfile(info).read() == data


@hypothesis.given(st.lists(MEMBERS, min_size=1, max_size=3).filter(apart), st.data())
def test_an_archive_that_breaks_off_anywhere_is_noticed(entries, data):
    whole = written(entries)
    cut = data.draw(st.integers(0, len(whole) - tars.BLOCK))
    with pytest.raises(BrokenOff):
        read(whole[:cut])


@hypothesis.given(st.binary(max_size=3000) | st.binary(max_size=600).map(lambda raw: whole("a") + raw))
def test_nothing_but_refusals_comes_of_any_bytes(data):
    try:
        read(data)
    except BadArchive as error:
        assert str(error).isprintable()


@hypothesis.given(st.integers(0, 2047), st.integers(0, 255))
def test_no_flipped_byte_makes_a_bad_path(at, byte):
    data = bytearray(written([(Member("d" * 120 + "/e", "file", 0o644, 1, 3), b"abc")]))
    data[at] = byte
    try:
        found = read(bytes(data))
    except BadArchive:
        return
    for member, _ in found:
        assert member.path
        assert not {"", ".", ".."} & set(member.path.split("/"))


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_what_others_write(format_):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=format_, pax_headers={"comment": "by others"}) as archive:
        for name, data in (
            ("./", None),
            ("./d/", None),
            ("./d/f", b"text"),
            ("x" * 60 + "/" + "y" * 39, b"1"),
        ):
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o750
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    found = read(raw.getvalue())
    time = 1_700_000_000 * 10**9
    assert found == [
        (Member("d", "directory", 0o750, time), b""),
        (Member("d/f", "file", 0o644, time, 4), b"text"),
        (Member("x" * 60 + "/" + "y" * 39, "file", 0o644, time, 1), b"1"),
    ]


def whole(name, *, letter=b"0", data=b"", size=None, target="", records=None, patch=None, end=tars.END):
    """One entry as it stands in an archive, made by the standard library as far as that goes."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = letter, target
    info.size = len(data) if size is None else size
    info.pax_headers = records or {}
    block = bytearray(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
    if patch:
        at, text = patch
        block[at : at + len(text)] = text
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block[-512:])
    return bytes(block) + data + tars.padding(len(data)) + end


SIZE, MTIME, MAGIC = 124, 136, 257
HOSTILE = {
    "absolute": (whole("/etc/passwd"), "'/etc/passwd' is an absolute name"),
    "absolute in pax": (whole("x", records={"path": "/etc/passwd"}), "absolute"),
    "out": (whole("a/../../b"), "holds '..'"),
    "only out": (whole("..", letter=b"5"), "holds '..'"),
    "NUL in pax": (whole("x", records={"path": "a\0b"}), "NUL"),
    "no name": (whole("", records={"path": ""}), "no name"),
    "long name": (whole("n" * 256), "over"),
    "long path": (whole("/".join(["n" * 200] * 21)), "over"),
    "the tree itself": (whole("."), "in place of the whole tree"),
    "slash": (whole("a", patch=(0, b"a/")), "ends in a slash"),
    "twice": (whole("a", end=b"") + whole("a"), "'a' is there twice"),
    "directory twice": (whole("a", letter=b"5", end=b"") + whole("./a/", letter=b"5"), "is there twice"),
    "below a file": (whole("a", end=b"") + whole("a/b"), "'a/b' is below a file"),
    "below a link": (whole("a", letter=b"2", target="/etc", end=b"") + whole("a/b"), "is below a link"),
    "far below a link": (whole("a", letter=b"2", target="/etc", end=b"") + whole("a/b/c/d"), "below a link"),
    "file above": (whole("a/b", end=b"") + whole("a"), "'a' is a file, and others are below it"),
    "hard link": (whole("a", letter=b"1", target="b"), "'a' is a hard link"),
    "character device": (whole("a", letter=b"3"), "a device"),
    "block device": (whole("a", letter=b"4"), "a device"),
    "FIFO": (whole("a", letter=b"6"), "a FIFO"),
    "contiguous": (whole("a", letter=b"7"), "unknown type"),
    "sparse": (whole("a", letter=b"S"), "a sparse file"),
    "sparse in pax": (whole("a", records={"GNU.sparse.major": "1"}), "a sparse file"),
    "GNU long name": (whole("././@LongLink", letter=b"L", data=b"name\0"), "a long name"),
    "GNU long link": (whole("././@LongLink", letter=b"K", data=b"name\0"), "a long name"),
    "negative size": (whole("a", patch=(SIZE, b"-0000000001\0")), "'a' has a number"),
    "negative size in pax": (whole("a", records={"size": "-1"}), "a size that is no number"),
    "size in 256s": (whole("a", patch=(SIZE, b"\xff" * 12)), "has a number"),
    "directory with content": (whole("a", letter=b"5", patch=(SIZE, b"00000001000\0")), "has content"),
    "link with content": (whole("a", letter=b"2", target="b", patch=(SIZE, b"00000001000\0")), "has content"),
    "link to nothing": (whole("a", letter=b"2"), "is a link whose target"),
    "time": (whole("a", records={"mtime": "soon"}), "has a time that is none"),
    "time far away": (whole("a", records={"mtime": "9" * 18}), "out of range"),
    "no such magic": (whole("a", patch=(MAGIC, b"tar")), "no tar archive"),
    "compressed": (b"\x1f\x8b\x08" + bytes(600), "is compressed"),
    "bytes after": (whole("a") + b"x" * 512, "follow the end"),
    "few bytes after": (whole("a") + b"x", "follow the end"),
    "entry after one zero block": (whole("a", end=bytes(512)) + whole("b"), "follow the end"),
    "second entry damaged": (whole("a", end=b"") + b"\xff" * 512, "damaged"),
    "huge pax": (whole("a", records={"comment": "x" * 70_000}), "at most 65,536"),
    "last is a header": (whole("a", records={"comment": "x"})[:1024] + tars.END, "the last of the archive"),
    "two headers": (whole("a", records={"comment": "x"})[:1024] * 2, "follow each other"),
    "global path": (whole("g", letter=b"g", data=b"10 path=x\n"), "a global header names"),
    "pax cut": (whole("x", letter=b"x", data=b"99 path=x\n"), "an extended header is damaged"),
    "pax without length": (whole("x", letter=b"x", data=b"path=x\n"), "an extended header is damaged"),
    "pax of nothing": (whole("x", letter=b"x"), "an extended header has 0 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name):
    data, said = HOSTILE[name]
    for step in (None, 100):
        with pytest.raises(BadArchive, match=said.replace("(", r"\(")):
            read(data, step)


def test_a_checksum_that_does_not_hold():
    data = bytearray(whole("a"))
    data[0:1] = b"b"
    with pytest.raises(BadArchive, match="checksum"):
        read(bytes(data))


def test_zeros_after_the_end_are_no_harm():
    assert read(whole("a") + bytes(10_000)) == read(whole("a"))


def test_directories_that_names_imply_count_too():
    many = whole("/".join("a" * 50), end=b"") + whole("b")
    assert len(read(many, most=51)) == 2
    with pytest.raises(TooManyEntries):
        read(many, most=50)


def test_deep_trees_are_bounded_by_their_paths_together():
    """Each name implies all the directories above it, so a small archive could stand for gigabytes of paths."""
    many = whole("/".join("a" * 50), end=b"") + whole("b")
    together = sum(range(1, 100, 2)) + 1
    assert len(read(many, most_bytes=together)) == 2
    with pytest.raises(TooManyEntries, match="paths"):
        read(many, most_bytes=together - 1)
