"""YAML 1.2 is read as it says, with lines; whatever else a file holds is a mistake with its place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from deepdiva.config.yaml_reader import read_flow, read_path, read_scalar, read_text
from deepdiva.errors import UserError


def values(text: str) -> dict[str, object]:
    document = read_text(text, "run.yaml")
    assert document.problems == []
    return document.values


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read_text(text, "run.yaml").problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("3e4", 3e4), ("1.", 1.0), (".5", 0.5), ("-0.0", -0.0), ("+1.5E+3", 1500.0),
        (".inf", math.inf), ("-.INF", -math.inf),
        ("12", 12), ("-3", -3), ("+4", 4), ("007", 7), ("0o17", 15), ("0xFF", 255),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("off", "off"), ("on", "on"), ("yes", "yes"), ("12:30:00", "12:30:00"), ("1_000", "1_000"),
        ("2026-11-21", "2026-11-21"), ("1e", "1e"), ("e5", "e5"), ("<<", "<<"), ("=", "="), ("tRue", "tRue"),
    ],
)  # fmt: skip
def test_scalars_of_the_core_schema(text: str, value: object):
    read = values(f"x: {text}")["x"]
    assert read == value
    assert type(read) is type(value)
    assert read_scalar(text) == value


def test_not_a_number_is_a_number():
    assert math.isnan(values("x: .nan")["x"])  # type: ignore[arg-type]


def test_quoted_scalars_are_text():
    assert values("a: '1'\nb: \"true\"\nc: !!str 12\nd: !!float 1") == {"a": "1", "b": "true", "c": "12", "d": 1.0}


def test_nested_values_and_their_lines():
    document = read_text("optimizer:\n  lr: 0.1\naugment:\n  - class: Flip\n    p: 0.5\n  - Blur\n", "run.yaml")
    assert document.values == {"optimizer": {"lr": 0.1}, "augment": [{"class": "Flip", "p": 0.5}, "Blur"]}
    assert document.line("optimizer.lr") == 2
    assert document.line("augment.0.p") == 5
    assert document.line("augment.1") == 6
    assert document.line("optimizer.lr.deeper") == 2
    assert document.line("elsewhere") == 1


def test_anchors_stand_for_their_values():
    assert values("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(text: str):
    assert values(text) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3", "run.yaml:3: 'a' is given twice (first in line 1) (remove one of the two)"),
        ("g:\n  a: 1\n  a: 3", "run.yaml:3: 'g.a' is given twice (first in line 2) (remove one of the two)"),
        ("- a\n- b", "run.yaml:1: expected settings such as `epochs: 10`, got a list"),
        ("\nhello", "run.yaml:2: expected settings such as `epochs: 10`, got the single value 'hello'"),
        ("1: a", "run.yaml:1: a key must be text, got 1 (put it in quotation marks)"),
        ("[a]: b", "run.yaml:1: a key must be text, got a list (put it in quotation marks)"),
        ("a: &x [*x]", "run.yaml:1: an alias (`*name`) stands for the very value that holds it"),
        ("a: !!int x", "run.yaml:1: 'x' is not what its tag `!!int` says"),
    ],
)
def test_mistakes_have_their_line(text: str, complaint: str):
    assert problems(text) == [complaint]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.getcwd", "!custom", "!!timestamp", "!!binary"])
@pytest.mark.parametrize("value", ["[]", "{}", "x"])
def test_tags_that_make_objects_are_refused(tag: str, value: str):
    assert "is not allowed here" in problems(f"x: {tag} {value}")[0]


def test_all_mistakes_of_a_file_at_once():
    assert len(problems("a: 1\na: 2\n3: 4\nb: !x 1\n")) == 3


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\n  b: 2", "run.yaml:2: this is not valid YAML: mapping values are not allowed here"),
        ("a: [1, 2", "run.yaml:1: this is not valid YAML"),
        ("a:\n\tb: 1", "(indent with spaces, not tabs)"),
        ("a: 1\n---\nb: 2", "run.yaml:2: this is not valid YAML: but found another document"),
        ("a: 1\nb: \x00", "run.yaml:2: this is not valid YAML: special characters are not allowed"),
        ("a: " + "[" * 5000, "run.yaml:1: this is not valid YAML: it is nested too deeply"),
    ],
)
def test_broken_yaml_says_where(text: str, part: str):
    (complaint,) = problems(text)
    assert part in complaint


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no file .*nowhere\.yaml"):
        read_path(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match="cannot read"):
        read_path(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_path(tmp_path / "latin.yaml")


def test_a_byte_order_mark_is_skipped(tmp_path: Path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_path(tmp_path / "a.yaml").values == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2]", [1, 2]), ("{a: 1}", {"a": 1}), ("'1'", "1"), ("1e-3", 1e-3), ("a: b", "a: b"), ("#x", "#x"),
        ("*x", "*x"), ("C:\\data", "C:\\data"), ("[{class: Flip, p: .5}]", [{"class": "Flip", "p": 0.5}]),
    ],
)  # fmt: skip
def test_values_of_the_command_line(text: str, value: object):
    assert read_flow(text) == value


@pytest.mark.parametrize("text", ["[1, 2", "{a: 1", "'x", "[1]\nepochs: 3", "[1] 2"])
def test_unfinished_values_of_the_command_line(text: str):
    with pytest.raises(UserError):
        read_flow(text)


def test_limits_that_only_a_text_made_to_harm_reaches(tmp_path):
    assert not read_text("a: " + "[" * 40 + "]" * 40, "deep.yaml").problems
    for text, message in [
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("a: &a [" + "1, " * 1000 + "]\nb: [" + "*a, " * 1000 + "]", "longer than any settings"),
        ("a: &a ['" + "x" * 100_000 + "']\nb: [" + "*a, " * 100 + "]", "longer than any settings"),
    ]:
        (problem,) = read_text(text, "harm.yaml").problems
        assert message in problem.message
    (tmp_path / "huge.yaml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(UserError, match="has more than 1,048,576 bytes"):
        read_path(tmp_path / "huge.yaml")
