"""Images in, captions out; a store for captions; and what is done to captions before they become prompts."""

from tadp_captioning.captioner import Captioner, GenerationConfig, load_captioner
from tadp_captioning.cleaners import CleaningLimits, load_cleaner
from tadp_captioning.cleaning import Cleaned, Cleaner, RuleCleaner, clean_store, cleaner_of
from tadp_captioning.domains import DOMAINS, MODIFIERS, Domain, domain_from_phrase, get_domain, modify
from tadp_captioning.formats import Columns
from tadp_captioning.image_files import find_images
from tadp_captioning.loop import LoopReport, Progress, caption_images
from tadp_captioning.openai_cleaner import OpenAICleaner
from tadp_captioning.prompts import class_names_prompt, oracle_prompt
from tadp_captioning.remote import Endpoint
from tadp_captioning.store import CaptionRecord, CaptionStore

__all__ = [
    "DOMAINS",
    "MODIFIERS",
    "CaptionRecord",
    "CaptionStore",
    "Captioner",
    "Cleaned",
    "Cleaner",
    "CleaningLimits",
    "Columns",
    "Domain",
    "Endpoint",
    "GenerationConfig",
    "LoopReport",
    "OpenAICleaner",
    "Progress",
    "RuleCleaner",
    "caption_images",
    "class_names_prompt",
    "clean_store",
    "cleaner_of",
    "domain_from_phrase",
    "find_images",
    "get_domain",
    "load_captioner",
    "load_cleaner",
    "modify",
    "oracle_prompt",
]
