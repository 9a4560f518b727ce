"""What memory can see of a loaded model besides its structure."""

from apt_core.capacity.kept import Habits
from apt_core.capacity.phase import Embeddings
from apt_core.models.loading import LoadedModel


def embeddings_of(loaded: LoadedModel) -> Embeddings:
    """The tables of a model, as far as they learn: all of them in full fine-tuning.

    Args:
        loaded: the model, frozen as it will be trained.

    Returns:
        Counts; a table that a head shares is counted as tied.
    """
    model, model_map = loaded.model, loaded.model_map
    read = {id(model.get_submodule(path).weight) for path in model_map.head_readers}
    found = {
        id(w): w for path in model_map.embeddings for w in model.get_submodule(path).parameters()
    }
    learned = {key: weight.numel() for key, weight in found.items() if weight.requires_grad}
    tied = sum(count for key, count in learned.items() if key in read)
    free = sum(count for key, count in learned.items() if key not in read)
    return Embeddings(free, tied, has_norm=bool(model_map.spec.norms))


def habits_of(loaded: LoadedModel) -> Habits:
    """What a Hugging Face configuration says about the layers, under the names of its family.

    Args:
        loaded: the model.

    Returns:
        Its habits.
    """

    def is_dropped(*names: str) -> bool:
        return any((getattr(loaded.config, name, None) or 0.0) > 0 for name in names)

    def named(*names: str) -> str:
        return next((str(v) for n in names if (v := getattr(loaded.config, n, None))), "")

    return Habits(
        norm=loaded.model_map.spec.norm_kind,
        activation=named("dense_act_fn", "hidden_act", "hidden_activation", "activation"),
        hidden_dropout=is_dropped("hidden_dropout_prob", "dropout_rate", "dropout"),
        attention_dropout=is_dropped(
            "attention_probs_dropout_prob", "attention_dropout", "dropout_rate"
        ),
        inner_dropout=is_dropped("dropout_rate"),
        upcasts_norm=hasattr(loaded.config, "dropout_rate"),  # T5 and its kin
    )
