"""StagFormer language models: load a checkpoint, generate, score; in one process or on an MPI communicator.

    import stagformer
    model = stagformer.Model("model.h5", threads=2)
    print(model.generate("Once upon a time", max_tokens=40).text)
"""

from stagformer.errors import (CheckpointError, CommError, ConfigError, Error, InputError, InterruptedCallError,
                               MemoryLimitError, NumericError, UsageError)
from stagformer.model import Model, Options
from stagformer.results import Generation, Placement

__all__ = ["CheckpointError", "CommError", "ConfigError", "Error", "Generation", "InputError", "InterruptedCallError",
           "MemoryLimitError", "Model", "NumericError", "Options", "Placement", "UsageError"]
