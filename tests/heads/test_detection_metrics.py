"""AveragePrecision against plain loops over detections, and against cases worked out by hand."""

import math

import pytest
import torch

from tadp_heads.data.class_names import class_mapping
from tadp_heads.detection import AveragePrecision, map_classes, rescale

THRESHOLDS = [percent / 100 for percent in range(50, 100, 5)]


def found(boxes, scores, labels=None):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "labels": torch.tensor(labels if labels is not None else [0] * len(scores), dtype=torch.int64),
    }


def objects(boxes, labels=None, difficult=None):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels if labels is not None else [0] * len(boxes), dtype=torch.int64),
        "difficult": torch.tensor(difficult if difficult is not None else [False] * len(boxes), dtype=torch.bool),
    }


def score(pairs, rules, classes=1, **options):
    metric = AveragePrecision(classes, rules=rules, **options)
    for prediction, target in pairs:
        metric.update(prediction, target)
    return metric.compute()


def random_pairs(seed, images=6, classes=3):
    """Objects, and detections near them with scores of one decimal, so that there are many ties."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(shape, generator=generator)

    pairs = []
    for image in range(images):
        count = [0, 1, 3, 5, 4, 2][image % 6]
        corner, side = rand(count, 2) * 40, rand(count, 2) * 20 + 6
        boxes, labels = torch.cat([corner, corner + side], 1), (rand(count) * classes).long()
        near = torch.cat([boxes, boxes, boxes]) + torch.randn(3 * count, 4, generator=generator) * 1.5
        near = torch.cat([near, torch.tensor([[1.0, 1, 9, 9], [30, 30, 44, 60]])])
        near_labels = torch.cat([labels.repeat(3), (rand(2) * classes).long()])
        scores = (rand(len(near)) * 9 + 1).floor() / 10
        order = scores.argsort(descending=True, stable=True)
        pairs.append((
            {"boxes": near[order], "scores": scores[order], "labels": near_labels[order]},
            {"boxes": boxes, "labels": labels, "difficult": rand(count) < 0.25},
        ))  # fmt: skip
    return pairs


def overlap(a, b, extra=0.0, crowd=False):
    width = min(a[2], b[2]) - max(a[0], b[0]) + extra
    height = min(a[3], b[3]) - max(a[1], b[1]) + extra
    common = max(width, 0) * max(height, 0)
    area_a, area_b = ((r[2] - r[0] + extra) * (r[3] - r[1] + extra) for r in (a, b))
    return common / (area_a if crowd else area_a + area_b - common)


def objects_of(target, label):
    """(box, difficult) of the objects of one class."""
    columns = (target[name].tolist() for name in ("boxes", "labels", "difficult"))
    return [(box, difficult) for box, k, difficult in zip(*columns, strict=True) if k == label]


def plain_voc(pairs, label, threshold, eleven, extra=0.0):
    """The devkit's loop over detections in order of score."""
    ranked = [
        (float(s), image, [float(v) for v in box])
        for image, (p, _) in enumerate(pairs)
        for box, s, k in zip(p["boxes"].tolist(), p["scores"].tolist(), p["labels"].tolist(), strict=True)
        if k == label
    ]
    ranked.sort(key=lambda item: -item[0])
    truths = [objects_of(target, label) for _, target in pairs]
    wanted = sum(not difficult for image in truths for _, difficult in image)
    if not wanted:
        return math.nan
    taken, true, false, curve = set(), 0, 0, []
    for _, image, box in ranked:
        ious = [overlap(box, other, extra) for other, _ in truths[image]]
        best = max(range(len(ious)), key=lambda i: ious[i]) if ious else None
        if best is not None and ious[best] > threshold:
            if not truths[image][best][1]:
                true += (image, best) not in taken
                false += (image, best) in taken
                taken.add((image, best))
        else:
            false += 1
        if true + false:
            curve.append((true / wanted, true / (true + false)))
    if eleven:
        return sum(max([p for r, p in curve if r >= i * 0.1], default=0.0) for i in range(11)) / 11
    total, last = 0.0, 0.0
    for i, (recall, _) in enumerate(curve):
        total += (recall - last) * max(p for _, p in curve[i:])
        last = recall
    return total


def plain_coco(pairs, label, threshold):
    """COCO's matching: each detection takes the best object still free; crowds may be taken by many."""
    hits, wanted = [], 0
    for prediction, target in pairs:
        truths = objects_of(target, label)
        truths.sort(key=lambda item: item[1])
        wanted += sum(not crowd for _, crowd in truths)
        taken = set()
        boxes = [
            b for b, k in zip(prediction["boxes"].tolist(), prediction["labels"].tolist(), strict=True) if k == label
        ]
        scores = prediction["scores"][prediction["labels"] == label].tolist()
        for box, value in zip(boxes, scores, strict=True):
            best, best_iou = None, min(threshold, 1 - 1e-10)
            for i, (other, crowd) in enumerate(truths):
                if i in taken and not crowd:
                    continue
                if best is not None and not truths[best][1] and crowd:
                    break
                iou = overlap(box, other, crowd=crowd)
                if iou >= best_iou:
                    best, best_iou = i, iou
            if best is None or not truths[best][1]:
                hits.append((value, best is not None))
            if best is not None:
                taken.add(best)
    if not wanted:
        return math.nan
    hits.sort(key=lambda item: -item[0])
    true, curve = 0, []
    for i, (_, hit) in enumerate(hits, start=1):
        true += hit
        curve.append((true / wanted, true / i))
    recalls = [i / 100 for i in range(101)]
    return sum(max([p for r, p in curve if r >= level - 1e-12], default=0.0) for level in recalls) / 101


def plain_scores(pairs, classes, ap):
    table = [[ap(pairs, label, t) for label in range(classes)] for t in THRESHOLDS]
    means = [sum(v for v in row if not math.isnan(v)) / sum(not math.isnan(v) for v in row) for row in table]
    return {"AP": sum(means) / len(means), "AP50": means[0], "AP75": means[5]}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rules", ["coco", "voc2007", "voc2012"])
def test_scores_are_those_of_the_plain_loop(rules, seed):
    pairs = random_pairs(seed)

    def ap(pairs, label, threshold):
        return (
            plain_coco(pairs, label, threshold)
            if rules == "coco"
            else plain_voc(pairs, label, threshold, rules == "voc2007")
        )

    expected = plain_scores(pairs, 3, ap)
    assert 0.05 < expected["AP"] < expected["AP50"] < 1
    assert score(pairs, rules, classes=3) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rules", ["voc2007", "voc2012"])
def test_inclusive_pixels_are_those_of_the_plain_loop(rules):
    pairs = random_pairs(9)
    expected = plain_scores(pairs, 3, lambda *a: plain_voc(*a, rules == "voc2007", extra=1.0))
    assert score(pairs, rules, classes=3, inclusive_pixels=True) == pytest.approx(expected, abs=1e-9)
    assert score(pairs, rules, classes=3) != pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("rules", ["voc2007-paper", "voc2012-paper"])
def test_the_papers_evaluator_reads_its_predictions_from_lines_of_text(rules):
    """One decimal for boxes, three for scores, left and top moved by one, the last pixel counted as within."""
    pairs = random_pairs(3)
    for prediction, _ in pairs:
        prediction["scores"] += torch.rand(len(prediction["scores"])) / 100  # more decimals than are written
        order = prediction["scores"].argsort(descending=True)
        prediction.update({name: value[order] for name, value in prediction.items()})
    written = []
    for prediction, target in pairs:
        rows = zip(prediction["boxes"].tolist(), prediction["scores"].tolist(), strict=True)
        lines = [f"{s:.3f} {x0 + 1:.1f} {y0 + 1:.1f} {x1:.1f} {y1:.1f}" for (x0, y0, x1, y1), s in rows]
        read = torch.tensor([[float(word) for word in line.split()] for line in lines], dtype=torch.float64)
        written.append(({"boxes": read[:, 1:], "scores": read[:, 0], "labels": prediction["labels"]}, target))
    table = [[plain_voc(written, k, t, "2007" in rules, extra=1.0) for k in range(3)] for t in THRESHOLDS]
    expected = {"AP": sum(map(sum, table)) / 30, "AP50": sum(table[0]) / 3, "AP75": sum(table[5]) / 3}
    assert score(pairs, rules, classes=3) == pytest.approx(expected, abs=1e-9)
    assert score(pairs, rules, classes=3) != pytest.approx(score(pairs, rules[:7], classes=3), abs=1e-3)


def test_edges_score_as_the_xml_does_with_inclusive_pixels():
    """xmin - 1, ymin - 1 with plain widths is the same rule as the file's numbers with inclusive ones."""
    edges = random_pairs(3)
    shift = torch.tensor([1.0, 1, 0, 0])
    xml = [({**p, "boxes": p["boxes"] + shift}, {**t, "boxes": t["boxes"] + shift}) for p, t in edges]
    ours, theirs = score(edges, "voc2007", 3), score(xml, "voc2007", 3, inclusive_pixels=True)
    assert ours == pytest.approx(theirs, abs=1e-9)


TEN = [0, 0, 10, 10]
FAR = [20, 20, 30, 30]


@pytest.mark.parametrize("rules", ["coco", "voc2007", "voc2012"])
def test_cases_by_hand(rules):
    exact = [(found([TEN, FAR], [0.9, 0.8]), objects([TEN, FAR]))]
    assert score(exact, rules) == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1})
    nothing_found = [(found([], []), objects([TEN]))]
    assert score(nothing_found, rules) == {"AP": 0, "AP50": 0, "AP75": 0}
    shifted = [(found([[0, 0, 10, 6.0]], [0.9]), objects([TEN]))]  # IoU 0.6: three of the ten thresholds at most
    assert score(shifted, rules)["AP50"] == pytest.approx(1)
    assert score(shifted, rules)["AP75"] == 0
    assert score(shifted, rules)["AP"] == pytest.approx(0.3 if rules == "coco" else 0.2, abs=0.011)


def test_iou_of_exactly_the_threshold_is_a_hit_for_coco_and_none_for_voc():
    half = [(found([[0, 0, 10, 5]], [0.9]), objects([TEN]))]
    assert score(half, "coco")["AP50"] == pytest.approx(1)
    assert score(half, "voc2012")["AP50"] == 0


@pytest.mark.parametrize("rules", ["voc2007", "voc2012"])
def test_a_second_hit_is_an_error_for_voc(rules):
    """Object 1 found twice before object 2: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1."""
    twice = [(found([TEN, TEN, FAR], [0.9, 0.8, 0.7]), objects([TEN, FAR]))]
    expected = (6 * 1 + 5 * 2 / 3) / 11 if rules == "voc2007" else 0.5 * 1 + 0.5 * 2 / 3
    assert score(twice, rules)["AP50"] == pytest.approx(expected)


@pytest.mark.parametrize("rules", ["coco", "voc2007", "voc2012"])
def test_difficult_objects_count_nowhere(rules):
    """Neither missing one, nor finding one, nor finding it twice changes the score of what is to be found."""
    plain = [(found([TEN], [0.5]), objects([TEN]))]
    missed = [(found([TEN], [0.5]), objects([TEN, FAR], difficult=[False, True]))]
    hit_twice = [(found([FAR, FAR, TEN], [0.9, 0.8, 0.5]), objects([TEN, FAR], difficult=[False, True]))]
    assert score(missed, rules) == score(hit_twice, rules) == score(plain, rules)
    only_difficult = [(found([FAR], [0.9]), objects([FAR], difficult=[True]))]
    assert all(math.isnan(value) for value in score(only_difficult, rules).values())


@pytest.mark.parametrize("rules", ["coco", "voc2007", "voc2012"])
def test_classes_without_objects_are_left_out(rules):
    pairs = [(found([TEN, FAR], [0.9, 0.8], [0, 1]), objects([TEN], [0]))]
    assert score(pairs, rules, classes=3)["AP"] == pytest.approx(1)
    metric = AveragePrecision(["dog", "cat", "cow"], rules=rules)
    metric.update(*pairs[0])
    per_class = metric.per_class()
    assert per_class["dog"] == pytest.approx(1)
    assert math.isnan(per_class["cat"])
    assert math.isnan(per_class["cow"])


def test_images_without_objects_punish_what_is_found_there():
    empty = (found([TEN], [0.95]), objects([]))
    hit = (found([TEN], [0.5]), objects([TEN]))
    assert score([empty, hit], "voc2012")["AP50"] == pytest.approx(0.5)
    assert score([empty, hit], "coco")["AP50"] == pytest.approx(0.5)


def test_the_eleven_points_are_inexact_as_in_the_devkit():
    """Recall 3/10 doesn't reach the level 3 * 0.1: 3 of 10 objects found without error give 3 of 11 points."""
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(10)]
    pairs = [(found(boxes[:3], [0.9, 0.8, 0.7]), objects(boxes))]
    assert score(pairs, "voc2007")["AP50"] == pytest.approx(3 / 11)


def test_reset_forgets():
    metric = AveragePrecision(1, rules="voc2012")
    metric.update(found([FAR], [0.9]), objects([TEN]))
    metric.reset()
    metric.update(found([TEN], [0.9]), objects([TEN]))
    assert metric.compute()["AP"] == pytest.approx(1)


@pytest.mark.parametrize("rules", ["coco", "voc2007"])
def test_images_counted_apart_score_as_one_set(rules):
    """Images of both parts have equal numbers until they are joined."""
    pairs = random_pairs(3)
    parts = [AveragePrecision(3, rules=rules) for _ in range(3)]
    for part, share in zip(parts, (pairs[:2], pairs[2:3], pairs[3:]), strict=True):
        for prediction, target in share:
            part.update(prediction, target)
    first, *others = parts
    for other in others:
        first.merge_state(other)
    assert first.compute() == score(pairs, rules, 3)
    assert first.images == len(pairs)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="unknown rules 'voc'"):
        AveragePrecision(1, rules="voc")
    with pytest.raises(ValueError, match="inclusive_pixels belongs to the rules voc2007 and voc2012, not to coco"):
        AveragePrecision(1, inclusive_pixels=True)
    with pytest.raises(ValueError, match=r"predicted labels 2\.\.2: expected 0\.\.1"):
        AveragePrecision(2).update(found([TEN], [0.9], [2]), objects([TEN]))


def test_twenty_classes_become_six():
    voc = ["aeroplane", "bicycle", "bird", "car", "cat", "dog", "person", "tvmonitor"]
    six = ["bicycle", "bird", "car", "cat", "dog", "person"]
    mapping = class_mapping(voc, six)
    assert mapping == {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5}
    mapped = map_classes(found([TEN, FAR, TEN], [0.9, 0.8, 0.7], [6, 0, 1]), mapping)
    assert mapped["labels"].tolist() == [5, 0]
    assert mapped["scores"].tolist() == pytest.approx([0.9, 0.7])
    assert mapped["boxes"].tolist() == [TEN, TEN]
    assert class_mapping(["airplane", "tv", "potted plant"], ["aeroplane", "pottedplant", "tvmonitor"]) == {
        0: 0,
        2: 1,
        1: 2,
    }
    with pytest.raises(ValueError, match="classes zebra are not among those of the model"):
        class_mapping(voc, ["zebra"])


def test_boxes_follow_the_image_to_its_own_size():
    moved = rescale(found([[10, 20, 30, 40]], [0.9]), (100, 200), (50, 600))
    assert moved["boxes"].tolist() == [[30, 10, 90, 20]]
