"""Server of one worker's vLLM: a script that the Python of vLLM's own environment runs.

vLLM and this package need different versions of the same libraries, so that this file imports
nothing of the package, and vLLM alone besides the standard library. It talks over the socket whose
file descriptor is its first argument; its second is the process that it serves. The socket has no
address, so that nobody else can reach it.

Both sides send JSON, one message a line. The first that comes in are the options of ``vllm.LLM``,
and ``ready`` answers them. Then:

* ``{"kind": "generate", "prompts", "max_new_tokens", "stop_ids", "adapter", "sampling"}`` is
  answered by ``{"kind": "tokens", "rows": [[row, tokens], ...]}`` after each step, with the tokens
  that it added, and by ``{"kind": "done"}``. Meanwhile ``{"kind": "abort", "rows": [...]}`` ends
  rows.
* ``{"kind": "probe", "prompt", "adapter"}`` by ``{"kind": "probed", "base", "adapted"}``: the
  log-probabilities of the likeliest next tokens, without and with the adapter.
* ``{"kind": "sleep"}`` and ``{"kind": "wake"}`` by ``{"kind": "done"}``.

What goes wrong is answered by ``{"kind": "error", "reason", "has_ended"}``, and ends the server
unless it was the adapter. It also ends where the socket is closed, and with the process that it
serves: by SIGKILL too, and in the middle of a step.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import select
import signal
import socket
import sys
from typing import Any

NUM_PROBED = 20
"""Likeliest next tokens of a probe; the most that vLLM gives unless it is told otherwise."""
_SET_PARENT_DEATH_SIGNAL = 1
"""Of prctl(2)."""


class Socket:
    """Lines of JSON over a connected socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._received = b""

    def send(self, kind: str, **content: Any) -> None:
        """Send a message."""
        self._socket.sendall(json.dumps({"kind": kind, **content}).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Return the next message; None where the other side is gone."""
        while b"\n" not in self._received:
            more = self._socket.recv(1 << 20)
            if not more:
                return None
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def has_more(self) -> bool:
        """Return True where `receive` would not wait."""
        return b"\n" in self._received or bool(select.select([self._socket], [], [], 0)[0])


class AdapterError(Exception):
    """vLLM does not take an adapter."""


class Server:
    """vLLM's engine behind a socket."""

    def __init__(self, connection: Socket, options: dict[str, Any]) -> None:
        from vllm import LLM

        self._connection = connection
        self._engine = LLM(**options).llm_engine
        self._numbers = itertools.count(1)

    def answer(self, request: dict[str, Any]) -> None:
        """Answer one message."""
        kind = request.pop("kind")
        if kind == "generate":
            self._generate(**request)
        elif kind == "probe":
            found = self._probe(request["prompt"], request["adapter"])
            self._connection.send("probed", **found)
        elif kind == "sleep":
            self._engine.sleep(level=1)
            self._connection.send("done")
        elif kind == "wake":
            self._engine.wake_up()
            self._connection.send("done")
        # Rows that are ended when all have ended by themselves.
        elif kind != "abort":
            raise ValueError(f"no such message: {kind}")

    def _generate(
        self,
        prompts: list[list[int]],
        max_new_tokens: int,
        stop_ids: list[int],
        adapter: str | None,
        sampling: dict[str, Any] | None,
    ) -> None:
        loaded = self._load(adapter)
        rows: dict[str, int] = {}
        for row, prompt in enumerate(prompts):
            drawn: dict[str, Any] = {"temperature": 0.0}
            if sampling is not None:
                drawn = {**sampling["options"], "seed": sampling["seeds"][row]}
            self._add(str(row), prompt, loaded, max_tokens=max_new_tokens, stop=stop_ids, **drawn)
            rows[str(row)] = row
        while self._engine.has_unfinished_requests():
            added = [
                [rows[output.request_id], list(output.outputs[0].token_ids)]
                for output in self._engine.step()
            ]
            self._connection.send("tokens", rows=added)
            while self._connection.has_more():
                message = self._connection.receive()
                if message is None:
                    raise SystemExit(0)
                self._engine.abort_request([str(row) for row in message["rows"]])
        self._unload(loaded)
        self._connection.send("done")

    def _probe(self, prompt: list[int], adapter: str) -> dict[str, list[list[float]]]:
        loaded = self._load(adapter)
        found = {}
        for name, request in (("base", None), ("adapted", loaded)):
            self._add(
                name, prompt, request, max_tokens=1, stop=[], temperature=0.0, logprobs=NUM_PROBED
            )
            outputs = []
            while self._engine.has_unfinished_requests():
                outputs += self._engine.step()
            likely = outputs[-1].outputs[0].logprobs[0]
            found[name] = [[token, one.logprob] for token, one in likely.items()]
        self._unload(loaded)
        return found

    def _add(
        self, name: str, prompt: list[int], loaded: Any, *, stop: list[int], **options: Any
    ) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._engine.add_request(
            name,
            {"prompt_token_ids": prompt},
            # Its EOS are among those that end a response; those of the model's files are not asked.
            SamplingParams(
                **options,
                stop_token_ids=stop,
                ignore_eos=True,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            ),
            lora_request=loaded,
        )

    def _load(self, adapter: str | None) -> Any:
        """Return vLLM's handle of an adapter that it has loaded.

        Raises:
            AdapterError: vLLM does not take it.
        """
        if adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        # A number of its own: what vLLM keeps of an earlier adapter goes by the number and name.
        number = next(self._numbers)
        request = LoRARequest(f"adapter-{number}", number, adapter)
        try:
            self._engine.add_lora(request)
        except Exception as error:
            raise AdapterError(f"vLLM does not load the adapter: {_text(error)}") from error
        return request

    def _unload(self, loaded: Any) -> None:
        if loaded is not None:
            self._engine.remove_lora(loaded.lora_int_id)


def _text(error: BaseException) -> str:
    """Return an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def end_with(parent: int) -> None:
    """Have the kernel end this process when the one that started it ends, however it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the process that started the server has ended")


def main(descriptor: int, parent: int) -> None:
    """Serve until the other side is gone."""
    end_with(parent)
    connection = Socket(descriptor)
    options = connection.receive()
    if options is None:
        return
    try:
        server = Server(connection, options["options"])
        connection.send("ready")
        while (request := connection.receive()) is not None:
            try:
                server.answer(request)
            except AdapterError as error:
                connection.send("error", reason=str(error), has_ended=False)
    except Exception as error:
        connection.send("error", reason=f"vLLM failed: {_text(error)}", has_ended=True)
        raise


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
