"""The work of `vcm privacy`: one codec at a time through files, detector, embedder and attackers.

    originals ─codec─▶ RUN/streams/CODEC/QUALITY/* ─▶ decoded ┬─▶ faces detected again: recall, landmarks
                                                              ├─▶ embedded, against the originals and each other
                                                              └─▶ attackers, trained on other persons, and again
    RUN/privacy.json holds a point a codec and quality, written as codecs finish.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.privacy import attackers
from eval.privacy.align import Context, context
from eval.privacy.base import Detector, Embedder, Face, unit
from eval.privacy.compare import compare, distribution, thresholds
from eval.privacy.conclusion import CONTROL
from eval.privacy.faces import Detection
from eval.privacy.utility import Persons, persons
from pipelines.codecs import label
from pipelines.media import write_picture
from pipelines.privacy_faces import FaceSet
from pipelines.run.atomic import write_bytes
from pipelines.run.progress import progress


@dataclass
class Decoded:
    """One point's decoded pictures, as much of them as is needed. contexts: one a subject."""

    bytes_total: int
    pixels_total: int
    detection: dict[str, Any]
    contexts: list[Context]
    persons: list[dict[str, Any]]


@dataclass
class Job:
    """What all points share. steps: of the restorer's training, 0 for none; draw: keep faces for the report."""

    folder: Path
    faces: FaceSet
    detector: Detector
    embedder: Embedder
    steps: int = 0
    draw: bool = False
    person_detector: Any = None
    scenes: tuple[list[np.ndarray], Persons] | None = None
    scene_model: Any = None

    def __post_init__(self) -> None:
        self.originals = [context(self.faces.picture(i), self.faces.faces[i][j]) for i, j in self.faces.subjects]
        self.embedded = self._variants(self.originals)
        self.plain = unit(self.embedded.mean(1))
        self.limits = thresholds(self.plain @ self.plain.T, self.faces.relations)
        self.labels: Persons | None = None
        if self.person_detector is not None:
            found = [persons(self.person_detector, self.faces.picture(i)) for i in range(len(self.faces.names))]
            self.labels = Persons([one["boxes"][one["scores"] >= 0.5] for one in found])

    def codec(self, codecs: list[Any]) -> list[dict[str, Any]]:
        """The points of one codec at its qualities: the restorer learns from all of them."""
        decoded = [self.decode(codec) for codec in codecs]
        attack = self.steps > 0 and codecs[0].name != CONTROL
        order = np.argsort(np.argsort([d.bytes_total for d in decoded]))
        levels = [float(at) / max(1, len(decoded) - 1) for at in order]
        restored = self.restore(codecs[0].name, decoded, levels) if attack else [None] * len(decoded)
        return [self.point(*each) for each in zip(codecs, decoded, restored, strict=True)]

    def decode(self, codec: Any) -> Decoded:
        """Write every stream, read it back, decode it, find its faces."""
        name = label(codec.name, codec.quality)
        place = self.folder / "streams" / codec.name / f"{codec.quality:g}"
        detection, kept, bytes_total, pixels = Detection(), [], 0, 0
        contexts: dict[tuple[int, int], Context] = {}
        for i, stem in enumerate(progress(self.faces.names, len(self.faces.names), f"{name} encode, decode")):
            picture = self.faces.picture(i)
            path = place / (stem + codec.suffix)
            write_bytes(path, codec.encode(picture))
            data = path.read_bytes()
            frame = codec.decode(data)
            if frame.shape != picture.shape:
                raise ValueError(f"{name}: decodes {stem} as {frame.shape[1]}x{frame.shape[0]}, "
                                 f"was {picture.shape[1]}x{picture.shape[0]}")  # fmt: skip
            bytes_total, pixels = bytes_total + len(data), pixels + picture.shape[0] * picture.shape[1]
            detection.add(self.faces.faces[i], self.detector.detect(frame))
            for subject in (s for s in self.faces.subjects if s[0] == i):
                contexts[subject] = context(frame, self.faces.faces[i][subject[1]])
            if self.person_detector is not None:
                kept.append(persons(self.person_detector, frame))
        ordered = [contexts[subject] for subject in self.faces.subjects]
        if self.draw:
            self._draw(self.folder / "faces" / codec.name / f"{codec.quality:g}", ordered)
        return Decoded(bytes_total, pixels, detection.evaluate(), ordered, kept)

    def restore(self, name: str, decoded: list[Decoded], levels: list[float]) -> list[list[Context]]:
        """For each quality the contexts restored, each by a network that never saw the person."""
        import torch

        from eval.privacy.restorer import Example, restore
        from pipelines.tasks.face_restorer import FaceRestorerTask
        from pipelines.trainer import Trainer, TrainerSettings

        restored = [list(d.contexts) for d in decoded]
        threads = torch.get_num_threads()
        for number, (held, others) in enumerate(attackers.folds(self.faces.relations)):
            if not len(held) or not len(others):
                continue  # nobody is known to be somebody else: what was decoded stays
            examples = [Example(d.contexts[i].pixels, self.originals[i].pixels, level)
                        for d, level in zip(decoded, levels, strict=True) for i in others]  # fmt: skip
            settings = TrainerSettings(steps=self.steps, seed=number, amp=False, ema=0.0, device="cpu",
                                       channels_last=False)  # fmt: skip
            with tempfile.TemporaryDirectory(prefix=f"vcm-{name}-") as folder:
                trainer = Trainer(FaceRestorerTask(examples, seed=number), settings, Path(folder) / "run")
                trainer.run()
            network = trainer.ema.eval()
            for d, level, out in zip(decoded, levels, restored, strict=True):
                for i in held:
                    out[i] = restore(network, d.contexts[i], level)
        torch.set_num_threads(threads)
        return restored

    def point(self, codec: Any, decoded: Decoded, restored: list[Context] | None) -> dict[str, Any]:
        """Every figure of one codec at one quality."""
        relations, limits = self.faces.relations, self.limits
        variants = self._variants(decoded.contexts)
        e = unit(variants.mean(1))
        attacks = {"none": compare(e @ self.plain.T, relations, limits)}
        point: dict[str, Any] = {
            "codec": codec.name, "quality": float(codec.quality), "bytes_total": decoded.bytes_total,
            "pixels_total": decoded.pixels_total, "rate_bpp": 8 * decoded.bytes_total / decoded.pixels_total,
            "detection": decoded.detection, "attacks": attacks,
            "similarity": distribution((e * self.plain).sum(1)),
        }  # fmt: skip
        if codec.name != CONTROL:
            attacks["parrot"] = compare(e @ e.T, relations, limits, symmetric=True)
            if self.steps:
                head = attackers.adapted(variants, self.embedded, relations)
                attacks["head"] = compare(head @ self.plain.T, relations, limits)
        if restored is not None:
            r = unit(self._variants(restored).mean(1))
            attacks["restorer"] = compare(r @ self.plain.T, relations, limits)
            point["similarity_restored"] = distribution((r * self.plain).sum(1))
            point["detection_restored"] = self._near(restored)
            if self.draw:
                self._draw(self.folder / "faces" / codec.name / f"{codec.quality:g}-restored", restored)
        point["utility"] = self._utility(codec, decoded)
        return point

    def _near(self, contexts: list[Context]) -> dict[str, Any]:
        """Detection within the faces' surroundings alone, where restored pixels are: recall and landmark error."""
        detection = Detection()
        for c, true in zip(contexts, self._near_originals, strict=True):
            detection.add(true, self.detector.detect(c.pixels))
        return detection.evaluate()

    @functools.cached_property
    def _near_originals(self) -> list[list[Face]]:
        return [self.detector.detect(c.pixels)[:1] for c in self.originals]

    def _utility(self, codec: Any, decoded: Decoded) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.labels is not None:
            found["pseudo"] = self.labels.evaluate(decoded.persons)
        if self.scenes is not None:
            pictures, truth = self.scenes
            rows, size = [], 0
            for picture in progress(pictures, len(pictures), f"{label(codec.name, codec.quality)} scenes"):
                data = codec.encode(picture)
                size += len(data)
                rows.append(persons(self.scene_model, codec.decode(data)))
            pixels = sum(p.shape[0] * p.shape[1] for p in pictures)
            found["scenes"] = {**truth.evaluate(rows), "rate_bpp": 8 * size / pixels}
        return found

    def _variants(self, contexts: list[Context]) -> np.ndarray:
        """(N, V, D): embeddings of each face's variants; their mean is the face's, steadier than that of one crop."""
        crops = [crop for c in contexts for crop in attackers.variants(c)]
        return self.embedder.embed(crops).reshape(len(contexts), len(attackers.VARIANTS), -1)

    def _draw(self, folder: Path, contexts: list[Context]) -> None:
        for i, c in list(enumerate(contexts))[:8]:
            write_picture(folder / f"{i:03d}.png", c.crop())


def models(job: Job) -> dict[str, Any]:
    """What a report must name of each model."""
    named = {"detector": dataclasses.asdict(job.detector.about), "embedder": dataclasses.asdict(job.embedder.about)}
    if job.person_detector is not None:
        named["person detector (pseudo-labels)"] = {
            "name": job.person_detector.name, "sha256": getattr(job.person_detector, "sha256", ""),
            "licence": "BSD-3-Clause", "source": "given by --person-detector"}  # fmt: skip
    if job.scene_model is not None:
        from eval.models.weights import SHIPPED
        from eval.privacy.files import sha256

        named["person detector (scenes)"] = {
            "name": job.scene_model.name, "sha256": sha256(SHIPPED / f"{job.scene_model.name}.safetensors"),
            "licence": "Apache-2.0", "source": "eval/weights"}  # fmt: skip
    return named
