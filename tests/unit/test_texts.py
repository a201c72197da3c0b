"""The texts of another shop come from files, which are checked at the start."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mirt.llm import prompts
from mirt.settings import DatabaseSettings, Settings, SettingsError, load_settings
from mirt.texts import OUR_TEXTS, read_text_file, read_texts

SHOP = Path(__file__).parents[2] / "docs/shop"

Refused = Callable[..., list[str]]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Start with a file of this content; return the lines that the start ends with."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def start(content: str | bytes, *, variable: str = "TEXTS_FILE", **others: str) -> list[str]:
        file = tmp_path / "file"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        for name, value in {variable: str(file), **others}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as refusal:
            load_settings(env_file=None)
        return str(refusal.value).splitlines()

    return start


def test_the_examples_are_our_own_texts() -> None:
    ours = replace(OUR_TEXTS, summary_prompt=prompts.SUMMARY)
    assert read_texts(SHOP / "texts.toml") == ours
    written = read_text_file(SHOP / "prompt.txt")
    assert written == f"{prompts.ANSWER}\n", "run: python docs/configuration.py"


def test_a_text_that_is_left_out_stays_ours(tmp_path: Path) -> None:
    file = tmp_path / "texts.toml"
    file.write_text('greeting = "Hello!"\n[order_fields]\nphone = "phone number"\n')
    texts = read_texts(file)
    assert texts.greeting == "Hello!"
    assert texts.apology == OUR_TEXTS.apology
    assert texts.missing_from_order(["customer.phone", "customer.city"]) == (
        "Щоб оформити замовлення, уточніть, будь ласка: phone number, місто."
    )


def test_every_mistake_has_a_line(refused: Refused) -> None:
    lines = refused(
        """
        greating = "Hello"
        apology = " "
        order_taken = 5
        ask_for_order = "What is missing?"
        followups = ["One", "One", ""]
        [order_fields]
        telephone = "phone"
        city = false
        """
    )
    assert lines == [
        "TEXTS_FILE: greating: there is no such text; perhaps greeting",
        "TEXTS_FILE: apology: it must be a text, and not blank",
        "TEXTS_FILE: order_taken: it must be a text, and not blank",
        "TEXTS_FILE: followups, number 2: the same text stands there twice",
        "TEXTS_FILE: followups, number 3: it must be a text, and not blank",
        "TEXTS_FILE: order_fields.telephone: an order has no such field; perhaps phone",
        "TEXTS_FILE: order_fields.city: it must be a text, and not blank",
        "TEXTS_FILE: ask_for_order: it must have {fields} in it, which is replaced",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("greeting = Hello", "it is not TOML: Invalid value (at line 1, column 12)"),
        ("followups = 'One'", "followups: it must be a list of texts, with at least one"),
        ("followups = []", "followups: it must be a list of texts, with at least one"),
        ("order_fields = 'phone'", "order_fields: it must be a table, [order_fields]"),
        (f"greeting = '{'x' * 9_000}'", "greeting: 9000 characters, at most 8000 are allowed"),
        ('greeting = "a\\u0000b"', "greeting: a NUL character cannot be sent"),
    ],
)
def test_a_mistake_is_named_with_its_place(refused: Refused, content: str, problem: str) -> None:
    assert refused(content) == [f"TEXTS_FILE: {problem}"]


@pytest.mark.parametrize("variable", ["TEXTS_FILE", "PROMPT_FILE"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"\xd0\x9f\xff", "it is not UTF-8 (byte 2)"), (b" \n", "it is blank")],
)
def test_a_file_that_is_no_text_is_refused(
    refused: Refused, variable: str, content: bytes, problem: str
) -> None:
    [line] = refused(content, variable=variable)
    assert line.startswith(f"{variable}: ")
    assert problem in line


@pytest.mark.parametrize("variable", ["TEXTS_FILE", "PROMPT_FILE"])
def test_a_file_that_does_not_exist_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match=f"^{variable}: .*missing: No such file"):
        load_settings(env_file=None)


def test_the_mistakes_of_both_files_are_named_at_once(refused: Refused, tmp_path: Path) -> None:
    lines = refused("greeting = ''", PROMPT_FILE=str(tmp_path / "missing"))
    assert [line.partition(":")[0] for line in lines] == ["PROMPT_FILE", "TEXTS_FILE"]


def test_there_is_a_text_for_each_followup(refused: Refused) -> None:
    [line] = refused('followups = ["One"]', FOLLOWUP_DELAYS_HOURS="24,72")
    assert line.startswith("FOLLOWUP_DELAYS_HOURS: at most 1 follow-ups")


def test_more_texts_allow_more_followups(tmp_path: Path) -> None:
    file = tmp_path / "texts.toml"
    file.write_text(f"followups = {[str(n) for n in range(7)]}")
    delays = "1,2,3,4,5,6,7"
    settings = Settings(_env_file=None, texts_file=file, followup_delays_hours=delays)
    assert len(settings.texts.followups) == 7


def test_the_texts_of_the_start_stay_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "texts.toml"
    file.write_text('greeting = "Hello!"')
    settings = Settings(_env_file=None, texts_file=file).model_copy(update={"log_level": "ERROR"})
    file.write_text("not TOML")
    assert settings.texts.greeting == "Hello!"


def test_a_command_that_only_looks_reads_no_texts(tmp_path: Path) -> None:
    DatabaseSettings(_env_file=None, texts_file=tmp_path / "missing")
