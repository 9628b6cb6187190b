"""An ordinary decoder as a Hugging Face folder: python -m stagformer_reference.to_huggingface --checkpoint M.h5 --output FOLDER

The way back of `stagformer import`: one section, or chained sections counted through as one stack of layers; f32 and bf16 as they
are stored. Staggered sections have no counterpart there and are refused. numpy and h5py only.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

import h5py

from .checkpoint import CheckpointError, number_formats
from .config import CHAINED, ModelConfig

PARTS = {  # of a layer
    "self_attention/norm": "input_layernorm", "self_attention/q": "self_attn.q_proj", "self_attention/k": "self_attn.k_proj",
    "self_attention/v": "self_attn.v_proj", "self_attention/o": "self_attn.o_proj",
    "self_attention/q_norm": "self_attn.q_norm", "self_attention/k_norm": "self_attn.k_norm",
    "feed_forward/norm": "post_attention_layernorm", "feed_forward/gate": "mlp.gate_proj", "feed_forward/up": "mlp.up_proj",
    "feed_forward/down": "mlp.down_proj",
}
WHOLE = {"embedding": "model.embed_tokens", "final_norm": "model.norm", "head": "lm_head"}
DTYPES = {"f32": "F32", "bf16": "BF16"}
ACTIVATIONS = {"silu": "silu", "gelu_tanh": "gelu_pytorch_tanh"}
TOKENIZERS = {"huggingface": "tokenizer.json", "sentencepiece": "tokenizer.model"}


def refusal(config: ModelConfig, formats: dict[str, str]) -> str:
    """Why the model has no counterpart; empty where it has one."""
    sections = config.sections
    staggered = [s for s in range(1, sections.count) if config.staggered(s)]
    if staggered:
        return f"section {staggered[0]} is staggered behind section {staggered[0] - 1}, which no Hugging Face model is"
    if sections.readout != "last":
        return f"the read-out is {sections.readout}, not the last section's output alone"
    if config.embedding_scale != 1:
        return f"embeddings are scaled by {config.embedding_scale:g}"
    blocks = sorted({kind for kind in formats.values() if kind not in DTYPES})
    if blocks:
        return f"weights are {', '.join(blocks)}: convert them first (stagformer convert --to bf16)"
    return ""


def tensor_names(file: h5py.File, config: ModelConfig) -> dict[str, str]:
    """Their name to ours. Weights that sections share stand there once for each."""
    names, before = {}, 0
    for section, count in enumerate(config.sections.layers_per_section):
        for layer in range(count):
            for ours, theirs in PARTS.items():
                group = f"sections/{section}/layers/{layer}/{ours}"
                for kind in sorted(file.get(group, {})):
                    names[f"model.layers.{before + layer}.{theirs}.{kind}"] = f"{group}/{kind}"
        before += count
    return names | {f"{theirs}.weight": f"{ours}/weight" for ours, theirs in WHOLE.items() if ours in file}


def huggingface_config(config: ModelConfig) -> dict:
    """Queries, keys and values with biases and an output without are Qwen2's, with norms of their heads Qwen3's."""
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim",
            "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "tie_word_embeddings")
    architecture, kind = ("Qwen2ForCausalLM", "qwen2") if config.attention_bias else ("LlamaForCausalLM", "llama")
    if config.qk_norm:
        architecture, kind = "Qwen3ForCausalLM", "qwen3"
    ends = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id") if getattr(config, name) is not None}
    return {"architectures": [architecture], "model_type": kind, "num_hidden_layers": sum(config.sections.layers_per_section),
            "hidden_act": ACTIVATIONS[config.hidden_act], "use_cache": True, **{name: getattr(config, name) for name in same}, **ends}


def write_safetensors(path: Path, file: h5py.File, names: dict[str, str], formats: dict[str, str]) -> None:
    """One tensor after another; no more than one is in memory."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for theirs, ours in names.items():
        dataset = file[ours]
        header[theirs] = {"dtype": DTYPES[formats[ours]], "shape": [int(n) for n in dataset.shape], "data_offsets": [end, end + int(dataset.nbytes)]}
        end += int(dataset.nbytes)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for ours in names.values():
            out.write(file[ours][()].tobytes())


def write_folder(checkpoint: Path, folder: Path) -> list[str]:
    """Writes the folder's files and returns their names."""
    formats = number_formats(checkpoint)
    with h5py.File(checkpoint) as file:
        config = ModelConfig.from_json(file.attrs["config"])
        problem = refusal(config, formats)
        if problem:
            raise CheckpointError(f"{checkpoint}: {problem}")
        names = tensor_names(file, config)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(huggingface_config(config), indent=2) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": config.add_bos}) + "\n")
        tokenizer = file["tokenizer"]
        kind = tokenizer.attrs["type"]
        kind = kind.decode() if isinstance(kind, bytes) else kind
        if kind in TOKENIZERS:
            (folder / TOKENIZERS[kind]).write_bytes(tokenizer["model"][()].tobytes())
        write_safetensors(folder / "model.safetensors", file, names, {ours: format_of(file[ours]) for ours in names.values()})
    return sorted(path.name for path in folder.iterdir())


def format_of(dataset: h5py.Dataset) -> str:
    kind = dataset.attrs.get("number_format", "f32")
    return kind.decode() if isinstance(kind, bytes) else kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder that does not exist yet")
    arguments = parser.parse_args()
    try:
        files = write_folder(arguments.checkpoint, arguments.output)
    except (CheckpointError, OSError) as error:
        raise SystemExit(f"to_huggingface: {error}") from None
    print(f"{arguments.output}: {', '.join(files)}")


if __name__ == "__main__":
    main()
