"""The classes of Pascal VOC, in the order of its labels."""

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""As the annotation files spell them; label k of a segmentation mask is VOC_CLASSES[k - 1]."""

_PLAIN_WORDS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "tvmonitor": "television",
}


def plain_word(name: str) -> str:
    """A VOC class as one writes it in a caption, for prompts (REFERENCE.md section 6)."""
    return _PLAIN_WORDS.get(name, name)
