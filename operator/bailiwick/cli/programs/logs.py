"""Logs: JSON lines for machines, plain lines on a terminal; each says what was being reconciled."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import IO, Literal

import orjson

from bailiwick.control.queue import CURRENT

Format = Literal["auto", "json", "text"]

_QUIET = {"kopf": logging.WARNING, "aiohttp": logging.WARNING, "asyncio": logging.WARNING}
"""Others' loggers, which say at info level what is nobody's concern."""


def set_up_logging(*, level: str = "INFO", style: Format = "auto", stream: IO[str] | None = None) -> None:
    """Send all logs to ``stream`` (absent: standard error). ``auto`` is text on a terminal and JSON elsewhere.

    Raises ValueError for a level that is none.
    """
    target = stream or sys.stderr
    text = style == "text" or (style == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextLines() if text else JsonLines())
    handler.addFilter(_add_item)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))


class JsonLines(logging.Formatter):
    """One object per line: time, level, logger, loop and key when something is reconciled, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            **_item(record),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextLines(logging.Formatter):
    """For people: time, level, what is reconciled, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and after it the traceback of an error."""
        item = _item(record)
        about = f" [{item['loop']} {item['key']}]" if item else ""
        line = f"{_time(record)[11:23]} {record.levelname:7}{about} {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def shown_key(key: object) -> str:
    """A key as people write it: ``namespace/name``, or the name alone."""
    if isinstance(key, tuple):
        return "/".join(str(part) for part in key if part != "")
    return str(key)


def _add_item(record: logging.LogRecord) -> bool:
    """Note the item in the context that logs: a handler may format elsewhere."""
    record.item = CURRENT.get()
    return True


def _item(record: logging.LogRecord) -> dict[str, str]:
    item = getattr(record, "item", None)
    return {"loop": item.loop, "key": shown_key(item.key)} if item else {}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
