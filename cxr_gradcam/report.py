"""A report of one or many radiographs: what the classifier said, why, and how it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from cxr_gradcam.cam import METHODS
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.export import Export, evidence_sums
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.reading import printable
from cxr_gradcam.render import NO_EVIDENCE
from cxr_gradcam.report_page import figure, note, page, pairs, table
from cxr_gradcam.report_pictures import Miniature, colour_bar
from cxr_gradcam.words import (
    calibration_words,
    class_label,
    familiarity_words,
    knows_no_class,
    map_title,
    number,
    per_cell,
    percent,
    signed,
)

TITLE = "Why the classifier says what it says"
_TICKS = (0, 0.5, 1)


@dataclass(frozen=True, eq=False)
class Case:
    """A radiograph that was explained.

    Attributes:
        name: what to call it; any text.
        radiograph: at its full size.
        explanation: of it, at the layer and by the method of the export.
    """

    name: str
    radiograph: Radiograph
    explanation: Explanation


@dataclass(frozen=True)
class Unreadable:
    """A file that is no radiograph.

    Attributes:
        name: what to call it; any text.
        reason: one sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Section:
    """A radiograph's part of a report, with what the table of contents says about it.

    Attributes:
        name: printable text.
        predicted: a class name.
        probability: of that class.
        familiar: as in `Explanation`.
        html: the part itself.
    """

    name: str
    predicted: str
    probability: float
    familiar: bool | None
    html: str


def write_report(cases: Iterable[Case | Unreadable], export: Export, when: datetime) -> str:
    """Return a report as one HTML file, its pictures inside.

    Args:
        cases: what to report, in order; taken one at a time, so that only one picture at its full
            size is in memory.
        export: how it was made.
        when: the time to write into it, with its zone.
    """
    sections: list[Section] = []
    unreadable: list[Unreadable] = []
    for case in cases:
        if isinstance(case, Unreadable):
            unreadable.append(case)
        else:
            sections.append(film_section(len(sections) + 1, case, export))
    return assemble(sections, unreadable, export, when)


def assemble(
    sections: Sequence[Section], unreadable: Sequence[Unreadable], export: Export, when: datetime
) -> str:
    """Put a report together from parts made by `film_section`."""
    count = f"{len(sections)} radiograph{'' if len(sections) == 1 else 's'}"
    facts = f"{count} · {when:%Y-%m-%d %H:%M %Z} · {export.program}"
    return page(
        sections[0].name if len(sections) == 1 else f"{TITLE}: {count}",
        [
            f"<h1>{TITLE}</h1>",
            note(facts),
            *([_contents(sections)] if len(sections) > 1 else []),
            *([_problems(unreadable)] if unreadable else []),
            *(section.html for section in sections),
            _how(export),
        ],
    )


def film_section(position: int, case: Case, export: Export) -> Section:
    """Return one radiograph's part of a report.

    Args:
        position: its place in the report, from 1.
        case: what to show.
        export: how it was made.
    """
    film, explanation = case.radiograph, case.explanation
    name, predicted = printable(case.name), explanation.predicted
    probability = explanation.probabilities[predicted]
    facts = f"{film.format} · {film.width:,} × {film.height:,} px · SHA-256 {film.digest}"
    calibration = calibration_words(export.classifier.temperature, len(explanation.probabilities))
    html = "\n".join(
        [
            f'<section class="film{" first" if position == 1 else ""}" id="film-{position}" '
            f'aria-labelledby="name-{position}">',
            f'<h2 id="name-{position}">{escape(name)}</h2>',
            note(facts),
            *map(note, film.notes),
            f'<p class="said">Predicted class: <b>{escape(class_label(predicted))}</b> '
            f"{escape(percent(probability))}</p>",
            note(calibration),
            note(familiarity_words(explanation), _familiarity_kind(explanation)),
            "<h3>Where the evidence lies</h3>",
            note(_scale_sentence(explanation, export)),
            _pictures(case, name, export),
            "<h3>What each class gets</h3>",
            _numbers(explanation, export),
            "</section>",
        ]
    )
    return Section(name, predicted, probability, explanation.familiar, html)


def _familiarity_kind(explanation: Explanation) -> str:
    return "warning" if explanation.familiar is False else "soft"


# ---------------------------------------------------------------------------------------- pictures


def _pictures(case: Case, name: str, export: Export) -> str:
    """Return the radiograph and the overlays, with one colour bar or one for each class."""
    settings, explanation = export.settings, case.explanation
    small = Miniature.of(case.radiograph, explanation)
    figures = [figure(small.film(), f"Radiograph {name}", "Radiograph")]
    # A method that knows no class gives each the same map: one is enough.
    alone = knows_no_class(settings.method)
    shown = explanation.classes[:1] if alone else explanation.classes
    for class_name in shown:
        peak = explanation.peak(class_name, settings.layer)
        own_bar = peak > 0 and (alone or settings.scale == "each")
        title = METHODS[settings.method].label if alone else class_label(class_name)
        figures.append(
            figure(
                small.overlay(class_name, settings),
                f"{name} with the heatmap of "
                f"{map_title(class_name, settings.method, settings.layer)}"
                f"{'' if peak > 0 else f': {NO_EVIDENCE}'}",
                title,
                "" if alone else percent(explanation.probabilities[class_name]),
                _colour_bar(explanation, class_name, export, "its own maximum")
                if own_bar
                else _peak_note(peak),
            )
        )
    if settings.scale == "shared" and not alone:
        top = explanation.peak(shown[0], settings.layer, "shared")
        bar = _colour_bar(explanation, shown[0], export, "the maximum over all classes")
        figures += [bar] if top > 0 else []
    return f'<div class="pictures">{"".join(figures)}</div>'


def _peak_note(peak: float) -> str:
    return "" if peak > 0 else note(NO_EVIDENCE.capitalize())


def _colour_bar(explanation: Explanation, class_name: str, export: Export, top_is: str) -> str:
    """Return the scale from 0 to the value that the hottest colour stands for.

    Args:
        explanation: what is painted.
        class_name: whose map.
        export: how it is painted.
        top_is: what that value is; plain text.
    """
    settings = export.settings
    top = explanation.peak(class_name, settings.layer, settings.scale)
    unit = per_cell(explanation)
    ticks = "".join(f"<span>{number(share * top)}</span>" for share in _TICKS)
    return (
        f'<div class="bar"><img src="{colour_bar(settings.colormap, settings.threshold)}" '
        f'alt="Colours from 0 to {number(top)} {escape(unit)}"/>'
        f'<div class="ticks" aria-hidden="true">{ticks}</div>'
        f"{note(f'{unit} · up to {top_is}')}</div>"
    )


def _scale_sentence(explanation: Explanation, export: Export) -> str:
    """Say which scale the colours are on, and so what may be compared."""
    settings = export.settings
    against = f" rather than {class_label(explanation.contrast)}" if explanation.contrast else ""
    how = f"{METHODS[settings.method].label}{against} at {settings.layer}. "
    if knows_no_class(settings.method):
        return f"{how}It knows no class: it shows what the layer responds to most."
    if settings.scale == "each":
        return (
            f"{how}Each class on its own scale, by its own maximum: a weak map looks as hot as a "
            "strong one, so colours cannot be compared between classes."
        )
    return f"{how}One scale for all classes, so that their colours can be compared."


# ----------------------------------------------------------------------------------------- numbers


def _numbers(explanation: Explanation, export: Export) -> str:
    """Return the table of probabilities, evidence and peaks, a row per class."""
    names = list(explanation.logits)
    unit = per_cell(explanation)
    caption = (
        "Evidence in logit units, over the whole last layer: for + against + bias = score, but for "
        "rounding."
    )
    columns = ("Class", "Probability", "Score", "For", "Against", "Bias", f"Peak, {unit}")
    rows = [_row(explanation, name, export.settings.layer) for name in names]
    return table(caption, columns, rows, marked=names.index(explanation.predicted))


def _row(explanation: Explanation, name: str, layer: str) -> list[str]:
    sums = evidence_sums(explanation, name)
    peak = number(explanation.peak(name, layer)) if name in explanation.classes else "–"
    return [
        escape(class_label(name)),
        escape(percent(explanation.probabilities[name])),
        signed(explanation.logits[name]),
        signed(sums["for"]),
        signed(sums["against"]),
        signed(sums["bias"]),
        peak,
    ]


# ------------------------------------------------------------------------------- around the films


def _contents(sections: Sequence[Section]) -> str:
    """Return the table of contents, with what was said of each radiograph."""
    familiar = {True: "yes", False: "no", None: "unknown"}
    rows = [
        [
            f'<a href="#film-{position}">{escape(section.name)}</a>',
            escape(class_label(section.predicted)),
            escape(percent(section.probability)),
            familiar[section.familiar],
        ]
        for position, section in enumerate(sections, start=1)
    ]
    columns = ("Radiograph", "Predicted class", "Probability", "Looks familiar")
    return (
        '<nav aria-labelledby="contents"><h2 id="contents">Contents</h2>'
        f"{table('What was said of each radiograph', columns, rows, kind='texts')}</nav>"
    )


def _problems(unreadable: Sequence[Unreadable]) -> str:
    """Return the list of files that could not be read, each with its reason."""
    rows = [[escape(printable(one.name)), escape(printable(one.reason))] for one in unreadable]
    told = table("Files that are not in this report", ("File", "Reason"), rows, kind="texts")
    return f"<h2>Could not be read</h2>{told}"


def _how(export: Export) -> str:
    """Return what one needs to know to repeat the report."""
    settings, classifier = export.settings, export.classifier
    scale = "each class by its own maximum" if settings.scale == "each" else "shared by all classes"
    how = pairs(
        [
            ("Layer", settings.layer),
            ("Method", f"{METHODS[settings.method].label} ({settings.method})"),
            ("Scale", "its own maximum" if knows_no_class(settings.method) else scale),
            ("Colours", settings.colormap.capitalize()),
            ("Opacity", f"{settings.opacity:.0%}"),
            ("Heat hidden below", f"{settings.threshold:.0%} of the scale"),
            ("Program", export.program),
        ]
    )
    calibrated = f"{classifier.temperature:.4g}"
    model = pairs(
        [
            ("Network", f"DenseNet-121, {classifier.input_size} px input"),
            ("Classes", ", ".join(map(class_label, classifier.class_names))),
            ("Temperature", f"{calibrated} (1: not calibrated)"),
            ("Checkpoint SHA-256", classifier.digest),
        ]
    )
    return (
        '<section aria-labelledby="how"><h2 id="how">How this was made</h2>'
        f"<h3>Settings</h3>{how}<h3>Model</h3>{model}</section>"
    )
