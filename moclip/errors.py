"""The base class of errors that are messages to the user, and the nearest name for a misspelt one."""

import difflib
from collections.abc import Sequence


class MoclipError(Exception):
    """Its message says what was found and what to do; the command line shows it without a traceback."""

    exit_code = 2


def nearest(word: str, words: Sequence[str]) -> str:
    """`` (did you mean 'x'?)``, or an empty string if no word is close; case, ``-`` and ``_`` are ignored."""
    plain = {_plain(each): each for each in words}
    match = difflib.get_close_matches(_plain(word), list(plain), n=1)
    return f" (did you mean {plain[match[0]]!r}?)" if match else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")
