"""The one exception for mistakes that a user can mend."""


class UserError(ValueError):
    """A user's mistake, told in one sentence.

    The message names what was found, what was expected and what to type. The tools
    print it without a traceback and exit with code 2; every other exception is a defect
    of ours or of a library and keeps its traceback.
    """
