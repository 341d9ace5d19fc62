"""The verdict on a repetition: a decision from evidence alone, with nothing else looked at.

`docs/explanation/verdicts.md` explains each rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deepdiva.experiments.envelope import MOST_RERUNS, EnvelopeResult
from deepdiva.experiments.equivalence import Tost, replicates_needed

BIT_IDENTICAL, EQUIVALENT, DIFFERENT, INCONCLUSIVE = "BIT-IDENTICAL", "EQUIVALENT", "DIFFERENT", "INCONCLUSIVE"
EXIT_CODES = {BIT_IDENTICAL: 0, EQUIVALENT: 0, DIFFERENT: 1, INCONCLUSIVE: 3}
# The two forms of EQUIVALENT.
SAME_EXPERIMENT, SAME_RESULT = "same experiment on other hardware", "same result"


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on; what was not looked at is None or empty.

    Args:
        same_bits: Whether all digests of the state are equal; None where they were not compared.
        failure: Why one of the runs has no result, in words.
        envelope: How near the repetition with the same seed stayed to the original.
        test: The test of equivalence between runs with fresh seeds on both sides.
        metric: The name of the metric that is compared: `test/accuracy`.
        original: Its value in the original run.
        reproduced: Its value in the repetition with the same seed.
        parted: Where the two first part, in words: `epoch 2, step 31: the loss`.
    """

    same_bits: bool | None = None
    failure: str = ""
    envelope: EnvelopeResult | None = None
    test: Tost | None = None
    metric: str = ""
    original: float | None = None
    reproduced: float | None = None
    parted: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """The form kept in a record; numbers that are not finite become text."""
        values = {name: _kept(value) for name, value in asdict(self).items()}
        values["envelope"] = None if self.envelope is None else self.envelope.to_mapping()
        values["test"] = None if self.test is None else self.test.to_mapping()
        return values

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Evidence:
        """What `to_mapping` gave."""
        values = dict(mapping)
        for name in ("original", "reproduced"):
            values[name] = None if values[name] is None else float(values[name])
        values["envelope"] = None if values["envelope"] is None else EnvelopeResult.from_mapping(values["envelope"])
        values["test"] = None if values["test"] is None else Tost.from_mapping(values["test"])
        return cls(**values)


@dataclass(frozen=True)
class Verdict:
    """What is said of a repetition.

    Args:
        name: `BIT-IDENTICAL`, `EQUIVALENT`, `DIFFERENT` or `INCONCLUSIVE`.
        reason: Why, in a sentence.
        evidence: What it rests on.
        form: Which of the two forms of `EQUIVALENT` it is; empty otherwise.
        needed: Runs on each side with which a test of equivalence would succeed four times out of five, where the two
            do not differ; None where that does not matter or cannot be known.
    """

    name: str
    reason: str
    evidence: Evidence
    form: str = ""
    needed: int | None = None

    @property
    def exit_code(self) -> int:
        """The status that a command with this verdict ends with."""
        return EXIT_CODES[self.name]

    def to_mapping(self) -> dict[str, Any]:
        """The form kept in `run.json`."""
        return {
            "verdict": self.name,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "form": self.form,
            "needed": self.needed,
            "evidence": self.evidence.to_mapping(),
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Verdict:
        """What `to_mapping` gave."""
        evidence = Evidence.from_mapping(mapping["evidence"])
        return cls(mapping["verdict"], mapping["reason"], evidence, mapping["form"], mapping["needed"])

    def lines(self) -> list[str]:
        """The verdict for a terminal: the word and the reason, then what was measured."""
        evidence, head = self.evidence, f"{self.name} ({self.form})" if self.form else self.name
        shown = [f"{head}: {self.reason}"]
        if evidence.original is not None and evidence.reproduced is not None and self.name != BIT_IDENTICAL:
            effect = evidence.reproduced - evidence.original
            shown.append(
                f"{evidence.metric} with the same seed: {evidence.original:.6g} before, {evidence.reproduced:.6g} now, "
                f"a difference of {effect:+.3g}"
            )
        if evidence.test is not None and evidence.test.problem is None:
            shown.append(_of_test(evidence.metric, evidence.test))
        if evidence.envelope is not None and evidence.envelope.detail and self.name != BIT_IDENTICAL:
            shown.append(f"rounding: {evidence.envelope.detail}")
        if evidence.parted and self.name != BIT_IDENTICAL:
            shown.append(f"the two first part at {evidence.parted}")
        return shown


def decide(evidence: Evidence) -> Verdict:
    """The verdict that the evidence allows.

    A run without a result, or a number that is none, is never success. Equal bits end the matter. Otherwise there are
    two questions: whether the same seed stays within rounding, and whether fresh seeds give the same result; one yes
    is enough, unless fresh seeds are shown to differ by more than the margin. One value a side answers neither.
    """
    obstacle = _obstacle(evidence)
    if obstacle:
        equal = "; the states are equal to the bit all the same" if evidence.same_bits else ""
        return Verdict(INCONCLUSIVE, f"{obstacle}{equal}", evidence)
    if evidence.same_bits:
        return Verdict(BIT_IDENTICAL, "every digest of the state is equal", evidence)
    envelope, test = evidence.envelope, evidence.test
    stayed = None if envelope is None or envelope.problem is not None else envelope.inside
    if test is not None and test.problem is None:
        if test.different:
            return Verdict(DIFFERENT, _why_different(test, evidence.metric, stayed), evidence)
        if test.equivalent:
            return _equivalent_by_test(evidence, test, stayed)
    if stayed:
        reason = "with the same seed it stays as near to the original as rounding explains"
        return Verdict(EQUIVALENT, reason, evidence, SAME_EXPERIMENT)
    if test is not None and test.problem is None:
        return _undecided(evidence, test)
    if stayed is False:
        return _outside(evidence)
    return _lacking(evidence)


def _obstacle(evidence: Evidence) -> str:
    """Why no repetition can be called a success, whatever else is known; empty where nothing is in the way."""
    if evidence.failure:
        return evidence.failure
    for name, value in (("the original", evidence.original), ("the repetition", evidence.reproduced)):
        if value is not None and not math.isfinite(value):
            return f"{evidence.metric or 'the metric'} of {name} is {value}"
    for part in (evidence.envelope, evidence.test):
        if part is not None and not part.finite:
            return str(part.problem)
    return ""


def _equivalent_by_test(evidence: Evidence, test: Tost, stayed: bool | None) -> Verdict:
    what = f"with fresh seeds {evidence.metric} differs by less than {test.margin:g}"
    if stayed:
        reason = f"with the same seed it stays as near to the original as rounding explains, and {what}"
        return Verdict(EQUIVALENT, reason, evidence, SAME_EXPERIMENT)
    if stayed is False:
        what += "; it is not the same experiment: with the same seed it goes further away than rounding explains"
    return Verdict(EQUIVALENT, what, evidence, SAME_RESULT)


def _why_different(test: Tost, metric: str, stayed: bool | None) -> str:
    reason = f"with fresh seeds {metric} differs by more than {test.margin:g}"
    return f"{reason}, although this seed stays within rounding" if stayed else reason


def _outside(evidence: Evidence) -> Verdict:
    reason = "with the same seed it goes further away from the original than rounding explains"
    if evidence.test is None:
        reason += ", and there are no fresh seeds to compare"
    else:
        reason += f"; of fresh seeds there are too few: {evidence.test.problem}"
    if evidence.envelope is not None and evidence.envelope.gradual and evidence.envelope.reruns < MOST_RERUNS:
        reason += f". It left slowly, as rounding can: {MOST_RERUNS} perturbed reruns would be surer"
    return Verdict(DIFFERENT, reason, evidence)


def _undecided(evidence: Evidence, test: Tost) -> Verdict:
    """Values that show neither that the groups agree within the margin nor that they do not."""
    runs = min(test.n_original, test.n_reproduced)
    reason = f"{test.n_original} and {test.n_reproduced} runs do not show whether {evidence.metric} differs by less"
    reason = f"{reason} or by more than {test.margin:g}"
    needed = None if test.deterministic else replicates_needed(test.sd, test.margin)
    if needed is not None and needed <= runs and abs(test.effect) < test.margin:
        needed = replicates_needed(test.sd, test.margin, effect=test.effect)
    if needed is None or needed <= runs:
        return Verdict(INCONCLUSIVE, f"{reason}: the difference is about the margin itself", evidence)
    return Verdict(INCONCLUSIVE, f"{reason}; {needed} on each side would, four times out of five", evidence, "", needed)


def _lacking(evidence: Evidence) -> Verdict:
    """Nothing was shown because something is missing."""
    needed = replicates_needed(1.0, 1.0)
    missing = []
    if evidence.envelope is None:
        missing.append("no perturbed reruns of this seed")
    elif evidence.envelope.problem is not None:
        missing.append(evidence.envelope.problem)
    missing.append("no runs with fresh seeds" if evidence.test is None else str(evidence.test.problem))
    reason = (
        f"the bits {'differ' if evidence.same_bits is False else 'were not compared'}, and more is not known: "
        f"{'; '.join(missing)}. With a margin as wide as the noise between seeds, {needed} runs on each side are needed"
    )
    return Verdict(INCONCLUSIVE, reason, evidence, "", needed)


def _of_test(metric: str, test: Tost) -> str:
    sure = "no run differs within its group" if test.deterministic else f"p = {test.p:.2g}"
    return (
        f"{metric} with fresh seeds ({test.n_original} original, {test.n_reproduced} reproduced): a difference of "
        f"{test.effect:+.3g}, {100 * (1 - 2 * test.alpha):.0f} % interval {test.low:+.3g} … {test.high:+.3g}, "
        f"margin {test.margin:g}, {sure}"
    )


def _kept(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
