"""Many users, one classifier, no lock: everybody gets bit for bit what they would get alone."""

import gc
import random
import resource
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.radiograph import Radiograph
from tests.oracle import every_number

THREADS = 16
Request = tuple[Radiograph, list[str], list[str], str]


def requests() -> list[Request]:
    """Sixteen different radiographs, each with classes, layers and a method of its own."""
    chance = random.Random(0)
    methods = ("gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "eigencam")
    return [
        (
            draw_phantom(CLASS_NAMES[i % 4], seed=i, size=128 + 8 * i).radiograph,
            sorted(chance.sample(MAIN_LAYERS, 1 + i % 3)),
            sorted(chance.sample(CLASS_NAMES, 1 + i % 4)),
            methods[i % len(methods)],
        )
        for i in range(THREADS)
    ]


def run_rounds(explainer: Explainer, rounds: int) -> None:
    work = requests()
    alone = [every_number(explainer.explain(*request)) for request in work]
    together = Barrier(THREADS)

    def one_user(index: int) -> int:
        wrong = 0
        for _ in range(rounds):
            together.wait(timeout=100)
            wrong += every_number(explainer.explain(*work[index])) != alone[index]
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(one_user, range(THREADS))) == 0


def test_sixteen_threads_get_what_one_gets(small_explainer: Explainer) -> None:
    run_rounds(small_explainer, rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_rounds_of_sixteen_threads_in_flat_memory(explainer: Explainer) -> None:
    run_rounds(explainer, rounds=5)  # warm-up: thread pools, oneDNN's caches
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_rounds(explainer, rounds=50)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"the peak grew by {grown // 1024} MB over 50 rounds"
