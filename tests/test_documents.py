from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from costsim.documents import Document, load_document, parse_as, read_document
from costsim.errors import Problem, SpecError
from costsim.json_nodes import compose_json
from costsim.nodes import Node, compose
from costsim.quantities import Bytes, Ratio, Tokens, invalid
from strategies import json_values


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Linear(Spec):
    kind: Literal["linear"]
    width: PositiveInt


class Attention(Spec):
    kind: Literal["attention"]
    heads: PositiveInt
    window: int | None = None


class Training(Spec):
    tokens: Tokens
    tp: int | list[int] = 1
    memory: Bytes | None = None
    efficiency: Annotated[Ratio, Field(le=1)] = 1.0
    recompute: Literal["none", "selective", "full"] = "none"

    @field_validator("tp")
    @classmethod
    def _divides(cls, value: int | list[int]) -> int | list[int]:
        if value == 6:
            raise invalid("6 does not divide 96 heads", "use 1, 2, 3, 4 or 8")
        return value


class Plan(Spec):
    name: str
    training: Training
    parts: list[Annotated[Linear | Attention, Field(discriminator="kind")]] = []
    by_name: dict[str, Linear] = {}


def problems(text: str, *, json_syntax: bool = False) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        parse_as(read_document(text, "f", json_syntax=json_syntax), Plan)
    return list(caught.value.problems)


def only(text: str, *, json_syntax: bool = False) -> tuple[str, str | None]:
    (problem,) = problems(text, json_syntax=json_syntax)
    return f"{problem.location}: {problem.message}", problem.hint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e9", 1e9),
        ("1.0e9", 1e9),
        ("1.5E-3", 1.5e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("+5", 5),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        (".inf", float("inf")),
        ("80 GB", "80 GB"),
        ("-", [None]),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    read = read_document(f"- [x]\n- {text}\n" if text != "-" else "- [x]\n-\n  -\n").value[1]
    assert read == value
    assert type(read) is type(value)


@given(json_values)
def test_yaml_reads_json_as_json_does(value: Any) -> None:
    text = json.dumps({"value": value}, indent=1)
    assert (
        read_document(text).value == read_document(text, json_syntax=True).value == json.loads(text)
    )


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(child, (*path, step))


def _marks(node: yaml.Node, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[int, int]]]:
    yield path, (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            yield from _marks(child, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _marks(child, (*path, index))


@given(json_values)
def test_every_path_is_where_pyyaml_composes_it(value: Any) -> None:
    text = json.dumps({"value": value}, indent=1)
    marks = dict(_marks(yaml.compose(text, Loader=yaml.SafeLoader)))
    for json_syntax in (False, True):
        document = read_document(text, json_syntax=json_syntax)
        for path in _paths(document.value):
            place = document.locate(path)
            assert (place.line, place.column) == marks[path]


def test_a_key_has_its_own_place_and_an_absent_path_its_parents() -> None:
    document = read_document("a:\n  b: {c: 1}\n", "f")
    assert str(document.locate(("a", "b", "c"))) == "f:2:10"
    assert str(document.locate(("a", "b", "c"), key=True)) == "f:2:7"
    assert str(document.locate(("a", "b", "missing"))) == "f:2:6"
    assert str(Document({"a": 1}, "<dict>").locate(("a",))) == "<dict>"


def test_values_set_from_outside_are_located_there() -> None:
    document = read_document("name: x\ntraining: {tokens: 1}\n", "f")
    changed = document.with_value(["training", "tp"], "many", "--set training.tp=many")
    changed = changed.with_value(["by_name", "first"], {"kind": "linear"}, "--set by_name.first")
    assert document.value == {"name": "x", "training": {"tokens": 1}}
    with pytest.raises(SpecError) as caught:
        parse_as(changed, Plan)
    second, first = caught.value.problems
    assert str(first).startswith("--set by_name.first: missing `by_name.first.width`")
    assert str(second).startswith("--set training.tp=many: `training.tp`: must be a valid integer")
    with pytest.raises(SpecError, match="leads into a value"):
        document.with_value(["name", "first"], 1, "--set")
    with pytest.raises(SpecError, match="leads into a value"):
        document.with_value(["training", "tokens", "first", "second"], 1, "--set")


def test_a_right_document_becomes_the_model() -> None:
    text = """
name: gpt3
training: {tokens: 300 B tokens, tp: [1, 2], memory: 80 GB, efficiency: 90 %}
parts: [{kind: linear, width: 3}]
"""
    plan = parse_as(read_document(text), Plan)
    assert plan.training.tokens == 300e9
    assert plan.training.memory == 80e9
    assert plan.training.efficiency == 0.9
    assert plan.parts == [Linear(kind="linear", width=3)]


def test_all_problems_at_once_each_in_its_place() -> None:
    text = """\
name: gpt3
training:
  tokns: 300 B tokens
  tp: 6
  memory: 80
  recompute: ful
  efficiency: 90
parts:
  - {kind: linear, width: -3}
  - {kind: attention, heds: 3}
  - {kind: attenton, heads: 3}
  - {heads: 3}
  - kind: attention
    heads: many
    windw: 3
by_name:
  first: {kind: linear, width: 1, with: 2}
naem: x
"""
    assert [str(problem) for problem in problems(text)] == [
        "f:3:3: unknown key `training.tokns`\nhint: did you mean `tokens`?",
        "f:4:7: `training.tp`: 6 does not divide 96 heads\nhint: use 1, 2, 3, 4 or 8",
        "f:5:11: `training.memory`: `80` has no unit\nhint: write `80 GB` or `64 GiB`",
        "f:6:14: `training.recompute`: `ful` is none of `none`, `selective`, `full`\n"
        "hint: did you mean `full`?",
        "f:7:15: `training.efficiency`: must be less than or equal to 1, is `90`"
        "\nhint: use 1 or less",
        "f:9:27: `parts[0].width`: must be greater than 0, is `-3`\nhint: use more than 0",
        "f:10:23: unknown key `parts[1].heds`\nhint: did you mean `heads`?",
        "f:11:5: `parts[2].kind`: `attenton` is none of `linear`, `attention`\n"
        "hint: did you mean `attention`?",
        "f:12:5: `parts[3]`: missing `kind`",
        "f:14:12: `parts[4].heads`: must be a valid integer, unable to parse string as an integer, "
        "is `many`\nhint: write a whole number, such as `2048`",
        "f:15:5: unknown key `parts[4].windw`\nhint: did you mean `window` or `kind`?",
        "f:17:35: unknown key `by_name.first.with`\nhint: did you mean `width`?",
        "f:18:1: unknown key `naem`\nhint: did you mean `name` or `by_name`?",
    ]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "f:1:1: is empty", "`costsim init` writes a scenario to start from"),
        ("  \n\n", "f:1:1: is empty", "`costsim init` writes a scenario to start from"),
        ("# nothing yet\n", "f: holds only comments", None),
        ("[]", "f:1:1: must be a mapping of keys to values, is a list", None),
        ("~", "f:1:1: must be a mapping of keys to values, is empty", None),
        ("a: 1\nb: 2\na: 3\n", "f:3:1: duplicate key `a`", "it stands on line 1 already"),
        ("a: [1\nb: 2\n", "f:2:2: not valid YAML: did not find expected ',' or ']' while parsing"
         " a flow sequence that begins on line 1",
         "close the bracket, or put a comma before the next value"),
        ("a: b: c", "f:1:5: not valid YAML: mapping values are not allowed in this context",
         "put text that contains `: ` in quotes"),
        ("\ta: 1", "f:1:1: not valid YAML: found character that cannot start any token while"
         " scanning for the next token", "indent with spaces, not tabs"),
        ("a: 1\nb: \x00", "f:2:4: not valid YAML: holds a control character", None),
        ("a: 1\n---\nb: 2", "f:2:1: a second document begins", "keep one document a file"),
        ("a: !!python/name:os.system x", "f:1:4: the tag `tag:yaml.org,2002:python/name:os.system`"
         " is not supported", None),
        ("a: *b", "f:1:4: no `&b` stands before `*b`", None),
        ("a: &b [*b]", "f:1:8: `*b` stands inside its own definition", None),
        ("[a]: 1", "f:1:1: a key must be a word or a whole number", None),
        ("- " * 100_000, "f:1:131: is nested more than 64 levels deep", None),
    ],
)  # fmt: skip
def test_bad_yaml_is_one_clear_error(text: str, message: str, hint: str | None) -> None:
    assert only(text) == (message, hint)


def test_too_many_brackets_are_one_clear_error() -> None:
    """At the first bracket too many, or from libyaml 0.2.6 on where its own limit stops it."""
    message, hint = only("[" * 100_000)
    assert message.split(": ", 1)[1] == "is nested more than 64 levels deep"
    assert message.split(": ")[0] in ("f:1:66", "f:1:1001")
    assert hint is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a" 1}', "f:1:6: not valid JSON: expecting ':' delimiter"),
        ('{"name": "x",\n "training": {"tokens": 1, "memory": 5}}',
         "f:2:38: `training.memory`: `5` has no unit"),
        ('{"a": 1,\n "a": 2}', "f:2:2: duplicate key `a`"),
        ('{"a": "\\ud83d\\ude00", "a": 2}', "f:1:23: duplicate key `a`"),
        ('{"a":' * 100_000, "f:1:4501: not valid JSON: nested too deep"),
        ('{"a": ' + "9" * 10_000 + "}", "f:1:7: not valid JSON: a number of too many digits"),
    ],
)  # fmt: skip
def test_bad_json_is_one_clear_error(text: str, message: str) -> None:
    assert only(text, json_syntax=True)[0] == message


def test_duplicates_are_reported_together() -> None:
    assert [str(p.location) for p in problems("a: 1\nb: {c: 1, c: 2}\na: 3\n")] == [
        "f:2:11",
        "f:3:1",
    ]


def test_aliases_share_their_value() -> None:
    assert read_document("a: &x [1]\nb: *x").value == {"a": [1], "b": [1]}


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 30):
        aliases = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    assert "too large once its aliases are expanded" in only("\n".join(lines))[0]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def failure(path: Path) -> str:
        with pytest.raises(SpecError) as caught:
            load_document(path)
        return str(caught.value).removeprefix(f"{tmp_path}").replace(str(tmp_path), "")

    (tmp_path / "scenario.yaml").write_text("a: 1")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    (tmp_path / "utf16.yaml").write_bytes("a: 1".encode("utf-16"))
    with (tmp_path / "large.yaml").open("wb") as handle:
        handle.truncate(50_000_000)
    assert failure(tmp_path) == ": is a directory, not a file"
    assert failure(tmp_path / "other" / "x.yaml") == "/other/x.yaml: no such file"
    missing = "/scenari.yaml: no such file\nhint: did you mean `/scenario.yaml`?"
    assert failure(tmp_path / "scenari.yaml") == missing
    assert failure(tmp_path / "latin.yaml") == "/latin.yaml:2:4: is not UTF-8 text"
    assert failure(tmp_path / "utf16.yaml") == "/utf16.yaml:1:1: is not UTF-8 text"
    large = "/large.yaml: is larger than 2 MB\nhint: a description takes kilobytes"
    assert failure(tmp_path / "large.yaml") == large


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: 2\r\n".encode())
    document = load_document(path)
    assert document.value == {"a": 1, "b": 2}
    assert document.locate(("a",)).column == 4


def test_schema_says_that_quantities_are_text() -> None:
    schema = Training.model_json_schema()["properties"]
    assert schema["tokens"]["type"] == ["string", "number"]
    assert schema["memory"]["anyOf"][0] == {"type": "string", "examples": ["80 GB", "64 GiB"]}


yaml_like = st.text(st.sampled_from("ab1e.: \n\t-[]{}&*!|>'\"#?%@,~\\\x00é\ud800😀"), max_size=40)


@given(yaml_like | st.text(max_size=40), st.booleans())
def test_any_text_is_a_document_or_one_clear_error(text: str, json_syntax: bool) -> None:
    try:
        document = read_document(text, "f", json_syntax=json_syntax)
        parse_as(document, Plan)
    except SpecError as error:
        places = [problem.location for problem in error.problems]
    else:
        places = [document.locate()]
    lines = text.count("\n") + text.count("\r") + 2
    assert all(place and place.file == "f" and place.line <= lines for place in places)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "{", "x, y: z", "é", "#"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON, st.sampled_from([None, 1, 4]))
def test_places_in_json_are_those_that_yaml_finds(value: Any, indent: int | None) -> None:
    """PyYAML's parser is the judge: JSON of this kind is YAML too."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)

    def same(one: Node, other: Node) -> None:
        assert (one.line, one.column) == (other.line, other.column)
        assert one.children.keys() == other.children.keys()
        for key, (line, column, child) in one.children.items():
            assert (line, column) == other.children[key][:2]
            same(child, other.children[key][2])

    same(compose_json(text, "f"), compose(text, "f"))


@pytest.mark.parametrize(
    "text", ['{"a": "\\ud800", "b": 1}', '{"a": ' + "[" * 80 + "]" * 80 + ', "b": 1}']
)
def test_places_are_known_of_json_that_yaml_cannot_read(text: str) -> None:
    document = read_document(text, "f", json_syntax=True)
    assert document.locate(("b",), key=True).column == text.index('"b"') + 1
