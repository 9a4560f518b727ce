"""What a family's layout says about itself."""

from apt_core.models.families import FAMILIES, GATED


def test_decoders_are_the_families_that_write_without_an_encoder() -> None:
    decoders = {name for name, spec in FAMILIES.items() if spec.is_decoder}
    assert decoders == {"llama", "mistral", "gemma", "qwen2", "qwen3"}
    assert not any(spec.is_decoder for spec in GATED.values())
