"""One survey per model and folder for the whole server, whoever asks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.survey.folder import Folder
from cxr_gradcam.survey.store import Store, cache_folder
from cxr_gradcam.survey.survey import Survey

KEPT = 4  # surveys in memory; running ones and the one asked for are never dropped


class Registry:
    """Hands out surveys. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._surveys: OrderedDict[tuple[str, Path], Survey] = OrderedDict()

    def survey(self, explainer: Explainer, folder: Folder) -> Survey:
        """Return the survey of a folder by a model.

        Where the folder has changed since the last call, what still holds is kept, and an
        evaluation that was running goes on with the films as they are now.
        """
        key = (explainer.classifier.digest, folder.root.resolve())
        with self._lock:
            survey = self._surveys.get(key)
            if survey is None:
                store = Store(cache_folder(), explainer.classifier.digest, folder.root)
                survey = Survey(explainer, folder, store)
            elif survey.folder is not folder and survey.folder.films != folder.films:
                survey = _renewed(survey, explainer, folder)
            self._surveys[key] = survey
            self._surveys.move_to_end(key)
            self._shrink(key)
            return survey

    def _shrink(self, asked: tuple[str, Path]) -> None:
        idle = [
            key
            for key, survey in self._surveys.items()
            if key != asked and not survey.status.running
        ]
        for key in idle[: max(len(self._surveys) - KEPT, 0)]:
            del self._surveys[key]


def _renewed(old: Survey, explainer: Explainer, folder: Folder) -> Survey:
    running = old.status.running
    old.stop(wait=True)  # so that all it found is in the store
    new = Survey(explainer, folder, old.store)
    if running:
        new.start()
    return new
