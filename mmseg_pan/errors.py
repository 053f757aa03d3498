"""The exception for errors that a user can fix."""


class UserError(ValueError):
    """A user error, with a message of one sentence.

    The message names what was found, what was expected and what to type. The tools
    print it without a traceback and exit with code 2; every other exception is a bug
    of ours or of a library and keeps its traceback.
    """
