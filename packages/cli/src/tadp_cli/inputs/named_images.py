"""The images that a command's arguments name, whatever holds them."""

from typing import Any

from tadp_captioning.archives.images import is_packed, packed_images
from tadp_captioning.hub.images import images_of_hub
from tadp_captioning.hub.repository import is_repository
from tadp_cli.inputs.user_images import find_user_images
from tadp_heads.data.registry import split_name
from tadp_heads.data.split_images import split_images


def named_images(data: list[str], split: str = "") -> dict[str, Any]:
    """The images by id: of archives, a data set of the hub, a split of one here as its reader has them, or files."""
    if not split and is_packed(data):
        return packed_images(data)
    if len(data) == 1 and is_repository(data[0]):
        return images_of_hub(data[0], split)
    if len(data) == 1 and (split or split_name(data[0])[0]):
        return split_images(data[0], split)
    if split:
        raise ValueError(f"--split {split} applies to one data set, and {len(data)} were given: caption one at a time")
    return find_user_images(data)
