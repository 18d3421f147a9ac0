"""Alignment, sets, tracks, baselines, embedders and attackers, each on something whose answer is known."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from PIL import Image

from eval.privacy import align, attackers, files, sets
from eval.privacy.base import Face, matches, unit
from eval.privacy.baselines import baseline
from eval.privacy.compare import Relations
from eval.privacy.embedders import OnnxEmbedder, build_embedder
from eval.privacy.faces import Detection
from eval.privacy.patterns import Patterns
from eval.privacy.tracks import Tracker
from eval.privacy.utility import Persons


def face(x: float, y: float, side: float = 40) -> Face:
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side + [x, y]
    return Face(np.array([x, y, x + side, y + side], float), 1.0, points)


def texture(seed: int, side: int = 160) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (10, 10, 3)).astype(np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def test_alignment_undoes_rotation_scale_and_shift():
    angle, scale = np.deg2rad(20), 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = align.TEMPLATE @ turn.T + [31, -12]
    back = align.similarity(moved, align.TEMPLATE)
    assert np.allclose(moved @ back[:, :2].T + back[:, 2], align.TEMPLATE)
    with pytest.raises(ValueError, match="landmarks coincide"):
        align.similarity(np.ones((5, 2)), align.TEMPLATE)
    picture = texture(1, 224)
    crop = align.aligned(picture, align.TEMPLATE * 2)
    assert np.abs(crop.astype(int) - cv2.resize(picture, (112, 112)).astype(int)).mean() < 4


def test_a_context_at_the_border_and_of_a_large_face():
    picture = texture(2, 600)
    for one in (face(-10, 2), face(5, 5, 500)):
        found = align.context(picture, one)
        assert max(found.pixels.shape) <= align.WIDEST
        assert found.crop().shape == (112, 112, 3)
    with pytest.raises(ValueError, match="outside"):
        align.context(picture, face(900, 900))


def test_sets(tmp_path):
    for person, count in (("Ann_B", 2), ("Cem", 1), ("Dora", 3)):
        (tmp_path / "lfw" / person).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(texture(i, 8)).save(tmp_path / "lfw" / person / f"{person}_{i + 1:04d}.jpg")
    assert len(sets.load(str(tmp_path / "lfw")).items) == 6
    assert {item.person for item in sets.load(f"lfw:{tmp_path}").items} == {"Ann_B", "Dora"}
    (tmp_path / "pairs.txt").write_text("1\t1\nAnn_B\t1\t2\nCem\t1\tDora\t3\n")
    pairs = sets.load(f"lfw-pairs:{tmp_path}")
    assert pairs.pairs == ((0, 1, True), (2, 3, False))
    assert pairs.items[3].path.name == "Dora_0003.jpg"
    (tmp_path / "pairs.txt").write_text("Ann_B\tone\t2\n")
    with pytest.raises(ValueError, match="line 1 is no pair"):
        sets.load(f"lfw-pairs:{tmp_path}")
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 7\n000002.jpg 8\n000003.jpg 7\n")
    assert [item.path.name for item in sets.load(f"celeba:{tmp_path}").items] == ["000001.jpg", "000003.jpg"]
    assert len(sets.load(f"lfw:{tmp_path}").take(2).items) == 5  # whole persons, two at least


def test_bad_sets(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        sets.load(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="DIR/NAME"):
        sets.load(str(tmp_path))
    with pytest.raises(ValueError, match="img_align_celeba"):
        sets.load(f"celeba:{tmp_path}")
    one = sets.Portraits("few", (sets.Portrait(tmp_path, "ann"), sets.Portrait(tmp_path, "ann")))
    with pytest.raises(ValueError, match=r"one identity only \(ann\)"):
        sets.check(one)
    two = sets.Portraits("few", (sets.Portrait(tmp_path, "ann"), sets.Portrait(tmp_path, "bob")))
    with pytest.raises(ValueError, match="nobody has two pictures"):
        sets.check(two)


def test_tracks_end_at_a_cut_and_only_faces_seen_together_are_two_persons():
    tracker, day, night = Tracker(), texture(3, 96), 255 - texture(3, 96)
    for i in range(3):
        tracker.add(day, [face(5 + 3 * i, 5), face(50, 5)])
    for _ in range(2):
        tracker.add(night, [face(12, 5)])  # where the first was, after a cut
    assert tracker.cuts == 1
    assert tracker.owners == [[0, 1], [0, 1], [0, 1], [2], [2]]
    number, apart = tracker.persons()
    assert number == {0: 0, 1: 1, 2: 2}
    assert apart.tolist() == [[False, True, False], [True, False, False], [False, False, False]]


def test_detection_by_size_and_landmarks():
    detection = Detection()
    near = face(11, 10)
    detection.add([face(10, 10), face(60, 10, 20)], [dataclasses.replace(near, landmarks=face(10, 10).landmarks + 1.6)])
    detection.add([face(0, 0, 100)], [])
    found = detection.evaluate()
    assert found["recall"]["value"] == pytest.approx(1 / 3)
    assert [(row["faces"], row["recall"]["value"]) for row in found["by_size"].values()] == [(1, 0), (1, 1), (1, 0)]
    assert found["landmark_error_percent"] == pytest.approx(100 * 1.6 * 2**0.5 / 16)
    assert matches(np.zeros((0, 4)), np.zeros((2, 4))) == [-1, -1]


@pytest.mark.parametrize(("name", "strength"), [("pixelate", 8), ("pixelate", 5), ("blur", 3), ("blur", 0.5)])
def test_baselines(name, strength):
    picture = texture(4, 61)[:47]
    codec = baseline(name, strength)
    data = codec.encode(picture)
    decoded = codec.decode(data)
    assert decoded.shape == picture.shape
    assert 0 < len(data) < picture.size
    if name == "pixelate":
        side = int(strength)
        assert len(np.unique(decoded[:side, :side].reshape(-1, 3), axis=0)) == 1
        assert np.allclose(decoded[0, 0], picture[:side, :side].mean((0, 1)), atol=0.51)
    with pytest.raises(ValueError, match="damaged"):
        codec.decode(data[:20])


def test_bad_strengths():
    for name, strength in (("pixelate", 1), ("pixelate", 2.5), ("blur", 100)):
        with pytest.raises(ValueError, match="pixels from"):
            baseline(name, strength)


def test_patterns_finds_planted_textures_again():
    """Six textures under other light, noise and shift."""
    rng, crops, person = np.random.default_rng(0), [], []
    for seed in range(6):
        for _ in range(2):
            shifted = np.roll(texture(seed, 112), rng.integers(-3, 4), 1).astype(float)
            varied = rng.uniform(0.6, 1.1) * shifted + rng.normal(0, 6, shifted.shape)
            crops.append(np.clip(varied, 0, 255).astype(np.uint8))
            person.append(seed)
    e = Patterns().embed(crops)
    assert np.allclose(np.linalg.norm(e, axis=1), 1, atol=1e-5)
    scores = e @ e.T - 2 * np.eye(12)
    assert (np.array(person)[scores.argmax(1)] == person).all()


def test_nobody_is_attacked_with_what_was_learned_from_himself():
    for persons in (3, 17):
        relations = Relations.of(np.repeat(np.arange(persons), 2))
        held = [set(relations.person[held]) for held, _ in attackers.folds(relations)]
        learned = [set(relations.person[others]) for _, others in attackers.folds(relations)]
        assert all(not a & b for a, b in zip(held, learned, strict=True))
        assert set().union(*held) == set(range(persons))
    unknown = Relations.of(np.array([0, 0, 1, 1]), np.zeros((2, 2), bool))
    assert all(len(others) == 0 for _, others in attackers.folds(unknown))  # they may be one person


def test_the_head_undoes_a_planted_distortion_for_persons_it_never_saw():
    """A codec that mirrors half of the space and shifts the rest: the stock embedder fails, the adapted one not."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(40), 3)
    centres = rng.normal(size=(40, 16))
    originals = unit(centres[person] + 0.25 * rng.normal(size=(120, 16)))
    mirror = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    decoded = unit(originals @ mirror + 0.3)
    relations = Relations.of(person)

    def rank1(probes: np.ndarray) -> float:
        scores = np.where(np.eye(120, dtype=bool), -9, probes @ originals.T)
        return float((person[scores.argmax(1)] == person).mean())

    adapted = attackers.adapted(decoded[:, None], originals[:, None], relations)
    assert rank1(originals) > 0.95
    assert rank1(decoded) < 0.2
    assert rank1(adapted) > 0.7


def test_the_restorer_begins_as_nothing_and_learns():
    import torch

    from eval.privacy.restorer import Example, Restorer, batch, loss, restore

    torch.manual_seed(0)
    originals = [texture(seed, 61) for seed in range(3)]
    examples = [Example((o // 2).astype(np.uint8), o, 0.0) for o in originals]  # a codec that halves the light
    network = Restorer(16, (1, 1))
    context = align.Context(examples[0].decoded, align.TEMPLATE)
    assert (restore(network, context, 0.0).pixels == context.pixels).all()
    optimizer = torch.optim.Adam(network.parameters(), 4e-3)
    for step in range(40):
        x, y = batch(examples[1:], 2, np.random.default_rng(step))
        optimizer.zero_grad()
        loss(network(x), y).backward()
        optimizer.step()
    before, after = (np.abs(p.astype(int) - originals[0]).mean()
                     for p in (context.pixels, restore(network, context, 0.0).pixels))  # fmt: skip
    assert after < 0.6 * before


def test_persons():
    nobody = np.zeros((0, 4))
    truth = Persons([np.array([[0, 0, 10, 20], [30, 0, 40, 20]]), nobody], [np.array([False, True]), np.zeros(0, bool)])
    hit = {"boxes": np.array([[0, 0, 10, 19.0]]), "scores": np.array([0.9]), "labels": np.array([1])}
    none = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, int)}
    assert truth.count == 1
    assert truth.evaluate([hit, none])["ap50"] == pytest.approx(100)
    assert truth.evaluate([hit, none])["recall"] == 1
    assert truth.evaluate([none, none]) == {"ap": 0.0, "ap50": 0.0, "recall": 0.0, "persons": 1}
    assert Persons([np.zeros((0, 4))]).evaluate([none])["ap"] is None


def test_model_files_are_taken_by_hash_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("VCM_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for build in (lambda: build_embedder("sface"), lambda: files.find(files.YUNET)):
        with pytest.raises(OSError, match=r"not on this machine.*fetch it from https://github.com/opencv") as told:
            build()
        assert "\n" not in str(told.value)
    (tmp_path / files.SFACE.file).write_bytes(b"another file")
    with pytest.raises(ValueError, match="is not the published file"):
        build_embedder("sface")
    known = dataclasses.replace(files.SFACE, sha256=files.sha256(tmp_path / files.SFACE.file))
    assert files.find(known) == tmp_path / files.SFACE.file


def test_embedders_that_fail_to_load(tmp_path):
    pytest.importorskip("onnxruntime")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x08\x01 this is no network")
    for spec, says in ((str(bad), "does not load as an ONNX embedder"), (str(tmp_path / "no.onnx"), "no such file"),
                       ("arcface", "unknown; give an .onnx file")):  # fmt: skip
        with pytest.raises(ValueError, match=says) as told:
            build_embedder(spec)
        assert "\n" not in str(told.value)


def test_any_onnx_network_of_pictures_embeds(shared):
    pytest.importorskip("onnxruntime")
    embedder = OnnxEmbedder(shared / "weights" / "FastestDet.onnx")  # no face network, but a network of pictures
    e = embedder.embed([texture(1, 112), texture(2, 112), texture(1, 112)])
    assert np.allclose(np.linalg.norm(e, axis=1), 1, atol=1e-5)
    assert e[0] @ e[2] == pytest.approx(1, abs=1e-5)
    assert e[0] @ e[1] < 1 - 1e-4
    assert len(embedder.about.sha256) == 64
