"""Exit codes."""

DONE = 0
"""All is done."""
SOME_FAILED = 1
"""Some inputs failed; each is named on standard error."""
NOTHING_DONE = 2
"""Nothing could be done: wrong usage, no such model, an output that cannot be written."""
INTERRUPTED = 130
"""Ctrl-C."""
BROKEN_PIPE = 141
"""Standard output was closed by its reader."""
