"""The engine as a model of EleutherAI's lm-evaluation-harness: `--model stagformer`."""

from .model import StagformerLM

__all__ = ["StagformerLM"]
