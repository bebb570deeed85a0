"""Annotation tools' formats: polygons, run lengths and boxes read into masks and boxes."""
