"""Reference implementation, trainer and converters for StagFormer models.

`config`, `checkpoint` and `llama2c` need numpy and h5py only; everything else needs PyTorch.
"""

__version__ = "0.1.0"
