"""The HTTP interface: POST /predict, and what operators ask for."""

import asyncio
import io
import secrets
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from PIL import Image
from starlette.requests import ClientDisconnect

from tadp_cli.serve.batching import Batcher
from tadp_cli.serve.jobs import Answer, Job, ModelInfo, refusal
from tadp_cli.serve.metrics import Metrics
from tadp_cli.serve.options import KEY_VARIABLE, ServeOptions
from tadp_cli.serve.worker import Worker

_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": {"image/*": _IMAGE}}}
_SKIPPED = 4
"""In limits of a body's size: of one larger than that the connection is closed at once."""


def make_app(worker: Worker, info: ModelInfo, options: ServeOptions, key: str | None) -> FastAPI:
    """`key`: what requests must carry as "Authorization: Bearer KEY"; None: nothing."""
    metrics = Metrics()
    batcher = Batcher(worker, metrics, batch_size=options.batch_size, queue=options.queue)

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()
        await asyncio.to_thread(worker.stop)

    app = FastAPI(title=f"tadp: {info.run}", description=f"{info.task} by text-aligned diffusion", lifespan=running)
    guarded = [Depends(_key_check(key))]

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/model", dependencies=guarded)
    async def model() -> dict[str, Any]:
        """The task, its classes and colours, and the outputs that can be asked for."""
        return asdict(info)

    @app.get("/metrics", dependencies=guarded)
    async def show_metrics() -> Response:
        """Prometheus: requests, latency, batch sizes, queue, errors."""
        text = metrics.text(batcher.queue.qsize(), worker.restarts)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/predict", dependencies=guarded, openapi_extra=_BODY, response_class=Response)
    async def predict(
        request: Request,
        caption: Annotated[str | None, Query(max_length=2000, description="the image's text; none: captioned")] = None,
        output: Annotated[str, Query(description="form of the result; none: the model's first")] = "",
    ) -> Response:
        """An encoded image as the body -> mask (PNG), boxes (JSON) or depth (16-bit PNG), in the image's own size."""
        answer, seconds = await _answer(request, caption, output)
        metrics.requests[answer.status] += 1
        if seconds is not None:
            metrics.latency.observe(seconds)
        return Response(answer.body, answer.status, answer.headers, answer.media_type)

    async def _answer(request: Request, caption: str | None, output: str) -> tuple[Answer, float | None]:
        if output and output not in info.outputs:
            return refusal(400, f"output is {output!r}: choose from {', '.join(info.outputs)}"), None
        if caption is not None and not info.takes_caption:
            return refusal(400, "this model's prompt is the same for all images: leave caption out"), None
        try:
            body = await _body(request, options)
        except ClientDisconnect:
            return refusal(499, "the client closed the connection"), None
        start = time.perf_counter()
        if isinstance(body, Answer):
            return body, None
        wrong = _too_large(body, options)
        if wrong is not None:
            return wrong, None
        job = Job(body, caption, output or info.outputs[0])
        answer = await batcher.submit(job, request.is_disconnected)
        return answer, time.perf_counter() - start

    return app


async def _body(request: Request, options: ServeOptions) -> bytes | Answer:
    """The request's body.

    Of one beyond the limit the rest is skipped: most clients read an answer only when they have sent everything.
    """
    limit, body, received = int(options.max_megabytes * 1e6), bytearray(), 0
    line = f"the image has more than {options.max_megabytes:g} MB: send a smaller file"
    too_large = refusal(413, line, Connection="close")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > _SKIPPED * limit:
        return too_large
    async for chunk in request.stream():
        received += len(chunk)
        if received <= limit:
            body += chunk
        elif received > _SKIPPED * limit:
            break
    return too_large if received > limit else bytes(body)


def _too_large(body: bytes, options: ServeOptions) -> Answer | None:
    """A refusal for an image of too many pixels, and for what is none; only the header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(io.BytesIO(body)) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        width = height = 0
    except Exception:  # decoders of damaged files raise nearly anything
        return refusal(400, "no image: send the bytes of a PNG, JPEG or WebP file as the request's body")
    if 0 < width * height <= options.max_megapixels * 1e6:
        return None
    size = f"{width}x{height} pixels" if width else "more pixels than can be decoded"
    return refusal(413, f"the image has {size}, the limit is {options.max_megapixels:g} megapixels: send a smaller one")


def _key_check(key: str | None) -> Any:
    """A dependency that raises for a request without the key."""

    async def check(request: Request) -> None:
        if key is None:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), key.encode()):
            message = f"wrong or missing key: send the header Authorization: Bearer KEY (the server's {KEY_VARIABLE})"
            raise HTTPException(401, message, {"WWW-Authenticate": "Bearer"})

    return check
