"""The text of each image: captions, class names, image tags. `register_prompt` adds a kind of one's own."""

from tadp_cli.prompts.kind import Given, PromptKind, register_prompt

__all__ = ["Given", "PromptKind", "register_prompt"]
