"""Somebody who tries to cross a border all the while that something is done to Bailiwick."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import httpx

from e2e.client import ApiError

if TYPE_CHECKING:
    from e2e.client import Client, Manifest

PAUSE_SECONDS = 0.05


class Trespasser:
    """As dry runs, a pod that must be refused, and one that must be taken: a border that refuses all is no border."""

    def __init__(self, client: Client, *, foreign: Manifest, welcome: Manifest) -> None:
        self.tried = 0
        self.crossed: list[str] = []
        """When the foreign pod was let in, each time."""
        self.otherwise: list[str] = []
        """Refusals of the foreign pod that do not say that it is foreign."""
        self.turned_away: list[str] = []
        """Refusals of the welcome pod."""
        self._client = client
        self._pods = (foreign, welcome)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        (foreign, welcome), begun = self._pods, time.monotonic()
        while not self._over.wait(PAUSE_SECONDS):
            said = self._try(foreign)
            self.crossed += [f"after {time.monotonic() - begun:.2f} s"] if said is None else []
            self.otherwise += [said] if said and "WrongPlace" not in said else []
            said = self._try(welcome)
            self.turned_away += [said] if said else []
            self.tried += 1

    def _try(self, pod: Manifest) -> str | None:
        """Why it was refused; None when it was let in."""
        try:
            self._client.create(pod, dry_run=True)
        except (ApiError, httpx.HTTPError) as error:
            return str(error) or repr(error)
        return None
