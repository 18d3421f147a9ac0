"""Every configuration that ships is loaded, and a mistake in one is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.train import load_config

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "pipelines" / "configs").rglob("*.yaml"))


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VCM_SHARED", str(tmp_path))


def test_there_are_configs() -> None:
    assert {"sa-icm-s", "lic-s"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_config_loads(path: Path) -> None:
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    module, settings, trainer = load_config(path, [])
    assert type(settings) is module.Settings
    for key, value in written.get("trainer", {}).items():
        assert getattr(trainer, key) == value, key
    assert load_config(path, ["trainer.seed=7"])[2].seed == 7
    for word in ("trainer.sede=7", "settings.nothing=1", "seed=7", "trainer.seed=x"):
        with pytest.raises(ValueError, match=r"sede|nothing|seed") as caught:
            load_config(path, [word])
        assert "\n" not in str(caught.value)
    assert path.read_text(encoding="utf-8").startswith("# "), "the first line says what it is for"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_unknown_key_in_the_file_is_an_error(path: Path, tmp_path: Path) -> None:
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    for change in ({"extra": 1}, {"trainer": {"stepz": 1}}, {"settings": {**written["settings"], "extra": 1}}):
        changed = tmp_path / "changed.yaml"
        changed.write_text(yaml.safe_dump({**written, **change}))
        with pytest.raises(ValueError, match=r"changed\.yaml.*unknown key (extra|stepz)"):
            load_config(changed, [])
