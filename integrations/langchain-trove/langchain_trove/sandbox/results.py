"""What a server answers, as Deep Agents wants to have it."""

from http import HTTPStatus

from deepagents.backends.protocol import FileData, FileInfo, GrepResult, ReadResult
from deepagents.backends.sandbox import MAX_OUTPUT_BYTES, TRUNCATION_MSG
from deepagents.backends.utils import EMPTY_CONTENT_WARNING, normalize_read_bounds

import trove_agents
from langchain_trove.sandbox.places import ROOT
from trove_agents import TroveConflictError, TroveError, TroveNotFoundError
from trove_agents.tools import for_model


def told(error: TroveError) -> str:
    """In words. What the model cannot help is raised."""
    text = for_model(error)
    if text is None:
        raise error
    return text


def code(error: TroveError) -> str:
    """By Deep Agents' name for it, or in words."""
    if isinstance(error, TroveNotFoundError):
        return "file_not_found"
    if isinstance(error, TroveConflictError) and error.code == TroveConflictError.code:
        return "is_directory"
    return "invalid_path" if error.status_code == HTTPStatus.BAD_REQUEST else told(error)


def info(entry: trove_agents.FileInfo) -> FileInfo:
    made = FileInfo(path=f"/{entry.path}", is_dir=entry.is_dir, modified_at=entry.modified_at)
    if entry.size_bytes is not None:
        made["size"] = entry.size_bytes
    return made


def lines_of(path: str, text: str, offset: int, limit: int, *, is_whole: bool = True) -> ReadResult | None:
    """The lines that were asked for, without carriage returns.

    Args:
        path: What was read.
        text: All of it, or its beginning: then its last line is not looked at, since it may go on.
        offset: How many lines to leave out.
        limit: How many to show, if so many fit into one result.
        is_whole: Whether the text is all of it.

    Returns:
        None when more of the file is needed.
    """
    if not text:
        return ReadResult(file_data=FileData(content=EMPTY_CONTENT_WARNING, encoding="utf-8"))
    offset, limit = normalize_read_bounds(offset, limit)
    if not limit:
        return ReadResult(file_data=FileData(content="", encoding="utf-8"), no_lines_requested=True)
    *lines, last = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if is_whole and last:
        lines.append(last)
    if not is_whole and offset + limit > len(lines):
        return None
    if offset >= len(lines):
        return ReadResult(
            error=f"File '{path}': Line offset {offset} exceeds file length ({len(lines)} lines)"
        )
    content, count = _fitting(lines[offset : offset + limit])
    end = offset + count
    return ReadResult(
        file_data=FileData(content=content, encoding="utf-8"),
        total_lines=len(lines) if is_whole else None,
        start_line=offset + 1,
        end_line=end,
        next_offset=end if end < len(lines) or not is_whole else None,
    )


def _fitting(lines: list[str]) -> tuple[str, int]:
    """As much of the lines as one result holds, and how many of them are whole, but at least one, so that reading goes
    on.
    """
    content = "\n".join(lines)
    if len(content.encode()) <= MAX_OUTPUT_BYTES:
        return content, len(lines)
    room = MAX_OUTPUT_BYTES - len(TRUNCATION_MSG.encode())
    content = content.encode()[:room].decode(errors="ignore")
    return content + TRUNCATION_MSG, max(content.count("\n"), 1)


def edit_refused(error: TroveError, path: str, old: str) -> str:
    """Why an edit was not made."""
    if error.code == "text-missing":
        return f"Error: String not found in file: '{old}'"
    if error.code == "text-ambiguous":
        return (
            f"Error: String '{old}' appears multiple times. Use replace_all=True to replace all occurrences."
        )
    if isinstance(error, TroveNotFoundError):
        return f"Error: File '{path}' not found"
    return f"Error editing file '{path}': {told(error)}"


def with_absolute_paths(result: GrepResult) -> GrepResult:
    """What was found, by the paths of Deep Agents: commands call the root ``workspace`` in what they print."""
    for match in result.matches or ():
        if match["path"].startswith(f"{ROOT[1:]}/"):
            match["path"] = f"/{match['path']}"
    return result
