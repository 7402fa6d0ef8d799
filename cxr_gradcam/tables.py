"""Tables for spreadsheets: the columns of a summary, and cells that are never formulas."""

from __future__ import annotations

from collections.abc import Sequence


def inert(text: str) -> str:
    """Keep spreadsheets from taking a cell for a formula: "=a.png" becomes "./=a.png".

    For a relative path that is the same file, so the column still opens what it names.
    """
    return f"./{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def summary_header(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a summary: file, predicted, a probability per class, error."""
    return ("file", "predicted", *map(inert, class_names), "error")


def summary_cells(
    file: str, predicted: str, probabilities: Sequence[float], error: str, class_count: int
) -> tuple[str, ...]:
    """Return the cells of one row of a summary.

    Args:
        file: a path or name.
        predicted: the predicted class; "" if the file could not be read.
        probabilities: one per class, in the checkpoint's order; empty if it could not be read.
        error: why it could not be read, one sentence; else "".
        class_count: how many classes the table has columns for.
    """
    # Nine digits give a float32 back exactly.
    numbers = tuple(f"{p:.9g}" for p in probabilities) or ("",) * class_count
    return (inert(file), inert(predicted), *numbers, inert(error))
