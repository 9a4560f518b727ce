"""Importing this makes the Auto classes of transformers know pruned models.

``import apt_core.models.auto`` and ``AutoModelForCausalLM.from_pretrained(folder)`` loads an
export without running any code from that folder.
"""

import transformers

from apt_core.models.configuration_apt import CONFIGS
from apt_core.models.modeling_apt import MODELS


def register() -> None:
    """Tell the Auto classes; doing it twice changes nothing."""
    for kind in CONFIGS.values():
        transformers.AutoConfig.register(kind.model_type, kind, exist_ok=True)
    for auto_class, models in MODELS.items():
        for model in models:
            getattr(transformers, auto_class).register(model.config_class, model, exist_ok=True)


register()
