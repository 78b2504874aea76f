"""The derived column: one signature for each message, whatever its dictionary looks like."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.derive import log_signatures as module
from streams.derive.log_signatures import SignatureColumn, parameters
from streams.events.batch import Strings


def column(texts):
    """A column with an entry for each text, repeats and an unused one included."""
    codes = [index if text is not None else -1 for index, text in enumerate(texts)]
    return Strings(np.array(codes, np.int32), [text or "unused" for text in texts])


def values(strings):
    return [None if code < 0 else strings.values[code] for code in strings.codes.tolist()]


def test_messages_become_signatures_and_missing_stays_missing():
    derived = SignatureColumn().derive(column(["took 5 ms", None, "took 17 ms", "stopped"]))
    assert values(derived) == ["took <*>", None, "took <*>", "stopped"]
    assert len(set(derived.values)) == len(derived.values)


def test_an_empty_column_is_an_empty_column():
    assert len(SignatureColumn().derive(column([]))) == 0
    assert len(parameters(column([]), column([]))) == 0


@given(
    st.lists(st.one_of(st.none(), st.sampled_from(["a 1", "a 2", "b", "c x=1"])), max_size=12),
    st.integers(0, 12),
)
def test_batches_do_not_matter(texts, cut):
    whole = SignatureColumn()
    parts = SignatureColumn()
    joined = values(parts.derive(column(texts[:cut]))) + values(parts.derive(column(texts[cut:])))
    assert joined == values(whole.derive(column(texts)))


def test_examples_are_first_lines_and_bounded(monkeypatch):
    monkeypatch.setattr(module, "EXAMPLE_COUNT_MAX", 2)
    derive = SignatureColumn()
    derive.derive(column(["took 5 ms", "took 6 ms", "stopped", "started " + "x" * 1_000]))
    assert derive.examples == {"took <*>": "took 5 ms", "stopped": "stopped"}


def test_parameters_are_the_words_that_the_signature_lacks():
    messages = column(["mode off since 5", "mode off since 6", None, "stopped", "mode of host7"])
    found = parameters(messages, SignatureColumn().derive(messages))
    assert values(found) == ["5", "6", None, "", "host7"]
