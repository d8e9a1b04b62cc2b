"""Not torchvision: every name that timm imports from it outside a `try`, and none of what they do.

There is no torchvision for a torch without CUDA in the package index. timm's networks use none of it; its data
loading, which is not called here, does.
"""
