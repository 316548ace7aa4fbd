"""An examination as text for a terminal, and as data for programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from latimer.policy.diagnosis.checks import CHECKS, GROUPS, severity
from latimer.policy.diagnosis.finding import SEVERITIES, Examination, Finding, Group, number
from latimer.policy.diagnosis.rules import is_well

Paint = Callable[[str, str], str]
"""Text and what it is (a severity, `head`, `cure`, `ok`), as it should be shown."""

PAGE = "docs/doctor.md"


def plain(text: str, _: str) -> str:
    """Without colours."""
    return text


def text(examination: Examination, paint: Paint = plain, hints: tuple[str, ...] = ()) -> str:
    """For people: groups, in each the findings with their cures, then what is in order, and what it comes to."""
    lines: list[str] = []
    for group in GROUPS:
        lines += _group(group, examination, paint)
    if examination.seen:
        lines.append(paint("In order", "head"))
        width = max(len(each.where) for each in examination.seen)
        lines += [f"  {paint('ok', 'ok')}  {each.where:<{width}}  {each.what}" for each in examination.seen]
        lines.append("")
    counts = {kind: sum(severity(each) == kind for each in examination.findings) for kind in SEVERITIES}
    said = ", ".join(number(count, kind) for kind, count in counts.items() if count)
    ending = f"{said or 'nothing found'}" + (f". {PAGE} tells more of each" if said else "")
    verdict = "nothing is wrong" if is_well(examination) else "something does not work"
    return "\n".join([*lines, *hints, f"{verdict}: {ending}"])


def _group(group: Group, examination: Examination, paint: Paint) -> Iterator[str]:
    own = [finding for finding in examination.findings if CHECKS[finding.id].group == group]
    if not own:
        return
    yield paint(group[0].upper() + group[1:], "head")
    for finding in own:
        kind = severity(finding)
        yield f"  {paint(f'{kind:<7}', kind)}  {finding.id}: {finding.where}"
        yield f"           {_indented(finding.what)}"
        yield f"           {paint('->', 'cure')} {_indented(finding.cure, 14)}"
    yield ""


def _indented(words: str, column: int = 11) -> str:
    return _visible(words).replace("\n", "\n" + " " * column)


def _visible(words: str) -> str:
    """Names of files and what servers say may hold control characters, which a terminal would obey."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", words)


def report(examination: Examination) -> Mapping[str, object]:
    """For programs: `ok`; `findings` with `id`, `severity`, `group`, `where`, `what`, `cure`, `docs`; `in_order`."""
    return {
        "ok": is_well(examination),
        "findings": [_row(finding) for finding in examination.findings],
        "in_order": [{"where": each.where, "what": each.what} for each in examination.seen],
    }


def _row(finding: Finding) -> Mapping[str, str]:
    check = CHECKS[finding.id]
    return {
        "id": finding.id,
        "severity": check.severity,
        "group": check.group,
        "where": finding.where,
        "what": finding.what,
        "cure": finding.cure,
        "docs": f"{PAGE}#{finding.id}",
    }
