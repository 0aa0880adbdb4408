"""``list``, ``glob`` and ``grep``: what there is, by place, by name and by content."""

import shlex
from typing import Annotated, Final

import msgspec

from trove_agents.client import files
from trove_agents.client.call import Flow
from trove_agents.client.exec import execute
from trove_agents.client.files import ListResult
from trove_agents.client.local import Ignored
from trove_agents.tools.spec import InvalidArguments, ToolContext, ToolSpec
from trove_agents.tools.text import listed
from trove_agents.wire.files import FileInfo

_PAGES: Final = 50
"""Of a thousand entries, looked through for a glob."""
_FOUND: Final = 1_000
_LINE: Final = 500
"""Characters shown of a line that was found."""

_LIST: Final = """\
List a directory of the workspace: directories first, then files with their sizes. With recursive, everything below as well."""

_GLOB: Final = """\
Find files and directories of the workspace by name. A pattern without a slash is looked for in every directory; with one, \
it counts from path. * and ? match within one name, ** any number of directories, such as src/**/*.py."""

_GREP: Final = """\
Search the text files of the workspace for lines that match an extended regular expression (as grep -E). You get \
path:line number:line for each. .git and .trove are left out."""


class ListArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    path: Annotated[str, msgspec.Meta(description="The directory.")] = files.ROOT
    recursive: Annotated[bool, msgspec.Meta(description="Everything below as well.")] = False


class GlobArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    pattern: Annotated[str, msgspec.Meta(description="Such as *.py or src/**/test_*.py.", min_length=1)]
    path: Annotated[str, msgspec.Meta(description="The directory to look in.")] = files.ROOT


class GrepArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    pattern: Annotated[str, msgspec.Meta(description="An extended regular expression.", min_length=1)]
    path: Annotated[str, msgspec.Meta(description="A directory, or one file, to search.")] = files.ROOT
    glob: Annotated[str | None, msgspec.Meta(description="Only files whose name matches, such as *.py.")] = (
        None
    )
    ignore_case: Annotated[bool, msgspec.Meta(description="Upper and lower case are the same.")] = False


class Found(msgspec.Struct, frozen=True):
    """Entries of a workspace."""

    entries: list[FileInfo]
    truncated: bool
    """There are others."""


class Match(msgspec.Struct, frozen=True):
    """One line that matches."""

    path: str
    """``workspace/...``"""
    line: int
    """Counted from 1."""
    text: str
    """At most 500 characters of it."""


class Matches(msgspec.Struct, frozen=True):
    """Lines that match, at most 1,000."""

    matches: list[Match]
    truncated: bool
    """There are others."""


def walk(path: str, context: ToolContext) -> Flow[ListResult]:
    """Everything below a directory: page by page where the server gives pages, up to 50,000 entries."""
    if not (yield from context.has("files.pages")):
        return (yield from files.list_dir(path, recursive=True))
    found: list[FileInfo] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = yield from files.list_page(path, recursive=True, cursor=cursor)
        found += page.entries
        if not isinstance(page.next_cursor, str):
            return ListResult(found, path=page.path)
        cursor = page.next_cursor
    return ListResult(found, truncated=True, path=page.path)


def glob(arguments: GlobArguments, context: ToolContext) -> Flow[Found]:
    """What matches, in the order of a listing.

    Raises:
        InvalidArguments: the pattern is none.
    """
    # Models do give whole paths, though they are asked for what is below one
    is_whole = arguments.pattern.startswith(("/", files.ROOT))
    pattern = "/" + files.relative(arguments.pattern) if is_whole else arguments.pattern
    try:
        wanted = Ignored([pattern])
    except ValueError as error:
        raise InvalidArguments(f"{arguments.pattern!r} is no pattern") from error
    listing = yield from walk(arguments.path, context)
    top = "" if is_whole else files.relative(arguments.path).strip("/")
    start = len(files.ROOT) + (len(top) + 1 if top else 0)
    entries = [each for each in listing if wanted.match(each.path[start:], is_dir=each.is_dir)]
    return Found(entries[:_FOUND], listing.truncated or len(entries) > _FOUND)


def grep(arguments: GrepArguments, context: ToolContext) -> Flow[Matches]:
    """What ``grep`` finds: it runs as a command, where the files are.

    Raises:
        InvalidArguments: it is no regular expression, or there is nothing at the path.
    """
    command = _command(arguments)
    # Without it the init script says where a command begins
    has_cwd = yield from context.has("exec.options")
    result = yield from execute(command, cwd=files.ROOT if has_cwd else None)
    if result.exit_code > 1 and not result.stdout:
        raise InvalidArguments(result.stderr.strip() or f"grep failed, exit {result.exit_code}")
    lines = result.stdout.split("\n")[:-1]  # the last is empty, or cut off
    matches = [match for line in lines if (match := _match(line)) is not None]
    return Matches(matches[:_FOUND], result.stdout_truncated or len(matches) > _FOUND)


def _command(arguments: GrepArguments) -> str:
    options = ["-rHnIE", "--null", "--exclude-dir=.git", "--exclude-dir=.trove"]
    if arguments.ignore_case:
        options.append("-i")
    if arguments.glob is not None:
        options.append(f"--include={arguments.glob}")
    path = files.ROOT + files.relative(arguments.path)
    return shlex.join(["grep", *options, "-e", arguments.pattern, "--", path])


def _match(line: str) -> Match | None:
    path, _, rest = line.partition("\0")
    number, _, text = rest.partition(":")
    return Match(path, int(number), text[:_LINE]) if number.isdecimal() else None


def _shown(entry: FileInfo) -> str:
    if entry.is_dir:
        return f"{entry.path}/"
    return entry.path if entry.size_bytes is None else f"{entry.path} ({entry.size_bytes:,} bytes)"


def _listed(result: ListResult, max_characters: int) -> str:
    return listed(map(_shown, result), max_characters, truncated=result.truncated) or "(empty)"


def _found(result: Found, max_characters: int) -> str:
    paths = (f"{each.path}/" if each.is_dir else each.path for each in result.entries)
    return listed(paths, max_characters, truncated=result.truncated) or "(nothing matches)"


def _matched(result: Matches, max_characters: int) -> str:
    lines = (f"{each.path}:{each.line}:{each.text}" for each in result.matches)
    return listed(lines, max_characters, truncated=result.truncated) or "(nothing matches)"


LIST: Final = ToolSpec(
    name="list",
    description=_LIST,
    arguments=ListArguments,
    action=lambda arguments, _: files.list_dir(arguments.path, recursive=arguments.recursive),
    render=_listed,
    record=lambda result: {
        "path": result.path,
        "entries": msgspec.to_builtins(list(result)),
        "truncated": result.truncated,
    },
    changes_files=False,
)
GLOB: Final = ToolSpec(
    name="glob",
    description=_GLOB,
    arguments=GlobArguments,
    action=glob,
    render=_found,
    changes_files=False,
)
GREP: Final = ToolSpec(
    name="grep",
    description=_GREP,
    arguments=GrepArguments,
    action=grep,
    render=_matched,
    changes_files=False,
)
