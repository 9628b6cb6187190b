"""What a model's calls give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stagformer import _engine


@dataclass(frozen=True, eq=False)  # arrays have no one truth to compare by
class Generation:
    """A completion."""

    text: str
    token_ids: list[int]  #: EOS left out
    finish_reason: str  #: length | stop | eos; in a batch also error
    log_probabilities: NDArray[np.float32]  #: [len(token_ids)], natural logarithm, where asked for; else [0]
    error: str  #: one line, with finish_reason error

    @classmethod
    def of(cls, made: _engine.Generation) -> Generation:
        return cls(made.text, made.token_ids, made.finish_reason, made.log_probabilities, made.error)


@dataclass(frozen=True)
class Placement:
    """Where a model runs, seen from this rank."""

    rank: int  #: of the communicator
    ranks: int
    replica: int
    replicas: int
    first_section: int
    sections: int  #: that this rank hosts
    threads: int
    weight_bytes: int  #: on this rank
    cache_bytes: int

    @classmethod
    def of(cls, place: _engine.Placement) -> Placement:
        return cls(**{name: getattr(place, name) for name in cls.__annotations__})
