"""lm_eval's own command line with the model `stagformer` added:

    python -m stagformer_lm_eval --model stagformer --model_args checkpoint=smollm2.h5 --tasks hellaswag,blimp --limit 100
"""

from lm_eval.__main__ import cli_evaluate

from . import model  # noqa: F401  registers it

if __name__ == "__main__":
    cli_evaluate()
