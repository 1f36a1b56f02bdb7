"""What all errors of this package that are meant for the user have in common."""


class MoclipError(Exception):
    """An error whose message says what was found and what to do; the command line shows it without a traceback."""

    exit_code = 2
