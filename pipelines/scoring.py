"""From what the models found to Scores (RUN/predictions/CODEC/QUALITY/MODEL.TASK.npz) and records.

    predictions, as the pass gives them or as they were kept ─evaluators─▶ Scores ─figures─▶ Record

With pseudo-labels each model is measured against what it finds itself in the uncompressed pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from eval.datasets import Dataset
from eval.evaluators import build
from eval.metrics.scores import PRIMARY, Scores
from eval.records import Record
from pipelines import kept
from pipelines.codecs import weights_hash
from pipelines.points import CEILING, Bench, Plan, Tested
from pipelines.run.batch import EXPECTED

FIDELITY = "fidelity"


class Scorer:
    """Makes the records of the points of a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._pseudo: dict[str, Dataset] = {}

    def wanted(self, codec: Any, tasks: Iterable[str], done: set[str]) -> list[tuple[Tested | None, str]]:
        """(model, task) of the records that are asked for; fidelity, without a model, where it is or nothing else."""
        bench = self.bench
        pairs: list[tuple[Tested | None, str]] = [(tested, task) for tested in bench.tested for task in tested.tasks]
        if not pairs or FIDELITY in tasks:
            pairs.append((None, FIDELITY))
        return [(tested, task) for tested, task in pairs if bench.record_settings(codec, task, tested) not in done]

    def labels(self, tested: Tested) -> Dataset | None:
        """What a model is measured against; None: its pseudo-labels, whose predictions are not there yet."""
        bench = self.bench
        if bench.pseudo is None:
            return bench.dataset
        if tested.name not in self._pseudo:
            from eval.models.pseudo import pseudo_truth
            from pipelines.codecs import build as build_codec

            ceiling = build_codec(CEILING)
            if bench.look_note(ceiling, tested) is None:
                return None
            found = kept.read(bench.place("predictions", ceiling), tested.name, bench.dataset.items)
            pairs = ((item, one.prediction()) for item, one in found)
            self._pseudo[tested.name] = pseudo_truth(bench.dataset, pairs, tested.model, bench.pseudo)
        return self._pseudo[tested.name]

    def watchers(self, plan: Plan, wanted: Iterable[tuple[Tested | None, str]]) -> dict[str, list[tuple[str, Any]]]:
        """Model name -> (task, evaluator) of those that can be given the predictions while they are made."""
        names = {self.bench.tested[place].name for place in plan.models}
        found: dict[str, list[tuple[str, Any]]] = {}
        for tested, task in wanted:
            if tested is not None and tested.name in names and (dataset := self.labels(tested)) is not None:
                found.setdefault(tested.name, []).append((task, _evaluator(tested, task, dataset)))
        return found

    def records(
        self, codec: Any, wanted: Iterable[tuple[Tested | None, str]], watchers: dict[str, list[tuple[str, Any]]]
    ) -> list[Record]:
        """The records of a point whose pass is done."""
        made = []
        for tested, task in wanted:
            if tested is None:
                made.append(self._record(codec, None, task, self._fidelity(codec)))
                continue
            evaluator = next((each for name, each in watchers.get(tested.name, ()) if name == task), None)
            made.append(self._record(codec, tested, task, self._scores(codec, tested, task, evaluator)))
        return made

    def _fidelity(self, codec: Any) -> Scores:
        from eval.metrics.scores import load

        return load(self.bench.place("predictions", codec) / "none.fidelity.npz")

    def _scores(self, codec: Any, tested: Tested, task: str, evaluator: Any) -> Scores:
        """The scores, saved; from the predictions on disk where no evaluator has seen them."""
        bench = self.bench
        folder = bench.place("predictions", codec)
        if evaluator is None:
            dataset = self.labels(tested)
            if dataset is None:
                raise ValueError(f"pseudo-labels of {tested.name} are what it finds in the uncompressed pictures, "
                                 "and that point was not measured")  # fmt: skip
            evaluator = _evaluator(tested, task, dataset)
            for item, found in kept.read(folder, tested.name, bench.dataset.items):
                evaluator.process(item, None, None, found.prediction())
        try:
            scores: Scores = evaluator.evaluate()
        except EXPECTED as error:
            raise ValueError(f"{tested.name}, {task}: {error}") from error
        scores.save(folder / f"{kept.file_name(tested.name)}.{task}.npz")
        return scores

    def _record(self, codec: Any, tested: Tested | None, task: str, scores: Scores) -> Record:
        bench = self.bench
        streams, looked = bench.stream_note(codec), bench.look_note(codec, None)
        seen = bench.look_note(codec, tested) if tested else {}
        assert streams is not None
        assert looked is not None
        assert seen is not None
        figures = scores.figures()
        per_class = {name: values.get(PRIMARY[task]) for name, values in scores.per_class().items()}
        pixels = sum(item.width * item.height for item in bench.dataset.items)
        average = PRIMARY[task] == "ap"
        return Record(
            codec=codec.name, quality=float(codec.quality), dataset=bench.dataset.name, task=task,
            model=tested.name if tested else "", pictures=len(bench.dataset), pixels_total=pixels,
            bytes_total=streams["bytes_total"], rate_bpp=8 * streams["bytes_total"] / pixels,
            ap=figures.get("ap"), ap50=figures.get("ap50"), ap_per_class=per_class if average else {},
            psnr_db=looked["psnr_db"], ms_ssim=looked["ms_ssim"], encode_s=streams["encode_s"],
            decode_s=looked["decode_s"], predict_s=seen.get("predict_s"), seed=bench.seed,
            protocol=tested.protocol if tested else "frozen",
            encode_threads=streams["threads"], decode_threads=looked["threads"], content=bench.content,
            weights=weights_hash(codec), model_weights=seen.get("weights", ""),
            settings=bench.record_settings(codec, task, tested), versions=bench.versions, metrics=figures,
            per_class=per_class, per_sequence=self._sequences(streams, scores),
            overlapped=any(note.get("overlapped", False) for note in (streams, looked, seen)),
        )  # fmt: skip

    def _sequences(self, streams: dict[str, Any], scores: Scores) -> dict[str, dict[str, float | None]]:
        """Sequence -> figures of its pictures alone, and its rate."""
        dataset, found = self.bench.dataset, {}
        sizes = {item.id: item.width * item.height for item in dataset.items}
        for name, ids in dataset.sequences.items():
            counts = np.isin(scores.picture_ids, ids).astype(np.int64)
            keys = [name] if name in streams["bytes"] else [str(i) for i in ids]
            rate = 8 * sum(streams["bytes"][key] for key in keys) / sum(sizes[i] for i in ids)
            found[name] = {**scores.figures(counts), "rate_bpp": rate}
        return found


def _evaluator(tested: Tested, task: str, dataset: Dataset) -> Any:
    """What scores a task; classes that the model cannot name are left out where the task's rules say so."""
    known = getattr(tested.model, "categories", None)
    return build(task, dataset, None if known is None else list(known))
