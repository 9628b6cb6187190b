import pytest
import torch

from conftest import sharp_model, small_config
from stagformer_reference.decode import recurrent_forward, staggered_forward
from stagformer_reference.golden import make_twin
from stagformer_reference.golden_cases import golden_cases
from stagformer_reference.model import StagFormer

CASES = [case for case in golden_cases() if case.number_format == "f32" and not case.split]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_staggered_steps_equal_the_sequential_evaluation(case, tokens):
    model = sharp_model(case.config)
    whole = model(tokens)[0]
    assert (staggered_forward(model, tokens) - whole).abs().max() < 1e-10


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_later_tokens_change_nothing_before_them(case, tokens):
    model = sharp_model(case.config)
    changed = tokens.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 256
    difference = (model(tokens)[0] - model(changed)[0]).abs().amax((0, 2))
    assert difference[:12].max() == 0 and difference[12] > 1e-3


def memory_reach(cross: dict) -> list[int]:
    """At which distances a one-layer second section sees the first one's output (by cross-attention alone)."""
    model = sharp_model(small_config(cross, sections={"layers_per_section": 1}))
    section = model.sections[1]
    generator = torch.Generator().manual_seed(3)
    u, y = (torch.randn(1, 12, 32, generator=generator, dtype=torch.float64) for _ in range(2))

    def last_output(memory):
        cache = section.new_cache()
        section.remember(cache, memory)
        return section.extend(cache, u)[0, -1]

    before, reach = last_output(y), []
    for j in range(12):
        other = y.clone()
        other[0, j] *= -1.7
        if (last_output(other) - before).abs().max() > 1e-9:
            reach.append(11 - j)
    return sorted(reach)


@pytest.mark.parametrize("cross, expected", [
    ({}, list(range(1, 12))),
    ({"window": 3}, [1, 2, 3]),
    ({"window": 1}, [1]),
    ({"lag": 0}, list(range(12))),
    ({"lag": 0, "window": 2}, [0, 1]),
    ({"lag": 0, "window": 1}, [0]),
])
def test_window_edges(cross, expected):
    assert memory_reach(cross) == expected


def test_empty_memory_adds_zero_and_gradients_are_finite(tokens):
    model = sharp_model(small_config())
    logits, _ = model(tokens)
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    alone = make_twin(model, "no-memory")(tokens)[0]
    assert (alone[:, 0] - logits[:, 0]).abs().max() < 1e-12 and (alone[:, 1] - logits[:, 1]).abs().max() > 1e-3


def test_training_starts_as_the_last_sections_decoder(tokens):
    model = StagFormer(small_config()).double()
    assert torch.equal(model(tokens)[0], make_twin(model, "no-memory")(tokens)[0])


def test_shared_weights_are_one_parameter():
    shared, separate = (StagFormer(small_config(sections={"weights": w})) for w in ("shared", "separate"))
    assert shared.sections[0].layers[0].feed_forward is shared.sections[1].layers[0].feed_forward
    assert shared.parameter_count() < separate.parameter_count()


@pytest.mark.parametrize("memory", ["own", "previous_pass"])
def test_recurrent(memory, tokens):
    model = sharp_model(small_config({"window": 4}, sections={"weights": "shared"}))
    exact = model(tokens)[0]
    assert torch.equal(recurrent_forward(model, tokens, 20, memory), exact)
    approximate = recurrent_forward(model, tokens, 8, memory)
    assert (approximate - exact)[:, :8].abs().max() < 1e-12
    assert (approximate - exact)[:, 12:].abs().max() > 1e-3


def test_recurrent_memories_differ_at_the_prompt_only(tokens):
    model = sharp_model(small_config(sections={"weights": "shared"}))
    own, previous = (recurrent_forward(model, tokens, 8, m) for m in ("own", "previous_pass"))
    assert (own - previous)[:, 8].abs().max() > 1e-3
    nothing_first = [recurrent_forward(model, tokens, 0, m) for m in ("own", "previous_pass")]
    assert torch.equal(*nothing_first)
