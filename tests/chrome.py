"""A headless Chromium that is driven through its DevTools protocol: pages, keys, pictures."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Coroutine

START_LIMIT_S = 90
PATIENCE_S = 60
KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Space": (32, " "),
    "Escape": (27, ""),
}
"""Key code and text of the keys that tests press."""


class Tab:
    """One page of one browser; a context manager that ends it.

    Attributes:
        complaints: What the page or the browser complained of: errors, refused loads, exceptions.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._last_id = 0

    def __enter__(self) -> Self:
        program = find_program("chromium")
        assert program is not None, "tests that need it are skipped without it"
        self._profile = Path(tempfile.mkdtemp(prefix="chrome-"))
        self._process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
                f"--user-data-dir={self._profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._loop = asyncio.new_event_loop()
        self._run(self._connect())
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(Exception):
            self._run(self._session.close())
        self._loop.close()
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._profile, ignore_errors=True)

    async def _connect(self) -> None:
        file = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + START_LIMIT_S
        while not file.is_file() or "\n" not in file.read_text():
            assert self._process.poll() is None, "Chromium has ended"
            assert time.monotonic() < deadline, "Chromium did not start"
            await asyncio.sleep(0.2)
        port = file.read_text().split("\n")[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            [page] = [one for one in await answer.json() if one["type"] == "page"]
        self._socket = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, START_LIMIT_S))

    def send(self, method: str, **given: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        return self._run(self._send(method, given))  # type: ignore[no-any-return]

    async def _send(self, method: str, given: dict[str, Any]) -> Any:
        self._last_id += 1
        own = self._last_id
        await self._socket.send_str(json.dumps({"id": own, "method": method, "params": given}))
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get("id") == own:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        given = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(given["exceptionDetails"])[:500])
        elif message.get("method") == "Log.entryAdded":
            entry = given["entry"]
            if entry["level"] in ("warning", "error"):
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    def look(
        self, width: int, height: int, *, is_phone: bool = False, is_dark: bool = False
    ) -> None:
        """Have a screen of this size, in CSS pixels, and a light or dark mode."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if is_phone else 1,
            mobile=is_phone,
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=is_phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is there."""
        self.send("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """Return what an expression is on the page."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, (expression, answer)
        return answer["result"].get("value")

    def until(self, expression: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until an expression holds on the page; an element does where there is one."""
        deadline = time.monotonic() + patience_s
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < deadline, (expression, self.value("document.body.innerText"))
            time.sleep(0.1)

    def press(self, key: str, times: int = 1, *, shift: bool = False) -> None:
        """Press a key."""
        code, text = KEYS[key]
        name = " " if key == "Space" else key
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.send(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=name,
                    code=key,
                    windowsVirtualKeyCode=code,
                    modifiers=8 if shift else 0,
                    **({"text": text} if text and kind == "keyDown" else {}),
                )

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, where it must be seen."""
        place = self.value(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); "
            "one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=place[0],
                y=place[1],
                button="left",
                clickCount=1,
            )

    def point_away(self) -> None:
        """Leave the mouse where there is nothing."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)

    def picture(self, path: Path, *, is_whole: bool = True) -> None:
        """Save a picture of the page."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=is_whole)
        path.write_bytes(base64.b64decode(found["data"]))
