"""Find faults and doubts in a dataset, which a reader of its report must know first."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_NAMES
from miex.pipeline.reports.charts import percent
from miex.pipeline.reports.evidence import Evidence, Finding, Severity
from miex.pipeline.reports.face_statistics import alike_faces
from miex.pipeline.reports.onset_expressions import expressive_onsets
from miex.pipeline.reports.part_shown import only_a_part
from miex.pipeline.reports.pool_comparison import OVERSHOOT_FACTOR, OVERSHOOT_SHARE
from miex.pipeline.reports.references import MIEX_NULL_SHARE, REAL_AUS_PER_CLIP, RealDatabase
from miex.pipeline.reports.samples import Samples
from miex.pipeline.reports.statistics import ACTIVE_FROM, ALL
from miex.pipeline.reports.suspects import doubt_labels, foreign_frames, same_pictures, shared_by

_ALWAYS_ON = 0.9
"""An AU that is on in so large a share of every class says nothing about any of them. The most
frequent AU of a real database is AU04 of CASME II, in 51 % of the clips."""

_CARDINALITY_FACTOR = 1.25
"""More than so many times the largest published mean number of AUs in a clip is too many; the
published means differ by 1.36 from the smallest to the largest."""

_MEGC2019_CLASSES = {"negative": 250, "positive": 109, "surprise": 83}
"""Clips of each class in the composite of MEGC2019 (See et al. 2019)."""

_REPEATED_SHARE = 0.5
"""Where more samples than this repeat AUs of others, the number of samples promises too much."""

_IMBALANCE = 2.0
"""The largest class has more than so many times the samples of the smallest."""

_SAME_PERSON_DISTANCE = 0.35
"""Euclidean distance of two dlib embeddings below which the face preparation takes two identities
for one person (`FaceConfig.same_person_distance`)."""

_LOST_IDENTITY = 0.8
"""Cosine of the embeddings (dlib ResNet) of apex and template. dlib's own threshold for one person,
a distance of 0.6 between embeddings of length about 1.4, is a cosine of about .9."""

_LEAST_SAMPLES = 20
"""Fewer samples of a class or source say nothing about how frequent an AU is in it."""


def find(evidence: Evidence) -> list[Finding]:
    """Run every check; return faults first."""
    if not len(evidence.samples):
        return [Finding("empty", "warning", "There are no samples, so nothing to judge.", 0, "run")]
    found = [finding for check in CHECKS for finding in check(evidence)]
    if evidence.samples.dataset is None:
        # Pools hold what others measured or coded; a doubt about it is no fault of theirs.
        found = [_doubted(finding) for finding in found]
    order: list[Severity] = ["fault", "warning", "note", "good"]
    return sorted(found, key=lambda finding: order.index(finding.severity))


def null_pairs(evidence: Evidence) -> Iterable[Finding]:
    """Report samples whose apex equals the onset: in pixels, measured motion or AUs."""
    samples, total = evidence.samples, len(evidence.samples)
    still = ~(np.nan_to_num(samples.rises) != 0).any(axis=1)
    if evidence.pixels is not None:
        still |= evidence.pixels.equal
    if "motion" in samples.measures:
        still |= samples.measures["motion"] == 0
    rows = np.flatnonzero(still)
    if not rows.size:
        text = (
            f"No onset equals its apex in {total:,} samples; in the published MiE-X "
            f"{_share(MIEX_NULL_SHARE)} do."
        )
        yield Finding("null_pairs", "good", text, 0, "motion")
        return
    text = (
        f"{rows.size:,} of {total:,} samples ({_share(rows.size / total)}) are null pairs: apex "
        "and onset are equal, a label without motion. Leave them out."
    )
    yield Finding("null_pairs", "fault", text, rows.size, "motion", _names(samples, rows))


def _doubted(finding: Finding) -> Finding:
    """Return a finding about a pool, with a warning at most."""
    return replace(finding, severity="warning") if finding.severity == "fault" else finding


def always_on(evidence: Evidence) -> list[int]:
    """Return AUs that are active in nearly all samples of each class, at apex or as change."""
    emotion = np.array(evidence.samples.emotion, dtype=object)
    if len(emotion) < _LEAST_SAMPLES or len(set(emotion)) < 2:
        return []
    on = np.nan_to_num(evidence.samples.apex) >= ACTIVE_FROM
    least = np.min([on[emotion == name].mean(axis=0) for name in sorted(set(emotion))], axis=0)
    return [int(au) for au in np.flatnonzero(least >= _ALWAYS_ON)]


def constant_aus(evidence: Evidence) -> Iterable[Finding]:
    """Warn of an AU that is active in every class."""
    for au in always_on(evidence):
        share = float((np.nan_to_num(evidence.samples.apex[:, au]) >= ACTIVE_FROM).mean())
        most, where = _most_real(evidence.real, au)
        text = (
            f"{AU_NAMES[au]} is always on: at the apex of {_share(share)} of the samples, in every "
            f"class; in real micro-expressions in at most {_share(most)} ({where}). A recognizer "
            "cannot learn from it, and an estimator that is off looks like this."
        )
        yield Finding("always_on", "fault", text, share, "aus")


def swapped_labels(evidence: Evidence) -> Iterable[Finding]:
    """Report labels that contradict the class, the fine emotion or the AUs of their row."""
    samples = evidence.samples
    doubts = doubt_labels(samples, always_on(evidence))
    rows = doubts.rows
    if rows.size:
        reasons = [
            f"{len(part):,} {words}"
            for part, words in (
                (doubts.inconsistent, "whose label, class and emotion contradict one another"),
                (doubts.impossible, "with AUs that their expert table never draws in their class"),
                (np.intersect1d(doubts.unlikely, rows), "with AUs that fit another class better"),
            )
            if len(part)
        ]
        text = (
            f"At least {rows.size:,} samples seem to have swapped labels: {'; '.join(reasons)}. "
            "AUs that occur in several classes hide more of them."
        )
        if samples.dataset is None:
            text = (
                f"{rows.size:,} samples possibly have another emotion than their label says:"
                f" {'; '.join(reasons)}. People who code emotions look at more than AUs, and one"
                " expression fits several emotions: a reason to look at these rows, no proof."
            )
        names = _names(samples, rows)
        yield Finding("swapped_labels", "fault", text, rows.size, "co-occurrence", names)
    elif doubts.judged:
        text = f"No label contradicts the AUs of its row ({doubts.judged:,} rows judged)."
        yield Finding("swapped_labels", "good", text, 0, "co-occurrence")


def duplicated_faces(evidence: Evidence) -> Iterable[Finding]:
    """Report photographs or persons that occur under several identities."""
    samples, pixels = evidence.samples, evidence.pixels
    if pixels is None:
        return
    read = np.flatnonzero(pixels.onset_hash)
    groups = shared_by(samples.template, samples.identity)
    groups += shared_by(
        pixels.onset_hash[read].tolist(), [samples.identity[row] for row in read.tolist()]
    )
    groups += [list(pair) for pair in same_pictures(samples, pixels)]
    known = {tuple(group) for group in groups}
    names = sorted(known)
    people = {name for group in names for name in group}
    if people:
        text = (
            f"{len(people):,} of {len(evidence.faces.samples_of):,} identities share a face with "
            f"another one (duplicated faces): the same photograph stands under several names, so a "
            "split by identity leaks."
        )
        examples = tuple(" = ".join(group) for group in names[:5])
        yield Finding("duplicated_faces", "fault", text, len(people), "faces", examples)
    else:
        text = (
            f"No photograph stands under two of the {len(evidence.faces.samples_of):,} identities."
        )
        yield Finding("duplicated_faces", "good", text, 0, "faces")
    near = alike_faces(evidence.faces, _SAME_PERSON_DISTANCE)
    alike = [pair for pair in near if pair[:2] not in known]
    if alike:
        text = (
            f"{len(alike):,} pairs of identities look like one person (distance of their "
            f"embeddings below {_SAME_PERSON_DISTANCE})."
        )
        examples = tuple(f"{a} = {b} ({gap:.2f})" for a, b, gap in alike[:5])
        yield Finding("alike_faces", "warning", text, len(alike), "faces", examples)


def _foreign_faces(evidence: Evidence) -> Iterable[Finding]:
    """Report frames that show another person than the sample or its template."""
    samples, pixels = evidence.samples, evidence.pixels
    if pixels is None or not pixels.decoded.any():
        return
    between, alone = foreign_frames(samples, pixels)
    rows = np.union1d(between, alone)
    looked = int(pixels.decoded.sum())
    if not rows.size:
        text = f"Onset and apex show one person in all {looked:,} samples that were looked at."
        yield Finding("foreign_frames", "good", text, 0, "samples")
        return
    text = (
        f"{rows.size:,} of {looked:,} samples show frames of another identity: in {len(between):,} "
        f"the apex is another face than the onset, in {len(alone):,} the onset differs from the "
        "others of its template."
    )
    yield Finding("foreign_frames", "fault", text, rows.size, "samples", _names(samples, rows))


def _unreadable_frames(evidence: Evidence) -> Iterable[Finding]:
    """Report frames that cannot be decoded."""
    if evidence.pixels is None or not evidence.pixels.unreadable:
        return
    rows = np.array(evidence.pixels.unreadable)
    text = f"{rows.size:,} samples have frames that cannot be decoded or differ in size."
    names = _names(evidence.samples, rows)
    yield Finding("_unreadable_frames", "fault", text, rows.size, "samples", names)


def _too_frequent_aus(evidence: Evidence) -> Iterable[Finding]:
    """Report AUs that are much more frequent than in any real database, with the class."""
    constant = set(always_on(evidence))
    found = []
    for au, name in enumerate(AU_NAMES):
        most, where = _most_real(evidence.real, au)
        if au in constant or np.isnan(most):
            continue
        shares = [
            (float(group.share[au]), group.emotion)
            for (source, emotion), group in evidence.groups.items()
            if source == ALL and emotion != ALL and group.samples >= _LEAST_SAMPLES
        ]
        overall = float(evidence.groups[ALL, ALL].share[au])
        likely = _share_in_real_classes(evidence, au, overall)
        share, emotion = max(shares, default=(overall, ALL))
        if not (likely > OVERSHOOT_FACTOR * most and likely - most > OVERSHOOT_SHARE):
            continue
        least = min(s for s in (real.shares[au] for real in evidence.real) if s is not None)
        real = f"{_share(most)} of the real clips of {where}"
        if least < most:
            real = f"{_share(least)} to {_share(most)} of real clips (most in {where})"
        whole = "" if emotion == ALL else f" ({_share(overall)} of all)"
        text = f"{name} is active in {_share(share)} of {emotion} samples{whole}, in {real}."
        found.append((likely - most, Finding("too_frequent", "warning", text, share, "aus")))
    yield from (finding for _, finding in sorted(found, key=lambda one: -one[0]))


def _share_in_real_classes(evidence: Evidence, au: int, overall: float) -> float:
    """Return the share of an AU if the classes were as frequent as in MEGC2019.

    In a dataset with equally frequent classes, AU12 is more frequent than in real databases, where
    few clips are positive, whatever a sample looks like.

    Returns:
        The share, 0 to 1; that of all samples if the classes are not the three of MEGC2019.
    """
    shares = {
        emotion: float(group.share[au])
        for (source, emotion), group in evidence.groups.items()
        if source == ALL and emotion != ALL
    }
    if set(shares) != set(_MEGC2019_CLASSES):
        return overall
    clips = sum(_MEGC2019_CLASSES.values())
    return sum(shares[name] * count / clips for name, count in _MEGC2019_CLASSES.items())


def _too_many_aus(evidence: Evidence) -> Iterable[Finding]:
    """Warn if samples have more active AUs than real micro-expressions."""
    mean, (low, high) = evidence.groups[ALL, ALL].mean_active, REAL_AUS_PER_CLIP
    text = (
        f"{mean:.2f} AUs are active at a time on the average, in real micro-expressions "
        f"{low:.2f} to {high:.2f}"
    )
    if mean > _CARDINALITY_FACTOR * high:
        yield Finding("cardinality", "warning", f"{text}: too many.", mean, "cardinality")
    elif mean < low / _CARDINALITY_FACTOR:
        yield Finding("cardinality", "warning", f"{text}: too few.", mean, "cardinality")
    else:
        yield Finding("cardinality", "good", f"{text}.", mean, "cardinality")


def _repeated_aus(evidence: Evidence) -> Iterable[Finding]:
    """Report AU vectors that several samples share."""
    count, total = evidence.coverage.duplicates, len(evidence.samples)
    if not count:
        return
    severity: Severity = "warning" if count / total > _REPEATED_SHARE else "note"
    text = (
        f"{count:,} samples ({_share(count / total)}) repeat the AUs of another one; the most "
        f"frequent pair of AU vectors occurs {evidence.coverage.most_repeated:,} times."
    )
    yield Finding("_repeated_aus", severity, text, count, "coverage")


def _missing_aus(evidence: Evidence) -> Iterable[Finding]:
    """Report AUs that were not measured."""
    group = evidence.groups[ALL, ALL]
    absent = {
        name: int(group.samples - group.measured[au])
        for au, name in enumerate(AU_NAMES)
        if group.measured[au] < group.samples
    }
    if absent:
        worst = ", ".join(f"{name} in {count:,}" for name, count in list(absent.items())[:6])
        text = f"{len(absent)} AUs are not measured everywhere ({worst}); they enter no mean there."
        yield Finding("_missing_aus", "note", text, sum(absent.values()), "aus", tuple(absent))


def _unbalanced_classes(evidence: Evidence) -> Iterable[Finding]:
    """Warn of classes of very different size."""
    counts = {
        emotion: group.samples
        for (source, emotion), group in evidence.groups.items()
        if source == ALL and emotion != ALL
    }
    if len(counts) > 1 and max(counts.values()) > _IMBALANCE * min(counts.values()):
        most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        ratio = counts[most] / counts[least]
        text = (
            f"{most} has {ratio:.1f} times the samples of {least} ({counts[most]:,} and "
            f"{counts[least]:,}); weigh or resample them."
        )
        yield Finding("imbalance", "note", text, ratio, "counts")


def _too_strong(evidence: Evidence) -> Iterable[Finding]:
    """Warn of intensities above the range of the generator."""
    if evidence.samples.dataset is None:
        return
    limit = evidence.samples.dataset.manifest["inputs"]["generator"].get("max_intensity")
    above = np.nan_to_num(evidence.samples.apex).max(axis=1) > (limit or np.inf)
    if above.any():
        count = int(above.sum())
        text = (
            f"{count:,} samples ask for an intensity above {limit}, up to which the generator is "
            "believable."
        )
        yield Finding(
            "_too_strong",
            "warning",
            text,
            count,
            "intensity",
            _names(evidence.samples, np.flatnonzero(above)),
        )


def _lost_identity(evidence: Evidence) -> Iterable[Finding]:
    """Warn of apex frames in which the identity of the template is lost."""
    values = evidence.samples.measures.get("identity_similarity")
    if values is None or np.isnan(values).all():
        return
    low = np.flatnonzero(np.nan_to_num(values, nan=1.0) < _LOST_IDENTITY)
    measured = int((~np.isnan(values)).sum())
    if low.size:
        text = (
            f"{low.size:,} of {measured:,} measured samples lose the identity (cosine below "
            f"{_LOST_IDENTITY})."
        )
        yield Finding(
            "_lost_identity", "warning", text, low.size, "identity", _names(evidence.samples, low)
        )
    else:
        least = float(np.nanmin(values))
        text = (
            f"The identity is kept in all {measured:,} samples in which it was measured (least "
            f"cosine {least:.3f})."
        )
        yield Finding("_lost_identity", "good", text, least, "identity")


CHECKS: tuple[Callable[[Evidence], Iterable[Finding]], ...] = (
    null_pairs,
    swapped_labels,
    constant_aus,
    duplicated_faces,
    _foreign_faces,
    _unreadable_frames,
    _too_many_aus,
    _too_frequent_aus,
    _too_strong,
    _lost_identity,
    expressive_onsets,
    _repeated_aus,
    _unbalanced_classes,
    _missing_aus,
    only_a_part,
)
"""Every check, in the order in which equally severe findings are told."""


def _most_real(real: Sequence[RealDatabase], au: int) -> tuple[float, str]:
    counted = [(r.shares[au], r.name) for r in real]
    known = [(share, name) for share, name in counted if share is not None]
    return max(known, default=(float("nan"), "not counted"))


def _names(samples: Samples, rows: NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(samples.sample_id[row] for row in rows[:5].tolist())


def _share(share: float) -> str:
    if np.isnan(share):
        return "an unknown share"
    return "less than 0.1 %" if 0 < share < 0.001 else percent(share)
