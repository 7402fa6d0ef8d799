"""What was found in a dataset folder, as text for a terminal or values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """What was found in a dataset folder.

    Attributes:
        images: class -> how many images could be read.
        groups: how many groups of near-duplicates there are, each of two images or more.
        images_in_groups: how many images lie in them.
        largest_group: how many images the largest holds; 0 where there is none.
        groups_across_classes: how many hold images of several classes, which points to a wrong
            label, or to two films that only look alike.
        groups_across_splits: how many lie in several of the splits that the folder came with.
        unreadable: file, relative to the folder -> why it cannot be read; these are left out.
        splits: split -> class -> how many images.
        no_images: folders that were left out, as `Dataset.no_images`.
    """

    images: Mapping[str, int]
    groups: int
    images_in_groups: int
    largest_group: int
    groups_across_classes: int
    groups_across_splits: int
    unreadable: Mapping[str, str]
    splits: Mapping[str, Mapping[str, int]]
    no_images: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "images": dict(self.images),
            "duplicates": {
                "groups": self.groups,
                "images": self.images_in_groups,
                "largest": self.largest_group,
                "across_classes": self.groups_across_classes,
                "across_splits": self.groups_across_splits,
            },
            "unreadable": dict(self.unreadable),
            "splits": {name: dict(counts) for name, counts in self.splits.items()},
            "no_images": list(self.no_images),
        }

    def __str__(self) -> str:
        """Return the report as a table and a few sentences, for a terminal."""
        columns = {"images": self.images, **self.splits}
        rows = [(name, [column[name] for column in columns.values()]) for name in self.images]
        rows.append(("all", [sum(column.values()) for column in columns.values()]))
        width = max(len(name) for name, _ in rows)
        lines = [" " * width + "".join(f"{name:>9}" for name in columns)]
        lines += [f"{name:<{width}}" + "".join(f"{n:>9,}" for n in row) for name, row in rows]
        return "\n".join([*lines, *self._sentences()])

    def _sentences(self) -> Iterator[str]:
        yield (
            f"{self.images_in_groups:,} images lie in {self.groups:,} groups of near-duplicates, "
            f"at most {self.largest_group:,} in one."
            if self.groups
            else "No near-duplicates were found."
        )
        if self.groups_across_classes:
            yield (f"{self.groups_across_classes:,} of the groups mix classes: check their labels.")
        if self.groups_across_splits:
            yield (
                f"{self.groups_across_splits:,} of the groups lie in several of the folder's own "
                "splits: figures on val and test will flatter the model."
            )
        for split, counts in self.splits.items():
            missing = [name for name, count in counts.items() if not count]
            if 0 < len(missing) < len(counts):
                yield (
                    f"{split} holds no images of {', '.join(missing)}: its figures say nothing of "
                    "them."
                )
        if self.no_images:
            yield (
                "Left out, as no images lie where they are looked for: "
                f"{', '.join(self.no_images)}. Those of a class belong into its folder or the "
                "folder images in it, not deeper, and where there is a folder train, into that."
            )
        if self.unreadable:
            yield f"{len(self.unreadable):,} files cannot be read and are left out:"
            yield from (f"  {file}: {why}" for file, why in self.unreadable.items())
