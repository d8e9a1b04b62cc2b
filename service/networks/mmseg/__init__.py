"""OpenMMLab's segmentation networks on a ResNeSt backbone."""
