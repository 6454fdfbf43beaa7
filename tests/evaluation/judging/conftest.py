"""A judge's endpoint on this machine that does what a test scripts, and prompts to send it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from droplora_sweep.evaluation.judging.prompts import Conversation
from droplora_sweep.spec.evaluation import JudgeSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

KEY = "sk-secret-0123456789abcdef"

TURN_1 = "Rate it.\n\n[Question]\n{question}\n\n"
ANSWER = "[The Start of Assistant's Answer]\n{answer}\n[The End of Assistant's Answer]"
REFERENCE = "[The Start of Reference Answer]\n{ref_answer_1}\n[The End of Reference Answer]\n\n"
REFERENCES = (
    "<|The Start of Reference Answer|>\n\n### User:\n{question_1}\n\n### Reference answer:\n"
    "{ref_answer_1}\n\n### User:\n{question_2}\n\n### Reference answer:\n{ref_answer_2}\n\n"
    "<|The End of Reference Answer|>\n\n\n"
)
TURN_2 = (
    "<|The Start of Assistant A's Conversation with User|>\n\n### User:\n{question_1}\n\n"
    "### Assistant A:\n{answer_1}\n\n### User:\n{question_2}\n\n### Assistant A:\n{answer_2}\n\n"
    "<|The End of Assistant A's Conversation with User|>"
)
TEMPLATES = {
    "single-v1": TURN_1 + ANSWER,
    "single-math-v1": TURN_1 + REFERENCE + ANSWER,
    "single-v1-multi-turn": TURN_2,
    "single-math-v1-multi-turn": REFERENCES + TURN_2,
}


@dataclass
class Answer:
    """The endpoint's answer to one request.

    Attributes:
        content: The judge's reply, with status 200.
        status: HTTP status.
        body: The whole body, instead of one around ``content``.
        headers: Further headers.
        usage: The tokens it counts; None leaves them out.
        delay_s: Before anything is sent.
        trickle_s: Between any two bytes of the body.
        chunked: Sends the body in chunks of 7 bytes, without its length.
    """

    content: str | None = "Good.\n\nRating: [[7]]"
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    usage: dict[str, Any] | None = field(default_factory=lambda: {"total_tokens": 100})
    finish_reason: str = "stop"
    delay_s: float = 0.0
    trickle_s: float = 0.0
    chunked: bool = False

    def bytes(self) -> bytes:
        if self.body is not None:
            return self.body
        message = {"role": "assistant", "content": self.content}
        answer = {"choices": [{"message": message, "finish_reason": self.finish_reason}]}
        if self.usage is not None:
            answer["usage"] = self.usage
        return json.dumps(answer).encode()


class Endpoint:
    """Answers ``/v1/chat/completions``.

    ``script`` is a list whose last entry answers all further requests, or a function of the
    request's messages.
    """

    def __init__(self) -> None:
        self.script: Sequence[Answer] | Callable[[list[dict[str, str]]], Answer] = [Answer()]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.num_under_way = 0
        self.most_under_way = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                endpoint.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append(dict(handler.headers))
            self.paths.append(handler.path)
            self.num_under_way += 1
            self.most_under_way = max(self.most_under_way, self.num_under_way)
        if callable(self.script):
            answer = self.script(body["messages"])
        else:
            answer = self.script[min(number, len(self.script) - 1)]
        time.sleep(answer.delay_s)
        with self._lock:
            # Before it is sent: once the client has all of it, it may send the next.
            self.num_under_way -= 1
        data = answer.bytes()
        try:
            handler.send_response(answer.status)
            handler.send_header("Connection", "close")
            if answer.chunked:
                handler.send_header("Transfer-Encoding", "chunked")
            else:
                handler.send_header("Content-Length", str(len(data)))
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            if answer.trickle_s:
                for byte in data:
                    handler.wfile.write(bytes([byte]))
                    handler.wfile.flush()
                    time.sleep(answer.trickle_s)
            elif answer.chunked:
                for start in range(0, len(data), 7):
                    chunk = data[start : start + 7]
                    handler.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                handler.wfile.write(b"0\r\n\r\n")
            else:
                handler.wfile.write(data)
        except OSError:
            # The client did not wait.
            pass

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


def prompt_records() -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "system_prompt": "You are a judge.",
            "prompt_template": template,
            "output_format": "[[rating]]",
        }
        for name, template in TEMPLATES.items()
    ]


def write_lines(path: Path, records: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "judge_prompts.jsonl", prompt_records())


class MakeSpec(Protocol):
    def __call__(self, **fields: Any) -> JudgeSpec: ...


@pytest.fixture
def spec(endpoint: Endpoint, prompts: Path) -> MakeSpec:
    """Makes a spec of the endpoint that sends one request at a time."""

    def make(**fields: Any) -> JudgeSpec:
        return JudgeSpec.model_validate(
            {
                "url": endpoint.url,
                "model": "judge-1",
                "key_env": "JUDGE_KEY",
                "prompts": str(prompts),
                "timeout_s": 5.0,
                "max_concurrent": 1,
                **fields,
            }
        )

    return make


def conversation(question_id: int = 81, **fields: Any) -> Conversation:
    return Conversation(
        **{
            "question_id": question_id,
            "category": "writing",
            "turns": (f"Write about {question_id}.", "Make it shorter."),
            "answers": (f"A text about {question_id}.", "A text."),
            **fields,
        }
    )


@pytest.fixture(scope="session")
def mt_bench(benchmark_files: Path) -> Path:
    """MT-Bench's published files, where this machine has them."""
    return benchmark_files / "conversation" / "mt_bench"
