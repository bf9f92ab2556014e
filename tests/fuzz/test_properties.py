"""Properties of readers that hold for any text or number (hypothesis, derandomized)."""

import re
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from miex.datasets.cells import decimal, whole_number
from miex.datasets.faces.base import SourceSpec
from miex.datasets.faces.emotionnet import image_names
from miex.datasets.paths import in_table, masked, plain_name, split_options


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_is_a_specification_or_refused(text):
    with suppress(ValueError):
        assert isinstance(SourceSpec.parse(text).name, str)
    assert [len(name.encode()) <= 255 for name in image_names([f"http://{text}"])] == [True]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_any_text_is_a_path_below_its_folder_or_refused(tmp_path_factory, text):
    root = tmp_path_factory.getbasetemp()
    try:
        found = in_table(root, text)
    except ValueError:
        return
    assert found is None or found.exists()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10**12))
def test_whole_numbers_survive_every_writing(number):
    for written in (number, float(number), str(number), f"{number}.0", f"{number},0"):
        assert whole_number(written) == str(number)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimal_comma_and_point_are_alike(number):
    assert decimal(repr(number)) == decimal(repr(number).replace(".", ",")) == number


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.from_regex(re.compile(r"[a-z_]{1,8}", re.ASCII), fullmatch=True),
        st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), max_size=12),
        min_size=1,
        max_size=4,
    )
)
def test_options_come_back_literally(options):
    text = "x?" + "&".join(f"{key}={value}" for key, value in options.items())
    assert split_options(text) == ("x", options)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=80))
def test_any_text_is_a_plain_name_or_refused(text):
    with suppress(ValueError):
        assert (tmp := plain_name(text, "x")) == text
        assert not {"/", "\\", "\0"} & set(tmp)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.from_regex(re.compile(r"[a-z]{2,8}", re.ASCII), fullmatch=True),
    st.from_regex(re.compile(r"[A-Za-z0-9:@!$*._-]{6,12}", re.ASCII), fullmatch=True),
)
def test_no_password_of_an_address_is_left(scheme, password):
    told = masked(f"no answer of {scheme}://me:{password}@host/path, try again")
    assert told == f"no answer of {scheme}://***@host/path, try again"
    assert masked(told) == told
