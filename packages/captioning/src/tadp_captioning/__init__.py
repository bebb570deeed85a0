"""Images in, captions out; a store for captions; and what is done to captions before they become prompts."""

from tadp_captioning.base import Captioner, GenerationConfig
from tadp_captioning.caption_dataset import LoopReport, Progress, caption_images
from tadp_captioning.caption_store import CaptionStore
from tadp_captioning.caption_tables import Columns
from tadp_captioning.captioners.registered import register_captioner
from tadp_captioning.chat_api.chat_model import Endpoint
from tadp_captioning.cleaning.cleaner import Cleaned, Cleaner, RuleCleaner, clean_store, cleaner_of
from tadp_captioning.cleaning.factory import CleaningLimits, load_cleaner
from tadp_captioning.cleaning.lexicon import Lexicon
from tadp_captioning.cleaning.openai import OpenAICleaner
from tadp_captioning.domains import DOMAINS, MODIFIERS, Domain, domain_from_phrase, get_domain, modify, register_domain
from tadp_captioning.factory import captioner_on_demand, load_captioner
from tadp_captioning.image_files import find_images
from tadp_captioning.prompts.class_names import class_names_prompt, oracle_prompt
from tadp_captioning.records import CaptionRecord

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
    "Lexicon",
    "LoopReport",
    "OpenAICleaner",
    "Progress",
    "RuleCleaner",
    "caption_images",
    "captioner_on_demand",
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
    "register_captioner",
    "register_domain",
]
