"""The programs that scripts of the public API call, and which of them a sandbox lacks."""

# Of the wire contract, section 6.4.
TOOLS = (
    *("bash", "ls", "cat", "awk", "sed", "grep", "find", "xargs", "file", "xxd", "gzip", "tar"),
    *(
        "jq",
        "python3",
        "curl",
        "pdftotext",
        "pdfinfo",
        "convert",
        "identify",
        "exiftool",
        "ffmpeg",
        "ffprobe",
    ),
)

SCAN = "\n".join(
    (
        f"for tool in {' '.join(TOOLS)}; do command -v $tool >/dev/null || echo $tool; done",
        # A python3 that is there and cannot find its library is as good as none.
        "command -v python3 >/dev/null && ! python3 -c 'import json' 2>/dev/null && echo python3",
        ":",
    )
)
"""Prints the names of those that are missing, one on a line."""
