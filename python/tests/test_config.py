import json

import pytest

from stagformer_reference.config import ConfigError, ModelConfig
from stagformer_reference.golden_cases import golden_cases


def base(**changes) -> dict:
    values = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 272,
              "max_position_embeddings": 64, "sections": {"count": 2, "layers_per_section": 2}}
    return values | changes


def sections(**changes) -> dict:
    return base(sections={"count": 2, "layers_per_section": 2} | changes)


def test_defaults():
    c = ModelConfig.from_dict(base())
    assert c.num_key_value_heads == 4 and c.head_dim == 8 and c.rms_norm_eps == 1e-5 and c.rope_theta == 10000
    assert c.tie_word_embeddings and not c.add_bos and c.sections.links == ["staggered"]
    assert c.sections.cross_attention.lag == 1 and c.sections.cross_attention.window is None
    assert ModelConfig.from_dict(base(bos_token_id=1)).add_bos


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.name)
def test_json_round_trip(case):
    assert ModelConfig.from_json(case.config.to_json()) == case.config


@pytest.mark.parametrize("values, named", [
    (base(hidden=1), "unknown key hidden"),
    (sections(depth=1), "unknown key sections.depth"),
    (sections(cross_attention={"windw": 1}), "unknown key sections.cross_attention.windw"),
    (sections(recurrent={"memory": "own"}), "unknown key sections.recurrent.memory"),
    (base(rope_scaling={"rope_type": "linear", "factor": 2, "x": 1}), "unknown key rope_scaling.x"),
    (base(rope_scaling={"rope_type": "yarn", "factor": 2}), "rope_scaling.rope_type"),
    (base(rope_scaling={"rope_type": "linear"}), "rope_scaling.factor is missing"),
    (base(hidden_size=0), "hidden_size"),
    (base(hidden_size=True), "hidden_size"),
    (base(hidden_size=30), "head_dim"),
    (base(head_dim=7), "head_dim"),
    (base(num_key_value_heads=3), "num_key_value_heads"),
    (base(rms_norm_eps=0), "rms_norm_eps"),
    (base(rope_theta=float("nan")), "rope_theta"),
    (base(hidden_act="relu"), "hidden_act"),
    (base(tie_word_embeddings=1), "tie_word_embeddings"),
    (base(bos_token_id=272), "bos_token_id"),
    (base(eos_token_id=[1, -1]), "eos_token_id"),
    (base(add_bos=True), "add_bos"),
    (base(sections=3), "sections must be a JSON object"),
    (base(sections={"count": 2}), "sections.layers_per_section is missing"),
    (sections(layers_per_section=[1, 2, 3]), "sections.layers_per_section"),
    (sections(layers_per_section=[1, 2], weights="shared"), "sections.layers_per_section"),
    (sections(links=["staggered", "chained"]), "sections.links"),
    (sections(links="linked"), "sections.links"),
    (sections(readout="mean"), "sections.readout"),
    (sections(cross_attention={"window": 0}), "sections.cross_attention.window"),
    (sections(cross_attention={"lag": 2}), "sections.cross_attention.lag"),
    (sections(cross_attention={"layers": [2]}), "sections.cross_attention.layers"),
    (sections(cross_attention={"layers": [0, 0]}), "sections.cross_attention.layers"),
    (sections(recurrent={"prompt_memory": "both"}), "sections.recurrent.prompt_memory"),
])
def test_refused(values, named):
    with pytest.raises(ConfigError, match=named.replace("[", r"\[")):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize("key", ["hidden_size", "intermediate_size", "num_attention_heads", "vocab_size",
                                 "max_position_embeddings", "sections"])
def test_missing(key):
    values = base()
    del values[key]
    with pytest.raises(ConfigError, match=key if key != "sections" else "sections.layers_per_section"):
        ModelConfig.from_dict(values)


def test_not_json():
    with pytest.raises(ConfigError):
        ModelConfig.from_json("{")
    assert json.loads(ModelConfig.from_dict(base()).to_json())["hidden_size"] == 32


@pytest.mark.parametrize("changes", [{}, {"weights": "shared", "cross_attention": {"lag": 0}},
                                     {"weights": "shared", "links": "chained"}])
def test_recurrent_refused(changes):
    with pytest.raises(ConfigError, match="recurrent"):
        ModelConfig.from_dict(sections(**changes)).refuse_recurrent()
