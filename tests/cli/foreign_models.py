"""Golden models written the way others write them: GGUF files and Hugging Face folders. Needs numpy and h5py."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import h5py
import numpy as np

GGUF_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 8, "bf16": 30}
BLOCK_BYTES = {"q4_0": 18, "q4_1": 20, "q8_0": 34}
PARTS = {  # of a layer: ours, GGUF's, Hugging Face's
    "self_attention/norm": ("attn_norm", "input_layernorm"), "self_attention/q": ("attn_q", "self_attn.q_proj"),
    "self_attention/k": ("attn_k", "self_attn.k_proj"), "self_attention/v": ("attn_v", "self_attn.v_proj"),
    "self_attention/q_norm": ("attn_q_norm", "self_attn.q_norm"), "self_attention/k_norm": ("attn_k_norm", "self_attn.k_norm"),
    "self_attention/o": ("attn_output", "self_attn.o_proj"), "feed_forward/norm": ("ffn_norm", "post_attention_layernorm"),
    "feed_forward/gate": ("ffn_gate", "mlp.gate_proj"), "feed_forward/up": ("ffn_up", "mlp.up_proj"),
    "feed_forward/down": ("ffn_down", "mlp.down_proj"),
}
WHOLE = {"embedding": ("token_embd", "model.embed_tokens"), "final_norm": ("output_norm", "model.norm"), "head": ("output", "lm_head")}


class Model:
    """Weights by name ("layers/3/self_attention/q/weight", layers counted through) as (number format, stored array, [out, in]),
    and the configuration."""

    def __init__(self, config: dict, weights: dict):
        self.config, self.weights = config, weights
        self.layers = 1 + max(int(name.split("/")[1]) for name in weights if name.startswith("layers/"))


def read_model(path: Path | str) -> Model:
    """A checkpoint of ordinary layers; memory and cross-attention are left out."""
    weights, before, sections = {}, 0, None
    with h5py.File(path) as file:
        config = json.loads(file.attrs["config"])
        counts = config["sections"]["layers_per_section"]
        for section, count in enumerate(counts if isinstance(counts, list) else [counts] * config["sections"]["count"]):
            for layer in range(count):
                group = file[f"sections/{section}/layers/{layer}"]
                for block in ("self_attention", "feed_forward"):
                    for part, datasets in group[block].items():
                        for kind, dataset in datasets.items():
                            weights[f"layers/{before + layer}/{block}/{part}/{kind}"] = stored(dataset)
            before += count
        for name in WHOLE:
            if name in file:
                weights[f"{name}/weight"] = stored(file[name]["weight"])
    return Model(config, weights)


def stored(dataset: h5py.Dataset) -> tuple:
    number_format = dataset.attrs.get("number_format", "f32")
    number_format = number_format.decode() if isinstance(number_format, bytes) else number_format
    return number_format, dataset[()], tuple(int(extent) for extent in dataset.attrs.get("shape", dataset.shape))


def with_biases(model: Model) -> Model:
    """Queries, keys and values of heads that are 8 wide, 4 and 2 of them."""
    rng = np.random.default_rng(3)
    for layer in range(model.layers):
        for part, size in (("q", 32), ("k", 16), ("v", 16)):
            values = rng.normal(0, 0.5, size).astype("<f4")
            model.weights[f"layers/{layer}/self_attention/{part}/bias"] = ("f32", values, (size,))
    return model


def as_f16(model: Model) -> Model:
    """Matrices as float16; the values in f32 are what is left of them."""
    return Model(model.config, {name: ("f16", array.astype("<f2"), shape) if len(shape) > 1 else (kind, array, shape)
                                for name, (kind, array, shape) in model.weights.items()})


def neighbours(array: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows of queries or keys as llama.cpp wants them: value j of a head beside value j + half."""
    heads = array.reshape(-1, 2, head_dim // 2, *array.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(array.shape)


def byte_symbols() -> list[str]:
    """The character that stands for each byte in byte-level BPE."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def byte_tokens(count: int) -> list[str]:
    """Byte-level tokens with the ids of the byte tokenizer: 256 bytes, BOS, EOS, and names up to `count`."""
    return byte_symbols() + ["<bos>", "<eos>"] + [f"<unused-{i}>" for i in range(258, count)]


class Gguf:
    """A GGUF file; metadata values are int (u32), float (f32), bool, str or lists of them, or (type number, value)."""

    NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

    def __init__(self):
        self.version, self.alignment = 3, 32
        self.metadata: dict = {}
        self.tensors: dict[str, tuple] = {}  # name to (type number, shape [out, in], bytes)

    @staticmethod
    def text(value: str | bytes) -> bytes:
        data = value.encode() if isinstance(value, str) else value
        return struct.pack("<Q", len(data)) + data

    @classmethod
    def number_of_type(cls, value) -> int:
        return 7 if isinstance(value, bool) else 4 if isinstance(value, int) else 6 if isinstance(value, float) else 8

    @classmethod
    def scalar(cls, kind: int, value) -> bytes:
        return cls.text(value) if kind == 8 else struct.pack(cls.NUMBERS[kind], value)

    @classmethod
    def value(cls, value) -> bytes:
        if isinstance(value, list):
            kind = cls.number_of_type(value[0]) if value else 8
            kind = 5 if kind == 4 else kind
            return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(cls.scalar(kind, each) for each in value)
        kind, value = value if isinstance(value, tuple) else (cls.number_of_type(value), value)
        return struct.pack("<I", kind) + cls.scalar(kind, value)

    def bytes(self) -> bytes:
        out = [b"GGUF", struct.pack("<IQQ", self.version, len(self.tensors), len(self.metadata))]
        out += [self.text(key) + self.value(value) for key, value in self.metadata.items()]
        data = b""
        for name, (kind, shape, content) in self.tensors.items():
            out.append(self.text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(data)))
            data += content + bytes(-len(content) % self.alignment)
        header = b"".join(out)
        return header + bytes(-len(header) % self.alignment) + data


def gguf_of(model: Model, architecture: str = "llama", pre: str = "gpt-2") -> Gguf:
    """The model with byte-level tokens that have the byte tokenizer's ids."""
    c, file = model.config, Gguf()
    file.metadata = {
        "general.architecture": architecture, f"{architecture}.block_count": model.layers,
        f"{architecture}.context_length": c["max_position_embeddings"], f"{architecture}.embedding_length": c["hidden_size"],
        f"{architecture}.feed_forward_length": c["intermediate_size"],
        f"{architecture}.attention.head_count": c["num_attention_heads"],
        f"{architecture}.attention.head_count_kv": c["num_key_value_heads"],
        f"{architecture}.attention.layer_norm_rms_epsilon": float(c["rms_norm_eps"]),
        f"{architecture}.rope.freq_base": float(c["rope_theta"]), f"{architecture}.rope.dimension_count": c["head_dim"],
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": byte_tokens(c["vocab_size"]),
        "tokenizer.ggml.token_type": [1] * 256 + [3] * (c["vocab_size"] - 256), "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": c["bos_token_id"], "tokenizer.ggml.eos_token_id": c["eos_token_id"],
        "tokenizer.ggml.add_bos_token": c["add_bos"],
    }
    for name, (kind, array, shape) in model.weights.items():
        turned = architecture == "llama" and ("self_attention/q/" in name or "self_attention/k/" in name)
        content = neighbours(array, c["head_dim"]) if turned else array
        file.tensors[gguf_name(name)] = (GGUF_TYPES[kind], shape, content.tobytes())
    return file


def gguf_name(name: str) -> str:
    *path, kind = name.split("/")
    if path[0] == "layers":
        return f"blk.{path[1]}.{PARTS['/'.join(path[2:])][0]}.{kind}"
    return f"{WHOLE[path[0]][0]}.{kind}"


def huggingface_name(name: str) -> str:
    *path, kind = name.split("/")
    if path[0] == "layers":
        return f"model.layers.{path[1]}.{PARTS['/'.join(path[2:])][1]}.{kind}"
    return f"{WHOLE[path[0]][1]}.{kind}"


def safetensors(tensors: dict[str, tuple]) -> bytes:
    """name to (dtype, shape, bytes)."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def huggingface_config(model: Model, architecture: str = "LlamaForCausalLM") -> dict:
    c = model.config
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim",
            "max_position_embeddings", "rms_norm_eps", "rope_theta", "bos_token_id", "eos_token_id", "tie_word_embeddings")
    return {"architectures": [architecture], "model_type": "llama", "num_hidden_layers": model.layers, "hidden_act": "silu",
            "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1, "torch_dtype": "float32", "use_cache": True,
            **{key: c[key] for key in same}}


def byte_tokenizer_json(count: int) -> dict:
    special = [{"id": i, "content": token, "special": True} for i, token in enumerate(byte_tokens(count)) if i >= 256]
    return {"added_tokens": special, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}, "decoder": {"type": "ByteLevel"},
            "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}},
                                                                        {"Sequence": {"id": "A", "type_id": 0}}],
                               "special_tokens": {"<bos>": {"id": "<bos>", "ids": [256], "tokens": ["<bos>"]}}},
            "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(byte_symbols())}, "merges": []}}


def write_folder(folder: Path, model: Model, files: int = 1, **config) -> Path:
    """A Hugging Face folder; with several files an index says where the tensors are."""
    folder.mkdir(exist_ok=True)
    dtypes = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
    tensors = {huggingface_name(name): (dtypes[kind], shape, array.tobytes())
               for name, (kind, array, shape) in model.weights.items()}
    (folder / "config.json").write_text(json.dumps(huggingface_config(model) | config))
    (folder / "tokenizer.json").write_text(json.dumps(byte_tokenizer_json(model.config["vocab_size"])))
    if files == 1:
        (folder / "model.safetensors").write_bytes(safetensors(tensors))
        return folder
    names = [f"model-{i + 1:05}-of-{files:05}.safetensors" for i in range(files)]
    placed = {tensor: names[i % files] for i, tensor in enumerate(tensors)}
    for name in names:
        (folder / name).write_bytes(safetensors({t: tensors[t] for t in tensors if placed[t] == name}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder
