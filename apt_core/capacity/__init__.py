"""What a training will need before it is run: memory per device, time per step, what fits."""
