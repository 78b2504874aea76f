"""Counts that rules read: one that a source does not have is none; one that there is not is a mistake."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.security import sequence_rules
from detectors.security.detector import PEAKED, WHOLE, SecurityDetector
from detectors.security.entity_features import COUNTS, EntityCounts, Feature, check_counts
from detectors.security.sequence_rules import TICKET, Bounds, Finding, Surroundings, find_sequences

NOBODY = EntityCounts.of_nobody()


def test_a_source_that_counts_requests_alone_is_judged_by_them():
    row = np.full((1, 1), 1e6)
    counts = EntityCounts(("requests",), row, row, np.ones(1), np.zeros(1, np.int64), 600_000, np.zeros(1))
    usual = Surroundings(lambda _: np.full(1, 0.02), 1)
    found = find_sequences(counts, lambda _: np.zeros(1), usual, Bounds())
    assert len(found) == 6
    assert not any(finding.hit.any() for finding in found)


def test_a_count_that_is_not_measured_is_told_from_one_that_there_is_not():
    assert NOBODY.of("failed_logins") is None
    with pytest.raises(ValueError, match=r"no count is called 'failed_login'; there are .*failed_logins"):
        NOBODY.of("failed_login")


@pytest.mark.parametrize("read", ["minute", "span", "peaks"])
def test_a_rule_that_misspells_a_count_fails_when_the_detector_is_made(monkeypatch, read):
    def misspelt(reader, *_):
        getattr(reader, read)("429s")

    monkeypatch.setattr(sequence_rules, "_rate_limit", misspelt)
    with pytest.raises(ValueError, match="no count is called '429s'"):
        SecurityDetector()


def test_features_and_findings_name_counts_that_there_are():
    with pytest.raises(ValueError, match="no count is called 'byte'"):
        Feature("bytes", ("byte",), lambda _: None)
    with pytest.raises(ValueError, match="no count is called 'byte'"):
        Finding("exfiltration", TICKET, np.zeros(0, np.bool_), np.zeros(0), ("byte",), str)
    check_counts((*WHOLE, *PEAKED, *COUNTS))
