"""Images in, captions out; a store for captions; and what is done to captions before they become prompts."""

from tadp_captioning.captioner import Captioner, GenerationConfig, load_captioner
from tadp_captioning.cleaning import Cleaned, RuleCleaner, clean_store
from tadp_captioning.domains import DOMAINS, MODIFIERS, Domain, get_domain, modify
from tadp_captioning.images import find_images
from tadp_captioning.loop import LoopReport, Progress, caption_images
from tadp_captioning.prompts import class_names_prompt, oracle_prompt
from tadp_captioning.store import CaptionRecord, CaptionStore

__all__ = [
    "DOMAINS",
    "MODIFIERS",
    "CaptionRecord",
    "CaptionStore",
    "Captioner",
    "Cleaned",
    "Domain",
    "GenerationConfig",
    "LoopReport",
    "Progress",
    "RuleCleaner",
    "caption_images",
    "class_names_prompt",
    "clean_store",
    "find_images",
    "get_domain",
    "load_captioner",
    "modify",
    "oracle_prompt",
]
