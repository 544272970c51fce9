import re
from dataclasses import fields
from pathlib import Path

import pytest

from cmo.dispatch.rules_file import read_rules
from cmo.errors import SettingsError
from cmo.policy.rules import Rule
from cmo.values import QuestionType

ENGINES = ("lightrag", "perplexity")
RULE = '[[rule]]\nname = "r"\nengine = "lightrag"\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(tmp_path: Path, text: str) -> str:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read_rules(path, engines=ENGINES)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_every_key_becomes_the_field_of_its_name(tmp_path: Path) -> None:
    text = """
        [[rule]]
        name = "everything"
        engine = "perplexity"
        min_characters = 10
        max_characters = 200
        min_words = 2
        max_words = 30
        types = ["method", "Value"]
        needs_fresh = true
        fresh_from = 0.8
        coverage_below = 0.5
        coverage_at_least = 0
        cohorts = ["Power_Users"]
        regions = ["europe", " other "]

        [[rule]]
        name = "short"
        engine = "lightrag"
        max_words = 3
    """
    assert read_rules(written(tmp_path, text), engines=ENGINES) == (
        Rule(
            name="everything",
            engine="perplexity",
            min_characters=10,
            max_characters=200,
            min_words=2,
            max_words=30,
            types=(QuestionType.METHOD, QuestionType.VALUE),
            needs_fresh=True,
            fresh_from=0.8,
            coverage_below=0.5,
            coverage_at_least=0.0,
            cohorts=("power_users",),
            regions=("europe", "other"),
        ),
        Rule(name="short", engine="lightrag", max_words=3),
    )


def test_the_page_about_routing_shows_rules_that_are_read_and_tells_every_key(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(read_rules(written(tmp_path, example), engines=ENGINES)) == 3
    assert [field.name for field in fields(Rule) if f"`{field.name}`" not in page] == []


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "\ufeff"])
def test_a_file_without_rules_means_no_rules(tmp_path: Path, text: str) -> None:
    assert read_rules(written(tmp_path, text), engines=ENGINES) == ()


def test_a_file_written_by_windows_notepad_is_read(tmp_path: Path) -> None:
    assert read_rules(written(tmp_path, f"\ufeff{RULE}max_words = 3\n".replace("\n", "\r\n")), engines=ENGINES)


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("min_words = 0", "a whole number from 1"),
        ("min_words = true", "a whole number from 1"),
        ("max_characters = 1.5", "a whole number from 1"),
        ('types = ["recipe"]', "a list of definition, mechanism, method, value, comparison, evidence, news, other"),
        ("types = []", "a list of definition"),
        ('types = "news"', "a list of definition"),
        ('needs_fresh = "yes"', "true or false"),
        ("coverage_below = 62", "a number from 0 to 1"),
        ("coverage_at_least = true", "a number from 0 to 1"),
        ("coverage_below = nan", "a number from 0 to 1"),
        ("cohorts = [1]", "a list of names"),
        ('regions = [""]', "a list of names"),
    ],
)
def test_a_wrong_value_is_told_with_rule_key_and_what_is_allowed(tmp_path: Path, line: str, allowed: str) -> None:
    message = complaint(tmp_path, f"{RULE}{line}\n")
    assert message.startswith(f'rule "r": "{line.split()[0]}" has a wrong value. Allowed: {allowed}')


def test_an_unknown_key_is_refused_with_the_keys_there_are(tmp_path: Path) -> None:
    message = complaint(tmp_path, f"{RULE}max_word = 3\n")
    assert message.startswith('rule "r": unknown key "max_word". Allowed: name, engine, min_characters,')


@pytest.mark.parametrize("name", ["", 'name = ""', 'name = "Two words"', "name = 3"])
def test_a_rule_without_a_good_name_is_told_by_its_number(tmp_path: Path, name: str) -> None:
    message = complaint(tmp_path, f'{RULE}max_words = 3\n[[rule]]\n{name}\nengine = "lightrag"\nmax_words = 3\n')
    assert message.startswith('rule 2: "name" is missing or wrong. Allowed: 1 to 40 small letters')


@pytest.mark.parametrize("engine", ["", 'engine = "google"', 'engine = ["lightrag"]'])
def test_an_engine_there_is_not_is_refused_with_those_there_are(tmp_path: Path, engine: str) -> None:
    message = complaint(tmp_path, f'[[rule]]\nname = "r"\n{engine}\nmax_words = 3\n')
    assert message == 'rule "r": "engine" is missing or wrong. Allowed: lightrag or perplexity.'


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    assert 'two rules are named "r"' in complaint(tmp_path, f"{RULE}max_words = 3\n{RULE}max_words = 4\n")


def test_a_rule_without_a_condition_is_refused(tmp_path: Path) -> None:
    assert 'rule "r": it has no condition' in complaint(tmp_path, RULE)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("min_words = 5\nmax_words = 4", "min_words"),
        ("min_characters = 5\nmax_characters = 4", "min_characters"),
        ("coverage_at_least = 0.4\ncoverage_below = 0.4", "coverage_at_least"),
        ("max_words = 4\nfresh_from = 0.7", "fresh_from"),
    ],
)
def test_conditions_that_make_no_sense_together_are_refused(tmp_path: Path, lines: str, named: str) -> None:
    assert complaint(tmp_path, f"{RULE}{lines}\n").startswith(f'rule "r": "{named}" ')


@pytest.mark.parametrize("text", ["[rule]\nname = 'r'\n", "rule = 3\n", "rule = [1]\n"])
def test_rules_of_a_wrong_form_are_refused(tmp_path: Path, text: str) -> None:
    assert "[[rule]] tables, with two brackets" in complaint(tmp_path, text)


def test_anything_but_rules_is_refused(tmp_path: Path) -> None:
    assert complaint(tmp_path, "rules = []\n") == 'unknown key "rules". Allowed: [[rule]] tables.'


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "line 2" in complaint(tmp_path, "[[rule]]\nname = \n")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_rules(path, engines=ENGINES)


def test_a_missing_file_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: the routing rules cannot be read"):
        read_rules(tmp_path / "absent.toml", engines=ENGINES)
