"""A stand-in for torchvision: every name that timm imports from it outside a `try`, without behaviour.

The package index has no torchvision for a torch without CUDA. timm's networks do not use it; only its data loading
does, which is not called here.
"""
