"""Detectors and instance segmenters: Faster, Cascade and Mask R-CNN, of the authors and of OpenMMLab."""
