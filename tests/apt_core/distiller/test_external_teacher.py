"""A teacher from another run: it fits or is refused, and it stays as it is."""

import json

import pytest
import torch

from apt_core.distiller.external_teacher import ExternalDistiller, load_external_teacher
from apt_core.distiller.self_distiller import DistillSettings
from apt_core.errors import ConfigError
from apt_core.models.export import STRUCTURE, WEIGHTS, export_model
from apt_core.models.loading import build_model, load_model, load_tokenizer
from apt_core.models.trained_modules import TrainedModules
from tests.tiny import tiny_batch, tiny_config, tiny_model
from tests.tiny_run import write_model


@pytest.fixture
def pretrained(tmp_path):
    """The pretrained model of a student: what it was loaded from, and its tokenizer."""
    folder = write_model(tmp_path / "pretrained")
    tokenizer = load_tokenizer(str(folder), revision=None, trust_remote_code=False)
    return load_model(str(folder), num_labels=2), tokenizer


def exported(folder, pretrained, **changes):
    loaded, tokenizer = pretrained
    model = changes.get("model", loaded)
    structure = changes.get("structure", model.structure)
    return export_model(model.model, model.config, structure, folder, tokenizer=tokenizer)


def test_a_fitting_teacher_comes_back_frozen_with_its_own_weights(tmp_path, pretrained):
    with torch.no_grad():
        for parameter in pretrained[0].model.parameters():
            parameter.add_(0.5)
    teacher = load_external_teacher(exported(tmp_path / "export", pretrained), *pretrained)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    weights, own = dict(pretrained[0].model.named_parameters()), dict(teacher.named_parameters())
    assert own.keys() == weights.keys()
    assert all(torch.equal(own[name], weights[name]) for name in own)


def test_a_teacher_of_another_shape_is_refused(tmp_path, pretrained):
    config = tiny_config("roberta", num_layers=2)
    config.num_labels = 2
    folder = exported(tmp_path / "export", pretrained, model=build_model(config))
    with pytest.raises(ConfigError, match="it has other layers, or is pruned; name a run of the"):
        load_external_teacher(folder, *pretrained)


def test_a_teacher_of_other_labels_is_refused(tmp_path, pretrained):
    config = tiny_config("roberta", num_layers=4)
    folder = exported(tmp_path / "export", pretrained, model=build_model(config))
    with pytest.raises(ConfigError, match="it knows 3 labels, not 2"):
        load_external_teacher(folder, *pretrained)


def test_a_teacher_of_another_head_is_refused(tmp_path, pretrained):
    config = tiny_config("roberta", num_layers=4)
    config.num_labels = 2
    other = build_model(config, "question_answering")
    folder = export_model(
        other.model,
        config,
        other.structure,
        tmp_path / "export",
        head_kind="question_answering",
        tokenizer=pretrained[1],
    )
    with pytest.raises(ConfigError, match=r"RobertaForQuestionAnswering, not a RobertaForSeq"):
        load_external_teacher(folder, *pretrained)


def test_a_teacher_of_other_words_is_refused(tmp_path, pretrained):
    folder = exported(tmp_path / "export", pretrained)
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text())
    data["model"]["vocab"] = {f"{word}x": i for word, i in data["model"]["vocab"].items()}
    file.write_text(json.dumps(data).replace("<unk>x", "<unk>"))
    with pytest.raises(ConfigError, match="its tokenizer has other words"):
        load_external_teacher(folder, *pretrained)


@pytest.mark.parametrize("missing", [STRUCTURE, WEIGHTS])
def test_a_folder_that_is_no_export_is_refused(tmp_path, pretrained, missing):
    folder = exported(tmp_path / "export", pretrained)
    (folder / missing).unlink()
    with pytest.raises(ConfigError, match=r"teacher_path: cannot be loaded: .* is missing"):
        load_external_teacher(folder, *pretrained)


def test_the_loss_is_the_distance_to_the_teacher_from_outside():
    loaded, structure = tiny_model(seed=0)
    other, _ = tiny_model(seed=3)
    batch = tiny_batch()
    teacher = other.model.requires_grad_(False).eval()
    settings = DistillSettings(weight_start=1.0, layer_weight=0.0, temperature=1.0)
    distiller = ExternalDistiller(loaded.model_map, structure, settings, lambda: teacher)
    modules = TrainedModules(loaded.model.eval())
    record = distiller.take_teacher(modules)
    assert modules.teacher is teacher
    assert record.teacher_changed
    loss = distiller.loss(modules, batch, 0)
    ours = torch.log_softmax(loaded.model(**batch).logits.double(), dim=-1)
    theirs = torch.log_softmax(teacher(**batch).logits.double(), dim=-1)
    expected = (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()
    assert loss.distill.item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss.mu == 1.0
