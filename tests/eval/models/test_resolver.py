"""Names of task models: prefixes, entry points, and what a misspelt one is told."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from importlib.metadata import EntryPoint

import pytest

import eval.models as models


class Given:
    def __init__(self, rest: str, weights=None) -> None:
        self.name, self.tasks, self.rest, self.weights = f"given:{rest}", ("detection",), rest, weights

    def predict(self, pictures):
        return []


@pytest.fixture
def outside(monkeypatch):
    """Entry points of a distribution that is installed beside this one."""
    module = types.ModuleType("outside_models")
    module.build, module.number = Given, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "outside_models", module)
    values = {"given": "build", "mask-rcnn-scenes": "build", "detectron2": "build", "number": "number", "gone": "no"}
    found = [EntryPoint(name, f"outside_models:{value}", models.GROUP) for name, value in values.items()]
    monkeypatch.setattr(models, "entry_points", lambda group: found if group == "vcm.models" else [])


@pytest.mark.usefixtures("outside")
def test_an_entry_point_is_asked_for_by_name_and_what_follows_it() -> None:
    assert (models.build("given").rest, models.build("given:a:b", weights="w").rest) == ("", "a:b")
    assert models.build("given:a", weights="w").weights == "w"


@pytest.mark.usefixtures("outside")
def test_an_entry_point_takes_no_name_of_ours() -> None:
    assert type(models.build("mask-rcnn-scenes")) is models.SceneModel
    with pytest.raises((ValueError, ImportError), match="detectron2:qqq"):
        models.build("detectron2:qqq")


def test_families_are_modules_of_one_interface_and_what_they_list_is_theirs() -> None:
    for prefix, module in models.FAMILIES.items():
        family = importlib.import_module(module)
        assert list(inspect.signature(family.build).parameters) == ["rest", "weights"]
        assert [name for name in models.names() if name.startswith(f"{prefix}:")] == [
            f"{prefix}:{rest}" for rest in family.names()]  # fmt: skip


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(("name", "said"), [("gone", "does not load .AttributeError"), ("number", "no callable")])
def test_an_entry_point_that_does_not_load_is_one_line(name: str, said: str) -> None:
    with pytest.raises(ImportError, match=said) as told:
        models.build(name)
    assert "\n" not in str(told.value)


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(("name", "meant"), [
    ("mask-rcnn-scene", "mask-rcnn-scenes"),
    ("torchvision:maskrcnn_resnet50_fpn_v3", "torchvision:maskrcnn_resnet50_fpn_v2"),
    ("maskrcnn_resnet50_fpn", "torchvision:maskrcnn_resnet50_fpn"),
    ("Givne:x", "given"),
])  # fmt: skip
def test_an_unknown_name_is_told_the_closest(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match="unknown task model") as told:
        models.build(name)
    assert f"(did you mean {meant}?)" in str(told.value)
    assert "\n" not in str(told.value)


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    with pytest.raises(ValueError, match="unknown task model 'qqq': one of"):
        models.build("qqq")


