"""The other side of the page: a small web application for this machine alone.

It answers only to its own address, to pages from there, and to those who know the token in the address; every message
is checked, and what is wrong with it is one line with a 4xx status.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dmseg.baselines import ModelAdapter
from dmseg.click.answers import Answerer
from dmseg.click.messages import (
    describe_answer,
    describe_gallery,
    parse_prompts,
    parse_seconds,
    parse_view,
    run_lengths,
)
from dmseg.click.page import build_page
from dmseg.click.recording import Recorded, write_clicks
from dmseg.click.views import ImageGallery
from dmseg.errors import DmsegError, ModelError, UsageError
from dmseg.manifests import mask_id as make_mask_id
from dmseg.reading import parse_json

HOST = "127.0.0.1"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")
LONGEST_MESSAGE = 1 << 16
ALIAS = re.compile(r"[\w .@-]{0,40}")


class RequestGate:
    """Lets through what comes from the page: this machine's names as host, no other origin, the right token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refuse(Request(scope))
        await (refusal or self._app)(scope, receive, send)

    def _refuse(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if host.rpartition(":")[0] not in LOCAL_NAMES and host not in LOCAL_NAMES:
            return JSONResponse({"error": "this page answers to 127.0.0.1 and localhost only"}, 403)
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return JSONResponse({"error": "another page may not ask this one"}, 403)
        given = request.headers.get("x-token") or request.query_params.get("token", "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return JSONResponse({"error": "no token, or a wrong one: open the whole address that was printed"}, 403)
        return None


class Pages:
    """The routes, over one answerer; what is saved goes to ``out``."""

    def __init__(self, answerer: Answerer, out: Path, shown: Sequence[str]) -> None:
        self._answerer, self._out, self._shown = answerer, out, shown

    async def page(self, request: Request) -> Response:
        """Return the page."""
        return HTMLResponse(build_page(self._answerer.gallery.title), headers={"cache-control": "no-store"})

    async def gallery(self, request: Request) -> Response:
        """Return images, levels and models."""
        return JSONResponse(describe_gallery(self._answerer.gallery, self._answerer.models, self._shown))

    async def image(self, request: Request) -> Response:
        """Return a view as PNG."""
        message = await _read_message(request)
        pixels = await run_in_threadpool(self._answerer.gallery.pixels, parse_view(message.get("view")))
        return Response(encode_png(pixels), media_type="image/png", headers={"cache-control": "no-store"})

    async def prepare(self, request: Request) -> Response:
        """Encode a view for a model before anybody clicks."""
        message = await _read_message(request)
        view = parse_view(message.get("view"))
        taken = await run_in_threadpool(self._answerer.prepare, str(message.get("model")), view)
        return JSONResponse({"encode_ms": round(taken, 1)})

    async def answer(self, request: Request) -> Response:
        """Return the mask after all prompts, with scores where an object is named."""
        message = await _read_message(request)
        view, prompts = parse_view(message.get("view")), parse_prompts(message.get("prompts"))
        return JSONResponse(await run_in_threadpool(self._answer, message, view, prompts))

    def _answer(self, message: Mapping[str, Any], view: Any, prompts: Any) -> dict[str, Any]:
        gallery, mask_id = self._answerer.gallery, message.get("mask_id")
        reference = None if mask_id is None else gallery.reference(view.image_id, str(mask_id))
        answer = self._answerer.answer(str(message.get("model")), view, prompts)
        return describe_answer(answer, reference, gallery.entry(view.image_id))

    async def reference(self, request: Request) -> Response:
        """Return an object's mask as run lengths, for people to compare with."""
        message = await _read_message(request)
        image_id, mask_id = str(message.get("image_id")), str(message.get("mask_id"))
        mask = await run_in_threadpool(self._answerer.gallery.reference, image_id, mask_id)
        return JSONResponse({"runs": run_lengths(mask)})

    async def save(self, request: Request) -> Response:
        """Keep prompts and masks of one object as files."""
        message = await _read_message(request)
        view, prompts = parse_view(message.get("view")), parse_prompts(message.get("prompts"))
        written = await run_in_threadpool(self._save, message, view, prompts)
        return JSONResponse({"written": [str(path) for path in written]})

    def _save(self, message: Mapping[str, Any], view: Any, prompts: Any) -> list[Path]:
        mask_id = str(message.get("mask_id") or make_mask_id(view.image_id, "object", 0))
        if message.get("mask_id") is not None:
            self._answerer.gallery.reference(view.image_id, mask_id)
        alias, name = str(message.get("alias", "")), str(message.get("model"))
        if ALIAS.fullmatch(alias) is None:
            raise UsageError("alias: at most 40 letters, digits, spaces, and . _ @ -")
        answer = self._answerer.answer(name, view, prompts)
        seconds = parse_seconds(message.get("seconds"), len(prompts))
        recorded = Recorded(mask_id, view, tuple(prompts), seconds, alias, name)
        masks = {f"{mask_id}.{view.level}.{name_file(name)}": answer.mask}
        return write_clicks(self._out, [recorded], masks, self._answerer.gallery.title)


def name_file(model: str) -> str:
    """Return a model's name as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model)


async def _read_message(request: Request) -> Mapping[str, Any]:
    """Return the JSON object that a request holds.

    Raises:
        HTTPException: too long.
        DmsegError: not JSON, or no object.
    """
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > LONGEST_MESSAGE:
            raise HTTPException(413, f"a message of over {LONGEST_MESSAGE} bytes")
    message = parse_json(content, "message")
    if not isinstance(message, dict):
        raise UsageError("message: give a JSON object")
    return message


def encode_png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return a uint8 (H, W, 3) RGB image as PNG, quickly rather than small."""
    _, content = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return content.tobytes()


async def show_error(request: Request, error: Exception) -> Response:
    """Return what went wrong as one line: 400 for the asker's mistakes, 422 for the model's."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": str(error.detail)}, error.status_code)
    return JSONResponse({"error": str(error)}, 422 if isinstance(error, ModelError) else 400)


def build_app(
    gallery: ImageGallery, models: Mapping[str, ModelAdapter], out: Path, shown: Sequence[str] = ()
) -> tuple[Starlette, str]:
    """Return the application and its token.

    Args:
        gallery: the images.
        models: name -> loaded model.
        out: folder that saved clicks and masks go to.
        shown: names of the one or two models that the page begins with; default: the first.
    """
    token = secrets.token_urlsafe(24)
    pages = Pages(Answerer(gallery, models), out, list(shown) or list(models)[:1])
    asked = {
        "/image": pages.image,
        "/prepare": pages.prepare,
        "/answer": pages.answer,
        "/save": pages.save,
        "/reference": pages.reference,
    }
    app = Starlette(
        routes=[
            Route("/", pages.page),
            Route("/gallery", pages.gallery),
            *(Route(path, end, methods=["POST"]) for path, end in asked.items()),
        ],
        middleware=[Middleware(RequestGate, token=token)],
        exception_handlers={DmsegError: show_error, HTTPException: show_error},
    )
    return app, token


def serve(app: Starlette, token: str, port: int, announce: Callable[[str], None]) -> None:
    """Answer on the loopback address until Ctrl-C.

    Args:
        port: 0 for any that is free.
        announce: told the address, with the token, once it answers.

    Raises:
        UsageError: the port is taken.
    """
    import uvicorn

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror}; give another, or leave it out") from None
        listening.listen()
        announce(f"http://{HOST}:{listening.getsockname()[1]}/?token={token}")
        settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(settings).run(sockets=[listening])
