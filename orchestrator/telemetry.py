"""Nothing that we start reports home: the libraries' own reports are off unless asked for."""

import os

NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",  # read by MLflow, and by huggingface_hub for transformers and datasets
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets tells the hub what was loaded, from the cache too
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def switch_off_telemetry() -> None:
    """Set what is not set, for this process and those that it starts; to be called early.

    Libraries look when they are imported. Whoever wants a report exports its variable.
    """
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
