"""A simulated CUDA card with little memory: on the CPU, feeds above a size fail with onnxruntime's exceptions."""

from typing import Any

from specter_batch.model.tokens.encoding import TokenIds

OUT_OF_MEMORY = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running MatMul node. "
    "Name:'MatMul_92' Status Message: bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, "
    "onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 8388608000"
)


class SmallCard:
    """Wraps a session so that a feed of more than `tokens` tokens, with padding, fails."""

    def __init__(self, session: Any, tokens: int, failure: Exception) -> None:
        self._session, self._tokens, self._failure = session, tokens, failure
        self.fed: list[tuple[int, int]] = []

    def run(self, outputs: Any, feed: dict[str, TokenIds]) -> Any:
        self.fed.append(feed["input_ids"].shape)
        if feed["input_ids"].size > self._tokens:
            raise self._failure
        return self._session.run(outputs, feed)
