"""What can go wrong. `code` is the exit code that the program `stagformer` gives to the same failure."""

from __future__ import annotations


class Error(Exception):
    """Base of all errors of the engine; by itself, a broken promise inside it."""

    code = 10


class UsageError(Error, ValueError):
    """An argument out of range, or a call while another one is running."""

    code = 2


class ConfigError(Error, ValueError):
    """The model's configuration does not allow it, or the number of ranks fits no placement."""

    code = 3


class CheckpointError(Error):
    """A missing, damaged or unfit checkpoint."""

    code = 4


class CommError(Error):
    """The ranks' calls differ, a rank is lost or stuck, or MPI is not as it must be."""

    code = 5


class InputError(Error, ValueError):
    """A prompt, text or token id that the model cannot take."""

    code = 6


class MemoryLimitError(Error, MemoryError):
    """The plan does not fit the memory."""

    code = 7


class InterruptedCallError(Error):
    """Another rank's callback raised."""

    code = 8


class NumericError(Error, ArithmeticError):
    """Values that are not finite."""

    code = 9


BY_CODE = {kind.code: kind for kind in (Error, UsageError, ConfigError, CheckpointError, CommError, InputError,
                                        MemoryLimitError, InterruptedCallError, NumericError)}
