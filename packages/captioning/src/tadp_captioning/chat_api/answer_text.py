"""What a chat model's answer says, apart from its thoughts, its template's tokens and a code fence."""

import re

_TAG = r"(?:think|thinking|thought|thoughts|reasoning|analysis)"
_THOUGHTS_END = re.compile(rf"^.*(?:</{_TAG}>|◁/{_TAG}▷)", re.IGNORECASE | re.DOTALL)
_THOUGHTS_BEGIN = re.compile(rf"(?:<{_TAG}>|◁{_TAG}▷).*$", re.IGNORECASE | re.DOTALL)
_HEADER = re.compile(r"^.*<\|message\|>", re.DOTALL)  # of the "harmony" template: the last message is the answer
_TEMPLATE_TOKEN = re.compile(
    r"<[|｜][^<>|｜]*[|｜]>|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn|end_of_utterance|row_\d+_col_\d+)>|\[/?INST\]"
)
_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)```", re.DOTALL)
_REFUSAL = re.compile(
    r"^(?:i['’]?m|i am|we['’]?re)? ?(?:so |very )?sorry\b.{0,40}\b(?:can['’]?t|cannot|unable|not able)"
    r"|^(?:i|we) (?:can['’]?t|cannot|can not|am unable to|['’]m unable to|won['’]t)"
    r" (?:help|assist|provide|describe|identify|analy[sz]e|comply|process|view|see)",
    re.IGNORECASE | re.DOTALL,
)


class NoCaption(str):
    """The empty caption, and why the model gave none."""

    reason: str

    def __new__(cls, reason: str) -> "NoCaption":
        empty = super().__new__(cls, "")
        empty.reason = reason
        return empty


def without_thoughts(answer: str) -> str:
    """The text behind a model's thoughts; a `NoCaption` where there are thoughts alone."""
    text = _THOUGHTS_BEGIN.sub("", _THOUGHTS_END.sub("", answer))
    return text if text.strip() or not answer.strip() else NoCaption("the captioner answered its thoughts alone")


def spoken(answer: str) -> str:
    """The text behind a model's thoughts, without its template's tokens; "" where the thoughts have no end."""
    text = without_thoughts(answer)
    return _TEMPLATE_TOKEN.sub(" ", _HEADER.sub("", text)).strip()


def caption_of(answer: str, finish_reason: str = "") -> str:
    """The caption in a chat model's answer, or a `NoCaption` for a refusal, a cut thought or an empty answer."""
    text = spoken(answer)
    if not text:
        thought = "its thoughts alone" if answer.strip() else "no text"
        cut = ", cut at the maximum number of tokens: raise --max-tokens" if finish_reason == "length" else ""
        return NoCaption(f"the captioner answered {thought} ({finish_reason or 'no reason given'}{cut})")
    if _REFUSAL.search(text):
        return NoCaption(f"the captioner refused: {text[:80]}")
    return text


def fenced(answer: str) -> str:
    """The content of the answer's code fence, or the answer where it has none."""
    text = spoken(answer)
    fence = _FENCE.search(text)
    return fence.group(1).strip() if fence else text
