"""One model and one folder: a worker in the background, and what it has found so far."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.survey.folder import Film, Folder
from cxr_gradcam.survey.look import Looks, Read, look_at, read_film
from cxr_gradcam.survey.means import Mean, Sums
from cxr_gradcam.survey.results import Results, true_classes
from cxr_gradcam.survey.store import Store
from cxr_gradcam.threads import in_order

BATCH = 8  # films in one pass: visitors who explain a film meanwhile wait for no longer one
SAVE_SECONDS = 10.0  # what a killed server loses at most
_READERS = 2
_WINDOW = 20  # batches over which the speed is measured
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """How far an evaluation has come.

    Attributes:
        running: whether it goes on.
        done: films evaluated or found unreadable.
        total: films in the folder.
        speed: films per second of late; None where not known.
        problem: what went wrong, one sentence; else "".
    """

    running: bool
    done: int
    total: int
    speed: float | None
    problem: str

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all is done at this speed; None where not known."""
        return (self.total - self.done) / self.speed if self.running and self.speed else None


class Survey:
    """Evaluates a folder with one classifier in a thread of its own; safe to share.

    What the store still holds of the folder counts as done from the start.

    Args:
        explainer: with the classifier.
        folder: the films.
        store: where looks are kept.
    """

    def __init__(self, explainer: Explainer, folder: Folder, store: Store) -> None:
        classifier = explainer.classifier
        self.folder = folder
        self.store = store
        self._explainer = explainer
        self._lock = threading.Lock()  # of what was found; the worker takes it for a moment
        self._control = threading.Lock()  # of starting and stopping
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem = ""
        self._pace: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        count, classes = len(folder.films), len(classifier.class_names)
        self._truth = true_classes(folder, classifier.class_names)
        self._read = np.zeros(count, bool)
        self._logits = np.zeros((count, classes), np.float32)
        self._probabilities = np.zeros((count, classes), np.float32)
        self._familiarity = np.full(count, np.nan, np.float32)
        self._familiar = np.full(count, -1, np.int8)
        self._errors: dict[str, str] = {}
        self._sums = Sums(classifier.class_names, classifier.input_size)
        self._results: Results | None = None
        self._metrics: tuple[Results, int, dict[str, Any] | None] | None = None
        for looks in store.read(folder, classes):
            self._take(looks)

    # --- from any thread

    def start(self) -> None:
        """Begin or go on, unless it runs already or all is done."""
        with self._control:
            if self._thread is not None and self._thread.is_alive():
                if not self._stop.is_set():
                    return
                self._thread.join()  # it ends within one pass
            self._stop = threading.Event()
            self._problem = ""
            self._pace.clear()
            self._thread = threading.Thread(
                target=self._run, args=(self._stop,), name="survey", daemon=True
            )
            self._thread.start()

    def stop(self, *, wait: bool = False) -> None:
        """End within one pass; what was found is kept."""
        with self._control:
            self._stop.set()
            if wait and self._thread is not None:
                self._thread.join()

    @property
    def status(self) -> Status:
        """How far it has come."""
        thread = self._thread
        running = thread is not None and thread.is_alive() and not self._stop.is_set()
        with self._lock:
            done = int(self._read.sum()) + len(self._errors)
            return Status(
                running,
                done,
                len(self.folder.films),
                _speed(list(self._pace)),
                self._problem or self.store.problem,
            )

    def results(self) -> Results:
        """Return what is known now; the same value until more is known."""
        with self._lock:
            if self._results is None:
                self._results = self._snapshot()
            return self._results

    def means(self, which: int) -> dict[str, Mean]:
        """Return the mean heatmap and film of each class; see `Sums.means`."""
        with self._lock:
            return self._sums.means(which)

    def metrics(self, bootstrap: int) -> dict[str, Any] | None:
        """Return `Results.metrics` of what is known now, computed once for all who ask."""
        results, kept = self.results(), self._metrics
        if kept is None or kept[0] is not results or kept[1] != bootstrap:
            kept = self._metrics = (results, bootstrap, results.metrics(bootstrap))
        return kept[2]

    # --- the worker

    def _run(self, stop: threading.Event) -> None:
        unsaved: list[Looks] = []
        try:
            saved = time.monotonic()
            for looks in self._looks(stop):
                with self._lock:
                    self._take(looks)
                    done = int(self._read.sum()) + len(self._errors)
                    self._pace.append((time.monotonic(), done))
                unsaved += [looks.readable()]
                if time.monotonic() - saved > SAVE_SECONDS:
                    self.store.add(unsaved)
                    unsaved, saved = [], time.monotonic()
        except Exception as error:  # whatever it was, the page must say that it ended
            _log.exception("The evaluation of a folder ended early")
            self._problem = (
                f"The evaluation ended early ({type(error).__name__}): press “Go on” to try "
                "again; the server’s log says more."
            )
        finally:
            self.store.add(unsaved)

    def _looks(self, stop: threading.Event) -> Iterator[Looks]:
        """Read ahead in threads, look at a batch at a time, until done or stopped."""
        waiting = self._waiting()
        with ThreadPoolExecutor(_READERS, "survey-read") as pool:
            try:
                self._pace.append((time.monotonic(), len(self.folder.films) - len(waiting)))
                read = in_order(pool, read_film, waiting, 2 * BATCH)
                for start in range(0, len(waiting), BATCH):
                    batch = waiting[start : start + BATCH]
                    films: list[Read] = [next(read) for _ in batch]
                    if stop.is_set():
                        return
                    yield look_at(self._explainer, batch, films)
            finally:
                pool.shutdown(cancel_futures=True)

    def _waiting(self) -> list[Film]:
        """Return the films not looked at yet, the classes taking turns.

        So a partial result tells of every class.
        """
        by_class: dict[str, list[Film]] = {label: [] for label in self.folder.labels}
        for film, read in zip(self.folder.films, self._read, strict=True):
            if not read and film.key not in self._errors:
                by_class[film.label].append(film)
        turns = [
            (place / len(films), film)
            for films in by_class.values()
            for place, film in enumerate(films)
        ]
        return [film for _, film in sorted(turns, key=lambda turn: turn[0])]

    def _take(self, looks: Looks) -> None:
        places = np.array([self.folder.places[key] for key in looks.keys.tolist()], np.int64)
        good = looks.errors == ""
        for key, error in zip(
            looks.keys[~good].tolist(), looks.errors[~good].tolist(), strict=True
        ):
            self._errors[key] = error
        looks, places = looks.only(good), places[good]
        self._read[places] = True
        self._logits[places] = looks.logits
        self._probabilities[places] = looks.probabilities
        self._familiarity[places] = looks.familiarity
        self._familiar[places] = looks.familiar
        if len(looks):
            self._sums.add(looks, self._truth[places])
        self._results = None

    def _snapshot(self) -> Results:
        classifier = self._explainer.classifier
        return Results(
            folder=self.folder,
            class_names=classifier.class_names,
            temperature=classifier.temperature,
            read=self._read.copy(),
            logits=self._logits.copy(),
            probabilities=self._probabilities.copy(),
            familiarity=self._familiarity.copy(),
            familiar=self._familiar.copy(),
            errors=dict(self._errors),
        )


def _speed(pace: list[tuple[float, int]]) -> float | None:
    """Return films per second between the first and the last mark."""
    if len(pace) < 2 or pace[-1][0] <= pace[0][0]:
        return None
    (start, before), (end, after) = pace[0], pace[-1]
    return (after - before) / (end - start)
