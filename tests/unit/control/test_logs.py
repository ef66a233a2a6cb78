"""Every line says what was being reconciled."""

from __future__ import annotations

import io
import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from bailiwick.cli.programs.logs import set_up_logging
from bailiwick.control.queue import CURRENT, Item

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    yield
    root.handlers[:] = kept
    root.setLevel(level)


@pytest.fixture
def item() -> Iterator[None]:
    token = CURRENT.set(Item("model", ("clinic", "chat")))
    yield
    CURRENT.reset(token)


@pytest.mark.usefixtures("item")
def test_machines_get_one_object_per_line() -> None:
    out = io.StringIO()
    set_up_logging(stream=out)
    logging.getLogger("bailiwick.x").warning("two\nlines of %s", "text")
    (line,) = out.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "warning",
        "logger": "bailiwick.x",
        "loop": "model",
        "key": "clinic/chat",
        "message": "two\nlines of text",
    }


def test_a_line_outside_of_a_reconcile_names_none() -> None:
    out = io.StringIO()
    set_up_logging(stream=out)
    logging.getLogger("bailiwick").info("started")
    assert json.loads(out.getvalue()).keys() == {"time", "level", "logger", "message"}


def test_an_error_carries_its_traceback() -> None:
    out = io.StringIO()
    set_up_logging(stream=out)
    try:
        os.environ["NO_SUCH_VARIABLE"]
    except KeyError:
        logging.getLogger("bailiwick").exception("unexpected")
    assert "KeyError: 'NO_SUCH_VARIABLE'" in json.loads(out.getvalue())["error"]


@pytest.mark.usefixtures("item")
def test_people_get_plain_lines() -> None:
    out = io.StringIO()
    set_up_logging(stream=out, style="text")
    logging.getLogger("bailiwick").info("placed")
    assert out.getvalue()[12:] == " INFO    [model clinic/chat] placed\n"


def test_a_terminal_gets_text() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    set_up_logging(stream=out)
    logging.getLogger("bailiwick").info("placed")
    assert out.getvalue()[12:] == " INFO    placed\n"


def test_keys_of_cluster_scoped_objects_are_their_name() -> None:
    out = io.StringIO()
    set_up_logging(stream=out)
    token = CURRENT.set(Item("territory", ("", "health")))
    logging.getLogger("bailiwick").info("x")
    CURRENT.set(Item("territory", "health"))
    logging.getLogger("bailiwick").info("x")
    CURRENT.reset(token)
    assert [json.loads(line)["key"] for line in out.getvalue().splitlines()] == ["health", "health"]


def test_others_speak_only_up() -> None:
    out = io.StringIO()
    set_up_logging(stream=out)
    logging.getLogger("kopf.objects").info("nothing that matters")
    logging.getLogger("kopf.objects").warning("something")
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["something"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown level: 'LOUD'"):
        set_up_logging(level="loud", stream=io.StringIO())
