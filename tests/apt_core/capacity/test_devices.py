"""Data sheets by their own arithmetic."""

from apt_core.capacity.devices import DEVICES, GIB


def test_every_device_has_every_number_format_and_half_precision_is_faster() -> None:
    for device in DEVICES.values():
        assert device.flops_per_s.keys() == {"fp32", "bf16", "fp16"}
        assert device.flops_per_s["bf16"] == device.flops_per_s["fp16"]
        assert device.flops_per_s["bf16"] > 10 * device.flops_per_s["fp32"]


def test_memory_is_read_in_tens_of_milliseconds_and_is_faster_than_a_link() -> None:
    for device in DEVICES.values():
        assert 0.02 < device.memory_bytes / device.bytes_per_s < 0.05
        assert device.link_bytes_per_s < device.bytes_per_s
    assert DEVICES["h100"].memory_bytes == 80 * GIB
